#include "vector_values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "print_json.h"

char *string_of(sl_value value) {
    size_t bytes = 0;
    const char *text = sl_as_text(value, &bytes);
    if (text == NULL) return NULL;
    char *copy = allocate(bytes);
    memcpy(copy, text, bytes);
    return copy;
}

/* Write the bytes of hexadecimal digits. Return their number. */
static size_t from_hex(const char *digits, uint8_t *data) {
    size_t count = strlen(digits) / 2;
    for (size_t i = 0; i < count; i++) {
        char pair[3] = {digits[2 * i], digits[2 * i + 1], '\0'};
        data[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return count;
}

void read_frames(sl_value list, vector_frames *frames) {
    memset(frames, 0, sizeof *frames);
    for (; frames->count < sl_count(list) && frames->count < VECTOR_FRAMES; frames->count++) {
        char *digits = string_of(sl_item(list, frames->count));
        frames->data[frames->count] = allocate(strlen(digits) / 2);
        frames->bytes[frames->count] = from_hex(digits, frames->data[frames->count]);
        free(digits);
    }
}

void free_frames(vector_frames *frames) {
    for (size_t i = 0; i < frames->count; i++) free(frames->data[i]);
}

void put_hex(const uint8_t *data, size_t bytes) {
    fputs("\"", stdout);
    for (size_t i = 0; i < bytes; i++) printf("%02x", (unsigned)data[i]);
    fputs("\"", stdout);
}

int64_t integer_of(sl_value value) {
    int64_t number = 0;
    char *text = string_of(value);
    if (text != NULL) number = strtoll(text, NULL, 10);
    else sl_as_integer(value, &number);
    free(text);
    return number;
}

void write_integer(mp_writer *to, sl_value value) { mp_write_int(to, integer_of(value)); }

sl_value encode_vector_id(sl_value id, uint8_t *encoded, size_t size) {
    mp_writer to = {encoded, encoded + size, false};
    char *text = string_of(id), *digits = string_of(sl_field(id, "bytes"));
    uint8_t bytes[64];
    if (digits != NULL) mp_write_bytes(&to, bytes, from_hex(digits, bytes));
    else if (text != NULL && *text != '-' && text[strspn(text, "0123456789")] == '\0') {
        mp_write_uint(&to, strtoull(text, NULL, 10));
    } else mp_write_raw(&to, id.at, (size_t)(id.end - id.at));
    free(text);
    free(digits);
    return (sl_value){encoded, to.at};
}

/* Read rows of float32, a list of int64, or of bytes. */
static void *read_values(sl_value list, sl_array *array) {
    size_t rows = sl_count(list), columns = array->dtype == SL_F4 ? sl_count(sl_item(list, 0)) : 1;
    array->shape[0] = rows;
    array->shape[1] = columns;
    array->axes = array->dtype == SL_F4 ? 2 : 1;
    array->count = rows * columns;
    void *memory = allocate(8 * array->count);
    for (size_t i = 0; i < array->count; i++) {
        sl_value row = sl_item(list, i / columns);
        double value = NAN;
        if (array->dtype == SL_F4) {
            sl_as_double(sl_item(row, i % columns), &value);
            ((float *)memory)[i] = (float)value;
        } else if (array->dtype == SL_I8) ((int64_t *)memory)[i] = integer_of(row);
        else ((uint8_t *)memory)[i] = (uint8_t)integer_of(row);
    }
    return memory;
}

void read_message_arrays(sl_value message, message_arrays *arrays) {
    static const struct {
        const char *name;
        sl_dtype dtype;
    } fields[] = {{"x", SL_F4},   {"y", SL_F4},     {"keys", SL_I8},
                  {"ids", SL_I8}, {"times", SL_I8}, {"content", SL_U1}};
    memset(arrays, 0, sizeof *arrays);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        sl_value list = sl_field(message, fields[i].name);
        if (sl_type_of(list) != SL_LIST) continue;
        sl_array *array = &arrays->items[arrays->list.count++];
        array->name = fields[i].name;
        array->dtype = fields[i].dtype;
        array->data = read_values(list, array);
    }
    arrays->list.items = arrays->items;
}

void free_message_arrays(message_arrays *arrays) {
    for (size_t i = 0; i < arrays->list.count; i++) free((void *)(uintptr_t)arrays->items[i].data);
}
