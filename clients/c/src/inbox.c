#include "inbox.h"

#include <stdlib.h>
#include <string.h>

#include "msgpack.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "arrays of the protocol are little-endian: this client needs a little-endian processor"
#endif

enum { ALIGNMENT = 8, FIRST_BYTES = 16384, FIRST_FRAMES = 16 };

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [SL_F4] = {"<f4", 4}, [SL_F8] = {"<f8", 8}, [SL_I4] = {"<i4", 4},
    [SL_I8] = {"<i8", 8}, [SL_U4] = {"<u4", 4}, [SL_U8] = {"<u8", 8},
    [SL_I1] = {"|i1", 1}, [SL_U1] = {"|u1", 1}, [SL_B1] = {"|b1", 1},
};

/* Grow *memory to `needed` entries at least. Return false without memory. */
static bool reserve(void **memory, size_t *capacity, size_t needed, size_t entry_bytes) {
    if (needed <= *capacity) return true;
    size_t larger = *capacity > SIZE_MAX / 4 / entry_bytes ? needed : 2 * *capacity;
    if (larger < needed) larger = needed;
    if (larger > SIZE_MAX / 2 / entry_bytes) return false;
    void *moved = realloc(*memory, larger * entry_bytes);
    if (moved == NULL) return false;
    *memory = moved;
    *capacity = larger;
    return true;
}

static bool reserve_bytes(inbox *in, size_t bytes) {
    void *memory = in->data;
    bool reserved = reserve(&memory, &in->capacity, bytes, 1);
    in->data = memory;
    return reserved;
}

static bool reserve_frames(inbox *in, size_t count) {
    void *memory = in->frames;
    bool reserved = reserve(&memory, &in->frame_capacity, count, sizeof *in->frames);
    in->frames = memory;
    return reserved;
}

static bool reserve_arrays(inbox *in, size_t count) {
    void *memory = in->arrays;
    bool reserved = reserve(&memory, &in->array_capacity, count, sizeof *in->arrays);
    in->arrays = memory;
    return reserved;
}

bool inbox_open(inbox *in) {
    memset(in, 0, sizeof *in);
    if (reserve_bytes(in, FIRST_BYTES) && reserve_frames(in, FIRST_FRAMES) &&
        reserve_arrays(in, FIRST_FRAMES)) {
        return true;
    }
    inbox_free(in);
    return false;
}

void inbox_clear(inbox *in) { in->used = in->frame_count = in->array_count = 0; }

void inbox_free(inbox *in) {
    free(in->data);
    free(in->frames);
    free(in->arrays);
    memset(in, 0, sizeof *in);
}

bool inbox_add(inbox *in, const void *frame, size_t bytes) {
    size_t start = (in->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > SIZE_MAX / 2 - start || !reserve_bytes(in, start + bytes) ||
        !reserve_frames(in, in->frame_count + 1)) {
        return false;
    }
    if (bytes > 0) memcpy(in->data + start, frame, bytes);
    in->frames[in->frame_count++] = (inbox_frame){start, bytes};
    in->used = start + bytes;
    return true;
}

sl_value inbox_frame_at(const inbox *in, size_t index) {
    if (index >= in->frame_count) return (sl_value){NULL, NULL};
    const unsigned char *at = in->data + in->frames[index].offset;
    return (sl_value){at, at + in->frames[index].bytes};
}

/* ---------------------------------------------------------------------------------------------- messages */

static bool find_dtype(sl_value value, sl_dtype *dtype) {
    size_t bytes;
    const char *name = sl_as_text(value, &bytes);
    if (name == NULL || bytes != 3) return false;
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (memcmp(name, dtypes[i].name, 3) == 0) {
            *dtype = (sl_dtype)i;
            return true;
        }
    }
    return false;
}

/* Read the shape of an array. Return NULL, or what is wrong with it. */
static const char *read_shape(sl_value shape, size_t frame_bytes, sl_array *array) {
    size_t item_bytes = dtypes[array->dtype].bytes;
    array->axes = sl_type_of(shape) == SL_LIST ? sl_count(shape) : 0;
    if (array->axes < 1 || array->axes > SL_MAX_AXES) return "the shape of an array must have 1 to 8 axes";
    bool empty = false;
    array->count = 1;
    for (size_t i = 0; i < array->axes; i++) {
        int64_t length;
        if (!sl_as_integer(sl_item(shape, i), &length) || length < 0)
            return "a shape must be non-negative integers";
        array->shape[i] = (size_t)length;
        if (length == 0) empty = true;
        else if ((uint64_t)length > SIZE_MAX / 16 / array->count)
            return "an array of this shape is too large";
        else array->count *= (size_t)length;
    }
    if (empty) array->count = 0;
    return array->count * item_bytes == frame_bytes ? NULL : "the frame of an array does not fill its shape";
}

static bool has_name(const inbox *in, const char *name, size_t bytes) {
    for (size_t i = 0; i < in->array_count; i++) {
        if (strlen(in->arrays[i].name) == bytes && memcmp(in->arrays[i].name, name, bytes) == 0) return true;
    }
    return false;
}

/* Read the arrays that `described` lists, from the frames `first` on. Names are copied to the end of the
 * memory. */
static const char *read_arrays(inbox *in, sl_value described, size_t header, size_t first) {
    size_t count = sl_type_of(described) == SL_LIST ? sl_count(described) : 0;
    bool absent = sl_type_of(described) == SL_NOTHING || sl_type_of(described) == SL_NIL;
    if ((!absent && sl_type_of(described) != SL_LIST) || count != in->frame_count - first) {
        return "the number of frames is not that of the described arrays";
    }
    const unsigned char *old = in->data;
    size_t offset = count > 0 ? (size_t)(described.at - old) : 0;
    /* The header has all names, so its length and one NUL for each is enough for them. */
    if (!reserve_arrays(in, count) || !reserve_bytes(in, in->used + in->frames[header].bytes + count)) {
        return "there is no memory for its arrays";
    }
    if (count > 0) described.end = in->data + offset + (described.end - described.at);
    if (count > 0) described.at = in->data + offset;
    sl_value entry = count > 0 ? sl_item(described, 0) : described;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *frame = in->data + in->frames[first + i].offset;
        sl_array *array = &in->arrays[i];
        size_t bytes;
        const char *name = sl_as_text(sl_field(entry, "name"), &bytes);
        if (name == NULL || memchr(name, '\0', bytes) != NULL || has_name(in, name, bytes)) {
            return "each array needs a unique name";
        }
        if (!find_dtype(sl_field(entry, "dtype"), &array->dtype)) return "an array has an unknown dtype";
        const char *problem = read_shape(sl_field(entry, "shape"), in->frames[first + i].bytes, array);
        if (problem != NULL) return problem;
        memcpy(in->data + in->used, name, bytes);
        in->data[in->used + bytes] = '\0';
        array->name = (const char *)in->data + in->used;
        in->used += bytes + 1;
        array->data = frame;
        in->array_count++;
        entry = (sl_value){entry.end, mp_skip(entry.end, described.end)};
    }
    return NULL;
}

/* Read the map of a header. Return NULL, or what is wrong. */
static const char *read_header(sl_value frame, sl_value *header) {
    int64_t version;
    if (frame.at == NULL || mp_skip(frame.at, frame.end) != frame.end || sl_type_of(frame) != SL_MAP) {
        return "the header is not one MessagePack map";
    }
    *header = frame;
    sl_value v = sl_field(frame, "v");
    if (!sl_as_integer(v, &version) || version != 1)
        return "it has another protocol version; this client has 1";
    return NULL;
}

static bool is_id(sl_value id) {
    sl_type type = sl_type_of(id);
    if (type == SL_TEXT || type == SL_BYTES) return sl_count(id) <= 64;
    return type == SL_NOTHING || type == SL_NIL || type == SL_INTEGER;
}

const char *read_reply_header(sl_value frame, inbox_reply *reply) {
    static const sl_value nothing = {NULL, NULL};
    const char *problem = read_header(frame, &reply->header);
    if (problem != NULL) return problem;
    reply->id = sl_field(frame, "id");
    reply->ok = reply->error = nothing;
    if (!is_id(reply->id)) return "its id is not an integer, or a text or bytes of at most 64 bytes";
    sl_value error = sl_field(frame, "error"), ok = sl_field(frame, "ok");
    if (sl_type_of(error) == SL_MAP) {
        reply->error = error;
        bool complete = sl_type_of(sl_field(error, "code")) == SL_TEXT &&
                        sl_type_of(sl_field(error, "message")) == SL_TEXT;
        return complete ? NULL : "an error needs a code and a message";
    }
    reply->ok = ok;
    return sl_type_of(ok) == SL_MAP ? NULL : "a reply needs a map under ok or error";
}

const char *inbox_read_reply(inbox *in, inbox_reply *reply) {
    const char *problem = read_reply_header(inbox_frame_at(in, 0), reply);
    if (problem != NULL || sl_type_of(reply->error) == SL_MAP) return problem;
    problem = read_arrays(in, sl_field(reply->header, "arrays"), 0, 1);
    if (problem != NULL) return problem;
    return read_reply_header(inbox_frame_at(in, 0), reply); /* the memory may have moved */
}

bool is_model_name(const char *text, size_t bytes) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    if (bytes < 1 || bytes > SL_NAME_BYTES || text[0] == '.' || text[0] == '-') return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\0' || strchr(letters, text[i]) == NULL) return false;
    }
    return true;
}

const char *inbox_read_event(inbox *in, sl_event *event) {
    const char *problem;
    if (in->frame_count < 2) return "an event has at least two frames";
    problem = read_header(inbox_frame_at(in, 1), &event->header);
    if (problem == NULL) problem = read_arrays(in, sl_field(event->header, "arrays"), 1, 2);
    if (problem != NULL) return problem;
    sl_value header = event->header = inbox_frame_at(in, 1);
    static const char *const names[] = {"lsn", "first", "rows", "time"};
    int64_t *const values[] = {&event->lsn, &event->first, &event->rows, &event->time};
    for (size_t i = 0; i < 4; i++) {
        if (!sl_as_integer(sl_field(header, names[i]), values[i]) || *values[i] < 0) {
            return "lsn, first, rows and time must be integers from 0 to 2^63 - 1";
        }
    }
    size_t bytes;
    const char *model = sl_as_text(sl_field(header, "model"), &bytes);
    if (model == NULL || !is_model_name(model, bytes)) return "its model is not a name";
    sl_value topic = inbox_frame_at(in, 0);
    size_t topic_bytes = (size_t)(topic.end - topic.at);
    bool matches = topic_bytes > bytes + 1 && topic.end[-1 - (ptrdiff_t)bytes] == '/' &&
                   memcmp(topic.end - bytes, model, bytes) == 0;
    if (!matches) return "its topic is not that of its model";
    event->arrays = (sl_arrays){in->arrays, in->array_count};
    return NULL;
}
