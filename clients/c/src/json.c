#include "json.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "streamlearn.h"

/* ----------------------------------------------------------------------------------- JSON to MessagePack */

typedef struct parser {
    const char *at, *end;
    mp_writer *to;
    const char *problem;
} parser;

static void parse_value(parser *p, int depth);

static void fail(parser *p, const char *problem) {
    if (p->problem == NULL) p->problem = problem;
}

static bool accept(parser *p, char expected) {
    while (p->at < p->end && strchr(" \t\n\r", *p->at) != NULL && *p->at != '\0') p->at++;
    if (p->at >= p->end || *p->at != expected) return false;
    p->at++;
    return true;
}

/* The number of entries or bytes is known at the end only. So space for the longest head is reserved, and the
 * content is moved behind the head in its shortest form. */
enum { HEAD = 5 };

static uint8_t *reserve_head(parser *p) {
    static const uint8_t zeros[HEAD] = {0};
    uint8_t *head = p->to->at;
    mp_write_raw(p->to, zeros, HEAD);
    return head;
}

static void close_head(parser *p, uint8_t *head, size_t count, void (*write_head)(mp_writer *, size_t)) {
    if (p->to->full || p->problem != NULL) return;
    uint8_t encoded[HEAD];
    mp_writer to = {encoded, encoded + HEAD, false};
    write_head(&to, count);
    size_t bytes = (size_t)(to.at - encoded), content = (size_t)(p->to->at - (head + HEAD));
    memmove(head + bytes, head + HEAD, content);
    memcpy(head, encoded, bytes);
    p->to->at = head + bytes + content;
}

static unsigned parse_hex(parser *p) {
    unsigned code = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = p->at < p->end && *p->at != '\0' ? strchr(digits, *p->at) : NULL;
        if (digit == NULL) {
            fail(p, "\\u needs four hexadecimal digits");
            return 0;
        }
        code = code << 4 | (unsigned)((digit - digits) % 16);
        p->at++;
    }
    return code;
}

static void write_code_point(parser *p, unsigned code) {
    uint8_t utf8[4];
    size_t bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes - 1; i > 0; i--, code >>= 6) utf8[i] = (uint8_t)(0x80 | (code & 0x3f));
    utf8[0] = (uint8_t)(leads[bytes] | code);
    mp_write_raw(p->to, utf8, bytes);
}

static void parse_escape(parser *p) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char name = p->at < p->end ? *p->at++ : '\0';
    const char *found = name == '\0' ? NULL : strchr(names, name);
    if (found != NULL) {
        mp_write_raw(p->to, &meanings[found - names], 1);
        return;
    }
    if (name != 'u') {
        fail(p, "an unknown escape in a text");
        return;
    }
    unsigned code = parse_hex(p);
    if (code >= 0xd800 && code < 0xdc00 && p->end - p->at > 2 && p->at[0] == '\\' && p->at[1] == 'u') {
        p->at += 2;
        unsigned low = parse_hex(p);
        if (low < 0xdc00 || low > 0xdfff) fail(p, "half of a surrogate pair in a text");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xd800 && code < 0xe000) {
        fail(p, "half of a surrogate pair in a text");
    }
    if (p->problem == NULL) write_code_point(p, code);
}

/* The opening quote is read. */
static void parse_text(parser *p) {
    uint8_t *head = reserve_head(p);
    uint8_t *start = p->to->at;
    while (p->problem == NULL) {
        if (p->at >= p->end) {
            fail(p, "a text without its closing quote");
            return;
        }
        char each = *p->at++;
        if (each == '"') break;
        if ((unsigned char)each < 0x20) fail(p, "a control character in a text");
        else if (each == '\\') parse_escape(p);
        else mp_write_raw(p->to, &each, 1);
    }
    if (!p->to->full) close_head(p, head, (size_t)(p->to->at - start), mp_write_text_head);
}

/* Whether `text` is a number as JSON writes it; *whole: without a fraction and an exponent. */
static bool is_number(const char *text, bool *whole) {
    *whole = true;
    if (*text == '-') text++;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || (digits > 1 && *text == '0')) return false;
    text += digits;
    if (*text == '.') {
        *whole = false;
        digits = strspn(++text, "0123456789");
        if (digits == 0) return false;
        text += digits;
    }
    if (*text == 'e' || *text == 'E') {
        *whole = false;
        text++;
        if (*text == '+' || *text == '-') text++;
        digits = strspn(text, "0123456789");
        if (digits == 0) return false;
        text += digits;
    }
    return *text == '\0';
}

static void parse_number(parser *p) {
    char text[64];
    size_t bytes = 0;
    bool whole;
    while (p->at < p->end && *p->at != '\0' && strchr("0123456789+-.eE", *p->at) != NULL &&
           bytes < sizeof text - 1) {
        text[bytes++] = *p->at++;
    }
    text[bytes] = '\0';
    if (!is_number(text, &whole)) {
        fail(p, bytes == 0 ? "a value is missing or unknown" : "not a number");
        return;
    }
    errno = 0;
    if (whole && text[0] == '-') mp_write_int(p->to, strtoll(text, NULL, 10));
    else if (whole) mp_write_uint(p->to, strtoull(text, NULL, 10));
    else {
        char *point = strchr(text, '.');
        if (point != NULL) *point = *localeconv()->decimal_point;
        double value = strtod(text, NULL);
        errno = isfinite(value) ? 0 : ERANGE;
        mp_write_double(p->to, value);
    }
    if (errno == ERANGE) fail(p, "a number that is too large");
}

static void parse_list(parser *p, int depth) {
    uint8_t *head = reserve_head(p);
    size_t count = 0;
    if (!accept(p, ']')) {
        do {
            parse_value(p, depth + 1);
            count++;
        } while (p->problem == NULL && accept(p, ','));
        if (!accept(p, ']')) fail(p, "a list needs a comma or ]");
    }
    close_head(p, head, count, mp_write_list);
}

static void parse_map(parser *p, int depth) {
    uint8_t *head = reserve_head(p);
    size_t count = 0;
    if (!accept(p, '}')) {
        do {
            if (!accept(p, '"')) {
                fail(p, "a map needs a field's name in quotes");
                break;
            }
            parse_text(p);
            if (!accept(p, ':')) fail(p, "a field needs a colon and a value");
            if (p->problem == NULL) parse_value(p, depth + 1);
            count++;
        } while (p->problem == NULL && accept(p, ','));
        if (!accept(p, '}')) fail(p, "a map needs a comma or }");
    }
    close_head(p, head, count, mp_write_map);
}

static bool accept_word(parser *p, const char *word) {
    size_t bytes = strlen(word);
    if ((size_t)(p->end - p->at) < bytes || memcmp(p->at, word, bytes) != 0) return false;
    p->at += bytes;
    return true;
}

static void parse_value(parser *p, int depth) {
    if (depth > JSON_DEPTH) fail(p, "values are nested too deep");
    else if (accept(p, '{')) parse_map(p, depth);
    else if (accept(p, '[')) parse_list(p, depth);
    else if (accept(p, '"')) parse_text(p);
    else if (accept_word(p, "null")) mp_write_nil(p->to);
    else if (accept_word(p, "true")) mp_write_bool(p->to, true);
    else if (accept_word(p, "false")) mp_write_bool(p->to, false);
    else parse_number(p);
}

const char *json_to_msgpack(const char *text, size_t bytes, mp_writer *to, size_t *at) {
    parser p = {text, text + bytes, to, NULL};
    parse_value(&p, 0);
    if (p.problem == NULL) {
        accept(&p, '\0'); /* skips the space at the end */
        if (p.at < p.end) fail(&p, "more text after the value");
    }
    *at = (size_t)(p.at - text);
    return p.problem;
}

/* ----------------------------------------------------------------------------------- MessagePack to JSON */

typedef struct printer {
    char *text;
    size_t size, bytes; /* `bytes` of the whole text, also beyond `size` */
} printer;

static void print(printer *p, const char *text, size_t bytes) {
    if (p->bytes < p->size)
        memcpy(p->text + p->bytes, text, bytes < p->size - p->bytes ? bytes : p->size - p->bytes);
    p->bytes += bytes;
}

static void print_string(printer *p, const char *text) { print(p, text, strlen(text)); }

/* Return the bytes of the UTF-8 character at `at`; 0 if it is not valid. */
static size_t utf8_bytes(const uint8_t *at, const uint8_t *end) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
    if (bytes < 2 || (size_t)(end - at) < bytes) return bytes == 1 ? 1 : 0;
    uint32_t code = *at & (0x7fU >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (at[i] & 0x3fU);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < least[bytes] || code > 0x10ffff || surrogate ? 0 : bytes;
}

static void print_text(printer *p, const uint8_t *at, size_t count) {
    const uint8_t *end = at + count;
    print_string(p, "\"");
    while (at < end) {
        size_t bytes = utf8_bytes(at, end);
        if (bytes == 0) {
            print_string(p, "\\ufffd"); /* not UTF-8 */
            bytes = 1;
        } else if (*at == '"' || *at == '\\' || *at < 0x20) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*at);
            print_string(p, escape);
        } else {
            print(p, (const char *)at, bytes);
        }
        at += bytes;
    }
    print_string(p, "\"");
}

static void print_bytes(printer *p, const uint8_t *at, size_t count) {
    print_string(p, "\"");
    for (size_t i = 0; i < count; i++) {
        char digits[3];
        snprintf(digits, sizeof digits, "%02x", (unsigned)at[i]);
        print_string(p, digits);
    }
    print_string(p, "\"");
}

static void print_double(printer *p, double value) {
    char digits[40];
    if (!isfinite(value)) {
        print_string(p, "null");
        return;
    }
    snprintf(digits, sizeof digits, "%.17g", value);
    char *comma = strchr(digits, *localeconv()->decimal_point);
    if (comma != NULL) *comma = '.';
    print_string(p, digits);
    if (strpbrk(digits, ".e") == NULL) print_string(p, ".0");
}

static void print_integer(printer *p, const mp_item *item) {
    char digits[24];
    if (item->kind == MP_INT) snprintf(digits, sizeof digits, "%lld", (long long)item->i);
    else snprintf(digits, sizeof digits, "%llu", (unsigned long long)item->u);
    print_string(p, digits);
}

/* Print the value at `at`. Return the position after it; NULL if it is not valid or nested too deep. */
static const uint8_t *print_value(printer *p, const uint8_t *at, const uint8_t *end, int depth) {
    mp_item item;
    at = mp_read(at, end, &item);
    if (at == NULL || depth > JSON_DEPTH) return NULL;
    if (item.kind == MP_NIL) print_string(p, "null");
    else if (item.kind == MP_BOOL) print_string(p, item.truth ? "true" : "false");
    else if (item.kind == MP_UINT || item.kind == MP_INT) print_integer(p, &item);
    else if (item.kind == MP_FLOAT) print_double(p, item.d);
    else if (item.kind == MP_TEXT) print_text(p, item.data, item.count);
    else if (item.kind == MP_BYTES) print_bytes(p, item.data, item.count);
    else {
        bool map = item.kind == MP_MAP;
        print_string(p, map ? "{" : "[");
        for (uint32_t i = 0; i < item.count && at != NULL; i++) {
            if (i > 0) print_string(p, ", ");
            if (map) {
                mp_item key;
                if (mp_read(at, end, &key) == NULL || (key.kind != MP_TEXT && key.kind != MP_BYTES))
                    return NULL;
                at = print_value(p, at, end, depth + 1);
                print_string(p, ": ");
            }
            at = at == NULL ? NULL : print_value(p, at, end, depth + 1);
        }
        print_string(p, map ? "}" : "]");
    }
    return at;
}

size_t sl_to_json(sl_value value, char *text, size_t size) {
    printer p = {text, size > 0 ? size - 1 : 0, 0};
    bool valid = print_value(&p, value.at, value.end, 0) != NULL;
    size_t written = !valid ? 0 : p.bytes < p.size ? p.bytes : p.size;
    if (size > 0) text[written] = '\0';
    return valid ? p.bytes : 0;
}
