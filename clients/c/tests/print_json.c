#define _POSIX_C_SOURCE 200809L
#include "print_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msgpack.h"

void put_text(const char *text) {
    uint8_t encoded[2048];
    char json[8192];
    mp_writer to = {encoded, encoded + sizeof encoded, false};
    mp_write_string(&to, text);
    sl_to_json((sl_value){encoded, to.at}, json, sizeof json);
    fputs(json, stdout);
}

/* Write an integer; beyond 2^53 as a text of digits. */
void put_integer(int64_t value) {
    bool exact = value <= INT64_C(1) << 53 && value >= -(INT64_C(1) << 53);
    printf(exact ? "%" PRId64 : "\"%" PRId64 "\"", value);
}

static void put_double(double value) {
    if (isnan(value)) fputs("null", stdout);
    else if (isinf(value)) fputs(value > 0 ? "\"inf\"" : "\"-inf\"", stdout);
    else printf("%.17g", value);
}

static void put_element(const sl_array *array, size_t i) {
    switch (array->dtype) {
    case SL_F4: put_double((double)((const float *)array->data)[i]); break;
    case SL_F8: put_double(((const double *)array->data)[i]); break;
    case SL_I4: put_integer(((const int32_t *)array->data)[i]); break;
    case SL_I8: put_integer(((const int64_t *)array->data)[i]); break;
    case SL_U4: put_integer(((const uint32_t *)array->data)[i]); break;
    case SL_U8: printf("\"%" PRIu64 "\"", ((const uint64_t *)array->data)[i]); break;
    case SL_I1: put_integer(((const int8_t *)array->data)[i]); break;
    case SL_U1: put_integer(((const uint8_t *)array->data)[i]); break;
    case SL_B1: fputs(((const uint8_t *)array->data)[i] != 0 ? "true" : "false", stdout); break;
    }
}

void put_arrays(const sl_arrays *arrays) {
    static const char *const names[] = {"<f4", "<f8", "<i4", "<i8", "<u4", "<u8", "|i1", "|u1", "|b1"};
    fputs("\"arrays\": {", stdout);
    for (size_t i = 0; i < arrays->count; i++) {
        const sl_array *array = &arrays->items[i];
        if (i > 0) fputs(", ", stdout);
        put_text(array->name);
        printf(": {\"dtype\": \"%s\", \"shape\": [", names[array->dtype]);
        for (size_t axis = 0; axis < array->axes; axis++)
            printf(axis > 0 ? ", %zu" : "%zu", array->shape[axis]);
        fputs("], \"values\": [", stdout);
        for (size_t j = 0; j < array->count; j++) {
            if (j > 0) fputs(", ", stdout);
            put_element(array, j);
        }
        fputs("]}", stdout);
    }
    fputs("}", stdout);
}

void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes + 1);
    if (memory == NULL) abort();
    return memory;
}

/* Write the fields of a map that are named, separated by spaces. */
void put_fields(sl_value map, const char *names) {
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", names);
    bool first = true;
    for (char *name; (name = strtok_r(rest, " ", &rest)) != NULL;) {
        sl_value value = sl_field(map, name);
        size_t bytes = sl_to_json(value, NULL, 0);
        if (bytes == 0) continue;
        char *json = allocate(bytes);
        int64_t integer;
        sl_to_json(value, json, bytes + 1);
        printf("%s\"%s\": ", first ? "" : ", ", name);
        if (sl_as_integer(value, &integer)) put_integer(integer);
        else fputs(json, stdout);
        first = false;
        free(json);
    }
}
