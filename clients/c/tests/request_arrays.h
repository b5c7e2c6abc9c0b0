/* The arrays of a request: frames that its fields describe, or numbers in the header. */
#ifndef REQUEST_ARRAYS_H
#define REQUEST_ARRAYS_H

#include "vector_values.h"

/* Samples or targets (float32), or identifiers, times or bytes (int64). */
typedef struct request_array {
    size_t rows, columns;
    float *floats;
    int64_t *integers;
} request_array;

typedef struct frame_reader {
    const vector_frames *frames;
    size_t next;
} frame_reader;

void free_array(request_array *array);

/* These read one field. They return NULL, or the code of the error. `rows`: the number of samples that
 * targets, identifiers and times must have. */
const char *read_samples(frame_reader *reader, sl_value value, request_array *array);
const char *read_targets(frame_reader *reader, sl_value value, size_t rows, request_array *array);
const char *read_identifiers(frame_reader *reader, sl_value value, size_t rows, request_array *array);
const char *read_times(frame_reader *reader, sl_value value, size_t rows, request_array *array);
const char *read_content(frame_reader *reader, sl_value value, request_array *array);

/* Read one integer or text as an identifier. */
const char *read_identifier(sl_value value, int64_t *number);

/* Return how many identifiers a field has, before they are read. */
size_t identifier_count(sl_value value);

#endif
