/* The two digests of the protocol: BLAKE2b of 8 bytes (numbers of texts) and SHA-256 (files of models). */
#ifndef SL_DIGESTS_H
#define SL_DIGESTS_H

#include "names.h"

#include <stddef.h>
#include <stdint.h>

/* Return the BLAKE2b digest of 8 bytes (RFC 7693, without a key), as a little-endian integer. */
uint64_t blake2b_64(const void *message, size_t bytes);

typedef struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} sha256;

void sha256_begin(sha256 *digest);
void sha256_add(sha256 *digest, const void *message, size_t bytes);
void sha256_end(sha256 *digest, char hexadecimal[65]);

#endif
