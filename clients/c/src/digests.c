#include "digests.h"

#include <stdio.h>
#include <string.h>

#include "streamlearn.h"

/* ------------------------------------------------------------------------------------ BLAKE2b (RFC 7693) */

static uint64_t rotated64(uint64_t value, unsigned by) { return value >> by | value << (64 - by); }

static const uint64_t blake2b_start[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b),
    UINT64_C(0xa54ff53a5f1d36f1), UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
    UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

static void blake2b_mix(uint64_t v[16], const uint8_t at[4], uint64_t x, uint64_t y) {
    uint64_t *a = &v[at[0]], *b = &v[at[1]], *c = &v[at[2]], *d = &v[at[3]];
    *a += *b + x;
    *d = rotated64(*d ^ *a, 32);
    *c += *d;
    *b = rotated64(*b ^ *c, 24);
    *a += *b + y;
    *d = rotated64(*d ^ *a, 16);
    *c += *d;
    *b = rotated64(*b ^ *c, 63);
}

static void blake2b_compress(uint64_t state[8], const uint8_t block[128], uint64_t total, int last) {
    static const uint8_t order[10][16] = {
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
        {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
        {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
        {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
        {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    };
    static const uint8_t columns[8][4] = {{0, 4, 8, 12},  {1, 5, 9, 13},  {2, 6, 10, 14}, {3, 7, 11, 15},
                                          {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13},  {3, 4, 9, 14}};
    uint64_t v[16], m[16];
    for (size_t i = 0; i < 16; i++) {
        m[i] = 0;
        for (size_t byte = 8; byte-- > 0;) m[i] = m[i] << 8 | block[8 * i + byte];
    }
    memcpy(v, state, 64);
    memcpy(v + 8, blake2b_start, 64);
    v[12] ^= total;
    if (last) v[14] = ~v[14];
    for (size_t round = 0; round < 12; round++) {
        const uint8_t *of = order[round % 10];
        for (size_t i = 0; i < 8; i++) blake2b_mix(v, columns[i], m[of[2 * i]], m[of[2 * i + 1]]);
    }
    for (size_t i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
}

uint64_t blake2b_64(const void *message, size_t bytes) {
    const uint8_t *at = message;
    uint64_t state[8], total = 0;
    uint8_t block[128];
    memcpy(state, blake2b_start, sizeof state);
    state[0] ^= UINT64_C(0x01010000) ^ 8; /* one leaf, no key, 8 bytes */
    for (; bytes > 128; bytes -= 128, at += 128) {
        total += 128;
        blake2b_compress(state, at, total, 0);
    }
    memset(block, 0, sizeof block);
    if (bytes > 0) memcpy(block, at, bytes);
    blake2b_compress(state, block, total + bytes, 1);
    return state[0];
}

int64_t sl_identifier(const char *text) {
    uint64_t digest = blake2b_64(text, strlen(text));
    int64_t identifier;
    memcpy(&identifier, &digest, sizeof identifier);
    return identifier;
}

/* ---------------------------------------------------------------------------------- SHA-256 (FIPS 180-4) */

static uint32_t rotated32(uint32_t value, unsigned by) { return value >> by | value << (32 - by); }

static void sha256_compress(uint32_t state[8], const uint8_t block[64]) {
    static const uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };
    uint32_t w[64], v[8];
    for (size_t i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (size_t i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        uint32_t s0 = rotated32(a, 7) ^ rotated32(a, 18) ^ a >> 3,
                 s1 = rotated32(b, 17) ^ rotated32(b, 19) ^ b >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, state, sizeof v);
    for (size_t i = 0; i < 64; i++) {
        uint32_t s1 = rotated32(v[4], 6) ^ rotated32(v[4], 11) ^ rotated32(v[4], 25);
        uint32_t chosen = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t s0 = rotated32(v[0], 2) ^ rotated32(v[0], 13) ^ rotated32(v[0], 22);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t first = v[7] + s1 + chosen + constants[i] + w[i], second = s0 + majority;
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += first;
        v[0] = first + second;
    }
    for (size_t i = 0; i < 8; i++) state[i] += v[i];
}

void sha256_begin(sha256 *digest) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(digest->state, start, sizeof start);
    digest->bytes = 0;
}

void sha256_add(sha256 *digest, const void *message, size_t bytes) {
    const uint8_t *at = message;
    for (size_t i = 0; i < bytes; i++) {
        digest->block[digest->bytes++ % 64] = at[i];
        if (digest->bytes % 64 == 0) sha256_compress(digest->state, digest->block);
    }
}

void sha256_end(sha256 *digest, char hexadecimal[65]) {
    uint64_t bits = 8 * digest->bytes;
    sha256_add(digest, "\x80", 1);
    while (digest->bytes % 64 != 56) sha256_add(digest, "", 1);
    for (unsigned shift = 64; shift > 0;) {
        shift -= 8;
        uint8_t byte = (uint8_t)(bits >> shift);
        sha256_add(digest, &byte, 1);
    }
    for (size_t i = 0; i < 8; i++) snprintf(hexadecimal + 8 * i, 9, "%08x", (unsigned)digest->state[i]);
}
