/* The values of golden vectors (clients/vectors/README.md): frames in hexadecimal digits, large integers as
 * texts. */
#ifndef VECTOR_VALUES_H
#define VECTOR_VALUES_H

#include "msgpack.h"
#include "streamlearn.h"

enum { VECTOR_FRAMES = 32 };

typedef struct vector_frames {
    size_t count, bytes[VECTOR_FRAMES];
    uint8_t *data[VECTOR_FRAMES];
} vector_frames;

void read_frames(sl_value list, vector_frames *frames);
void free_frames(vector_frames *frames);
void put_hex(const uint8_t *data, size_t bytes);

/* Return a text that the caller frees; NULL if the value is none. */
char *string_of(sl_value value);

/* Return an integer, which may be a text of digits; 0 if the value is none. */
int64_t integer_of(sl_value value);
void write_integer(mp_writer *to, sl_value value);

/* Encode the id of a message. */
sl_value encode_vector_id(sl_value id, uint8_t *encoded, size_t size);

/* The arrays of a request's message, in the order of their frames. */
typedef struct message_arrays {
    sl_array items[8];
    sl_arrays list;
} message_arrays;

void read_message_arrays(sl_value message, message_arrays *arrays);
void free_message_arrays(message_arrays *arrays);

#endif
