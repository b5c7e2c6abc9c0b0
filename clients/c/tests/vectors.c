/* Encodes and decodes golden vectors (clients/vectors) with the library.
 *
 * Each line of standard input is {"file": NAME, "entry": ENTRY}. The answer is one line of JSON: the frames
 * of a request, or the message of a reply or event. With the arguments SEED COUNT it decodes, instead of each
 * message, all prefixes of its frames and COUNT random changes of it, and answers with their number. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "inbox.h"
#include "json.h"
#include "print_json.h"
#include "request_reader.h"
#include "vector_values.h"

/* --------------------------------------------------------------------------------------- encode requests */

static size_t texts_of(sl_value list, char *texts[16]) {
    size_t count = 0;
    for (; count < sl_count(list) && count < 16; count++) texts[count] = string_of(sl_item(list, count));
    return count;
}

/* Whether a field of the message is not one of the fields that a request has besides its arrays and lists. */
static bool is_special(const char *name) {
    static const char *const names[] = {"op",   "id",  "model", "x",        "y",
                                        "keys", "ids", "times", "channels", "content"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) return true;
    }
    return false;
}

/* Copy the other fields of a message, with the integers that are texts of digits. */
static void write_fields(mp_writer *to, sl_value message) {
    uint8_t *head = to->at;
    size_t count = 0;
    mp_write_map(to, 0);
    for (size_t i = 0; i < sl_count(message); i++) {
        sl_value key, value;
        sl_entry(message, i, &key, &value);
        char *name = string_of(key);
        bool number = strcmp(name, "key") == 0 || strcmp(name, "lsn") == 0;
        if (!is_special(name)) {
            mp_write_raw(to, key.at, (size_t)(key.end - key.at));
            if (number) write_integer(to, value);
            else mp_write_raw(to, value.at, (size_t)(value.end - value.at));
            count++;
        }
        free(name);
    }
    *head = (uint8_t)(0x80 | count);
}

static void put_frames(const uint8_t *header, size_t bytes, const sl_arrays *arrays) {
    fputs("{\"frames\": [", stdout);
    put_hex(header, bytes);
    for (size_t i = 0; i < arrays->count; i++) {
        fputs(", ", stdout);
        put_hex(arrays->items[i].data, array_bytes(&arrays->items[i]));
    }
    fputs("]}\n", stdout);
}

static void encode(sl_value message) {
    uint8_t header[4096], fields[2048], id[80];
    char *channels[16], *key_names[16];
    mp_writer to = {header, header + sizeof header, false},
              of_fields = {fields, fields + sizeof fields, false};
    message_arrays arrays;
    read_message_arrays(message, &arrays);
    char *op = string_of(sl_field(message, "op")), *model = string_of(sl_field(message, "model"));
    char *ack = string_of(sl_field(message, "ack")), *producer = string_of(sl_field(message, "producer"));
    size_t channel_count = texts_of(sl_field(message, "channels"), channels);
    size_t key_name_count = texts_of(sl_field(message, "key_names"), key_names);
    sl_value encoded_id = encode_vector_id(sl_field(message, "id"), id, sizeof id);
    if (strcmp(op, "learn") == 0) {
        learn_header learn = {
            .id = encoded_id, .model = model, .ack = ack, .producer = producer, .arrays = arrays.list};
        learn.epoch = (uint64_t)integer_of(sl_field(message, "epoch"));
        learn.seq = (uint64_t)integer_of(sl_field(message, "seq"));
        learn.channels = (const char *const *)channels;
        learn.channel_count = channel_count;
        learn.key_names = (const char *const *)key_names;
        learn.key_name_count = key_name_count;
        write_learn(&to, &learn);
    } else {
        request_header request = {.id = encoded_id, .op = op, .model = model, .arrays = arrays.list};
        write_fields(&of_fields, message);
        request.fields = (sl_value){fields, of_fields.at};
        request.channels = (const char *const *)channels;
        request.channel_count = channel_count;
        write_request(&to, &request);
    }
    put_frames(header, (size_t)(to.at - header), &arrays.list);
    free_message_arrays(&arrays);
    for (size_t i = 0; i < channel_count; i++) free(channels[i]);
    for (size_t i = 0; i < key_name_count; i++) free(key_names[i]);
    free(op);
    free(model);
    free(ack);
    free(producer);
}

/* -------------------------------------------------------------------------------- decode replies, events */

static void put_value(sl_value value) {
    size_t bytes = sl_to_json(value, NULL, 0);
    char *json = allocate(bytes);
    sl_to_json(value, json, bytes + 1);
    fputs(json, stdout);
    free(json);
}

static void put_problem(const char *problem) {
    fputs("{\"problem\": ", stdout);
    put_text(problem);
    fputs("}\n", stdout);
}

static void decode_reply(inbox *in) {
    inbox_reply reply;
    const char *problem = inbox_read_reply(in, &reply);
    if (problem != NULL) {
        put_problem(problem);
        return;
    }
    bool refused = sl_type_of(reply.error) == SL_MAP, bytes = sl_type_of(reply.id) == SL_BYTES;
    fputs(bytes ? "{\"id\": {\"bytes\": " : "{\"id\": ", stdout);
    put_value(reply.id);
    fputs(bytes ? "}, " : ", ", stdout);
    fputs(refused ? "\"error\": " : "\"ok\": ", stdout);
    put_value(refused ? reply.error : reply.ok);
    if (!refused) {
        sl_arrays arrays = {in->arrays, in->array_count};
        fputs(", ", stdout);
        put_arrays(&arrays);
    }
    fputs("}\n", stdout);
}

static void decode_event(inbox *in) {
    sl_event event;
    const char *problem = inbox_read_event(in, &event);
    if (problem != NULL) {
        put_problem(problem);
        return;
    }
    sl_value topic = inbox_frame_at(in, 0);
    fputs("{\"topic\": \"", stdout);
    fwrite(topic.at, 1, (size_t)(topic.end - topic.at), stdout);
    fputs("\", ", stdout);
    put_fields(event.header, "model lsn first rows time");
    fputs(", ", stdout);
    put_arrays(&event.arrays);
    fputs("}\n", stdout);
}

/* ---------------------------------------------------------------------------------------- random changes */

static uint64_t random_state;

static uint32_t random_below(uint32_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % limit;
}

/* Decode a message as everything. The memory of each frame ends where the frame does, so that the sanitizer
 * finds a read behind it. */
static void decode_all(const vector_frames *frames) {
    inbox in;
    inbox_reply reply;
    sl_event event;
    char json[4096], id[256];
    if (!inbox_open(&in)) abort();
    for (size_t i = 0; i < frames->count; i++) {
        if (!inbox_add(&in, frames->data[i], frames->bytes[i])) abort();
    }
    const char *problem = inbox_read_reply(&in, &reply);
    if (problem == NULL) sl_to_json(reply.header, json, sizeof json);
    for (size_t i = 0; problem == NULL && i < in.array_count; i++) {
        /* The arrays lie within their frames: read the first and the last byte. */
        const volatile unsigned char *data = in.arrays[i].data;
        size_t bytes = array_bytes(&in.arrays[i]);
        if (bytes > 0) (void)(data[0] + data[bytes - 1]);
    }
    in.array_count = 0;
    problem = inbox_read_event(&in, &event);
    if (problem == NULL) sl_to_json(event.header, json, sizeof json);
    sl_value first = {frames->data[0], frames->data[0] + frames->bytes[0]};
    sl_to_json(first, json, sizeof json);
    read_reply_header(first, &reply);
    read_request(frames, id, sizeof id);
    inbox_free(&in);
}

static void copy_frames(const vector_frames *from, vector_frames *to) {
    *to = *from;
    for (size_t i = 0; i < from->count; i++) {
        to->data[i] = malloc(from->bytes[i] > 0 ? from->bytes[i] : 1);
        if (to->data[i] == NULL) abort();
        memcpy(to->data[i], from->data[i], from->bytes[i]);
    }
}

/* Cut frame `index` off after `bytes`. */
static void decode_prefix(const vector_frames *frames, size_t index, size_t bytes) {
    vector_frames cut = *frames, copy;
    cut.bytes[index] = bytes;
    copy_frames(&cut, &copy);
    decode_all(&copy);
    free_frames(&copy);
}

static void decode_changed(const vector_frames *frames) {
    vector_frames copy;
    copy_frames(frames, &copy);
    uint32_t changes = 1 + random_below(4);
    for (uint32_t i = 0; i < changes; i++) {
        size_t index = random_below((uint32_t)copy.count);
        if (copy.bytes[index] == 0) continue;
        copy.data[index][random_below((uint32_t)copy.bytes[index])] = (uint8_t)random_below(256);
    }
    if (random_below(8) == 0 && copy.count > 1) free(copy.data[--copy.count]);
    decode_all(&copy);
    free_frames(&copy);
}

static void fuzz(const vector_frames *frames, unsigned count) {
    unsigned decoded = 0;
    for (size_t i = 0; i < frames->count; i++) {
        for (size_t bytes = 0; bytes < frames->bytes[i]; bytes++, decoded++) decode_prefix(frames, i, bytes);
    }
    for (unsigned i = 0; i < count; i++, decoded++) decode_changed(frames);
    printf("{\"decoded\": %u}\n", decoded);
}

/* ------------------------------------------------------------------------------------------------- lines */

/* Print a value, and the number that a text stands for. */
static void put_json(sl_value value) {
    char *text = string_of(value);
    fputs("{\"json\": ", stdout);
    put_value(value);
    if (text != NULL) printf(", \"identifier\": \"%" PRId64 "\"", sl_identifier(text));
    fputs("}\n", stdout);
    free(text);
}

/* Read random changes of a JSON text. */
static void fuzz_json(const char *line, size_t bytes, unsigned count) {
    char *copy = allocate(bytes);
    uint8_t encoded[256];
    size_t at;
    for (unsigned i = 0; i < count && bytes > 0; i++) {
        static const char marks[] = "{}[]\",:\\u09-+.eEtn \n";
        memcpy(copy, line, bytes);
        copy[random_below((uint32_t)bytes)] = marks[random_below(sizeof marks)];
        mp_writer to = {encoded, encoded + random_below(sizeof encoded), false};
        json_to_msgpack(copy, random_below((uint32_t)bytes), &to, &at);
    }
    free(copy);
}

static void process(const char *file, sl_value entry) {
    vector_frames frames;
    inbox in;
    if (strcmp(file, "json") == 0) {
        put_json(entry);
        return;
    }
    if (strcmp(file, "requests") == 0) {
        encode(sl_field(entry, "message"));
        return;
    }
    read_frames(sl_field(entry, "frames"), &frames);
    if (strcmp(file, "replies") == 0 || strcmp(file, "events") == 0) {
        if (!inbox_open(&in)) abort();
        for (size_t i = 0; i < frames.count; i++) inbox_add(&in, frames.data[i], frames.bytes[i]);
        if (strcmp(file, "replies") == 0) decode_reply(&in);
        else decode_event(&in);
        inbox_free(&in);
    } else {
        put_request(&frames);
    }
    free_frames(&frames);
}

int main(int count, char **arguments) {
    char *line = NULL;
    size_t size = 0;
    ssize_t bytes;
    bool fuzzing = count == 3;
    random_state = fuzzing ? strtoull(arguments[1], NULL, 10) * 2 + 1 : 1;
    while ((bytes = getline(&line, &size, stdin)) > 0) {
        size_t space = 9 * (size_t)bytes + 64, at;
        uint8_t *encoded = allocate(space);
        mp_writer to = {encoded, encoded + space, false};
        const char *problem = json_to_msgpack(line, (size_t)bytes, &to, &at);
        if (problem != NULL) {
            put_problem(problem);
            free(encoded);
            continue;
        }
        sl_value input = {encoded, to.at}, entry = sl_field(input, "entry");
        if (fuzzing) {
            vector_frames frames;
            read_frames(sl_field(entry, "frames"), &frames);
            fuzz(&frames, (unsigned)strtoul(arguments[2], NULL, 10));
            fuzz_json(line, (size_t)bytes, (unsigned)strtoul(arguments[2], NULL, 10));
            free_frames(&frames);
        } else {
            char *file = string_of(sl_field(input, "file"));
            process(file, entry);
            free(file);
        }
        free(encoded);
    }
    free(line);
    return EXIT_SUCCESS;
}
