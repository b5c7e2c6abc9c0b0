/* Encoders of requests. They write into caller-owned memory and do not allocate. */
#ifndef SL_FRAMES_H
#define SL_FRAMES_H

#include "msgpack.h"
#include "streamlearn.h"

enum { SAMPLE_ARRAYS = 5 }; /* x, y, keys, ids, times */

/* Any request but learn. Absent parts are NULL and 0. */
typedef struct request_header {
    sl_value id; /* encoded */
    const char *op, *model;
    sl_value fields;      /* a map: the other fields of the operation */
    const char *producer; /* of a change that is executed once: it is number 0 of this epoch */
    uint64_t epoch;
    const char *const *channels;
    size_t channel_count;
    sl_arrays arrays; /* `name` is the field */
} request_header;

typedef struct learn_header {
    sl_value id;
    const char *model, *ack;
    const char *producer; /* NULL: not numbered */
    uint64_t epoch, seq;
    const char *const *channels, *const *key_names;
    size_t channel_count, key_name_count;
    sl_arrays arrays;
} learn_header;

void write_request(mp_writer *to, const request_header *request);
void write_learn(mp_writer *to, const learn_header *learn);

/* Describe the arrays that samples have, in the order of their frames. Return their number. */
size_t arrays_of(const sl_samples *samples, sl_array arrays[SAMPLE_ARRAYS]);

/* Number of bytes of an array. */
size_t array_bytes(const sl_array *array);

/* Return an error if samples have no rows, too many values, an infinity, or neither x nor y and ids. */
int check_samples(const sl_samples *samples, sl_error *error);

#endif
