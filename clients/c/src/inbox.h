/* A received message: its frames in one aligned memory, and the arrays that they hold. */
#ifndef SL_INBOX_H
#define SL_INBOX_H

#include "names.h"

#include <stdbool.h>

#include "streamlearn.h"

typedef struct inbox_frame {
    size_t offset, bytes;
} inbox_frame;

/* The memory grows to the largest message. `data` may move when a frame is added. */
typedef struct inbox {
    unsigned char *data;
    size_t capacity, used;
    inbox_frame *frames;
    size_t frame_count, frame_capacity;
    sl_array *arrays;
    size_t array_count, array_capacity;
} inbox;

/* Reserve the memory for small messages. Return false without memory. */
bool inbox_open(inbox *in);
void inbox_clear(inbox *in);
void inbox_free(inbox *in);

/* Copy a frame. Return false without memory. */
bool inbox_add(inbox *in, const void *frame, size_t bytes);

/* Return the bytes of a frame. */
sl_value inbox_frame_at(const inbox *in, size_t index);

/* The header of a message, which is one map. */
typedef struct inbox_reply {
    sl_value header, id, ok, error; /* `ok` or `error` is a map, the other one SL_NOTHING */
} inbox_reply;

/* Read the header of a reply. Return NULL, or what is wrong. It does not allocate. */
const char *read_reply_header(sl_value frame, inbox_reply *reply);

/* Read a reply with its arrays. Return NULL, or what is wrong. */
const char *inbox_read_reply(inbox *in, inbox_reply *reply);

/* Read an event without its topic: its header and arrays, of the frames after the topic. */
const char *inbox_read_event(inbox *in, sl_event *event);

enum { SL_NAME_BYTES = 64 };

/* Whether a text is the name of a model. */
bool is_model_name(const char *text, size_t bytes);

#endif
