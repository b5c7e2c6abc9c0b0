/* The state of a client, and the execution of one request. */
#ifndef SL_CLIENT_H
#define SL_CLIENT_H

#include "frames.h"
#include "inbox.h"
#include "transport.h"

enum { ENDPOINT_BYTES = 256, MAX_FRAMES = 16, EPOCH_TRIES = 4 };

/* What `hello` announces. */
typedef struct daemon_facts {
    bool known;
    size_t rows, frame_bytes, window;
    char events[ENDPOINT_BYTES], firehose[ENDPOINT_BYTES]; /* "": none */
} daemon_facts;

struct sl_client {
    shared_context *context;
    client_keys keys;
    char endpoint[ENDPOINT_BYTES];
    char events[ENDPOINT_BYTES], firehose[ENDPOINT_BYTES]; /* given by the user; "": as announced */
    double timeout;
    connection requests, pushing; /* `pushing` to the firehose is opened by the first sl_fire */
    inbox in;
    uint8_t *header, *fields; /* memory for the header of a request, and for its fields */
    size_t header_capacity, fields_capacity;
    uint64_t next_id;
    char producer[24]; /* of the batches that this client numbers */
    int64_t epoch;     /* of the newest such batch; each one has its own */
    daemon_facts daemon;
};

/* How to execute a request. */
typedef struct call {
    bool idempotent;  /* the daemon may receive it twice without harm */
    double deadline;  /* of the monotonic clock */
    double timeout;   /* that led to the deadline, for messages */
    double patience;  /* seconds to wait for the answer once it is sent, if that is longer */
    bool answer_lost; /* result: the connection was lost before the answer, and it must not be sent again */
} call;

call begin_call(const sl_client *client, bool idempotent);

/* Execute the request of these frames; the header, which is the first one, has the id `id`. *reply is the
 * answer, or the refusal that ended it; else all its parts are SL_NOTHING. */
int exchange(sl_client *client, call *how, const char *op, uint64_t id, const frame_part *frames,
             size_t count, inbox_reply *reply, sl_error *error);

/* Encode a request, with a new id, and execute it. `reply` may be NULL. */
int execute(sl_client *client, call *how, request_header *request, sl_reply *reply, sl_error *error);

/* Execute a change that the daemon executes once, also if it is sent again: it has a number. */
int execute_once(sl_client *client, call *how, request_header *request, sl_reply *reply, sl_error *error);

/* Write the fields of a request into the client's memory, which has `bytes` at least. */
int begin_fields(sl_client *client, mp_writer *to, size_t bytes, sl_error *error);

/* Return the map that was written since begin_fields. */
sl_value end_fields(const sl_client *client, const mp_writer *to);

/* Request what `hello` announces, once. */
int know_daemon(sl_client *client, const call *how, sl_error *error);

/* Return the largest number of such rows in one request. */
size_t most_rows(const sl_client *client, const sl_samples *samples);
int too_many_rows(size_t rows, size_t most, sl_error *error);

/* Return an error if samples are not valid, or exceed the daemon's limits. */
int check_batch(sl_client *client, const call *how, const sl_samples *samples, sl_error *error);

/* Return an error unless `model` can be the name of a model. */
int check_model(const char *model, sl_error *error);

/* Read an acknowledgement. Return false if it lacks a field. */
bool read_ack(sl_value ok, sl_ack *ack);

/* Return the next epoch after a refusal that a new epoch repairs (an unknown producer; an epoch too far ahead
 * of the daemon's clock); 0 for another refusal. */
int64_t epoch_after(int64_t epoch, sl_value refusal);

/* Write the id of a request. */
sl_value encode_id(uint64_t id, uint8_t encoded[9]);

#endif
