/* Fills an sl_error. */
#ifndef SL_ERRORS_H
#define SL_ERRORS_H

#include "names.h"

#include "streamlearn.h"

#if defined(__GNUC__)
#define SL_FORMAT(text, first) __attribute__((format(printf, text, first)))
#else
#define SL_FORMAT(text, first)
#endif

/* Fill *error, unless it is NULL. Return -1. */
int set_error(sl_error *error, const char *code, const char *format, ...) SL_FORMAT(3, 4);

/* Fill *error from the `error` map of a reply. Return -1. */
int set_refusal(sl_error *error, sl_value refusal);

/* Set `detail` to a map with one integer. */
void set_detail(sl_error *error, const char *field, uint64_t value);

void clear_error(sl_error *error);

#endif
