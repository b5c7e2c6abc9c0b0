/* The unacknowledged batches of a stream, without any input and output: which batches to send, and when to
 * send them again.
 *
 * The daemon accepts the batches of one producer in order, so the acknowledgement of a batch acknowledges all
 * batches before it. One cursor, the number of the next batch to send, is enough. It moves back as follows:
 *
 * - Connection lost: to the oldest unacknowledged batch. Sending continues after the next handshake.
 * - GAP: to the batch that the daemon expects. Every batch after the missing one gets the same GAP, so only
 * the first of these answers moves the cursor.
 * - BUSY, DISK_FULL, SHUTTING_DOWN: to the refused batch, after a pause that doubles.
 * - No answer: to the oldest unacknowledged batch, after a delay that doubles.
 *
 * After UNKNOWN_PRODUCER the daemon did not learn the refused batch, nor those after it. When all batches
 * before it are acknowledged, the remaining ones get new numbers in a new epoch. This is safe only if the
 * refused batch was sent once: the daemon may have learned an earlier attempt that has no answer. Then the
 * stream fails.
 *
 * All memory is allocated by window_open. Times are seconds of one monotonic clock. */
#ifndef SL_WINDOW_H
#define SL_WINDOW_H

#include "inbox.h"

/* The rows of one batch. */
typedef struct slot {
    size_t rows;
    unsigned fields; /* bits of `enum field`: the arrays that the rows have */
} slot;

enum field { HAS_X = 1, HAS_Y = 2, HAS_KEYS = 4, HAS_IDS = 8, HAS_TIMES = 16 };

typedef struct window {
    size_t size, batch, columns, targets;
    slot *slots; /* a ring of size + 1: the sealed batches, and the one that is being filled */
    unsigned char *rows;
    size_t slot_bytes, head, sealed;

    uint64_t first_id;   /* id of the request with number 0; ids are never used again */
    uint64_t base;       /* number of the oldest unacknowledged batch */
    uint64_t cursor;     /* number of the next batch to send */
    uint64_t sent_end;   /* all batches below this number were sent at least once */
    uint64_t doubt_end;  /* batches below this number have an earlier attempt without an answer */
    int64_t handled_gap; /* expected_seq of the GAP that moved the cursor; -1: none */
    bool refused;        /* the epoch was refused; the batches from refused_seq on wait for `next_epoch` */
    uint64_t refused_seq;
    int64_t epoch, next_epoch;
    unsigned renewals; /* refused epochs since the last acknowledgement */
    double paused_until, resend_at, pause, answer_timeout;

    uint64_t acknowledged, pending, resent, matched,
        unmatched; /* rows, rows in sealed batches, batches, targets */
    sl_ack last_ack;
    const char *ack; /* the level of acknowledgement, for messages */
    bool failed;
    sl_error failure; /* STREAM_LOST */
} window;

/* Allocate the memory of a window. Return false without memory, or if the sizes are too large. */
bool window_open(window *w, size_t size, size_t batch, size_t columns, size_t targets);
void window_close(window *w);

/* The batch that is being filled. */
slot *window_filling(const window *w);

/* Copy rows `from` to `from + count - 1` of samples behind the rows of the batch that is being filled. */
void window_fill(window *w, const sl_samples *samples, size_t from, size_t count);

/* Give the batch that is being filled its number. Return false if the window is full. */
bool window_seal(window *w);

/* Return the rows of the batch with a number, as views. */
sl_samples window_batch(const window *w, uint64_t seq);

/* Return whether a batch is to be sent now: the one with the number `cursor`. */
bool window_has_due(window *w, double time);
void window_sent(window *w, double time);

/* Return the time at which window_has_due becomes true without an answer. */
double window_next_time(const window *w);

/* Record that the connection was lost, and with it all messages in transit. */
void window_disconnected(window *w);

/* Process a reply. */
void window_receive(window *w, const inbox_reply *reply, const char *endpoint, double time);

/* Record that the stream can't continue. The first failure stays. */
void window_fail(window *w, const sl_error *cause, const char *reason);

#endif
