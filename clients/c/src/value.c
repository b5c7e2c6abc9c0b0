/* Views of the values and arrays in replies and events. */
#include <stdint.h>
#include <string.h>

#include "msgpack.h"
#include "streamlearn.h"

static const sl_value nothing = {NULL, NULL};

/* Return the value at `at` with its exact end; nothing if it is not valid. */
static sl_value value_at(const uint8_t *at, const uint8_t *end) {
    const uint8_t *after = mp_skip(at, end);
    return after == NULL ? nothing : (sl_value){at, after};
}

static bool read_value(sl_value value, mp_item *item) { return mp_read(value.at, value.end, item) != NULL; }

sl_type sl_type_of(sl_value value) {
    static const sl_type types[] = {
        [MP_NIL] = SL_NIL,     [MP_BOOL] = SL_BOOL,   [MP_UINT] = SL_INTEGER,
        [MP_INT] = SL_INTEGER, [MP_FLOAT] = SL_FLOAT, [MP_TEXT] = SL_TEXT,
        [MP_BYTES] = SL_BYTES, [MP_LIST] = SL_LIST,   [MP_MAP] = SL_MAP,
    };
    mp_item item;
    return read_value(value, &item) ? types[item.kind] : SL_NOTHING;
}

size_t sl_count(sl_value value) {
    mp_item item;
    return read_value(value, &item) ? item.count : 0;
}

sl_value sl_field(sl_value map, const char *name) {
    mp_item item, key;
    size_t bytes = strlen(name);
    if (!read_value(map, &item) || item.kind != MP_MAP) return nothing;
    const uint8_t *at = item.data;
    for (uint32_t i = 0; i < item.count; i++) {
        const uint8_t *value = mp_skip(at, map.end);
        if (value == NULL || mp_read(at, map.end, &key) == NULL) return nothing;
        if (key.kind == MP_TEXT && key.count == bytes && memcmp(key.data, name, bytes) == 0) {
            return value_at(value, map.end);
        }
        at = mp_skip(value, map.end);
    }
    return nothing;
}

sl_value sl_item(sl_value list, size_t index) {
    mp_item item;
    if (!read_value(list, &item) || item.kind != MP_LIST || index >= item.count) return nothing;
    const uint8_t *at = item.data;
    for (size_t i = 0; i < index && at != NULL; i++) at = mp_skip(at, list.end);
    return value_at(at, list.end);
}

void sl_entry(sl_value map, size_t index, sl_value *key, sl_value *value) {
    mp_item item;
    *key = *value = nothing;
    if (!read_value(map, &item) || item.kind != MP_MAP || index >= item.count) return;
    const uint8_t *at = item.data;
    for (size_t i = 0; i < 2 * index && at != NULL; i++) at = mp_skip(at, map.end);
    *key = value_at(at, map.end);
    *value = value_at(key->end, map.end);
}

bool sl_as_integer(sl_value value, int64_t *out) {
    mp_item item;
    if (!read_value(value, &item)) return false;
    if (item.kind == MP_UINT && item.u <= INT64_MAX) *out = (int64_t)item.u;
    else if (item.kind == MP_INT) *out = item.i;
    else return false;
    return true;
}

bool sl_as_double(sl_value value, double *out) {
    mp_item item;
    if (!read_value(value, &item)) return false;
    if (item.kind == MP_FLOAT) *out = item.d;
    else if (item.kind == MP_UINT) *out = (double)item.u;
    else if (item.kind == MP_INT) *out = (double)item.i;
    else return false;
    return true;
}

bool sl_as_bool(sl_value value, bool *out) {
    mp_item item;
    if (!read_value(value, &item) || item.kind != MP_BOOL) return false;
    *out = item.truth;
    return true;
}

const char *sl_as_text(sl_value value, size_t *bytes) {
    mp_item item;
    if (!read_value(value, &item) || item.kind != MP_TEXT) return NULL;
    *bytes = item.count;
    return (const char *)item.data;
}

/* ------------------------------------------------------------------------------------------------ arrays */

const sl_array *sl_find(const sl_arrays *arrays, const char *name) {
    for (size_t i = 0; i < arrays->count; i++) {
        if (strcmp(arrays->items[i].name, name) == 0) return &arrays->items[i];
    }
    return NULL;
}

static const void *find_typed(const sl_arrays *arrays, const char *name, sl_dtype dtype, size_t *count) {
    const sl_array *array = sl_find(arrays, name);
    if (array == NULL || array->dtype != dtype) return NULL;
    if (count != NULL) *count = array->count;
    return array->data;
}

const float *sl_floats(const sl_arrays *arrays, const char *name, size_t *count) {
    return find_typed(arrays, name, SL_F4, count);
}

const int32_t *sl_int32s(const sl_arrays *arrays, const char *name, size_t *count) {
    return find_typed(arrays, name, SL_I4, count);
}

const int64_t *sl_int64s(const sl_arrays *arrays, const char *name, size_t *count) {
    return find_typed(arrays, name, SL_I8, count);
}
