/* Writes values and arrays to standard output as JSON, in the form of the golden vectors
 * (clients/vectors). */
#ifndef PRINT_JSON_H
#define PRINT_JSON_H

#include "streamlearn.h"

void put_text(const char *text);

/* Write an integer; beyond 2^53 as a text of digits. */
void put_integer(int64_t value);

/* Write the field `arrays`: a map of `{dtype, shape, values}` by name. */
void put_arrays(const sl_arrays *arrays);

/* Write the fields of a map that are named, separated by spaces. */
void put_fields(sl_value map, const char *names);

/* Return memory of zeros, with one byte more; the program ends if there is none. */
void *allocate(size_t bytes);

#endif
