/* The input and output of a stream. */
#include "stream.h"

#include <math.h>
#include <string.h>

#include "errors.h"

/* Ask for one acknowledgement of several batches, once for each connection. */
static bool greet(sl_stream *stream) {
    uint8_t fields[32];
    mp_writer to = {fields, fields + sizeof fields, false};
    if (stream->greeted) return true;
    mp_write_map(&to, 1);
    mp_write_string(&to, "cumulative_acks");
    mp_write_bool(&to, true);
    request_header hello = {.op = "hello", .fields = {fields, to.at}}; /* its id is nil: no batch has it */
    mp_writer header = {stream->header, stream->header + sizeof stream->header, false};
    write_request(&header, &hello);
    frame_part frame = {stream->header, (size_t)(header.at - stream->header)};
    stream->greeted = connection_send(&stream->at, &frame, 1);
    return stream->greeted;
}

/* Send the batch at the cursor. It has the names of keys, if there are new ones or the connection is new. */
static bool send_batch(sl_stream *stream) {
    window *w = &stream->window;
    sl_array arrays[SAMPLE_ARRAYS];
    frame_part frames[1 + SAMPLE_ARRAYS];
    uint8_t id[9];
    sl_samples samples = window_batch(w, w->cursor);
    learn_header learn = {
        .id = encode_id(w->first_id + w->cursor, id),
        .model = stream->model,
        .ack = stream->ack,
        .producer = stream->producer,
        .epoch = (uint64_t)w->epoch,
        .seq = w->cursor,
        .arrays = {arrays, arrays_of(&samples, arrays)},
    };
    if (!stream->named && samples.keys != NULL) {
        learn.key_names = stream->key_names;
        learn.key_name_count = stream->key_name_count;
    }
    mp_writer to = {stream->header, stream->header + sizeof stream->header, false};
    write_learn(&to, &learn); /* it fits: names have at most 64 bytes, those of keys 2048 in total */
    frames[0] = (frame_part){stream->header, (size_t)(to.at - stream->header)};
    for (size_t i = 0; i < learn.arrays.count; i++)
        frames[1 + i] = (frame_part){arrays[i].data, array_bytes(&arrays[i])};
    if (!connection_send(&stream->at, frames, 1 + learn.arrays.count)) return false;
    stream->named = stream->named || samples.keys != NULL;
    return true;
}

static void receive_all(sl_stream *stream, double time) {
    int received;
    while (!stream->window.failed && (received = connection_receive(&stream->at, &stream->in)) != 0) {
        sl_error error;
        inbox_reply reply;
        if (received < 0) {
            set_error(&error, "NO_MEMORY", "there is no memory for an answer");
            window_fail(&stream->window, &error, "the daemon's answer can't be read");
            return;
        }
        const char *problem = read_reply_header(inbox_frame_at(&stream->in, 0), &reply);
        if (problem == NULL) {
            window_receive(&stream->window, &reply, stream->at.endpoint, time);
        } else {
            protocol_error(&error, stream->at.endpoint, problem);
            window_fail(&stream->window, &error, "the daemon's answer can't be read");
        }
    }
}

bool stream_incomplete_is_due(const sl_stream *stream, double time) {
    size_t rows = window_filling(&stream->window)->rows;
    if (rows == 0) return false;
    return rows == stream->window.batch || stream->flushing || time >= stream->first_time + stream->interval;
}

bool stream_seal(sl_stream *stream) {
    if (!window_seal(&stream->window)) return false;
    stream->flushing = false;
    return true;
}

bool stream_turn(sl_stream *stream) {
    window *w = &stream->window;
    sl_error refusal;
    stream->pushes = 0;
    bool lost = connection_events(&stream->at);
    double time = now();
    receive_all(stream, time);
    if (lost) {
        window_disconnected(w);
        stream->greeted = stream->named = false;
    }
    if (!w->failed && connection_refused(&stream->at, &refusal))
        window_fail(w, &refusal, "the stream can't connect");
    if (stream_incomplete_is_due(stream, time)) stream_seal(stream);
    if (w->failed || !stream->at.connected) return false;
    if (!greet(stream)) return true;
    while (window_has_due(w, time)) {
        if (!send_batch(stream)) return true;
        window_sent(w, time);
    }
    return false;
}

void stream_turn_and_wait(sl_stream *stream, double deadline) {
    bool blocked = stream_turn(stream);
    double until = deadline, time = now();
    if (stream->window.failed || time >= deadline) return;
    if (stream->at.connected && !blocked) until = fmin(until, window_next_time(&stream->window));
    if (window_filling(&stream->window)->rows > 0 && stream->window.sealed < stream->window.size) {
        until = fmin(until, stream->first_time + stream->interval);
    }
    connection_wait(&stream->at, blocked, until - time);
}
