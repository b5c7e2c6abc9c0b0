#include "window.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "errors.h"

/* Seconds to wait after a refusal, and for an answer before a resend: first, and longest. */
static const double first_pause = 0.02, longest_pause = 2.0, first_timeout = 2.0, longest_timeout = 30.0;
enum {
    MAX_RENEWALS = 4
}; /* refused epochs without an acknowledgement in between, after which the stream fails */

/* ------------------------------------------------------------------------------------------------ memory */

static size_t floats_bytes(size_t values) { return (4 * values + 7) / 8 * 8; }

bool window_open(window *w, size_t size, size_t batch, size_t columns, size_t targets) {
    memset(w, 0, sizeof *w);
    size_t most = SIZE_MAX / 64 / (size + 1) / batch;
    if (columns > most || targets > most) return false;
    w->size = size;
    w->batch = batch;
    w->columns = columns;
    w->targets = targets;
    w->slot_bytes = floats_bytes(batch * columns) + floats_bytes(batch * targets) + 3 * 8 * batch;
    w->slots = calloc(size + 1, sizeof *w->slots);
    w->rows = calloc(size + 1, w->slot_bytes);
    w->handled_gap = -1;
    w->resend_at = INFINITY;
    w->pause = first_pause;
    w->answer_timeout = first_timeout;
    if (w->slots != NULL && w->rows != NULL) return true;
    window_close(w);
    return false;
}

void window_close(window *w) {
    free(w->slots);
    free(w->rows);
    w->slots = NULL;
    w->rows = NULL;
}

/* The arrays of a slot. */
typedef struct slot_arrays {
    float *x, *y;
    int64_t *keys, *ids, *times;
} slot_arrays;

static slot_arrays arrays_at(const window *w, size_t index) {
    unsigned char *at = w->rows + index * w->slot_bytes;
    unsigned char *y = at + floats_bytes(w->batch * w->columns),
                  *keys = y + floats_bytes(w->batch * w->targets);
    int64_t *numbers = (void *)keys;
    return (slot_arrays){(void *)at, (void *)y, numbers, numbers + w->batch, numbers + 2 * w->batch};
}

static size_t filling_index(const window *w) { return (w->head + w->sealed) % (w->size + 1); }

slot *window_filling(const window *w) { return &w->slots[filling_index(w)]; }

static void copy_floats(float *to, const float *from, size_t start, size_t first, size_t count,
                        size_t columns) {
    if (from != NULL) memcpy(to + start * columns, from + first * columns, count * columns * sizeof *to);
}

static void copy_numbers(int64_t *to, const int64_t *from, size_t start, size_t first, size_t count) {
    if (from != NULL) memcpy(to + start, from + first, count * sizeof *to);
}

void window_fill(window *w, const sl_samples *samples, size_t from, size_t count) {
    slot *filling = window_filling(w);
    slot_arrays to = arrays_at(w, filling_index(w));
    copy_floats(to.x, samples->x, filling->rows, from, count, w->columns);
    copy_floats(to.y, samples->y, filling->rows, from, count, w->targets);
    copy_numbers(to.keys, samples->keys, filling->rows, from, count);
    copy_numbers(to.ids, samples->ids, filling->rows, from, count);
    copy_numbers(to.times, samples->times, filling->rows, from, count);
    filling->rows += count;
}

bool window_seal(window *w) {
    if (w->sealed == w->size) return false;
    w->pending += window_filling(w)->rows;
    w->sealed++;
    *window_filling(w) = (slot){0, 0};
    return true;
}

static size_t index_of(const window *w, uint64_t seq) {
    return (w->head + (size_t)(seq - w->base)) % (w->size + 1);
}

sl_samples window_batch(const window *w, uint64_t seq) {
    slot at = w->slots[index_of(w, seq)];
    slot_arrays arrays = arrays_at(w, index_of(w, seq));
    return (sl_samples){
        .rows = at.rows,
        .x = at.fields & HAS_X ? arrays.x : NULL,
        .columns = w->columns,
        .y = at.fields & HAS_Y ? arrays.y : NULL,
        .targets = w->targets,
        .keys = at.fields & HAS_KEYS ? arrays.keys : NULL,
        .ids = at.fields & HAS_IDS ? arrays.ids : NULL,
        .times = at.fields & HAS_TIMES ? arrays.times : NULL,
    };
}

/* ----------------------------------------------------------------------------------------------- sending */

/* The number after the last batch that may be sent. */
static uint64_t end_of(const window *w) {
    uint64_t end = w->base + w->sealed;
    return w->refused && w->refused_seq < end ? w->refused_seq : end;
}

static void rewind_to(window *w, uint64_t seq) {
    if (seq < w->base) seq = w->base;
    if (seq < w->cursor) w->cursor = seq;
    w->resend_at = INFINITY;
}

/* Move the cursor back because the attempts so far have no answer. */
static void rewind_all(window *w) {
    if (w->cursor > w->doubt_end) w->doubt_end = w->cursor;
    rewind_to(w, w->base);
    w->handled_gap = -1;
}

bool window_has_due(window *w, double time) {
    if (w->failed || time < w->paused_until) return false;
    if (time >= w->resend_at) {
        rewind_all(w);
        w->answer_timeout = fmin(2 * w->answer_timeout, longest_timeout);
    }
    return w->cursor < end_of(w);
}

void window_sent(window *w, double time) {
    w->resent += w->cursor < w->sent_end;
    w->cursor++;
    if (w->cursor > w->sent_end) w->sent_end = w->cursor;
    if (isinf(w->resend_at)) w->resend_at = time + w->answer_timeout;
}

double window_next_time(const window *w) { return w->cursor < end_of(w) ? w->paused_until : w->resend_at; }

void window_disconnected(window *w) {
    rewind_all(w);
    w->paused_until = 0.0;
}

/* ----------------------------------------------------------------------------------------------- answers */

void window_fail(window *w, const sl_error *cause, const char *reason) {
    if (w->failed) return;
    w->failed = true;
    uint64_t lost = w->pending + window_filling(w)->rows;
    set_error(&w->failure, "STREAM_LOST", "%s. %s: %.250s. %" PRIu64 " samples are not acknowledged", reason,
              cause->code, cause->message, lost);
    snprintf(w->failure.cause, sizeof w->failure.cause, "%s", cause->code);
    set_detail(&w->failure, "unacknowledged", lost);
    w->failure.in_doubt = lost > 0;
}

/* Begin a new epoch after a refusal, when the batches before the refused one are acknowledged. */
static void begin_epoch(window *w) {
    if (!w->refused || w->base < w->refused_seq) return;
    w->refused = false;
    w->epoch = w->next_epoch;
    w->first_id += w->sent_end;
    w->base = w->cursor = w->sent_end = w->doubt_end = 0;
    w->handled_gap = -1;
    w->resend_at = INFINITY;
}

static void acknowledge(window *w, uint64_t seq, const sl_ack *ack) {
    for (; w->base <= seq; w->base++, w->sealed--) {
        size_t rows = w->slots[w->head].rows;
        w->acknowledged += rows;
        w->pending -= rows;
        w->head = (w->head + 1) % (w->size + 1);
    }
    if (ack->matched > 0) w->matched += (uint64_t)ack->matched;
    if (ack->unmatched > 0) w->unmatched += (uint64_t)ack->unmatched;
    if (w->cursor < w->base) w->cursor = w->base;
    w->pause = first_pause;
    w->answer_timeout = first_timeout;
    w->renewals = 0;
    w->last_ack = *ack;
    if (w->cursor == w->base) w->resend_at = INFINITY;
    begin_epoch(w);
}

static void process_gap(window *w, const sl_error *gap, int64_t expected) {
    char reason[400];
    if (expected < 0 || (uint64_t)expected >= w->sent_end) {
        window_fail(w, gap,
                    "the daemon expects a batch that this stream never sent: another program uses the same "
                    "producer name and epoch. Give each program its own producer name");
    } else if ((uint64_t)expected < w->base) {
        snprintf(
            reason, sizeof reason,
            "the daemon lost %" PRIu64 " batches that it had acknowledged as '%s': it crashed "
            "before they were durable, or the model was deleted and created again, or the data directory was "
            "replaced. Send these samples again on a new stream",
            w->base - (uint64_t)expected, w->ack);
        window_fail(w, gap, reason);
    } else if (expected != w->handled_gap && (uint64_t)expected < w->cursor) {
        rewind_to(w, (uint64_t)expected);
        w->handled_gap = expected;
    }
}

/* Keep the refusal of the oldest batch. The batches before it will be acknowledged. */
static void process_refused_epoch(window *w, uint64_t seq, const sl_error *refusal, int64_t next) {
    if (w->refused && seq >= w->refused_seq) return;
    w->renewals++;
    if (seq < w->doubt_end) {
        window_fail(
            w, refusal,
            "it is unknown whether the daemon learned some of the samples: they were sent before, the "
            "answer was lost, and the daemon has forgotten the position of this producer");
    } else if (w->renewals > MAX_RENEWALS) {
        window_fail(w, refusal, "the daemon refuses every new epoch of the stream");
    } else {
        w->refused = true;
        w->refused_seq = seq;
        w->next_epoch = next;
        if (seq < w->cursor) w->cursor = seq;
        begin_epoch(w);
    }
}

static void process_refusal(window *w, uint64_t seq, sl_value wire, const char *endpoint, double time) {
    sl_error refusal;
    int64_t expected = -1, next = epoch_after(w->epoch, wire);
    char reason[96];
    set_refusal(&refusal, wire);
    if (strcmp(refusal.code, "GAP") == 0) {
        if (sl_as_integer(sl_field(sl_field(wire, "detail"), "expected_seq"), &expected)) {
            process_gap(w, &refusal, expected);
        } else {
            protocol_error(&refusal, endpoint, "a GAP needs expected_seq");
            window_fail(w, &refusal, "the daemon's answer can't be read");
        }
    } else if (next != 0) {
        process_refused_epoch(w, seq, &refusal, next);
    } else if (!refusal.retryable) {
        snprintf(reason, sizeof reason, "the daemon refused batch %" PRIu64 " of the stream", seq);
        window_fail(w, &refusal, reason);
    } else if (seq < w->cursor) {
        rewind_to(w, seq);
        w->handled_gap = (int64_t)seq; /* the daemon answers all later batches with a GAP at this number */
        w->paused_until = time + w->pause;
        w->pause = fmin(2 * w->pause, longest_pause);
    }
}

void window_receive(window *w, const inbox_reply *reply, const char *endpoint, double time) {
    int64_t id;
    sl_ack ack;
    if (!sl_as_integer(reply->id, &id) || (uint64_t)id < w->first_id) return;
    uint64_t seq = (uint64_t)id - w->first_id;
    if (seq < w->base || seq >= w->sent_end) return;
    w->resend_at = time + w->answer_timeout;
    if (sl_type_of(reply->error) == SL_MAP) {
        process_refusal(w, seq, reply->error, endpoint, time);
    } else if (read_ack(reply->ok, &ack)) {
        acknowledge(w, seq, &ack);
    } else {
        sl_error error;
        protocol_error(&error, endpoint, "an acknowledgement lacks a field");
        window_fail(w, &error, "the daemon's answer can't be read");
    }
}
