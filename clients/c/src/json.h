/* JSON text to MessagePack, for specs and fields that a caller writes. */
#ifndef SL_JSON_H
#define SL_JSON_H

#include <stdbool.h>

#include "msgpack.h"

enum { JSON_DEPTH = 32 }; /* levels of nesting that are read and written */

/* Write the JSON value in the `bytes` of `text` as MessagePack. Return NULL, or what is wrong: `*at` is then
 * the offset of the byte in `text`. An overflow of the writer is not an error here; see `to->full`. */
const char *json_to_msgpack(const char *text, size_t bytes, mp_writer *to, size_t *at);

#endif
