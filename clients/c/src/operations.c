/* The operations of docs/protocol.md, except learn and the transfers of files. */
#include <math.h>
#include <string.h>

#include "client.h"
#include "errors.h"
#include "json.h"

static const double compile_seconds = 300.0; /* the kernels of a kind may have to be compiled */

/* Operations that the daemon may receive twice without harm. `learn` is one if it has numbers, `checkpoint`
 * if it has no name. */
static bool may_repeat(const char *op, sl_value fields) {
    static const char *const ops[] = {"hello",       "models", "describe", "predict", "explain",
                                      "forecast",    "sample", "read",     "export",  "upload",
                                      "checkpoints", "stats",  "position", "pause",   "resume"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (strcmp(op, ops[i]) == 0) return true;
    }
    if (strcmp(op, "checkpoint") == 0) return sl_type_of(sl_field(fields, "name")) == SL_NOTHING;
    return sl_type_of(sl_field(fields, "producer")) != SL_NOTHING;
}

/* Write the JSON text of a map as fields. `more` bytes of space remain after it. */
static int write_json(sl_client *client, mp_writer *to, const char *text, size_t more, const char *what,
                      sl_error *error) {
    size_t bytes = strlen(text), at;
    if (bytes > (SIZE_MAX - more) / 16) return set_error(error, "TOO_LARGE", "%s is too long", what);
    if (to->at == NULL && begin_fields(client, to, 9 * bytes + 64 + more, error) != 0) return -1;
    const uint8_t *start = to->at;
    const char *problem = json_to_msgpack(text, bytes, to, &at);
    if (problem != NULL)
        return set_error(error, "BAD_VALUE", "%s is not JSON: %s, at byte %zu", what, problem, at);
    if (to->full || sl_type_of((sl_value){start, to->at}) != SL_MAP) {
        return set_error(error, "BAD_VALUE", "%s must be a map, such as {\"name\": 1}", what);
    }
    return 0;
}

int sl_request(sl_client *client, const char *op, const char *fields, const sl_arrays *arrays,
               sl_reply *reply, sl_error *error) {
    mp_writer to = {NULL, NULL, false};
    if (write_json(client, &to, fields == NULL ? "{}" : fields, 0, "fields", error) != 0) return -1;
    request_header request = {.op = op, .fields = end_fields(client, &to)};
    if (arrays != NULL) request.arrays = *arrays;
    call how = begin_call(client, may_repeat(op, request.fields));
    return execute(client, &how, &request, reply, error);
}

/* Execute an operation on a model with the fields that were written to `to`; NULL: none. */
static int on_model(sl_client *client, const char *op, const char *model, const mp_writer *to,
                    sl_reply *reply, sl_error *error) {
    if (check_model(model, error) != 0) return -1;
    request_header request = {.op = op, .model = model};
    if (to != NULL) request.fields = end_fields(client, to);
    call how = begin_call(client, may_repeat(op, request.fields));
    return execute(client, &how, &request, reply, error);
}

/* Execute a change of a model once. */
static int change(sl_client *client, const char *op, const char *model, const mp_writer *to, sl_reply *reply,
                  sl_error *error) {
    if (check_model(model, error) != 0) return -1;
    request_header request = {.op = op, .model = model};
    if (to != NULL) request.fields = end_fields(client, to);
    call how = begin_call(client, true);
    return execute_once(client, &how, &request, reply, error);
}

static size_t length(const char *text) { return text == NULL ? 0 : strlen(text); }

static void write_text_field(mp_writer *to, const char *name, const char *text) {
    if (text == NULL) return;
    mp_write_string(to, name);
    mp_write_string(to, text);
}

/* ----------------------------------------------------------------------------- the daemon and its models */

int sl_hello(sl_client *client, sl_reply *reply, sl_error *error) {
    return sl_request(client, "hello", NULL, NULL, reply, error);
}

int sl_models(sl_client *client, const char *after, sl_reply *reply, sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 64 + length(after), error) != 0) return -1;
    mp_write_map(&to, after != NULL);
    write_text_field(&to, "after", after);
    request_header request = {.op = "models", .fields = end_fields(client, &to)};
    call how = begin_call(client, true);
    return execute(client, &how, &request, reply, error);
}

int sl_describe(sl_client *client, const char *model, sl_reply *reply, sl_error *error) {
    return on_model(client, "describe", model, NULL, reply, error);
}

int sl_stats(sl_client *client, const char *model, sl_reply *reply, sl_error *error) {
    if (model != NULL) return on_model(client, "stats", model, NULL, reply, error);
    return sl_request(client, "stats", NULL, NULL, reply, error);
}

/* Whether two values are equal, and maps of `part` are contained in those of `full`. A number equals a list
 * that holds only that number. */
static bool contains(sl_value full, sl_value part) {
    sl_type type = sl_type_of(part), other = sl_type_of(full);
    double a, b;
    if (type == SL_MAP) {
        if (other != SL_MAP) return false;
        for (size_t i = 0; i < sl_count(part); i++) {
            sl_value key, value;
            char name[256];
            sl_entry(part, i, &key, &value);
            size_t bytes = 0;
            const char *text = sl_as_text(key, &bytes);
            if (text == NULL || bytes >= sizeof name) return false;
            memcpy(name, text, bytes);
            name[bytes] = '\0';
            if (!contains(sl_field(full, name), value)) return false;
        }
        return true;
    }
    if (sl_as_double(part, &a) && sl_as_double(full, &b)) return a == b;
    if (type != SL_LIST && other == SL_LIST) return sl_count(full) == 1 && contains(sl_item(full, 0), part);
    if (type == SL_LIST && other == SL_LIST) {
        if (sl_count(part) != sl_count(full)) return false;
        for (size_t i = 0; i < sl_count(part); i++) {
            if (!contains(sl_item(full, i), sl_item(part, i))) return false;
        }
        return true;
    }
    size_t bytes = (size_t)(part.end - part.at);
    return (size_t)(full.end - full.at) == bytes && memcmp(full.at, part.at, bytes) == 0;
}

int sl_create(sl_client *client, const char *model, const char *kind, const char *spec, sl_reply *reply,
              sl_error *error) {
    mp_writer to;
    sl_error local;
    sl_reply created;
    if (error == NULL) error = &local;
    if (reply == NULL) reply = &created;
    spec = spec == NULL ? "{}" : spec;
    if (check_model(model, error) != 0 ||
        begin_fields(client, &to, 9 * strlen(spec) + strlen(kind) + 64, error) != 0) {
        return -1;
    }
    mp_write_map(&to, 2);
    write_text_field(&to, "kind", kind);
    mp_write_string(&to, "spec");
    if (write_json(client, &to, spec, 0, "spec", error) != 0) return -1;
    request_header request = {.op = "create", .model = model, .fields = end_fields(client, &to)};
    call how = begin_call(client, false);
    how.patience = compile_seconds;
    bool answer_lost = false;
    while (execute(client, &how, &request, reply, error) != 0) {
        if (how.answer_lost) {
            answer_lost = true;
            continue;
        }
        if (!answer_lost || strcmp(error->code, "MODEL_EXISTS") != 0) return -1;
        sl_error refusal = *error;
        request_header describe = {.op = "describe", .model = model};
        call look = begin_call(client, true);
        if (execute(client, &look, &describe, reply, error) != 0) return -1;
        if (contains(reply->ok, request.fields)) return 0; /* the first request created it */
        *error = refusal;
        return -1;
    }
    return 0;
}

static int created_at(sl_client *client, const char *model, int64_t *lsn, sl_error *error) {
    sl_reply reply;
    if (sl_describe(client, model, &reply, error) != 0) return -1;
    if (sl_as_integer(sl_field(reply.ok, "create_lsn"), lsn)) return 0;
    return protocol_error(error, client->endpoint, "the answer to describe has no create_lsn");
}

int sl_delete(sl_client *client, const char *model, sl_error *error) {
    sl_error local;
    int64_t lsn, newer;
    if (error == NULL) error = &local;
    if (created_at(client, model, &lsn, error) != 0) return -1;
    request_header request = {.op = "delete", .model = model};
    for (;;) {
        call how = begin_call(client, false);
        if (execute(client, &how, &request, NULL, error) == 0) return 0;
        if (!how.answer_lost) return -1;
        if (created_at(client, model, &newer, error) != 0)
            return strcmp(error->code, "UNKNOWN_MODEL") == 0 ? 0 : -1;
        if (newer != lsn) return 0;
    }
}

/* ----------------------------------------------------------------------------------------------- queries */

static int query(sl_client *client, const char *op, const char *model, const sl_samples *samples,
                 sl_reply *reply, sl_error *error) {
    sl_array arrays[SAMPLE_ARRAYS];
    call how = begin_call(client, true);
    if (check_model(model, error) != 0 || check_batch(client, &how, samples, error) != 0) return -1;
    request_header request = {.op = op, .model = model, .arrays = {arrays, arrays_of(samples, arrays)}};
    return execute(client, &how, &request, reply, error);
}

int sl_predict(sl_client *client, const char *model, const sl_samples *samples, sl_reply *reply,
               sl_error *error) {
    return query(client, "predict", model, samples, reply, error);
}

int sl_explain(sl_client *client, const char *model, const sl_samples *samples, sl_reply *reply,
               sl_error *error) {
    return query(client, "explain", model, samples, reply, error);
}

int sl_forecast(sl_client *client, const char *model, size_t steps, const int64_t *key, sl_reply *reply,
                sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 64, error) != 0) return -1;
    mp_write_map(&to, key == NULL ? 1 : 2);
    mp_write_string(&to, "steps");
    mp_write_uint(&to, steps);
    if (key != NULL) {
        mp_write_string(&to, "key");
        mp_write_int(&to, *key);
    }
    return on_model(client, "forecast", model, &to, reply, error);
}

int sl_read(sl_client *client, const char *model, const char *const *parts, size_t count, sl_reply *reply,
            sl_error *error) {
    mp_writer to;
    size_t bytes = 64;
    for (size_t i = 0; i < count; i++) bytes += 5 + strlen(parts[i]);
    if (begin_fields(client, &to, bytes, error) != 0) return -1;
    mp_write_map(&to, 1);
    mp_write_string(&to, "what");
    mp_write_list(&to, count);
    for (size_t i = 0; i < count; i++) mp_write_string(&to, parts[i]);
    return on_model(client, "read", model, &to, reply, error);
}

/* ------------------------------------------------------------------------------- operations on one model */

/* Execute an operation with one sample, given by its values, and the fields in `to`. */
static int with_sample(sl_client *client, const char *op, const char *model, const mp_writer *to,
                       const float *x, size_t columns, sl_reply *reply, sl_error *error) {
    sl_samples samples = {.rows = 1, .x = x, .columns = columns};
    sl_array arrays[SAMPLE_ARRAYS];
    if (check_model(model, error) != 0 || check_samples(&samples, error) != 0) return -1;
    request_header request = {.op = op, .model = model, .fields = end_fields(client, to)};
    request.arrays = (sl_arrays){arrays, arrays_of(&samples, arrays)};
    call how = begin_call(client, true);
    return execute_once(client, &how, &request, reply, error);
}

int sl_label_unit(sl_client *client, const char *model, const char *label, int64_t unit, sl_reply *reply,
                  sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 64 + length(label), error) != 0) return -1;
    mp_write_map(&to, label == NULL ? 1 : 2);
    write_text_field(&to, "label", label);
    mp_write_string(&to, "unit");
    mp_write_int(&to, unit);
    return change(client, "label", model, &to, reply, error);
}

int sl_label_sample(sl_client *client, const char *model, const char *label, const float *x, size_t columns,
                    sl_reply *reply, sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 64 + length(label), error) != 0) return -1;
    mp_write_map(&to, label != NULL);
    write_text_field(&to, "label", label);
    return with_sample(client, "label", model, &to, x, columns, reply, error);
}

static int begin_feedback(sl_client *client, mp_writer *to, size_t more, const char *verdict,
                          const char *name, sl_error *error) {
    if (verdict == NULL) return set_error(error, "BAD_VALUE", "verdict must be \"normal\" or \"fault\"");
    if (begin_fields(client, to, 96 + strlen(verdict) + length(name), error) != 0) return -1;
    mp_write_map(to, 1 + (size_t)(name != NULL) + more);
    write_text_field(to, "verdict", verdict);
    write_text_field(to, "name", name);
    return 0;
}

int sl_feedback(sl_client *client, const char *model, int64_t sample, const char *verdict, const char *name,
                sl_reply *reply, sl_error *error) {
    mp_writer to;
    if (begin_feedback(client, &to, 1, verdict, name, error) != 0) return -1;
    mp_write_string(&to, "sample");
    mp_write_int(&to, sample);
    return change(client, "feedback", model, &to, reply, error);
}

int sl_feedback_values(sl_client *client, const char *model, const float *x, size_t columns,
                       const char *verdict, const char *name, sl_reply *reply, sl_error *error) {
    mp_writer to;
    if (begin_feedback(client, &to, 0, verdict, name, error) != 0) return -1;
    return with_sample(client, "feedback", model, &to, x, columns, reply, error);
}

int sl_pause(sl_client *client, const char *model, sl_reply *reply, sl_error *error) {
    return change(client, "pause", model, NULL, reply, error);
}

int sl_resume(sl_client *client, const char *model, sl_reply *reply, sl_error *error) {
    return change(client, "resume", model, NULL, reply, error);
}

int sl_checkpoint(sl_client *client, const char *model, const char *name, sl_reply *reply, sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 64 + length(name), error) != 0) return -1;
    mp_write_map(&to, name != NULL);
    write_text_field(&to, "name", name);
    return on_model(client, "checkpoint", model, &to, reply, error);
}

int sl_checkpoints(sl_client *client, const char *model, sl_reply *reply, sl_error *error) {
    return on_model(client, "checkpoints", model, NULL, reply, error);
}

int sl_restore(sl_client *client, const char *model, const char *name, int64_t lsn, sl_reply *reply,
               sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 64 + length(name), error) != 0) return -1;
    bool by_lsn = name == NULL && lsn != 0;
    mp_write_map(&to, name != NULL || by_lsn);
    write_text_field(&to, "name", name);
    if (by_lsn) {
        mp_write_string(&to, "lsn");
        mp_write_int(&to, lsn);
    }
    return change(client, "restore", model, &to, reply, error);
}

int sl_position(sl_client *client, const char *model, const char *producer, int64_t *epoch, int64_t *next_seq,
                sl_error *error) {
    mp_writer to;
    sl_reply reply;
    if (begin_fields(client, &to, 64 + length(producer), error) != 0) return -1;
    mp_write_map(&to, producer != NULL);
    write_text_field(&to, "producer", producer);
    if (on_model(client, "position", model, &to, &reply, error) != 0) return -1;
    if (sl_as_integer(sl_field(reply.ok, "epoch"), epoch) &&
        sl_as_integer(sl_field(reply.ok, "next_seq"), next_seq)) {
        return 0;
    }
    return protocol_error(error, client->endpoint, "the answer to position has no epoch and next_seq");
}
