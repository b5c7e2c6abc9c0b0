/* The state of a stream, and its input and output. */
#ifndef SL_STREAM_H
#define SL_STREAM_H

#include "client.h"
#include "window.h"

enum {
    HEADER_BYTES = 4096,
    KEY_NAMES = 256,
    KEY_NAME_BYTES = 2048,
    LONGEST_KEY_NAME = 256,
    PUSHES_PER_TURN = 32
};

struct sl_stream {
    shared_context *context;
    connection at;
    inbox in;
    window window;
    char model[SL_NAME_BYTES + 1], producer[SL_NAME_BYTES + 1], ack[16];
    bool needs_keys, accepts_late_targets;
    double interval, timeout;
    const char *key_names[KEY_NAMES]; /* into key_text */
    int64_t key_numbers[KEY_NAMES];
    char key_text[KEY_NAME_BYTES + KEY_NAMES];
    size_t key_name_count, key_text_bytes;
    bool greeted;  /* this connection has sent `hello` */
    bool named;    /* this connection has sent the names of keys */
    bool flushing; /* send the incomplete batch */
    uint64_t pushed;
    double first_time; /* of the first row of the incomplete batch */
    unsigned pushes;   /* since the last turn of input and output */
    uint8_t header[HEADER_BYTES];
};

/* Send and receive what can be sent and received at once. Return whether the socket's queue is full. */
bool stream_turn(sl_stream *stream);

/* The same, and wait once for the next event, until `deadline` at most. */
void stream_turn_and_wait(sl_stream *stream, double deadline);

/* Whether the batch that is being filled is to be sent. */
bool stream_incomplete_is_due(const sl_stream *stream, double time);

/* Give the batch that is being filled its number. Return false if the window is full. */
bool stream_seal(sl_stream *stream);

#endif
