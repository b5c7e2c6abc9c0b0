#include "request_arrays.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "digests.h"
#include "print_json.h"

enum { MOST_ROWS = 1 << 20 };

void free_array(request_array *array) {
    free(array->floats);
    free(array->integers);
    *array = (request_array){0};
}

/* ------------------------------------------------------------------------------------------------ frames */

/* Read the next frame as an array of a dtype with 1 to `axes` axes. */
static const char *read_frame(frame_reader *reader, sl_value value, const char *dtype, size_t axes,
                              size_t shape[2], const uint8_t **data) {
    size_t bytes = 0, size = (size_t)(dtype[2] - '0');
    const char *given = sl_as_text(sl_field(value, "dtype"), &bytes);
    if (given == NULL || bytes != 3 || memcmp(given, dtype, 3) != 0) return "BAD_DTYPE";
    sl_value list = sl_field(value, "shape");
    size_t count = sl_type_of(list) == SL_LIST ? sl_count(list) : 0;
    if (count < 1 || count > axes) return "BAD_SHAPE";
    shape[0] = shape[1] = 1;
    for (size_t i = 0; i < count; i++) {
        int64_t length;
        if (!sl_as_integer(sl_item(list, i), &length) || length < 1 || length > INT32_MAX) return "BAD_SHAPE";
        shape[i] = (size_t)length;
        size *= (size_t)length;
    }
    if (count == 1 && axes == 2) {
        shape[1] = shape[0]; /* one sample */
        shape[0] = 1;
    }
    if (reader->next >= reader->frames->count) return "BAD_MESSAGE";
    if (reader->frames->bytes[reader->next] != size) return "BAD_SHAPE";
    *data = reader->frames->data[reader->next++];
    return NULL;
}

static const char *read_float_frame(frame_reader *reader, sl_value value, request_array *array) {
    const uint8_t *data;
    size_t shape[2];
    const char *code = read_frame(reader, value, "<f4", 2, shape, &data);
    if (code != NULL) return code;
    array->rows = shape[0];
    array->columns = shape[1];
    array->floats = allocate(4 * shape[0] * shape[1]);
    memcpy(array->floats, data, 4 * shape[0] * shape[1]);
    return NULL;
}

static const char *read_integer_frame(frame_reader *reader, sl_value value, request_array *array) {
    const uint8_t *data;
    size_t shape[2];
    const char *code = read_frame(reader, value, "<i8", 1, shape, &data);
    if (code != NULL) return code;
    array->rows = shape[0];
    array->integers = allocate(8 * shape[0]);
    memcpy(array->integers, data, 8 * shape[0]);
    return NULL;
}

const char *read_content(frame_reader *reader, sl_value value, request_array *array) {
    const uint8_t *data;
    size_t shape[2];
    if (sl_type_of(value) != SL_MAP) return "BAD_MESSAGE";
    const char *code = read_frame(reader, value, "|u1", 1, shape, &data);
    if (code != NULL) return code;
    array->rows = shape[0];
    array->integers = allocate(8 * shape[0]);
    for (size_t i = 0; i < shape[0]; i++) array->integers[i] = data[i];
    return NULL;
}

/* --------------------------------------------------------------------------------- numbers in the header */

static const char *read_number(sl_value value, float *number) {
    double wide;
    if (sl_type_of(value) == SL_NIL) wide = NAN;
    else if (!sl_as_double(value, &wide)) return sl_type_of(value) == SL_LIST ? "BAD_SHAPE" : "BAD_DTYPE";
    if (isfinite(wide) && fabs(wide) > (double)FLT_MAX) return "BAD_VALUE";
    *number = (float)wide;
    return NULL;
}

/* Read a list of rows, one flat row, or one number. *axes: how many axes it has. */
static const char *read_numbers(sl_value value, request_array *array, size_t *axes) {
    sl_value first = sl_item(value, 0);
    *axes = sl_type_of(value) != SL_LIST ? 0 : sl_type_of(first) == SL_LIST ? 2 : 1;
    array->rows = *axes == 2 ? sl_count(value) : 1;
    array->columns = *axes == 0 ? 1 : *axes == 1 ? sl_count(value) : sl_count(first);
    if (array->rows == 0 || array->columns == 0) return "BAD_SHAPE";
    array->floats = allocate(4 * array->rows * array->columns);
    for (size_t i = 0; i < array->rows; i++) {
        sl_value row = *axes == 2 ? sl_item(value, i) : value;
        if (*axes == 2 && (sl_type_of(row) != SL_LIST || sl_count(row) != array->columns)) return "BAD_SHAPE";
        for (size_t j = 0; j < array->columns; j++) {
            sl_value cell = *axes == 0 ? value : sl_item(row, j);
            const char *code = read_number(cell, &array->floats[i * array->columns + j]);
            if (code != NULL) return code;
        }
    }
    return NULL;
}

static bool is_number_or_list(sl_value value) {
    sl_type type = sl_type_of(value);
    return type == SL_LIST || type == SL_INTEGER || type == SL_FLOAT;
}

const char *read_samples(frame_reader *reader, sl_value value, request_array *array) {
    size_t axes = 2;
    if (sl_type_of(value) != SL_MAP && !is_number_or_list(value)) return "BAD_MESSAGE";
    const char *code = sl_type_of(value) == SL_MAP ? read_float_frame(reader, value, array)
                                                   : read_numbers(value, array, &axes);
    if (code != NULL) return code;
    if (axes == 0) return "BAD_SHAPE";
    return array->rows > MOST_ROWS ? "TOO_LARGE" : NULL;
}

const char *read_targets(frame_reader *reader, sl_value value, size_t rows, request_array *array) {
    size_t axes = 2;
    if (sl_type_of(value) == SL_MAP) {
        const char *code = read_float_frame(reader, value, array);
        if (code != NULL) return code;
        axes = sl_count(sl_field(value, "shape"));
    } else {
        if (!is_number_or_list(value)) return "BAD_MESSAGE";
        const char *code = read_numbers(value, array, &axes);
        if (code != NULL) return code;
    }
    if (axes < 2 && rows > 1) { /* one target for each sample */
        array->rows = array->columns;
        array->columns = 1;
    }
    return array->rows == rows ? NULL : "BAD_SHAPE";
}

/* --------------------------------------------------------------------------------- identifiers and times */

const char *read_identifier(sl_value value, int64_t *number) {
    size_t bytes = 0;
    const char *text = sl_as_text(value, &bytes);
    if (text != NULL) {
        uint64_t digest = blake2b_64(text, bytes);
        memcpy(number, &digest, sizeof digest);
        return NULL;
    }
    if (sl_type_of(value) == SL_LIST) return "BAD_SHAPE";
    if (sl_type_of(value) != SL_INTEGER) return "BAD_DTYPE";
    return sl_as_integer(value, number) ? NULL : "BAD_VALUE";
}

static void repeat(request_array *array, int64_t number, size_t rows) {
    array->rows = rows;
    array->integers = allocate(8 * rows);
    for (size_t i = 0; i < rows; i++) array->integers[i] = number;
}

const char *read_identifiers(frame_reader *reader, sl_value value, size_t rows, request_array *array) {
    sl_type type = sl_type_of(value);
    const char *code = NULL;
    if (type == SL_MAP) code = read_integer_frame(reader, value, array);
    else if (type == SL_LIST) {
        array->rows = sl_count(value);
        array->integers = allocate(8 * array->rows);
        for (size_t i = 0; i < array->rows && code == NULL; i++) {
            code = read_identifier(sl_item(value, i), &array->integers[i]);
        }
    } else {
        int64_t number = 0;
        if (type != SL_INTEGER && type != SL_TEXT) return "BAD_MESSAGE";
        code = read_identifier(value, &number);
        repeat(array, number, rows);
    }
    if (code != NULL) return code;
    return array->rows == rows ? NULL : "BAD_SHAPE";
}

const char *read_times(frame_reader *reader, sl_value value, size_t rows, request_array *array) {
    sl_type type = sl_type_of(value);
    if (type == SL_MAP) {
        const char *code = read_integer_frame(reader, value, array);
        if (code != NULL) return code;
    } else if (type == SL_LIST) {
        array->rows = sl_count(value);
        array->integers = allocate(8 * array->rows);
        for (size_t i = 0; i < array->rows; i++) {
            sl_value each = sl_item(value, i);
            if (sl_type_of(each) != SL_INTEGER) return "BAD_MESSAGE";
            if (!sl_as_integer(each, &array->integers[i])) return "BAD_VALUE";
        }
    } else {
        int64_t number;
        if (type != SL_INTEGER) return "BAD_MESSAGE";
        if (!sl_as_integer(value, &number)) return "BAD_VALUE";
        repeat(array, number, rows);
    }
    if (array->rows != rows) return "BAD_SHAPE";
    for (size_t i = 0; i < rows; i++) {
        if (array->integers[i] == INT64_MIN) return "BAD_VALUE";
    }
    return NULL;
}

size_t identifier_count(sl_value value) {
    int64_t count = 1;
    if (sl_type_of(value) == SL_LIST) return sl_count(value);
    sl_as_integer(sl_item(sl_field(value, "shape"), 0), &count);
    return count < 0 || count > MOST_ROWS ? 0 : (size_t)count;
}
