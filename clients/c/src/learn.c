/* One batch: learned exactly once, or sent to the firehose. */
#include <math.h>
#include <string.h>
#include <zmq.h>

#include "client.h"
#include "digests.h"
#include "errors.h"

enum { HEADER_BYTES = 4096, LONGEST_KEY = 256 };

/* Encode the header of a batch. Return its bytes; 0 and fill *error if it is too long. */
static size_t encode(sl_client *client, const learn_header *learn, sl_error *error) {
    mp_writer to = {client->header, client->header + HEADER_BYTES, false};
    write_learn(&to, learn);
    if (!to.full) return (size_t)(to.at - client->header);
    set_error(error, "TOO_LARGE", "the names of channels and keys do not fit into a header of %d bytes",
              HEADER_BYTES);
    return 0;
}

static size_t frames_of(const sl_client *client, size_t header_bytes, sl_arrays arrays, frame_part *frames) {
    frames[0] = (frame_part){client->header, header_bytes};
    for (size_t i = 0; i < arrays.count; i++) {
        frames[1 + i] = (frame_part){arrays.items[i].data, array_bytes(&arrays.items[i])};
    }
    return 1 + arrays.count;
}

static int check_level(const char *ack, sl_error *error) {
    bool known = strcmp(ack, "received") == 0 || strcmp(ack, "written") == 0 || strcmp(ack, "durable") == 0;
    if (known) return 0;
    return set_error(error, "BAD_VALUE",
                     "ack must be received, written or durable, not '%.40s'; to send without "
                     "acknowledgement, use sl_fire",
                     ack);
}

/* How a batch gets its numbers. */
typedef enum numbering {
    OWN_EPOCH, /* number 0 of an epoch of its own: an earlier batch whose answer was given up can't be
                  confused with it */
    OF_KEY,    /* of an idempotency key: the numbers from 0 on in the epoch of the key's producer */
    OF_CALLER
} numbering;

/* Send one part, in a new epoch if the daemon refuses the epoch and has not learned the part. */
static int learn_part(sl_client *client, call *how, learn_header *learn, numbering numbers, sl_ack *ack,
                      sl_error *error) {
    for (int tries = EPOCH_TRIES;; tries--) {
        uint8_t id_bytes[9];
        uint64_t id = ++client->next_id;
        frame_part frames[MAX_FRAMES];
        inbox_reply reply;
        if (numbers == OWN_EPOCH) learn->epoch = (uint64_t)++client->epoch;
        learn->id = encode_id(id, id_bytes);
        size_t bytes = encode(client, learn, error);
        if (bytes == 0) return -1;
        size_t count = frames_of(client, bytes, learn->arrays, frames);
        if (exchange(client, how, "learn", id, frames, count, &reply, error) == 0) {
            return read_ack(reply.ok, ack)
                       ? 0
                       : protocol_error(error, client->endpoint, "an acknowledgement lacks a field");
        }
        int64_t next = numbers == OWN_EPOCH ? epoch_after(client->epoch, reply.error) : 0;
        if (next == 0) return -1;
        client->epoch = next - 1;
        if (tries == 1 || error->in_doubt) return -1;
    }
}

/* Name the producer of an idempotency key, and its epoch, which is the same in every attempt of every
 * process. */
static int number_by_key(sl_client *client, learn_header *learn, const char *key, char producer[48],
                         sl_error *error) {
    size_t bytes = strlen(key);
    char digits[65];
    sha256 digest;
    int64_t epoch = 0, next_seq = 0;
    if (bytes == 0 || bytes > LONGEST_KEY) {
        return set_error(error, "BAD_VALUE", "idempotency_key must have 1 to %d bytes", LONGEST_KEY);
    }
    sha256_begin(&digest);
    sha256_add(&digest, key, bytes);
    sha256_end(&digest, digits);
    producer[0] = '~';
    memcpy(producer + 1, digits, 40);
    producer[41] = '\0';
    if (sl_position(client, learn->model, producer, &epoch, &next_seq, error) != 0) return -1;
    learn->producer = producer;
    learn->epoch = (uint64_t)epoch + (next_seq == 0);
    return 0;
}

/* Return `count` rows of samples, from row `first` on. */
static sl_samples part_of(const sl_samples *samples, size_t first, size_t count) {
    sl_samples part = *samples;
    part.rows = count;
    if (part.x != NULL) part.x += first * samples->columns;
    if (part.y != NULL) part.y += first * samples->targets;
    if (part.keys != NULL) part.keys += first;
    if (part.ids != NULL) part.ids += first;
    if (part.times != NULL) part.times += first;
    return part;
}

/* Add the acknowledgement of a part to that of the parts before it. */
static void add_ack(sl_ack *total, const sl_ack *part) {
    sl_ack before = *total;
    *total = *part;
    total->rows += before.rows;
    if (before.rows == 0) return;
    total->duplicate = total->duplicate || before.duplicate;
    total->matched = part->matched < 0 || before.matched < 0 ? -1 : part->matched + before.matched;
    total->unmatched = part->unmatched < 0 || before.unmatched < 0 ? -1 : part->unmatched + before.unmatched;
}

static int learn_parts(sl_client *client, learn_header *learn, const sl_samples *samples, numbering numbers,
                       size_t step, sl_ack *total, sl_error *error) {
    sl_array arrays[SAMPLE_ARRAYS];
    call how = begin_call(client, true);
    for (size_t first = 0; first < samples->rows; first += step, learn->seq += numbers == OF_KEY) {
        size_t left = samples->rows - first;
        sl_samples part = part_of(samples, first, left < step ? left : step);
        sl_ack ack = {0};
        learn->arrays = (sl_arrays){arrays, arrays_of(&part, arrays)};
        if (learn_part(client, &how, learn, numbers, &ack, error) != 0) return -1;
        add_ack(total, &ack);
    }
    return 0;
}

int sl_learn(sl_client *client, const char *model, const sl_samples *samples, const sl_learn_options *options,
             sl_ack *ack, sl_error *error) {
    static const sl_learn_options defaults;
    sl_ack ignored;
    sl_error local;
    char producer[48];
    if (options == NULL) options = &defaults;
    if (ack == NULL) ack = &ignored;
    if (error == NULL) error = &local;
    *ack = (sl_ack){.matched = -1, .unmatched = -1};
    call how = begin_call(client, true);
    learn_header learn = {
        .model = model,
        .ack = options->ack == NULL ? "durable" : options->ack,
        .producer = client->producer,
        .channels = options->channels,
        .channel_count = options->channel_count,
        .key_names = options->key_names,
        .key_name_count = options->key_name_count,
    };
    numbering numbers = OWN_EPOCH;
    if (check_model(model, error) != 0 || check_level(learn.ack, error) != 0 ||
        check_samples(samples, error) != 0 || know_daemon(client, &how, error) != 0) {
        return -1;
    }
    size_t step = most_rows(client, samples);
    if (options->producer != NULL) {
        if (options->epoch < 0 || options->seq < 0)
            return set_error(error, "BAD_VALUE", "epoch and seq must be 0 or above");
        if (samples->rows > step) return too_many_rows(samples->rows, step, error);
        numbers = OF_CALLER;
        learn.producer = options->producer;
        learn.epoch = (uint64_t)options->epoch;
        learn.seq = (uint64_t)options->seq;
    } else if (options->idempotency_key != NULL) {
        numbers = OF_KEY;
        if (number_by_key(client, &learn, options->idempotency_key, producer, error) != 0) return -1;
    }
    return learn_parts(client, &learn, samples, numbers, step, ack, error);
}

int sl_fire(sl_client *client, const char *model, const sl_samples *samples, sl_error *error) {
    sl_array arrays[SAMPLE_ARRAYS];
    frame_part frames[MAX_FRAMES];
    connection *at = &client->pushing;
    call how = begin_call(client, true);
    if (check_model(model, error) != 0 || check_batch(client, &how, samples, error) != 0) return -1;
    const char *endpoint = client->daemon.firehose;
    if (endpoint[0] == '\0')
        return set_error(error, "NO_ANSWER", "the daemon announces no firehose endpoint");
    if (at->refused) connection_close(at, 0.0);
    if (at->socket == NULL && connection_open(at, client->context, ZMQ_PUSH, endpoint, &client->keys,
                                              client->endpoint, error) != 0) {
        return -1;
    }
    learn_header learn = {.model = model, .ack = "none", .arrays = {arrays, arrays_of(samples, arrays)}};
    size_t bytes = encode(client, &learn, error);
    if (bytes == 0) return -1;
    size_t count = frames_of(client, bytes, learn.arrays, frames);
    for (;;) {
        connection_events(at);
        if (connection_refused(at, error)) return -1;
        if (at->connected && connection_send(at, frames, count)) return 0;
        double left = how.deadline - now();
        if (left <= 0.0) {
            char hint[256];
            return set_error(error, "NO_ANSWER",
                             "no daemon receives at %s (tried for %g s): check that `streamlearn serve` is "
                             "running and that this is its firehose endpoint%s",
                             endpoint, how.timeout, connection_hint(at, hint, sizeof hint));
        }
        connection_wait(at, at->connected, left);
    }
}
