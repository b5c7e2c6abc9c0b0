#include "errors.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json.h"

void clear_error(sl_error *error) {
    if (error == NULL) return;
    memset(error, 0, sizeof *error);
    snprintf(error->detail, sizeof error->detail, "{}");
}

int set_error(sl_error *error, const char *code, const char *format, ...) {
    if (error == NULL) return -1;
    clear_error(error);
    snprintf(error->code, sizeof error->code, "%s", code);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return -1;
}

/* Copy a text; cut it off before a character that does not fit. */
static void copy_text(char *to, size_t size, sl_value text) {
    size_t bytes = 0;
    const char *from = sl_as_text(text, &bytes);
    if (from == NULL) bytes = 0;
    if (bytes >= size) {
        bytes = size - 1;
        while (bytes > 0 && ((unsigned char)from[bytes] & 0xc0) == 0x80) bytes--;
    }
    if (bytes > 0) memcpy(to, from, bytes);
    to[bytes] = '\0';
}

static bool is_known(const char *code) {
    static const char *const codes[] = {"BAD_MESSAGE",
                                        "TOO_LARGE",
                                        "UNSUPPORTED_VERSION",
                                        "UNKNOWN_OP",
                                        "UNKNOWN_MODEL",
                                        "MODEL_EXISTS",
                                        "BAD_NAME",
                                        "BAD_SPEC",
                                        "BAD_SHAPE",
                                        "BAD_DTYPE",
                                        "BAD_VALUE",
                                        "GAP",
                                        "FENCED",
                                        "CONFLICT",
                                        "UNKNOWN_PRODUCER",
                                        "FORBIDDEN",
                                        "QUARANTINED",
                                        "BUSY",
                                        "DISK_FULL",
                                        "SHUTTING_DOWN",
                                        "NO_CHECKPOINT",
                                        "CHECKPOINT_EXISTS",
                                        "BAD_CHECKPOINT",
                                        "UNKNOWN_TRANSFER",
                                        "INTERNAL"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(code, codes[i]) == 0) return true;
    }
    return false;
}

int set_refusal(sl_error *error, sl_value refusal) {
    if (error == NULL) return -1;
    clear_error(error);
    copy_text(error->code, sizeof error->code, sl_field(refusal, "code"));
    copy_text(error->message, sizeof error->message, sl_field(refusal, "message"));
    sl_as_bool(sl_field(refusal, "retryable"), &error->retryable);
    if (!is_known(error->code)) {
        memcpy(error->cause, error->code, sizeof error->cause);
        snprintf(error->code, sizeof error->code, "UNRECOGNISED");
    }
    sl_value detail = sl_field(refusal, "detail");
    if (sl_type_of(detail) == SL_MAP &&
        sl_to_json(detail, error->detail, sizeof error->detail) >= sizeof error->detail) {
        snprintf(error->detail, sizeof error->detail, "{}");
    }
    return -1;
}

void set_detail(sl_error *error, const char *field, uint64_t value) {
    if (error != NULL) snprintf(error->detail, sizeof error->detail, "{\"%s\": %" PRIu64 "}", field, value);
}

bool sl_error_integer(const sl_error *error, const char *field, int64_t *value) {
    uint8_t encoded[sizeof error->detail + 8];
    mp_writer to = {encoded, encoded + sizeof encoded, false};
    size_t at;
    if (json_to_msgpack(error->detail, strlen(error->detail), &to, &at) != NULL || to.full) return false;
    return sl_as_integer(sl_field((sl_value){encoded, to.at}, field), value);
}
