/* A reader of requests, as a daemon has one. It holds the library's MessagePack reader to the vectors of
 * valid and refused requests, and is no part of the library. */
#ifndef REQUEST_READER_H
#define REQUEST_READER_H

#include "vector_values.h"

/* Read a request. Return NULL, or the code of the error. `id` is the id as JSON; "null" if it can't be
 * read. */
const char *read_request(const vector_frames *frames, char *id, size_t size);

/* Read a request, and print its message or the code and the id of the refusal. */
void put_request(const vector_frames *frames);

#endif
