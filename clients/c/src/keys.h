/* CURVE keys and their files. */
#ifndef SL_KEYS_H
#define SL_KEYS_H

#include "names.h"

#include "streamlearn.h"

enum { KEY_BYTES = 41 }; /* 40 characters of Z85 and a NUL */

typedef struct client_keys {
    bool given;
    char server[KEY_BYTES], public_key[KEY_BYTES], secret[KEY_BYTES];
} client_keys;

/* Read the keys of a client from options, or else from the environment. */
int read_client_keys(const sl_options *options, client_keys *keys, sl_error *error);

#endif
