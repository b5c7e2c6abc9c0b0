/* The driver of the C client: executes the commands of clients/suite/README.md. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "print_json.h"
#include "streamlearn.h"

enum { MAX_KEYS = 4096, MAX_NAMES = 1024 };

static sl_client *client;
static sl_stream *stream;
static sl_events *events;
static sl_error error;
static sl_value command; /* the command, as MessagePack */

/* ------------------------------------------------------------------------------------------- the command */

static bool given(const char *name) { return sl_type_of(sl_field(command, name)) > SL_NIL; }

/* Return a text as a string that the caller frees; NULL if it is absent. */
static char *string_of(sl_value value) {
    size_t bytes = 0;
    const char *text = sl_as_text(value, &bytes);
    if (text == NULL) return NULL;
    char *copy = allocate(bytes);
    memcpy(copy, text, bytes);
    return copy;
}

static char *text_field(const char *name) { return string_of(sl_field(command, name)); }

static double number_field(const char *name, double otherwise) {
    double value = otherwise;
    sl_as_double(sl_field(command, name), &value);
    return value;
}

/* Whether a text is an integer; then it stands for it. */
static bool is_digits(const char *text) {
    if (*text == '-') text++;
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Read an integer, or text of digits. Return false for another text: it is stored in *text. */
static bool read_integer(sl_value value, int64_t *number, char **text) {
    *text = NULL;
    if (sl_as_integer(value, number)) return true;
    *text = string_of(value);
    bool digits = *text != NULL && is_digits(*text);
    if (digits) {
        *number = strtoll(*text, NULL, 10);
        free(*text);
        *text = NULL;
    }
    return digits;
}

static int64_t integer_field(const char *name) {
    int64_t number = 0;
    char *text;
    read_integer(sl_field(command, name), &number, &text);
    free(text);
    return number;
}

/* The samples of a command, and the memory that they are in. */
typedef struct batch {
    sl_samples samples;
    float *x, *y;
    int64_t *numbers[3];
    char *texts[MAX_KEYS];
    size_t text_count;
} batch;

static float *read_rows(const char *name, size_t *rows, size_t *columns) {
    sl_value list = sl_field(command, name);
    if (sl_type_of(list) != SL_LIST) return NULL;
    *rows = sl_count(list);
    *columns = sl_count(sl_item(list, 0));
    float *values = allocate(*rows * *columns * sizeof *values);
    sl_value row = sl_item(list, 0);
    for (size_t i = 0; i < *rows; i++) {
        for (size_t j = 0; j < *columns; j++) {
            double value = NAN;
            sl_value cell = sl_item(row, j);
            if (sl_type_of(cell) == SL_TEXT) value = INFINITY;
            sl_as_double(cell, &value);
            values[i * *columns + j] = (float)value;
        }
        row = (sl_value){row.end, mp_skip(row.end, list.end)};
    }
    return values;
}

/* Read integers of 64 bits. Texts that are not digits become their numbers, and the names of keys. */
static int64_t *read_numbers(const char *name, batch *to) {
    sl_value list = sl_field(command, name);
    if (sl_type_of(list) != SL_LIST) return NULL;
    int64_t *values = allocate(sl_count(list) * sizeof *values);
    for (size_t i = 0; i < sl_count(list); i++) {
        char *text;
        if (!read_integer(sl_item(list, i), &values[i], &text) && text != NULL) {
            values[i] = sl_identifier(text);
            if (to->text_count < MAX_KEYS) to->texts[to->text_count++] = text;
        }
    }
    return values;
}

static void read_batch(batch *to) {
    memset(to, 0, sizeof *to);
    size_t rows = 0;
    to->x = read_rows("x", &to->samples.rows, &to->samples.columns);
    to->y = read_rows("y", &rows, &to->samples.targets);
    to->numbers[0] = read_numbers("keys", to);
    to->numbers[1] = read_numbers("ids", to);
    to->numbers[2] = read_numbers("times", to);
    if (to->x == NULL) to->samples.rows = rows;
    to->samples.x = to->x;
    to->samples.y = to->y;
    to->samples.keys = to->numbers[0];
    to->samples.ids = to->numbers[1];
    to->samples.times = to->numbers[2];
}

static void free_batch(batch *of) {
    free(of->x);
    free(of->y);
    for (size_t i = 0; i < 3; i++) free(of->numbers[i]);
    for (size_t i = 0; i < of->text_count; i++) free(of->texts[i]);
}

/* -------------------------------------------------------------------------------------------- the answer */

static void put_error(void) {
    fputs("{\"error\": {\"code\": ", stdout);
    put_text(error.code);
    fputs(", \"message\": ", stdout);
    put_text(error.message);
    printf(", \"detail\": %s, \"in_doubt\": %s", error.detail, error.in_doubt ? "true" : "false");
    if (error.cause[0] != '\0') printf(", \"cause\": \"%s\"", error.cause);
    fputs("}}\n", stdout);
}

static int refuse(const char *code, const char *message) {
    memset(&error, 0, sizeof error);
    snprintf(error.code, sizeof error.code, "%s", code);
    snprintf(error.message, sizeof error.message, "%s", message);
    snprintf(error.detail, sizeof error.detail, "{}");
    return -1;
}

/* Answer a call whose result is 0; return another result. */
static int answer_fields(int result, const sl_reply *reply, const char *names) {
    if (result != 0) return result;
    fputs("{\"ok\": {", stdout);
    put_fields(reply->ok, names);
    fputs("}}\n", stdout);
    return 0;
}

static int answer_arrays(int result, const sl_reply *reply) {
    if (result != 0) return result;
    fputs("{\"ok\": {", stdout);
    put_arrays(&reply->arrays);
    fputs("}}\n", stdout);
    return 0;
}

static int answer(int result) {
    if (result == 0) fputs("{\"ok\": {}}\n", stdout);
    return result;
}

/* ---------------------------------------------------------------------------------------------- requests */

static int connect_client(void) {
    char *texts[] = {text_field("endpoint"), text_field("server_key"), text_field("key_file"),
                     text_field("events")};
    sl_options options = {.endpoint = texts[0],
                          .timeout = number_field("timeout", SL_DEFAULT),
                          .server_key = texts[1],
                          .key_file = texts[2],
                          .events = texts[3]};
    sl_close(client);
    client = sl_open(&options, &error);
    for (size_t i = 0; i < 4; i++) free(texts[i]);
    return answer(client == NULL ? -1 : 0);
}

static int compare_texts(const void *one, const void *other) {
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* Write sorted names, and free them. */
static int answer_names(const char *field, char **names, size_t count) {
    qsort(names, count, sizeof *names, compare_texts);
    printf("{\"ok\": {\"%s\": [", field);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) fputs(", ", stdout);
        put_text(names[i]);
        free(names[i]);
    }
    fputs("]}}\n", stdout);
    return 0;
}

static int list_models(void) {
    char *names[MAX_NAMES], *after = NULL;
    size_t count = 0;
    for (bool more = true; more;) {
        sl_reply reply;
        if (sl_models(client, after, &reply, &error) != 0) return -1;
        sl_value list = sl_field(reply.ok, "models");
        for (size_t i = 0; i < sl_count(list) && count < MAX_NAMES; i++) {
            names[count++] = string_of(sl_field(sl_item(list, i), "name"));
        }
        more = false;
        sl_as_bool(sl_field(reply.ok, "more"), &more);
        after = count > 0 ? names[count - 1] : NULL;
    }
    return answer_names("names", names, count);
}

static int list_stats(void) {
    char *names[MAX_NAMES];
    size_t count = 0;
    sl_reply reply;
    if (sl_stats(client, NULL, &reply, &error) != 0) return -1;
    sl_value map = sl_field(reply.ok, "models");
    for (size_t i = 0; i < sl_count(map) && count < MAX_NAMES; i++) {
        sl_value key, value;
        sl_entry(map, i, &key, &value);
        names[count++] = string_of(key);
    }
    return answer_names("models", names, count);
}

static int list_checkpoints(const char *model) {
    char *names[MAX_NAMES];
    size_t count = 0;
    sl_reply reply;
    if (sl_checkpoints(client, model, &reply, &error) != 0) return -1;
    sl_value list = sl_field(reply.ok, "checkpoints");
    for (size_t i = 0; i < sl_count(list) && count < MAX_NAMES; i++) {
        char *name = string_of(sl_field(sl_item(list, i), "name"));
        if (name != NULL) names[count++] = name;
    }
    return answer_names("names", names, count);
}

static int create(const char *model) {
    sl_value spec = sl_field(command, "spec");
    size_t bytes = sl_to_json(spec, NULL, 0);
    char *json = allocate(bytes), *kind = text_field("kind");
    sl_reply reply;
    sl_to_json(spec, json, bytes + 1);
    int result = sl_create(client, model, kind, json, &reply, &error);
    free(json);
    free(kind);
    return answer_fields(result, &reply, "name");
}

static int learn(const char *model) {
    batch of;
    read_batch(&of);
    char *level = text_field("ack"), *key = text_field("idempotency_key");
    sl_learn_options options = {.ack = level, .idempotency_key = key};
    if (of.samples.keys != NULL) {
        options.key_names = (const char *const *)of.texts;
        options.key_name_count = of.text_count;
    }
    sl_ack ack;
    int result = sl_learn(client, model, &of.samples, &options, &ack, &error);
    free_batch(&of);
    free(level);
    free(key);
    if (result != 0) return result;
    printf("{\"ok\": {\"lsn\": %" PRId64 ", \"durable_lsn\": %" PRId64 ", \"applied_lsn\": %" PRId64
           ", \"duplicate\": %s, "
           "\"rows\": %" PRId64,
           ack.lsn, ack.durable_lsn, ack.applied_lsn, ack.duplicate ? "true" : "false", ack.rows);
    if (ack.matched >= 0)
        printf(", \"matched\": %" PRId64 ", \"unmatched\": %" PRId64, ack.matched, ack.unmatched);
    fputs("}}\n", stdout);
    return 0;
}

static int query(const char *model,
                 int (*ask)(sl_client *, const char *, const sl_samples *, sl_reply *, sl_error *)) {
    batch of;
    sl_reply reply;
    read_batch(&of);
    int result = ask(client, model, &of.samples, &reply, &error);
    free_batch(&of);
    return answer_arrays(result, &reply);
}

static int forecast(const char *model) {
    sl_reply reply;
    int64_t key = integer_field("key");
    size_t steps = (size_t)integer_field("steps");
    return answer_arrays(sl_forecast(client, model, steps, given("key") ? &key : NULL, &reply, &error),
                         &reply);
}

static int read_parts(const char *model) {
    sl_value what = sl_field(command, "what");
    char *parts[32];
    size_t count = 0;
    sl_reply reply;
    while (count < sl_count(what) && count < 32) {
        parts[count] = string_of(sl_item(what, count));
        count++;
    }
    int result = sl_read(client, model, (const char *const *)parts, count, &reply, &error);
    for (size_t i = 0; i < count; i++) free(parts[i]);
    if (result != 0) return result;
    fputs("{\"ok\": {", stdout);
    put_fields(reply.ok, "samples");
    fputs(", ", stdout);
    put_arrays(&reply.arrays);
    fputs("}}\n", stdout);
    return 0;
}

static int position(const char *model) {
    int64_t epoch, next_seq;
    char *producer = text_field("producer");
    int result = sl_position(client, model, producer, &epoch, &next_seq, &error);
    free(producer);
    if (result != 0) return result;
    fputs("{\"ok\": {\"epoch\": ", stdout);
    put_integer(epoch);
    printf(", \"next_seq\": %" PRId64 "}}\n", next_seq);
    return 0;
}

static int clone_model(const char *model, const char *into) {
    char fields[256];
    snprintf(fields, sizeof fields, "{\"model\": \"%s\", \"into\": \"%s\"}", model, into);
    return answer(sl_request(client, "clone", fields, NULL, NULL, &error));
}

/* ------------------------------------------------------------------------------------ streams and events */

static int open_stream(const char *model) {
    sl_stream_status status;
    char *ack = text_field("ack"), *producer = text_field("producer");
    sl_stream_options options = {.batch = (size_t)integer_field("batch"),
                                 .window = (size_t)integer_field("window"),
                                 .timeout = number_field("timeout", SL_DEFAULT),
                                 .ack = ack,
                                 .producer = producer};
    sl_stream_abort(stream);
    stream = sl_stream_open(client, model, &options, &error);
    free(ack);
    free(producer);
    if (stream == NULL) return -1;
    sl_stream_get_status(stream, &status);
    printf("{\"ok\": {\"producer\": ");
    put_text(status.producer);
    fputs(", \"epoch\": ", stdout);
    put_integer(status.epoch);
    fputs("}}\n", stdout);
    return 0;
}

static int push(void) {
    batch of;
    read_batch(&of);
    for (size_t i = 0; i < of.text_count && of.samples.keys != NULL; i++) sl_stream_key(stream, of.texts[i]);
    int result = 0;
    for (size_t row = 0; row < of.samples.rows && result == 0; row++) {
        sl_samples one = of.samples;
        one.rows = 1;
        one.x += row * one.columns;
        if (one.y != NULL) one.y += row * one.targets;
        if (one.keys != NULL) one.keys += row;
        if (one.ids != NULL) one.ids += row;
        if (one.times != NULL) one.times += row;
        result = sl_stream_push_many(stream, &one, SL_DEFAULT, NULL, &error);
    }
    free_batch(&of);
    return answer(result);
}

static int put_status(int result, bool all) {
    sl_stream_status status;
    if (result != 0) return result;
    sl_stream_get_status(stream, &status);
    printf("{\"ok\": {\"acknowledged\": %" PRIu64, status.acknowledged);
    if (all) {
        printf(", \"pending\": %" PRIu64 ", \"resent\": %" PRIu64 ", \"epoch\": ", status.pending,
               status.resent);
        put_integer(status.epoch);
    }
    fputs("}}\n", stdout);
    return 0;
}

static int close_stream(bool flush) {
    int result = 0;
    if (flush) result = sl_stream_close(stream, SL_DEFAULT, &error);
    else sl_stream_abort(stream);
    stream = NULL;
    return answer(result);
}

static int fire(const char *model) {
    batch of;
    read_batch(&of);
    int result = sl_fire(client, model, &of.samples, &error);
    free_batch(&of);
    return answer(result);
}

static int subscribe(void) {
    static const char *const fields[] = {"kinds", "models"};
    char *texts[2][32];
    size_t counts[2] = {0, 0};
    for (size_t i = 0; i < 2; i++) {
        sl_value list = sl_field(command, fields[i]);
        for (; counts[i] < sl_count(list) && counts[i] < 32; counts[i]++) {
            texts[i][counts[i]] = string_of(sl_item(list, counts[i]));
        }
    }
    sl_selection selection = {(const char *const *)texts[0], counts[0], (const char *const *)texts[1],
                              counts[1]};
    sl_unsubscribe(events);
    events = sl_subscribe(client, &selection, &error);
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < counts[i]; j++) free(texts[i][j]);
    }
    return answer(events == NULL ? -1 : 0);
}

/* Write the keys of an event's rows: the text of a key if the event has it. */
static void put_keys(const sl_event *event) {
    size_t count = 0;
    const int64_t *keys = sl_int64s(&event->arrays, "key", &count);
    sl_value names = sl_field(event->header, "key_names");
    for (size_t row = 0; row < count; row++) {
        char *text = NULL;
        for (size_t i = 0; i < sl_count(names) && text == NULL; i++) {
            sl_value name, number;
            int64_t found;
            sl_entry(names, i, &name, &number);
            if (sl_as_integer(number, &found) && found == keys[row]) text = string_of(name);
        }
        fputs(row == 0 ? ", \"keys\": [" : ", ", stdout);
        if (text != NULL) put_text(text);
        else put_integer(keys[row]);
        free(text);
    }
    if (count > 0) fputs("]", stdout);
}

static int next_event(void) {
    sl_event event;
    double timeout = number_field("timeout", SL_DEFAULT);
    int received = sl_next_event(events, timeout, &event, &error);
    if (received < 0) return -1;
    if (received == 0) {
        fputs("{\"ok\": {\"event\": null}}\n", stdout);
        return 0;
    }
    printf("{\"ok\": {\"event\": {\"kind\": \"%s\", \"model\": \"%s\", \"lsn\": %" PRId64
           ", \"first\": %" PRId64 ", \"rows\": %" PRId64 ", ",
           event.kind, event.model, event.lsn, event.first, event.rows);
    put_arrays(&event.arrays);
    put_keys(&event);
    fputs("}}}\n", stdout);
    return 0;
}

static int unsubscribe(void) {
    sl_unsubscribe(events);
    events = NULL;
    return answer(0);
}

/* -------------------------------------------------------------------------------------------------- loop */

static int on_model(const char *name, const char *model) {
    sl_reply reply = {{NULL, NULL}, {NULL, 0}};
    char *text = text_field(strcmp(name, "clone") == 0                                   ? "into"
                            : strcmp(name, "label") == 0                                 ? "label"
                            : strcmp(name, "feedback") == 0                              ? "verdict"
                            : strcmp(name, "export") == 0 || strcmp(name, "import") == 0 ? "path"
                                                                                         : "name");
    int result = -2;
    if (strcmp(name, "create") == 0) result = create(model);
    else if (strcmp(name, "delete") == 0) result = answer(sl_delete(client, model, &error));
    else if (strcmp(name, "describe") == 0) {
        result = answer_fields(sl_describe(client, model, &reply, &error), &reply,
                               "kind dim samples state_hash paused");
    } else if (strcmp(name, "learn") == 0 || strcmp(name, "learn_targets") == 0) result = learn(model);
    else if (strcmp(name, "predict") == 0) result = query(model, sl_predict);
    else if (strcmp(name, "explain") == 0) result = query(model, sl_explain);
    else if (strcmp(name, "forecast") == 0) result = forecast(model);
    else if (strcmp(name, "read") == 0) result = read_parts(model);
    else if (strcmp(name, "label") == 0) {
        result = answer(sl_label_unit(client, model, text, integer_field("unit"), NULL, &error));
    } else if (strcmp(name, "feedback") == 0) {
        int64_t sample = integer_field("sample");
        result = answer(sl_feedback(client, model, sample, text, NULL, NULL, &error));
    } else if (strcmp(name, "pause") == 0) result = answer(sl_pause(client, model, NULL, &error));
    else if (strcmp(name, "resume") == 0) result = answer(sl_resume(client, model, NULL, &error));
    else if (strcmp(name, "checkpoint") == 0) {
        result = answer_fields(sl_checkpoint(client, model, text, &reply, &error), &reply, "lsn");
    } else if (strcmp(name, "checkpoints") == 0) result = list_checkpoints(model);
    else if (strcmp(name, "restore") == 0) {
        result = answer(sl_restore(client, model, text, 0, NULL, &error));
    } else if (strcmp(name, "clone") == 0) result = clone_model(model, text);
    else if (strcmp(name, "export") == 0) result = answer(sl_export(client, model, text, &error));
    else if (strcmp(name, "import") == 0) result = answer(sl_import(client, model, text, NULL, &error));
    else if (strcmp(name, "position") == 0) result = position(model);
    else if (strcmp(name, "stream_open") == 0) result = open_stream(model);
    else if (strcmp(name, "firehose") == 0) result = fire(model);
    free(text);
    return result;
}

/* Execute the command. Return 0 if it has answered, or -1 with `error`; -2 for an unknown command. */
static int execute(const char *name) {
    sl_reply reply;
    if (strcmp(name, "connect") == 0) return connect_client();
    if (client == NULL) return refuse("DRIVER", "connect comes first");
    if (strcmp(name, "close") == 0) {
        sl_close(client);
        client = NULL;
        return answer(0);
    }
    bool streams =
        strcmp(name, "push") == 0 || strcmp(name, "flush") == 0 || strncmp(name, "stream_", 7) == 0;
    if (streams && strcmp(name, "stream_open") != 0 && stream == NULL)
        return refuse("DRIVER", "there is no stream");
    if (strcmp(name, "next_event") == 0 && events == NULL)
        return refuse("DRIVER", "there is no subscription");
    if (strcmp(name, "hello") == 0)
        return answer_fields(sl_hello(client, &reply, &error), &reply, "version protocol");
    if (strcmp(name, "models") == 0) return list_models();
    if (strcmp(name, "stats") == 0) return list_stats();
    if (strcmp(name, "push") == 0) return push();
    if (strcmp(name, "flush") == 0) {
        return put_status(sl_stream_flush(stream, number_field("timeout", SL_DEFAULT), &error), false);
    }
    if (strcmp(name, "stream_status") == 0) return put_status(0, true);
    if (strcmp(name, "stream_close") == 0) return close_stream(true);
    if (strcmp(name, "stream_abort") == 0) return close_stream(false);
    if (strcmp(name, "subscribe") == 0) return subscribe();
    if (strcmp(name, "next_event") == 0) return next_event();
    if (strcmp(name, "unsubscribe") == 0) return unsubscribe();
    char *model = text_field("model");
    int result = model == NULL ? -2 : on_model(name, model);
    free(model);
    return result;
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t bytes;
    while ((bytes = getline(&line, &size, stdin)) > 0) {
        size_t space = 9 * (size_t)bytes + 64, at;
        uint8_t *encoded = allocate(space);
        mp_writer to = {encoded, encoded + space, false};
        const char *problem = json_to_msgpack(line, (size_t)bytes, &to, &at);
        command = (sl_value){encoded, to.at};
        char *name = problem == NULL ? text_field("do") : NULL;
        int result = name == NULL ? refuse("DRIVER", problem == NULL ? "the command has no `do`" : problem)
                                  : execute(name);
        if (result == -2) result = refuse("NOT_SUPPORTED", "the C client has no such function");
        if (result != 0) put_error();
        fflush(stdout);
        free(name);
        free(encoded);
    }
    free(line);
    sl_stream_abort(stream);
    sl_unsubscribe(events);
    sl_close(client);
    return 0;
}
