#include "msgpack.h"

#include <string.h>

/* Return the big-endian integer of 1, 2, 4 or 8 bytes. */
static uint64_t read_number(const uint8_t *at, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value = value << 8 | at[i];
    return value;
}

static void set_signed(mp_item *item, int64_t value) {
    item->kind = value < 0 ? MP_INT : MP_UINT;
    item->i = value;
    item->u = (uint64_t)value;
}

static int64_t sign_extended(uint64_t value, size_t bytes) {
    uint64_t sign = UINT64_C(1) << (8 * bytes - 1);
    uint64_t extended = (value ^ sign) - sign;
    int64_t result;
    memcpy(&result, &extended, sizeof result);
    return result;
}

/* Read the payload of a text or bytes, which follows its head. */
static const uint8_t *read_payload(const uint8_t *at, const uint8_t *end, mp_item *item, mp_kind kind,
                                   uint64_t count) {
    if ((uint64_t)(end - at) < count) return NULL;
    item->kind = kind;
    item->count = (uint32_t)count;
    item->data = at;
    return at + count;
}

/* Each entry has at least one byte, so a count above the rest of the message is not valid. */
static const uint8_t *read_head(const uint8_t *at, const uint8_t *end, mp_item *item, mp_kind kind,
                                uint64_t count) {
    uint64_t least = kind == MP_MAP ? 2 * count : count;
    if ((uint64_t)(end - at) < least) return NULL;
    item->kind = kind;
    item->count = (uint32_t)count;
    item->data = at;
    return at;
}

static const uint8_t *read_float(const uint8_t *at, mp_item *item, size_t bytes) {
    uint64_t bits = read_number(at, bytes);
    item->kind = MP_FLOAT;
    if (bytes == 4) {
        uint32_t narrow = (uint32_t)bits;
        float value;
        memcpy(&value, &narrow, sizeof value);
        item->d = (double)value;
    } else {
        memcpy(&item->d, &bits, sizeof item->d);
    }
    return at + bytes;
}

const uint8_t *mp_read(const uint8_t *at, const uint8_t *end, mp_item *item) {
    if (at == NULL || at >= end) return NULL;
    uint8_t tag = *at++;
    memset(item, 0, sizeof *item);
    if (tag < 0x80 || tag >= 0xe0) {
        set_signed(item, sign_extended(tag, 1));
        return at;
    }
    if (tag < 0x90) return read_head(at, end, item, MP_MAP, tag & 0x0f);
    if (tag < 0xa0) return read_head(at, end, item, MP_LIST, tag & 0x0f);
    if (tag < 0xc0) return read_payload(at, end, item, MP_TEXT, tag & 0x1f);
    /* Bytes of the number that follows the tags 0xc0 to 0xdf; 0: none. */
    static const uint8_t sizes[32] = {0, 0, 0, 0, 1, 2, 4, 0, 0, 0, 4, 8, 1, 2, 4, 8,
                                      1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    size_t bytes = sizes[tag - 0xc0];
    if (bytes == 0) {
        if (tag != 0xc0 && tag != 0xc2 && tag != 0xc3) return NULL;
        item->kind = tag == 0xc0 ? MP_NIL : MP_BOOL;
        item->truth = tag == 0xc3;
        return at;
    }
    if ((size_t)(end - at) < bytes) return NULL;
    if (tag == 0xca || tag == 0xcb) return read_float(at, item, bytes);
    uint64_t value = read_number(at, bytes);
    at += bytes;
    if (tag <= 0xc6) return read_payload(at, end, item, MP_BYTES, value);
    if (tag <= 0xcf) {
        item->kind = MP_UINT;
        item->u = value;
        return at;
    }
    if (tag <= 0xd3) {
        set_signed(item, sign_extended(value, bytes));
        return at;
    }
    if (tag <= 0xdb) return read_payload(at, end, item, MP_TEXT, value);
    return read_head(at, end, item, tag <= 0xdd ? MP_LIST : MP_MAP, value);
}

const uint8_t *mp_skip(const uint8_t *at, const uint8_t *end) {
    mp_item item;
    for (uint64_t left = 1; left > 0; left--) {
        at = mp_read(at, end, &item);
        if (at == NULL) return NULL;
        if (item.kind == MP_LIST) left += item.count;
        if (item.kind == MP_MAP) left += 2 * (uint64_t)item.count;
    }
    return at;
}

/* ------------------------------------------------------------------------------------------------ writer */

void mp_write_raw(mp_writer *to, const void *encoded, size_t bytes) {
    if (to->full || (size_t)(to->end - to->at) < bytes) {
        to->full = true;
        return;
    }
    if (bytes > 0) memcpy(to->at, encoded, bytes);
    to->at += bytes;
}

/* Write a tag and a big-endian integer of `bytes` bytes. */
static void write_tagged(mp_writer *to, unsigned tag, uint64_t value, size_t bytes) {
    uint8_t encoded[9];
    encoded[0] = (uint8_t)tag;
    for (size_t i = 0; i < bytes; i++) encoded[1 + i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    mp_write_raw(to, encoded, 1 + bytes);
}

void mp_write_nil(mp_writer *to) { write_tagged(to, 0xc0, 0, 0); }

void mp_write_bool(mp_writer *to, bool value) { write_tagged(to, value ? 0xc3 : 0xc2, 0, 0); }

void mp_write_uint(mp_writer *to, uint64_t value) {
    if (value < 0x80) write_tagged(to, (unsigned)value, 0, 0);
    else if (value <= UINT8_MAX) write_tagged(to, 0xcc, value, 1);
    else if (value <= UINT16_MAX) write_tagged(to, 0xcd, value, 2);
    else if (value <= UINT32_MAX) write_tagged(to, 0xce, value, 4);
    else write_tagged(to, 0xcf, value, 8);
}

void mp_write_int(mp_writer *to, int64_t value) {
    uint64_t bits = (uint64_t)value;
    if (value >= 0) mp_write_uint(to, bits);
    else if (value >= -32) write_tagged(to, (unsigned)(bits & 0xff), 0, 0);
    else if (value >= INT8_MIN) write_tagged(to, 0xd0, bits, 1);
    else if (value >= INT16_MIN) write_tagged(to, 0xd1, bits, 2);
    else if (value >= INT32_MIN) write_tagged(to, 0xd2, bits, 4);
    else write_tagged(to, 0xd3, bits, 8);
}

void mp_write_double(mp_writer *to, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    write_tagged(to, 0xcb, bits, 8);
}

void mp_write_text_head(mp_writer *to, size_t bytes) {
    if (bytes < 32) write_tagged(to, 0xa0 | (unsigned)bytes, 0, 0);
    else if (bytes <= UINT8_MAX) write_tagged(to, 0xd9, bytes, 1);
    else if (bytes <= UINT16_MAX) write_tagged(to, 0xda, bytes, 2);
    else if (bytes <= UINT32_MAX) write_tagged(to, 0xdb, bytes, 4);
    else to->full = true;
}

void mp_write_text(mp_writer *to, const char *text, size_t bytes) {
    mp_write_text_head(to, bytes);
    mp_write_raw(to, text, bytes);
}

void mp_write_string(mp_writer *to, const char *text) { mp_write_text(to, text, strlen(text)); }

void mp_write_bytes(mp_writer *to, const void *bytes, size_t count) {
    if (count <= UINT8_MAX) write_tagged(to, 0xc4, count, 1);
    else if (count <= UINT16_MAX) write_tagged(to, 0xc5, count, 2);
    else if (count <= UINT32_MAX) write_tagged(to, 0xc6, count, 4);
    else to->full = true;
    mp_write_raw(to, bytes, count);
}

void mp_write_list(mp_writer *to, size_t count) {
    if (count < 16) write_tagged(to, 0x90 | (unsigned)count, 0, 0);
    else if (count <= UINT16_MAX) write_tagged(to, 0xdc, count, 2);
    else if (count <= UINT32_MAX) write_tagged(to, 0xdd, count, 4);
    else to->full = true;
}

void mp_write_map(mp_writer *to, size_t count) {
    if (count < 16) write_tagged(to, 0x80 | (unsigned)count, 0, 0);
    else if (count <= UINT16_MAX) write_tagged(to, 0xde, count, 2);
    else if (count <= UINT32_MAX) write_tagged(to, 0xdf, count, 4);
    else to->full = true;
}
