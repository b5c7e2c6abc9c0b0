#include "request_reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inbox.h"
#include "print_json.h"
#include "request_arrays.h"

enum { MOST_FRAMES = 6, LEARN_HEADER = 4096, CONTROL_HEADER = 1 << 20, ARRAYS = 6, MAX_TEXTS = 64 };
enum { WIDEST_WINDOW = 1024 };

/* The fields of each operation. Types: s text, i integer, f number, m map, b bool, l list of texts, a array,
 * k key.
 * `!`: the field is required. */
static const struct {
    const char *name, *fields;
} operations[] = {
    {"hello", "cumulative_acks:b"},
    {"create", "model:s! kind:s! spec:m state:s parameters:s sha256:s"},
    {"upload", "model:s! upload:s! bytes:i! offset:i content:a!"},
    {"export", "model:s! export:s offset:i"},
    {"clone", "model:s! into:s!"},
    {"delete", "model:s!"},
    {"models", "after:s"},
    {"describe", "model:s!"},
    {"learn",
     "model:s x:a y:a keys:a ids:a times:a channels:l key_names:l producer:s epoch:i seq:i ack:s window:i"},
    {"predict", "model:s! x:a! keys:a times:a channels:l"},
    {"explain", "model:s! x:a! y:a keys:a times:a channels:l"},
    {"forecast", "model:s! steps:i! key:k times:a"},
    {"sample", "model:s! n:i! temperature:f seed:i key:k"},
    {"read", "model:s! what:l!"},
    {"reheat", "model:s! heat:f producer:s epoch:i seq:i"},
    {"pause", "model:s! producer:s epoch:i seq:i"},
    {"resume", "model:s! producer:s epoch:i seq:i"},
    {"feedback", "model:s! x:a channels:l sample:i verdict:s! name:s producer:s epoch:i seq:i"},
    {"label", "model:s! label:s unit:i x:a channels:l key:k producer:s epoch:i seq:i"},
    {"checkpoint", "model:s! name:s"},
    {"unpin", "model:s! name:s!"},
    {"checkpoints", "model:s!"},
    {"restore", "model:s! lsn:i name:s into:s producer:s epoch:i seq:i"},
    {"backup", "directory:s!"},
    {"stats", "model:s after:s"},
    {"position", "model:s! producer:s!"},
};

static const char *const array_names[ARRAYS] = {"x", "y", "keys", "ids", "times", "content"};
enum array_index { X, Y, KEYS, IDS, TIMES, CONTENT };

typedef struct request {
    sl_value header, id;
    const char *fields; /* of its operation */
    frame_reader reader;
    request_array arrays[ARRAYS];
    bool has[ARRAYS];
    bool has_key;
    int64_t key;
} request;

/* A field that is nil counts as absent. */
static sl_value get(const request *of, const char *name) {
    sl_value value = sl_field(of->header, name);
    return sl_type_of(value) == SL_NIL ? (sl_value){NULL, NULL} : value;
}

static bool has(const request *of, const char *name) { return get(of, name).at != NULL; }

static bool is_text(sl_value value, const char *text) {
    size_t bytes = 0;
    const char *found = sl_as_text(value, &bytes);
    return found != NULL && bytes == strlen(text) && memcmp(found, text, bytes) == 0;
}

/* -------------------------------------------------------------------------------------- header and names */

static bool is_id(sl_value id) {
    sl_type type = sl_type_of(id);
    if (type == SL_TEXT || type == SL_BYTES) return sl_count(id) <= 64;
    return type == SL_NOTHING || type == SL_NIL || type == SL_INTEGER;
}

/* Return the id of a header that may be damaged after it. */
static sl_value peek_id(const vector_frames *frames) {
    static const sl_value nothing = {NULL, NULL};
    if (frames->count == 0) return nothing;
    const uint8_t *end = frames->data[0] + frames->bytes[0], *at = frames->data[0];
    if (at == end) return nothing;
    /* The damage may be a count of entries that the rest of the header does not have: read the entries one by
     * one. */
    at += (*at & 0xf0) == 0x80 ? 1 : *at == 0xde ? 3 : *at == 0xdf ? 5 : end - at;
    while (at != NULL && at < end) {
        mp_item key;
        const uint8_t *value = mp_skip(at, end);
        if (value == NULL || mp_read(at, end, &key) == NULL) return nothing;
        const uint8_t *after = mp_skip(value, end);
        if (after == NULL) return nothing;
        sl_value found = {value, after};
        if (is_text((sl_value){at, value}, "id")) return is_id(found) ? found : nothing;
        at = after;
    }
    return nothing;
}

/* Whether the keys of the map are texts or bytes. */
static bool has_names(sl_value map) {
    for (size_t i = 0; i < sl_count(map); i++) {
        sl_value key, value;
        sl_entry(map, i, &key, &value);
        if (sl_type_of(key) != SL_TEXT && sl_type_of(key) != SL_BYTES) return false;
    }
    return true;
}

static const char *check_model_name(sl_value value) {
    size_t bytes = 0;
    const char *text = sl_as_text(value, &bytes);
    return text != NULL && is_model_name(text, bytes) ? NULL : "BAD_NAME";
}

static const char *check_producer(sl_value value) {
    size_t bytes = 0;
    const char *text = sl_as_text(value, &bytes);
    if (text == NULL || bytes < 1 || bytes > 64) return "BAD_NAME";
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return "BAD_NAME";
    }
    return NULL;
}

static const char *check_texts(sl_value list) {
    if (sl_type_of(list) != SL_LIST || sl_count(list) == 0) return "BAD_MESSAGE";
    for (size_t i = 0; i < sl_count(list); i++) {
        if (sl_type_of(sl_item(list, i)) != SL_TEXT) return "BAD_MESSAGE";
    }
    return NULL;
}

static const char *check_number(sl_value value) {
    int64_t number;
    return sl_as_integer(value, &number) && number >= 0 ? NULL : "BAD_VALUE";
}

/* -------------------------------------------------------------------------------------------- operations */

/* Read the next field of a list of fields: its name, type and whether it is required. */
static bool next_field(const char **fields, char name[32], char *type, bool *required) {
    size_t bytes = strcspn(*fields, ":");
    if (bytes == 0 || bytes >= 32) return false;
    memcpy(name, *fields, bytes);
    name[bytes] = '\0';
    *type = (*fields)[bytes + 1];
    *fields += bytes + 2;
    *required = **fields == '!';
    *fields += *required;
    *fields += **fields == ' ';
    return true;
}

/* Every field is known, and every required field is there. */
static const char *check_fields(const request *of) {
    char name[32], type;
    bool required;
    for (size_t i = 0; i < sl_count(of->header); i++) {
        sl_value key, value;
        sl_entry(of->header, i, &key, &value);
        const char *fields = of->fields;
        bool known = is_text(key, "v") || is_text(key, "id") || is_text(key, "op");
        while (!known && next_field(&fields, name, &type, &required)) known = is_text(key, name);
        if (!known) return "BAD_MESSAGE";
    }
    for (const char *fields = of->fields; next_field(&fields, name, &type, &required);) {
        if (required && !has(of, name)) return "BAD_MESSAGE";
    }
    return NULL;
}

static const char *read_array_field(request *of, enum array_index index, size_t rows) {
    sl_value value = get(of, array_names[index]);
    request_array *to = &of->arrays[index];
    if (value.at == NULL) return NULL;
    of->has[index] = true;
    switch (index) {
    case X: return read_samples(&of->reader, value, to);
    case Y: return read_targets(&of->reader, value, rows, to);
    case TIMES: return read_times(&of->reader, value, rows, to);
    case CONTENT: return read_content(&of->reader, value, to);
    default: return read_identifiers(&of->reader, value, rows, to);
    }
}

/* Read the arrays of samples, from `first` on. */
static const char *read_arrays(request *of, enum array_index first, size_t rows) {
    for (enum array_index index = first; index <= TIMES; index++) {
        const char *code = read_array_field(of, index, rows);
        if (code != NULL) return code;
        if (index == X && of->has[X]) rows = of->arrays[X].rows;
    }
    return NULL;
}

static const char *check_learn_numbers(const request *of) {
    if (!has(of, "producer")) return NULL;
    if (!has(of, "epoch") || !has(of, "seq")) return "BAD_MESSAGE";
    const char *code = check_producer(get(of, "producer"));
    if (code == NULL) code = check_number(get(of, "epoch"));
    if (code == NULL) code = check_number(get(of, "seq"));
    if (code != NULL || !has(of, "window")) return code;
    int64_t window;
    bool fits = sl_as_integer(get(of, "window"), &window) && window >= 0 && window <= WIDEST_WINDOW;
    return fits ? NULL : "BAD_VALUE";
}

static const char *read_learn(request *of, size_t header_bytes) {
    sl_value ack = get(of, "ack");
    if (header_bytes > LEARN_HEADER) return "TOO_LARGE";
    const char *code = check_fields(of);
    if (code == NULL) code = check_model_name(get(of, "model"));
    if (code != NULL) return code;
    bool known = ack.at == NULL || is_text(ack, "none") || is_text(ack, "received") ||
                 is_text(ack, "written") || is_text(ack, "durable");
    if (!known) return "BAD_VALUE";
    code = check_learn_numbers(of);
    if (code != NULL) return code;
    bool late = !has(of, "x");
    if (late && (!has(of, "y") || !has(of, "ids"))) return "BAD_MESSAGE";
    size_t rows = late ? identifier_count(get(of, "ids")) : 0;
    if (late && (has(of, "times") || has(of, "channels"))) return "BAD_MESSAGE";
    code = read_arrays(of, late ? Y : X, rows);
    if (code == NULL && has(of, "channels")) code = check_texts(get(of, "channels"));
    if (code != NULL || !has(of, "key_names")) return code;
    return has(of, "keys") ? check_texts(get(of, "key_names")) : "BAD_MESSAGE";
}

static const char *check_field(request *of, const char *name, char type) {
    static const sl_type types[] = {['s'] = SL_TEXT, ['i'] = SL_INTEGER, ['m'] = SL_MAP, ['b'] = SL_BOOL};
    sl_value value = get(of, name);
    if (value.at == NULL || type == 'a') return NULL;
    if (strcmp(name, "model") == 0) return check_model_name(value);
    if (strcmp(name, "producer") == 0) return check_producer(value);
    if (type == 'l') return check_texts(value);
    if (type == 'k') {
        of->has_key = true;
        const char *code = read_identifier(value, &of->key);
        return code != NULL && sl_type_of(value) == SL_LIST ? "BAD_DTYPE" : code;
    }
    sl_type found = sl_type_of(value);
    if (type == 'f') return found == SL_FLOAT || found == SL_INTEGER ? NULL : "BAD_MESSAGE";
    if (found != types[(unsigned char)type]) return "BAD_MESSAGE";
    return type == 'i' ? check_number(value) : NULL;
}

static const char *read_control(request *of) {
    char name[32], type;
    bool required;
    int64_t steps = 0;
    const char *code = check_fields(of);
    for (const char *fields = of->fields; code == NULL && next_field(&fields, name, &type, &required);) {
        code = check_field(of, name, type);
    }
    if (code != NULL) return code;
    bool forecast = sl_as_integer(get(of, "steps"), &steps);
    if (forecast && has(of, "times") && steps > 1 << 20) return "TOO_LARGE";
    if (forecast) return read_array_field(of, TIMES, (size_t)steps);
    if (has(of, "content")) return read_array_field(of, CONTENT, 0);
    return has(of, "x") ? read_arrays(of, X, 0) : NULL;
}

static const char *read(request *of, const vector_frames *frames) {
    of->id = peek_id(frames);
    of->reader = (frame_reader){frames, 1};
    if (frames->count < 1 || frames->count > MOST_FRAMES) return "BAD_MESSAGE";
    sl_value header = {frames->data[0], frames->data[0] + frames->bytes[0]};
    if (frames->bytes[0] > CONTROL_HEADER) return "TOO_LARGE";
    if (mp_skip(header.at, header.end) != header.end || sl_type_of(header) != SL_MAP || !has_names(header)) {
        return "BAD_MESSAGE";
    }
    of->header = header;
    of->id = sl_field(header, "id");
    if (!is_id(of->id)) {
        of->id = (sl_value){NULL, NULL};
        return "BAD_MESSAGE";
    }
    int64_t version;
    if (!has(of, "v")) return "BAD_MESSAGE";
    if (!sl_as_integer(get(of, "v"), &version) || version != 1) return "UNSUPPORTED_VERSION";
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (is_text(get(of, "op"), operations[i].name)) of->fields = operations[i].fields;
    }
    if (of->fields == NULL) return "UNKNOWN_OP";
    const char *code = is_text(get(of, "op"), "learn") ? read_learn(of, frames->bytes[0]) : read_control(of);
    if (code != NULL) return code;
    return of->reader.next == frames->count ? NULL : "BAD_MESSAGE";
}

static void free_request(request *of) {
    for (size_t i = 0; i < ARRAYS; i++) free_array(&of->arrays[i]);
}

/* ------------------------------------------------------------------------------------------------ output */

static void print_id(sl_value id, char *text, size_t size) {
    char json[160];
    if (id.at == NULL || sl_to_json(id, json, sizeof json) == 0) snprintf(json, sizeof json, "null");
    snprintf(text, size, sl_type_of(id) == SL_BYTES ? "{\"bytes\": %s}" : "%s", json);
}

const char *read_request(const vector_frames *frames, char *id, size_t size) {
    request of = {0};
    const char *code = read(&of, frames);
    print_id(of.id, id, size);
    free_request(&of);
    return code;
}

static void put_array(const char *name, const request_array *array) {
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < array->rows; i++) {
        if (i > 0) fputs(", ", stdout);
        if (array->integers != NULL) printf("%" PRId64, array->integers[i]);
        else {
            fputs("[", stdout);
            for (size_t j = 0; j < array->columns; j++) {
                double value = (double)array->floats[i * array->columns + j];
                if (j > 0) fputs(", ", stdout);
                if (isnan(value)) fputs("null", stdout);
                else printf("%.17g", value);
            }
            fputs("]", stdout);
        }
    }
    fputs("]", stdout);
}

/* Print the texts among keys in the header, each one once. */
static void put_key_names(sl_value keys) {
    sl_value found[MAX_TEXTS];
    size_t count = 0, all = sl_type_of(keys) == SL_LIST ? sl_count(keys) : 1;
    for (size_t i = 0; i < all && count < MAX_TEXTS; i++) {
        sl_value each = sl_type_of(keys) == SL_LIST ? sl_item(keys, i) : keys;
        bool known = sl_type_of(each) != SL_TEXT || sl_count(each) == 0 || sl_count(each) > 256;
        for (size_t j = 0; j < count && !known; j++) {
            size_t bytes = (size_t)(each.end - each.at);
            known = bytes == (size_t)(found[j].end - found[j].at) && memcmp(found[j].at, each.at, bytes) == 0;
        }
        if (!known) found[count++] = each;
    }
    for (size_t i = 0; i < count; i++) {
        char json[2048];
        sl_to_json(found[i], json, sizeof json);
        printf("%s%s", i == 0 ? ", \"key_names\": [" : ", ", json);
    }
    if (count > 0) fputs("]", stdout);
}

static void put_message(const request *of, const char *id) {
    char name[32], type;
    bool required;
    printf("{\"message\": {\"id\": %s, ", id);
    put_fields(of->header, "op");
    bool learn = is_text(get(of, "op"), "learn");
    for (const char *fields = of->fields; next_field(&fields, name, &type, &required);) {
        if (!has(of, name) || type == 'a' || type == 'k') continue;
        fputs(", ", stdout);
        put_fields(of->header, name);
    }
    if (of->has_key) printf(", \"key\": %" PRId64, of->key);
    if (learn && !has(of, "ack")) fputs(", \"ack\": \"durable\"", stdout);
    if (learn && !has(of, "key_names")) put_key_names(get(of, "keys"));
    for (size_t i = 0; i < ARRAYS; i++) {
        if (of->has[i]) put_array(array_names[i], &of->arrays[i]);
    }
    fputs("}}\n", stdout);
}

void put_request(const vector_frames *frames) {
    request of = {0};
    char id[256];
    const char *code = read(&of, frames);
    print_id(of.id, id, sizeof id);
    if (code != NULL) printf("{\"code\": \"%s\", \"id\": %s}\n", code, id);
    else put_message(&of, id);
    free_request(&of);
}
