/* A stream of samples to one model. */
#include "stream.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "errors.h"

/* -------------------------------------------------------------------------------------------------- open */

static int copy_name(char *to, size_t size, const char *text, const char *what, sl_error *error) {
    size_t bytes = strlen(text);
    if (bytes == 0 || bytes >= size) {
        return set_error(error, "BAD_NAME", "'%.80s' is not a valid %s: it must have 1 to %zu bytes", text,
                         what, size - 1);
    }
    memcpy(to, text, bytes + 1);
    return 0;
}

static int check_size(size_t value, size_t most, const char *name, const char *unit, sl_error *error) {
    if (value <= most) return 0;
    return set_error(error, "BAD_VALUE", "%s must be 1 to %zu %s for this model, not %zu", name, most, unit,
                     value);
}

/* Read what `describe` says of the model. */
static int read_model(sl_client *client, sl_stream *stream, int64_t *columns, int64_t *targets,
                      sl_error *error) {
    sl_reply reply;
    if (sl_describe(client, stream->model, &reply, error) != 0) return -1;
    bool complete = sl_as_integer(sl_field(reply.ok, "dim"), columns) && *columns > 0 &&
                    sl_as_integer(sl_field(reply.ok, "target_dim"), targets) && *targets >= 0 &&
                    sl_as_bool(sl_field(reply.ok, "needs_keys"), &stream->needs_keys) &&
                    sl_as_bool(sl_field(reply.ok, "accepts_late_targets"), &stream->accepts_late_targets);
    return complete ? 0 : protocol_error(error, client->endpoint, "the answer to describe lacks a field");
}

/* A permanent producer begins an epoch after its newest one, because the clock may have gone back. */
static int first_epoch(sl_client *client, const sl_stream *stream, bool permanent, int64_t *epoch,
                       sl_error *error) {
    int64_t newest, next_seq;
    *epoch = nanoseconds();
    if (!permanent) return 0;
    if (sl_position(client, stream->model, stream->producer, &newest, &next_seq, error) != 0) return -1;
    if (newest == INT64_MAX)
        return set_error(error, "BAD_VALUE", "producer '%s' has no epochs left", stream->producer);
    if (newest >= *epoch) *epoch = newest + 1;
    return 0;
}

static int open_stream(sl_client *client, sl_stream *stream, const char *model,
                       const sl_stream_options *options, sl_error *error) {
    size_t batch = options->batch == 0 ? 256 : options->batch,
           size = options->window == 0 ? 64 : options->window;
    const char *ack = options->ack == NULL ? "durable" : options->ack;
    call how = begin_call(client, true);
    char generated[SL_NAME_BYTES + 1] = "~";
    int64_t columns = 0, targets = 0, epoch = 0;
    stream->timeout = options->timeout == SL_DEFAULT ? 60.0 : options->timeout;
    stream->interval = options->interval == 0.0  ? 0.05
                       : options->interval < 0.0 ? INFINITY
                                                 : options->interval;
    if (check_model(model, error) != 0 ||
        copy_name(stream->model, sizeof stream->model, model, "model name", error) != 0) {
        return -1;
    }
    if (strcmp(ack, "received") != 0 && strcmp(ack, "written") != 0 && strcmp(ack, "durable") != 0) {
        return set_error(error, "BAD_VALUE", "ack must be received, written or durable, not '%.40s'", ack);
    }
    snprintf(stream->ack, sizeof stream->ack, "%s", ack);
    if (!random_digits(generated + 1, 16)) return set_error(error, "FILE", "can't read /dev/urandom");
    const char *producer = options->producer == NULL ? generated : options->producer;
    if (options->producer != NULL && producer[0] == '~') {
        return set_error(error, "BAD_NAME",
                         "producer name '%.80s' starts with '~', which marks generated names", producer);
    }
    if (copy_name(stream->producer, sizeof stream->producer, producer, "producer name", error) != 0)
        return -1;
    if (know_daemon(client, &how, error) != 0) return -1;
    if (read_model(client, stream, &columns, &targets, error) != 0) return -1;
    size_t row = 4 * (size_t)(columns > targets ? columns : targets),
           most = client->daemon.frame_bytes / (row < 8 ? 8 : row);
    if (client->daemon.rows < most) most = client->daemon.rows;
    if (check_size(batch, most, "batch", "samples", error) != 0) return -1;
    if (check_size(size, client->daemon.window, "window", "batches", error) != 0) return -1;
    if (first_epoch(client, stream, options->producer != NULL, &epoch, error) != 0) return -1;
    if (!inbox_open(&stream->in) ||
        !window_open(&stream->window, size, batch, (size_t)columns, (size_t)targets)) {
        return set_error(error, "NO_MEMORY", "there is no memory for a window of %zu batches of %zu samples",
                         size, batch);
    }
    stream->window.epoch = epoch;
    stream->window.ack = stream->ack;
    stream->context = context_share(client->context);
    return connection_open(&stream->at, client->context, ZMQ_DEALER, client->endpoint, &client->keys, NULL,
                           error);
}

sl_stream *sl_stream_open(sl_client *client, const char *model, const sl_stream_options *options,
                          sl_error *error) {
    static const sl_stream_options defaults;
    sl_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        set_error(error, "NO_MEMORY", "there is no memory for a stream");
        return NULL;
    }
    if (open_stream(client, stream, model, options == NULL ? &defaults : options, error) != 0) {
        sl_stream_abort(stream);
        return NULL;
    }
    return stream;
}

void sl_stream_abort(sl_stream *stream) {
    if (stream == NULL) return;
    connection_close(&stream->at, 0.0);
    context_close(stream->context);
    window_close(&stream->window);
    inbox_free(&stream->in);
    free(stream);
}

/* ----------------------------------------------------------------------------------------------- pushing */

static int check_failure(const sl_stream *stream, sl_error *error) {
    if (!stream->window.failed) return 0;
    if (error != NULL) *error = stream->window.failure;
    return -1;
}

static uint64_t pending(const sl_stream *stream) {
    return stream->window.pending + window_filling(&stream->window)->rows;
}

static int late(const sl_stream *stream, sl_error *error) {
    char hint[256];
    set_error(error, "NO_ANSWER",
              "the daemon at %s does not acknowledge or is not running: %" PRIu64 " samples wait for an "
              "acknowledgement%s",
              stream->at.endpoint, pending(stream), connection_hint(&stream->at, hint, sizeof hint));
    set_detail(error, "pending", pending(stream));
    return -1;
}

static int check_columns(size_t given, size_t expected, const char *what, const char *model,
                         sl_error *error) {
    if (given == expected) return 0;
    return set_error(error, "BAD_SHAPE", "a sample has %zu %s and '%s' takes %zu", given, what, model,
                     expected);
}

/* Return an error for rows that the model does not accept. */
static int check_rows(const sl_stream *stream, const sl_samples *samples, sl_error *error) {
    const window *w = &stream->window;
    const char *model = stream->model;
    if (check_samples(samples, error) != 0) return -1;
    if (samples->x == NULL && !stream->accepts_late_targets) {
        return set_error(error, "BAD_SHAPE",
                         "'%s' accepts no late targets; push targets together with their samples", model);
    }
    if (samples->x == NULL && samples->times != NULL) {
        return set_error(error, "BAD_SHAPE", "late targets have no times; leave times out");
    }
    if (samples->x != NULL && check_columns(samples->columns, w->columns, "values", model, error) != 0)
        return -1;
    size_t targets = samples->y == NULL ? 0 : samples->targets;
    bool later = samples->y == NULL && stream->accepts_late_targets;
    if (!later && check_columns(targets, w->targets, "targets", model, error) != 0) return -1;
    if ((samples->keys != NULL) != stream->needs_keys) {
        return set_error(error, "BAD_SHAPE",
                         stream->needs_keys ? "'%s' needs a key for each sample; pass keys"
                                            : "'%s' has no keys; leave keys out",
                         model);
    }
    if (samples->ids != NULL && !stream->accepts_late_targets) {
        return set_error(error, "BAD_SHAPE", "'%s' accepts no late targets and needs no ids; leave ids out",
                         model);
    }
    return 0;
}

static unsigned fields_of(const sl_samples *samples) {
    return (samples->x != NULL ? HAS_X : 0U) | (samples->y != NULL ? HAS_Y : 0U) |
           (samples->keys != NULL ? HAS_KEYS : 0U) | (samples->ids != NULL ? HAS_IDS : 0U) |
           (samples->times != NULL ? HAS_TIMES : 0U);
}

/* Add as many rows as fit now, from row `from` on. Return their number. All rows of a batch have the same
 * arrays. */
static size_t add_rows(sl_stream *stream, const sl_samples *samples, size_t from) {
    window *w = &stream->window;
    size_t start = from;
    unsigned fields = fields_of(samples);
    while (from < samples->rows) {
        slot *filling = window_filling(w);
        if (filling->rows == w->batch || (filling->rows > 0 && filling->fields != fields)) {
            if (!stream_seal(stream)) break;
            filling = window_filling(w);
        }
        size_t count = samples->rows - from, space = w->batch - filling->rows;
        if (count > space) count = space;
        if (filling->rows == 0) stream->first_time = now();
        filling->fields = fields;
        window_fill(w, samples, from, count);
        from += count;
    }
    stream->pushed += from - start;
    return from - start;
}

int sl_stream_push_many(sl_stream *stream, const sl_samples *samples, double timeout, size_t *taken,
                        sl_error *error) {
    size_t done = 0;
    if (taken == NULL) taken = &done;
    *taken = 0;
    if (check_failure(stream, error) != 0 || check_rows(stream, samples, error) != 0) return -1;
    *taken = add_rows(stream, samples, 0);
    /* Most pushes only copy a row: input and output is done for a complete batch, and sometimes in between.
     */
    bool due = ++stream->pushes >= PUSHES_PER_TURN || stream_incomplete_is_due(stream, now());
    if (*taken == samples->rows && !due) return 0;
    double deadline = deadline_after(timeout, stream->timeout);
    stream_turn(stream);
    for (;;) {
        if (*taken == samples->rows) return check_failure(stream, error);
        if (check_failure(stream, error) != 0) return -1;
        *taken += add_rows(stream, samples, *taken);
        if (*taken < samples->rows && now() >= deadline) return late(stream, error);
        if (*taken < samples->rows) stream_turn_and_wait(stream, deadline);
        else stream_turn(stream);
    }
}

int64_t sl_stream_key(sl_stream *stream, const char *text) {
    int64_t number = sl_identifier(text);
    size_t bytes = strlen(text), names = stream->key_name_count;
    for (size_t i = 0; i < names; i++) {
        if (stream->key_numbers[i] == number) return number;
    }
    if (bytes == 0 || bytes > LONGEST_KEY_NAME) return number;
    if (names == KEY_NAMES || stream->key_text_bytes - names + bytes > KEY_NAME_BYTES) {
        names = stream->key_text_bytes = 0;
    }
    char *copy = stream->key_text + stream->key_text_bytes;
    memcpy(copy, text, bytes + 1);
    stream->key_names[names] = copy;
    stream->key_numbers[names] = number;
    stream->key_name_count = names + 1;
    stream->key_text_bytes += bytes + 1;
    stream->named = false;
    return number;
}

int sl_stream_push(sl_stream *stream, const float *x, sl_error *error) {
    sl_samples samples = {.rows = 1, .x = x, .columns = stream->window.columns};
    return sl_stream_push_many(stream, &samples, SL_DEFAULT, NULL, error);
}

int sl_stream_poll(sl_stream *stream, double seconds, sl_error *error) {
    double deadline = now() + (seconds > 0.0 ? seconds : 0.0);
    do stream_turn_and_wait(stream, deadline);
    while (!stream->window.failed && now() < deadline);
    return check_failure(stream, error);
}

int sl_stream_flush(sl_stream *stream, double timeout, sl_error *error) {
    double deadline = deadline_after(timeout, stream->timeout);
    uint64_t end = stream->pushed;
    stream->flushing = window_filling(&stream->window)->rows > 0;
    for (;;) {
        stream_turn(stream);
        if (check_failure(stream, error) != 0) return -1;
        if (stream->window.acknowledged >= end) return 0;
        if (now() >= deadline) return late(stream, error);
        stream_turn_and_wait(stream, deadline);
    }
}

int sl_stream_close(sl_stream *stream, double timeout, sl_error *error) {
    int result = sl_stream_flush(stream, timeout, error);
    if (result != 0 && !stream->window.failed && error != NULL) {
        uint64_t lost = pending(stream);
        memcpy(error->cause, error->code, sizeof error->cause);
        memcpy(error->code, "STREAM_LOST", sizeof "STREAM_LOST");
        set_detail(error, "unacknowledged", lost);
        error->in_doubt = lost > 0;
    }
    sl_stream_abort(stream);
    return result;
}

void sl_stream_get_status(const sl_stream *stream, sl_stream_status *status) {
    const window *w = &stream->window;
    *status = (sl_stream_status){
        .producer = stream->producer,
        .epoch = w->epoch,
        .pushed = stream->pushed,
        .acknowledged = w->acknowledged,
        .pending = pending(stream),
        .resent = w->resent,
        .matched = w->matched,
        .unmatched = w->unmatched,
        .last_ack = w->last_ack,
    };
}
