#include "client.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "errors.h"

/* Seconds without an answer after which a request is sent again; doubles each time. */
static const double answer_timeout = 2.0;
/* Seconds to wait after a retryable refusal: first, and longest. Doubles each time. */
static const double first_pause = 0.05, longest_pause = 1.0;
static const double linger = 1.0; /* seconds that messages to the firehose have to leave */
enum { HEADER_BYTES = 8192, FIELD_BYTES = 4096 };

/* ---------------------------------------------------------------------------------------- open and close */

static int copy_setting(char to[ENDPOINT_BYTES], const char *text, sl_error *error) {
    size_t bytes = text == NULL ? 0 : strlen(text);
    if (bytes >= ENDPOINT_BYTES)
        return set_error(error, "BAD_VALUE", "an endpoint may have %d bytes", ENDPOINT_BYTES - 1);
    if (bytes > 0) memcpy(to, text, bytes);
    to[bytes] = '\0';
    return 0;
}

static const char *endpoint_of(const sl_options *options) {
    const char *variable = getenv("STREAMLEARN_ENDPOINT");
    if (options->endpoint != NULL) return options->endpoint;
    return variable != NULL && *variable != '\0' ? variable : "tcp://127.0.0.1:7700";
}

static int open_client(sl_client *client, const sl_options *options, sl_error *error) {
    client->timeout = options->timeout == SL_DEFAULT ? 10.0 : options->timeout;
    if (!(client->timeout > 0.0)) return set_error(error, "BAD_VALUE", "timeout must be above 0 seconds");
    if (copy_setting(client->endpoint, endpoint_of(options), error) != 0) return -1;
    if (copy_setting(client->events, options->events, error) != 0) return -1;
    if (copy_setting(client->firehose, options->firehose, error) != 0) return -1;
    if (read_client_keys(options, &client->keys, error) != 0) return -1;
    client->header = malloc(HEADER_BYTES);
    client->fields = malloc(FIELD_BYTES);
    client->header_capacity = HEADER_BYTES;
    client->fields_capacity = FIELD_BYTES;
    client->context = context_open();
    bool memory = inbox_open(&client->in) && client->header != NULL && client->fields != NULL &&
                  client->context != NULL;
    if (!memory) return set_error(error, "NO_MEMORY", "there is no memory for a client");
    client->producer[0] = '~';
    if (!random_digits(client->producer + 1, 16)) return set_error(error, "FILE", "can't read /dev/urandom");
    client->epoch = nanoseconds();
    return connection_open(&client->requests, client->context, ZMQ_DEALER, client->endpoint, &client->keys,
                           NULL, error);
}

sl_client *sl_open(const sl_options *options, sl_error *error) {
    static const sl_options defaults;
    sl_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        set_error(error, "NO_MEMORY", "there is no memory for a client");
        return NULL;
    }
    if (open_client(client, options == NULL ? &defaults : options, error) != 0) {
        sl_close(client);
        return NULL;
    }
    return client;
}

void sl_close(sl_client *client) {
    if (client == NULL) return;
    connection_close(&client->requests, 0.0);
    connection_close(&client->pushing, linger);
    context_close(client->context);
    inbox_free(&client->in);
    free(client->header);
    free(client->fields);
    memset(&client->keys, 0, sizeof client->keys);
    free(client);
}

/* ------------------------------------------------------------------------------------------- one request */

/* The state of one request. */
typedef struct attempt {
    bool due;        /* send it as soon as the socket accepts it */
    bool in_flight;  /* sent, and neither answered nor refused */
    bool unanswered; /* an earlier attempt was in flight when it was sent again */
    bool refused;    /* the newest attempt was refused; `refusal` says why */
    double answer_deadline, resend_at, resend_after, pause;
    sl_error refusal;
} attempt;

call begin_call(const sl_client *client, bool idempotent) {
    return (call){.idempotent = idempotent, .deadline = now() + client->timeout, .timeout = client->timeout};
}

sl_value encode_id(uint64_t id, uint8_t encoded[9]) {
    mp_writer to = {encoded, encoded + 9, false};
    mp_write_uint(&to, id);
    return (sl_value){encoded, to.at};
}

static void sent(attempt *state, const call *how, double time) {
    state->due = false;
    state->unanswered |= state->in_flight;
    state->in_flight = true;
    state->refused = false;
    state->answer_deadline = fmax(how->deadline, time + how->patience);
    if (how->idempotent) {
        state->resend_at = time + state->resend_after;
        state->resend_after *= 2;
    }
}

static int no_answer(const sl_client *client, const call *how, const attempt *state, const char *op,
                     sl_error *error) {
    char hint[256];
    if (state->refused) {
        if (error != NULL) *error = state->refusal;
    } else if (how->answer_lost) {
        set_error(error, "NO_ANSWER",
                  "the connection to the daemon at %s was lost before the answer to %s. The daemon may or "
                  "may not have executed %s; see its log",
                  client->endpoint, op, op);
    } else if (state->in_flight) {
        set_error(error, "NO_ANSWER",
                  "the daemon at %s did not answer %s within %g s: it stopped or is overloaded. It may or "
                  "may not have executed %s; see its log",
                  client->endpoint, op, fmax(how->timeout, how->patience), op);
    } else {
        set_error(error, "NO_ANSWER",
                  "no daemon answers at %s (tried for %g s): check that `streamlearn serve` is running and "
                  "that this is its requests endpoint%s",
                  client->endpoint, how->timeout, connection_hint(&client->requests, hint, sizeof hint));
    }
    if (error != NULL) error->in_doubt = state->in_flight || state->unanswered;
    return -1;
}

/* Process one message. Return 1 for the answer, 0 for another message or a refusal after which the request is
 * sent again, and -1 for an error. */
static int process_message(sl_client *client, attempt *state, uint64_t id, inbox_reply *reply,
                           sl_error *error) {
    inbox_reply found;
    const char *problem = inbox_read_reply(&client->in, &found);
    mp_item item;
    if (problem != NULL) return protocol_error(error, client->endpoint, problem);
    bool own = mp_read(found.id.at, found.id.end, &item) != NULL && item.kind == MP_UINT && item.u == id;
    if (!own) return 0;
    if (sl_type_of(found.error) != SL_MAP) {
        *reply = found;
        return 1;
    }
    sl_error refusal;
    set_refusal(&refusal, found.error);
    if (!refusal.retryable) {
        *reply = found;
        refusal.in_doubt = state->unanswered;
        if (error != NULL) *error = refusal;
        return -1;
    }
    if (state->in_flight) {
        state->in_flight = false;
        state->refused = true;
        state->refusal = refusal;
        state->resend_at = now() + state->pause;
        state->pause = fmin(2 * state->pause, longest_pause);
    }
    return 0;
}

/* Replace a connection that the daemon refused: ZeroMQ does not try again. */
static int renew_connection(sl_client *client, sl_error *error) {
    if (client->requests.socket != NULL && !client->requests.refused) return 0;
    connection_close(&client->requests, 0.0);
    return connection_open(&client->requests, client->context, ZMQ_DEALER, client->endpoint, &client->keys,
                           NULL, error);
}

int exchange(sl_client *client, call *how, const char *op, uint64_t id, const frame_part *frames,
             size_t count, inbox_reply *reply, sl_error *error) {
    connection *at = &client->requests;
    attempt state = {
        .due = true, .resend_at = INFINITY, .resend_after = answer_timeout, .pause = first_pause};
    how->answer_lost = false;
    *reply = (inbox_reply){0};
    if (renew_connection(client, error) != 0) return -1;
    for (;;) {
        bool lost = connection_events(at);
        int received;
        while ((received = connection_receive(at, &client->in)) != 0) {
            if (received < 0)
                return set_error(error, "NO_MEMORY", "there is no memory for the answer to %s", op);
            int answer = process_message(client, &state, id, reply, error);
            if (answer != 0) return answer < 0 ? -1 : 0;
        }
        if (lost && state.in_flight) {
            how->answer_lost = !how->idempotent;
            if (how->answer_lost) return no_answer(client, how, &state, op, error);
            state.due = true;
            state.resend_at = INFINITY;
        }
        if (connection_refused(at, error)) {
            if (error != NULL) error->in_doubt = state.in_flight || state.unanswered;
            return -1;
        }
        double time = now(), deadline = state.in_flight ? state.answer_deadline : how->deadline;
        if (time >= deadline) return no_answer(client, how, &state, op, error);
        if (time >= state.resend_at) {
            state.due = true;
            state.resend_at = INFINITY;
        }
        if (state.due && at->connected && connection_send(at, frames, count)) {
            sent(&state, how, time);
            continue;
        }
        connection_wait(at, state.due && at->connected, fmin(deadline, state.resend_at) - time);
    }
}

/* ---------------------------------------------------------------------------------------------- requests */

static bool reserve(uint8_t **memory, size_t *capacity, size_t bytes) {
    if (bytes <= *capacity) return true;
    uint8_t *larger = realloc(*memory, bytes);
    if (larger == NULL) return false;
    *memory = larger;
    *capacity = bytes;
    return true;
}

int begin_fields(sl_client *client, mp_writer *to, size_t bytes, sl_error *error) {
    if (!reserve(&client->fields, &client->fields_capacity, bytes)) {
        return set_error(error, "NO_MEMORY", "there is no memory for the fields of a request");
    }
    *to = (mp_writer){client->fields, client->fields + client->fields_capacity, false};
    return 0;
}

sl_value end_fields(const sl_client *client, const mp_writer *to) {
    return (sl_value){client->fields, to->at};
}

/* The bytes that a header may need besides the fields: names, and lists of channels. */
static size_t header_bytes(const request_header *request) {
    size_t bytes = 640 + (size_t)(request->fields.end - request->fields.at) + strlen(request->op);
    if (request->model != NULL) bytes += strlen(request->model);
    for (size_t i = 0; i < request->arrays.count; i++) bytes += 128 + strlen(request->arrays.items[i].name);
    for (size_t i = 0; i < request->channel_count; i++) bytes += 5 + strlen(request->channels[i]);
    return bytes;
}

/* Encode a request, with a new id, and execute it. */
static int perform(sl_client *client, call *how, request_header *request, inbox_reply *answer,
                   sl_error *error) {
    uint8_t id_bytes[9];
    uint64_t id = ++client->next_id;
    request->id = encode_id(id, id_bytes);
    if (request->arrays.count >= MAX_FRAMES) {
        return set_error(error, "BAD_VALUE", "a request has at most %d arrays", MAX_FRAMES - 1);
    }
    if (!reserve(&client->header, &client->header_capacity, header_bytes(request))) {
        return set_error(error, "NO_MEMORY", "there is no memory for the header of %s", request->op);
    }
    mp_writer to = {client->header, client->header + client->header_capacity, false};
    write_request(&to, request);
    if (to.full) return set_error(error, "TOO_LARGE", "the header of %s is too large", request->op);
    frame_part frames[MAX_FRAMES] = {{client->header, (size_t)(to.at - client->header)}};
    for (size_t i = 0; i < request->arrays.count; i++) {
        frames[1 + i] = (frame_part){request->arrays.items[i].data, array_bytes(&request->arrays.items[i])};
    }
    return exchange(client, how, request->op, id, frames, 1 + request->arrays.count, answer, error);
}

static void fill_reply(const sl_client *client, const inbox_reply *answer, sl_reply *reply) {
    if (reply != NULL) *reply = (sl_reply){answer->ok, {client->in.arrays, client->in.array_count}};
}

int execute(sl_client *client, call *how, request_header *request, sl_reply *reply, sl_error *error) {
    inbox_reply answer = {0};
    if (perform(client, how, request, &answer, error) != 0) return -1;
    fill_reply(client, &answer, reply);
    return 0;
}

int execute_once(sl_client *client, call *how, request_header *request, sl_reply *reply, sl_error *error) {
    sl_error local;
    if (error == NULL) error = &local;
    how->idempotent = true;
    request->producer = client->producer;
    for (int tries = EPOCH_TRIES;; tries--) {
        inbox_reply answer = {0};
        request->epoch = (uint64_t)++client->epoch;
        if (perform(client, how, request, &answer, error) == 0) {
            fill_reply(client, &answer, reply);
            return 0;
        }
        int64_t next = epoch_after(client->epoch, answer.error);
        if (next == 0) return -1;
        client->epoch = next - 1;
        if (tries == 1 || error->in_doubt) return -1;
    }
}

int check_model(const char *model, sl_error *error) {
    if (model != NULL && is_model_name(model, strlen(model))) return 0;
    return set_error(error, "BAD_NAME",
                     "'%.80s' is not a valid model name: use 1 to 64 letters, digits, '_', '.' or '-', and "
                     "start with a letter, a digit or '_'",
                     model == NULL ? "" : model);
}

/* -------------------------------------------------------------------------------------------- the daemon */

static void read_limit(sl_value limits, const char *name, size_t *value) {
    int64_t found;
    if (sl_as_integer(sl_field(limits, name), &found) && found > 0) *value = (size_t)found;
}

/* Copy an announced endpoint. The host of the requests endpoint replaces a wildcard: a daemon that listens on
 * all interfaces does not know the name that its clients use. */
static void resolve_endpoint(char to[ENDPOINT_BYTES], sl_value announced, const char *requests) {
    static const char *const wildcards[] = {"tcp://0.0.0.0:", "tcp://[::]:", "tcp://*:"};
    size_t bytes = 0;
    const char *text = sl_as_text(announced, &bytes), *colon = strrchr(requests, ':');
    to[0] = '\0';
    if (text == NULL || bytes >= ENDPOINT_BYTES) return;
    memcpy(to, text, bytes);
    to[bytes] = '\0';
    for (size_t i = 0; i < 3; i++) {
        char port[ENDPOINT_BYTES];
        size_t prefix = strlen(wildcards[i]);
        if (strncmp(to, wildcards[i], prefix) != 0 || strncmp(requests, "tcp://", 6) != 0) continue;
        snprintf(port, sizeof port, "%s", to + prefix);
        snprintf(to, ENDPOINT_BYTES, "%.*s:%.8s", (int)(colon - requests), requests, port);
    }
}

int know_daemon(sl_client *client, const call *how, sl_error *error) {
    daemon_facts facts = {.known = true, .rows = 1 << 20, .frame_bytes = 64 << 20, .window = 256};
    if (client->daemon.known) return 0;
    call hello = *how;
    hello.idempotent = true;
    request_header request = {.op = "hello"};
    sl_reply reply = {0};
    if (execute(client, &hello, &request, &reply, error) != 0) return -1;
    sl_value limits = sl_field(reply.ok, "limits"), endpoints = sl_field(reply.ok, "endpoints");
    if (sl_type_of(limits) != SL_MAP || sl_type_of(endpoints) != SL_MAP) {
        return protocol_error(error, client->endpoint, "the answer to hello needs limits and endpoints");
    }
    read_limit(limits, "rows", &facts.rows);
    read_limit(limits, "frame_bytes", &facts.frame_bytes);
    read_limit(limits, "window", &facts.window);
    resolve_endpoint(facts.events, sl_field(endpoints, "events"), client->endpoint);
    resolve_endpoint(facts.firehose, sl_field(endpoints, "firehose"), client->endpoint);
    if (client->events[0] != '\0') memcpy(facts.events, client->events, sizeof facts.events);
    if (client->firehose[0] != '\0') memcpy(facts.firehose, client->firehose, sizeof facts.firehose);
    client->daemon = facts;
    return 0;
}

size_t most_rows(const sl_client *client, const sl_samples *samples) {
    sl_array arrays[SAMPLE_ARRAYS];
    size_t count = arrays_of(samples, arrays), most = client->daemon.rows;
    for (size_t i = 0; i < count; i++) {
        size_t row_bytes = array_bytes(&arrays[i]) / samples->rows;
        if (client->daemon.frame_bytes / row_bytes < most) most = client->daemon.frame_bytes / row_bytes;
    }
    return most == 0 ? 1 : most; /* the daemon refuses a row that is too long */
}

int too_many_rows(size_t rows, size_t most, sl_error *error) {
    return set_error(error, "TOO_LARGE",
                     "there are %zu rows, and one request may have %zu of them; send them in parts", rows,
                     most);
}

int check_batch(sl_client *client, const call *how, const sl_samples *samples, sl_error *error) {
    if (check_samples(samples, error) != 0 || know_daemon(client, how, error) != 0) return -1;
    size_t most = most_rows(client, samples);
    return samples->rows <= most ? 0 : too_many_rows(samples->rows, most, error);
}

bool read_ack(sl_value ok, sl_ack *ack) {
    ack->matched = ack->unmatched = -1;
    sl_as_integer(sl_field(ok, "matched"), &ack->matched);
    sl_as_integer(sl_field(ok, "unmatched"), &ack->unmatched);
    return sl_as_integer(sl_field(ok, "lsn"), &ack->lsn) &&
           sl_as_integer(sl_field(ok, "durable_lsn"), &ack->durable_lsn) &&
           sl_as_integer(sl_field(ok, "applied_lsn"), &ack->applied_lsn) &&
           sl_as_integer(sl_field(ok, "rows"), &ack->rows) &&
           sl_as_bool(sl_field(ok, "duplicate"), &ack->duplicate);
}

static bool equals_text(sl_value value, const char *text) {
    size_t bytes = 0;
    const char *found = sl_as_text(value, &bytes);
    return found != NULL && bytes == strlen(text) && memcmp(found, text, bytes) == 0;
}

int64_t epoch_after(int64_t epoch, sl_value refusal) {
    sl_value code = sl_field(refusal, "code"), detail = sl_field(refusal, "detail");
    int64_t next;
    if (epoch == INT64_MAX) return 0;
    if (equals_text(code, "UNKNOWN_PRODUCER") && sl_as_integer(sl_field(detail, "epoch"), &next)) {
        return next > epoch ? next : epoch + 1;
    }
    bool too_large = equals_text(code, "BAD_VALUE") && equals_text(sl_field(detail, "field"), "epoch");
    return too_large && sl_as_integer(sl_field(detail, "largest"), &next) && next > 0 ? next : 0;
}
