#include "frames.h"

#include <math.h>
#include <string.h>

#include "errors.h"

static const char *const dtype_names[] = {[SL_F4] = "<f4", [SL_F8] = "<f8", [SL_I4] = "<i4",
                                          [SL_I8] = "<i8", [SL_U4] = "<u4", [SL_U8] = "<u8",
                                          [SL_I1] = "|i1", [SL_U1] = "|u1", [SL_B1] = "|b1"};
static const size_t dtype_bytes[] = {[SL_F4] = 4, [SL_F8] = 8, [SL_I4] = 4, [SL_I8] = 8, [SL_U4] = 4,
                                     [SL_U8] = 8, [SL_I1] = 1, [SL_U1] = 1, [SL_B1] = 1};

static void write_value(mp_writer *to, sl_value value) {
    if (value.at == NULL) mp_write_nil(to);
    else mp_write_raw(to, value.at, (size_t)(value.end - value.at));
}

static void write_text_field(mp_writer *to, const char *field, const char *text) {
    mp_write_string(to, field);
    mp_write_string(to, text);
}

static void write_texts(mp_writer *to, const char *field, const char *const *texts, size_t count) {
    if (count == 0) return;
    mp_write_string(to, field);
    mp_write_list(to, count);
    for (size_t i = 0; i < count; i++) mp_write_string(to, texts[i]);
}

static void write_arrays(mp_writer *to, sl_arrays arrays) {
    for (size_t i = 0; i < arrays.count; i++) {
        const sl_array *array = &arrays.items[i];
        mp_write_string(to, array->name);
        mp_write_map(to, 2);
        write_text_field(to, "dtype", dtype_names[array->dtype]);
        mp_write_string(to, "shape");
        mp_write_list(to, array->axes);
        for (size_t axis = 0; axis < array->axes; axis++) mp_write_uint(to, array->shape[axis]);
    }
}

/* Write the start of every header: version, id and operation. */
static void write_start(mp_writer *to, size_t fields, sl_value id, const char *op) {
    mp_write_map(to, 3 + fields);
    mp_write_string(to, "v");
    mp_write_uint(to, 1);
    mp_write_string(to, "id");
    write_value(to, id);
    write_text_field(to, "op", op);
}

static void write_number(mp_writer *to, const char *producer, uint64_t epoch, uint64_t seq) {
    write_text_field(to, "producer", producer);
    mp_write_string(to, "epoch");
    mp_write_uint(to, epoch);
    mp_write_string(to, "seq");
    mp_write_uint(to, seq);
}

void write_request(mp_writer *to, const request_header *request) {
    mp_item fields = {.kind = MP_MAP};
    const uint8_t *entries = mp_read(request->fields.at, request->fields.end, &fields);
    size_t parts = (size_t)(request->model != NULL) + (request->channel_count > 0);
    size_t count = parts + fields.count + (request->producer != NULL ? 3 : 0) + request->arrays.count;
    write_start(to, count, request->id, request->op);
    if (request->model != NULL) write_text_field(to, "model", request->model);
    if (entries != NULL) mp_write_raw(to, entries, (size_t)(request->fields.end - entries));
    if (request->producer != NULL) write_number(to, request->producer, request->epoch, 0);
    write_texts(to, "channels", request->channels, request->channel_count);
    write_arrays(to, request->arrays);
}

void write_learn(mp_writer *to, const learn_header *learn) {
    bool numbered = learn->producer != NULL;
    size_t lists = (size_t)(learn->channel_count > 0) + (learn->key_name_count > 0);
    write_start(to, 2 + lists + (numbered ? 3 : 0) + learn->arrays.count, learn->id, "learn");
    write_text_field(to, "model", learn->model);
    write_texts(to, "channels", learn->channels, learn->channel_count);
    write_texts(to, "key_names", learn->key_names, learn->key_name_count);
    if (numbered) write_number(to, learn->producer, learn->epoch, learn->seq);
    write_text_field(to, "ack", learn->ack);
    write_arrays(to, learn->arrays);
}

static sl_array matrix(const char *name, const float *data, size_t rows, size_t columns) {
    return (sl_array){.name = name,
                      .dtype = SL_F4,
                      .axes = 2,
                      .shape = {rows, columns},
                      .count = rows * columns,
                      .data = data};
}

static sl_array numbers(const char *name, const int64_t *data, size_t rows) {
    return (sl_array){.name = name, .dtype = SL_I8, .axes = 1, .shape = {rows}, .count = rows, .data = data};
}

size_t arrays_of(const sl_samples *samples, sl_array arrays[SAMPLE_ARRAYS]) {
    size_t count = 0, rows = samples->rows;
    if (samples->x != NULL) arrays[count++] = matrix("x", samples->x, rows, samples->columns);
    if (samples->y != NULL) arrays[count++] = matrix("y", samples->y, rows, samples->targets);
    if (samples->keys != NULL) arrays[count++] = numbers("keys", samples->keys, rows);
    if (samples->ids != NULL) arrays[count++] = numbers("ids", samples->ids, rows);
    if (samples->times != NULL) arrays[count++] = numbers("times", samples->times, rows);
    return count;
}

size_t array_bytes(const sl_array *array) { return array->count * dtype_bytes[array->dtype]; }

static int check_matrix(const float *values, size_t rows, size_t columns, const char *what, sl_error *error) {
    if (values == NULL) return 0;
    if (columns == 0 || columns > SIZE_MAX / 16 / rows) {
        return set_error(error, "BAD_SHAPE",
                         "%s has %zu columns and %zu rows; pass at least one of each, and at most the "
                         "daemon's limits",
                         what, columns, rows);
    }
    for (size_t i = 0; i < rows * columns; i++) {
        if (isinf(values[i])) {
            return set_error(error, "BAD_VALUE",
                             "%s has an infinity in column %zu (row %zu); values must be finite, and "
                             "NaN for a missing value",
                             what, i % columns, i / columns);
        }
    }
    return 0;
}

int check_samples(const sl_samples *samples, sl_error *error) {
    if (samples->rows == 0)
        return set_error(error, "BAD_SHAPE", "there are no rows; pass at least one sample");
    if (samples->x == NULL && (samples->y == NULL || samples->ids == NULL)) {
        return set_error(error, "BAD_SHAPE", "there are no samples; pass x, or y and ids for late targets");
    }
    if (check_matrix(samples->x, samples->rows, samples->columns, "a sample", error) != 0) return -1;
    return check_matrix(samples->y, samples->rows, samples->targets, "a target", error);
}
