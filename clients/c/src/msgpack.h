/* A bounded reader and writer of MessagePack. The reader is total: it accepts any bytes and never reads
 * outside of [at, end). Extension types are refused; the protocol has none. */
#ifndef SL_MSGPACK_H
#define SL_MSGPACK_H

#include "names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mp_kind {
    MP_NIL,
    MP_BOOL,
    MP_UINT,
    MP_INT, /* a negative integer */
    MP_FLOAT,
    MP_TEXT,
    MP_BYTES,
    MP_LIST,
    MP_MAP
} mp_kind;

typedef struct mp_item {
    mp_kind kind;
    bool truth;
    uint64_t u;          /* of MP_UINT */
    int64_t i;           /* of MP_INT */
    double d;            /* of MP_FLOAT */
    uint32_t count;      /* bytes of a text or bytes, entries of a list or map */
    const uint8_t *data; /* the bytes, or the first entry */
} mp_item;

/* Read the item at `at`: a whole scalar, text or bytes, or the head of a list or map. Return the position
 * after it; NULL if it is cut off or not MessagePack. */
const uint8_t *mp_read(const uint8_t *at, const uint8_t *end, mp_item *item);

/* Return the position after the whole value at `at`; NULL if it is not valid. */
const uint8_t *mp_skip(const uint8_t *at, const uint8_t *end);

/* Writes into caller-owned memory. After an overflow `full` is true, and nothing more is written. */
typedef struct mp_writer {
    uint8_t *at, *end;
    bool full;
} mp_writer;

void mp_write_nil(mp_writer *to);
void mp_write_bool(mp_writer *to, bool value);
void mp_write_uint(mp_writer *to, uint64_t value);
void mp_write_int(mp_writer *to, int64_t value);
void mp_write_double(mp_writer *to, double value);
void mp_write_text(mp_writer *to, const char *text, size_t bytes);
void mp_write_text_head(mp_writer *to, size_t bytes);  /* the bytes follow */
void mp_write_string(mp_writer *to, const char *text); /* that ends with a NUL */
void mp_write_bytes(mp_writer *to, const void *bytes, size_t count);
void mp_write_list(mp_writer *to, size_t count); /* the entries follow */
void mp_write_map(mp_writer *to, size_t count);  /* the keys and values follow */
void mp_write_raw(mp_writer *to, const void *encoded, size_t bytes);

#endif
