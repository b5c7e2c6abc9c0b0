/*
 * The C client of streamlearn: requests, streams that are learned exactly once, and events.
 *
 * Ownership. Input arrays and texts belong to the caller. The library does not keep them after a function
 * returns. An sl_reply or sl_event refers to memory of the handle that filled it, until the next call with
 * this handle. A handle belongs to the caller, who closes it.
 *
 * Errors. A function that returns int returns 0 for success and -1 for a failure, unless its comment says
 * otherwise. A failure fills *error; `error` may be NULL. Every function that talks to the daemon may fail
 * with NO_ANSWER (the timeout has passed), PROTOCOL_ERROR (what answers is not a daemon), FORBIDDEN (the key
 * of this client has no right to it), NO_MEMORY, and with what the daemon refuses: BAD_NAME, UNKNOWN_MODEL,
 * BAD_SHAPE, BAD_VALUE and the other codes of docs/reference/errors.md. Comments name further ones.
 *
 * Threads. One thread at a time may use a handle. Different handles may be used by different threads at the
 * same time, also a client and the streams and subscriptions that were opened with it. After a fork, the
 * child uses no handle of its parent, and closes none.
 *
 * Waiting. A signal does not end a call: a program that ends at a signal gives its calls a timeout and looks
 * at a flag between them.
 *
 * Units. Timeouts are seconds. A timeout of SL_DEFAULT (0) is the default of the handle; SL_NO_WAIT returns
 * at once, and SL_NO_LIMIT waits without a limit. Times of samples and events are nanoseconds since 1970
 * (UTC).
 */
#ifndef STREAMLEARN_H
#define STREAMLEARN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SL_API __attribute__((visibility("default")))
#else
#define SL_API
#endif

#define SL_VERSION "0.2.0"
#define SL_DEFAULT 0.0
#define SL_NO_WAIT (-1.0)
#define SL_NO_LIMIT 1e9
#define SL_MAX_AXES 8

/* ------------------------------------------------------------------------------------------------ errors */

/* What went wrong. `code` is a code of docs/reference/errors.md (UNRECOGNISED: one that is newer than this
 * client), or one of this client: NO_ANSWER (no answer before the timeout), STREAM_LOST (a stream can't
 * continue), PROTOCOL_ERROR (the peer does not follow the protocol), NO_MEMORY, FILE (a file can't be read or
 * written). */
typedef struct sl_error {
    char code[32];
    char message[512]; /* for people, in UTF-8: what is wrong, what was expected, what to do */
    char detail[1024]; /* facts for programs, as JSON text; "{}" if there are none, or more than fit */
    char cause[32];    /* STREAM_LOST: the code of the error that ended it; UNRECOGNISED: the daemon's code */
    bool retryable;    /* the request had no effect and may succeed later */
    bool in_doubt;     /* the daemon may have executed the request: an attempt has no answer */
} sl_error;

/* Return an integer of error->detail, such as expected_seq, in *value. Return false if there is none. */
SL_API bool sl_error_integer(const sl_error *error, const char *field, int64_t *value);

/* ------------------------------------------------------------------------------------- values and arrays */

/* A value in a reply or event: a view of its MessagePack bytes, without a copy. */
typedef struct sl_value {
    const unsigned char *at, *end;
} sl_value;

typedef enum sl_type {
    SL_NOTHING, /* not a valid value */
    SL_NIL,
    SL_BOOL,
    SL_INTEGER,
    SL_FLOAT,
    SL_TEXT,
    SL_BYTES,
    SL_LIST,
    SL_MAP
} sl_type;

/* Return the type of a value. */
SL_API sl_type sl_type_of(sl_value value);

/* Number of entries of a list or map, or of bytes of a text or bytes; 0 of other values. */
SL_API size_t sl_count(sl_value value);

/* Return the value of a field of a map; a value of type SL_NOTHING if there is none. */
SL_API sl_value sl_field(sl_value map, const char *name);

/* Return entry `index` of a list, from 0; a value of type SL_NOTHING if there is none. It takes O(index)
 * steps. */
SL_API sl_value sl_item(sl_value list, size_t index);

/* Return entry `index` of a map, from 0. *key and *value are of type SL_NOTHING if there is none. */
SL_API void sl_entry(sl_value map, size_t index, sl_value *key, sl_value *value);

/* Read a value into *out. Return false, and leave *out, if it has another type or does not fit. An integer is
 * also read as a double. */
SL_API bool sl_as_integer(sl_value value, int64_t *out);
SL_API bool sl_as_double(sl_value value, double *out);
SL_API bool sl_as_bool(sl_value value, bool *out);

/* Return the bytes of a text, which have no NUL at the end, and their number. NULL if it is not a text. */
SL_API const char *sl_as_text(sl_value value, size_t *bytes);

/* Write a value as JSON text with a NUL at the end, at most `size` bytes. Return the length of the whole
 * text, as snprintf does; 0 for a value that is not valid, or nested more than 32 deep. NaN and infinities
 * become null, bytes become text of hexadecimal digits. */
SL_API size_t sl_to_json(sl_value value, char *text, size_t size);

typedef enum sl_dtype { SL_F4, SL_F8, SL_I4, SL_I8, SL_U4, SL_U8, SL_I1, SL_U1, SL_B1 } sl_dtype;

/* An array in C order. In replies and events, `data` is aligned for its dtype. */
typedef struct sl_array {
    const char *name;
    sl_dtype dtype;
    size_t axes; /* 1 to SL_MAX_AXES */
    size_t shape[SL_MAX_AXES];
    size_t count; /* number of values */
    const void *data;
} sl_array;

typedef struct sl_arrays {
    const sl_array *items;
    size_t count;
} sl_arrays;

/* Return the array with this name; NULL if there is none. */
SL_API const sl_array *sl_find(const sl_arrays *arrays, const char *name);

/* Return the values of the array with this name; NULL if there is none, or it has another dtype. The number
 * of values is stored in *count, unless `count` is NULL. */
SL_API const float *sl_floats(const sl_arrays *arrays, const char *name, size_t *count);
SL_API const int32_t *sl_int32s(const sl_arrays *arrays, const char *name, size_t *count);
SL_API const int64_t *sl_int64s(const sl_arrays *arrays, const char *name, size_t *count);

/* The answer to a request. */
typedef struct sl_reply {
    sl_value ok;      /* a map */
    sl_arrays arrays; /* the outputs, or the parts of a model */
} sl_reply;

/* Samples in rows. A pointer that is NULL: the samples have none. NaN is a missing value; infinities are
 * refused. */
typedef struct sl_samples {
    size_t rows;
    const float *x; /* (rows, columns). NULL: late targets, with y and ids */
    size_t columns;
    const float *y; /* (rows, targets) */
    size_t targets;
    const int64_t *keys;  /* (rows), see sl_identifier for texts */
    const int64_t *ids;   /* (rows) */
    const int64_t *times; /* (rows) */
} sl_samples;

/* Return the number that a text stands for as a key or an id (docs/protocol.md, Samples). */
SL_API int64_t sl_identifier(const char *text);

/* ------------------------------------------------------------------------------------------------ client */

typedef struct sl_client sl_client;

/* Zero means the default. Fill it with `sl_options options = {0};`. */
typedef struct sl_options {
    const char *endpoint; /* requests endpoint: $STREAMLEARN_ENDPOINT, or tcp://127.0.0.1:7700 */
    double timeout;       /* of each request: 10 s */
    /* Keys: the daemon's public key (40 characters of Z85, or its .pub file), and the .key file of this
     * client: $STREAMLEARN_SERVER_KEY, $STREAMLEARN_KEY_FILE, or none. */
    const char *server_key, *key_file;
    const char *events, *firehose; /* endpoints: those that the daemon announces */
} sl_options;

/* Open a client. It connects in the background: no daemon needs to run yet. `options` may be NULL.
 * Return NULL and fill *error for a wrong endpoint or key. Close the client with sl_close. */
SL_API sl_client *sl_open(const sl_options *options, sl_error *error);

/* Close a client and free its memory. Its streams and subscriptions stay open. `client` may be NULL. */
SL_API void sl_close(sl_client *client);

/* Execute any operation of docs/protocol.md. `fields` is the JSON text of a map with its fields (NULL: none),
 * such as {"model": "pump", "lsn": 12}. `arrays` (NULL: none) are further fields, sent as frames, in the
 * order of docs/protocol.md. Here and below, `reply` may be NULL. A request that was lost with its connection
 * is sent again only if docs/protocol.md says that it may be; else the error is NO_ANSWER with `in_doubt`. */
SL_API int sl_request(sl_client *client, const char *op, const char *fields, const sl_arrays *arrays,
                      sl_reply *reply, sl_error *error);

/* Request the version, limits and endpoints of the daemon. */
SL_API int sl_hello(sl_client *client, sl_reply *reply, sl_error *error);

/* Create a model. `spec` is JSON text, such as {"dim": 4, "grid": [8, 8]}. The kernels of a kind may have to
 * be compiled first: the call waits up to 5 minutes for a daemon that has received it. If the answer is lost,
 * the model is created once. The error is MODEL_EXISTS if there is another model with this name. */
SL_API int sl_create(sl_client *client, const char *model, const char *kind, const char *spec,
                     sl_reply *reply, sl_error *error);

/* Delete the model that has this name now. If the answer is lost, a model that was created later is not
 * deleted. */
SL_API int sl_delete(sl_client *client, const char *model, sl_error *error);

/* List the models after the name `after` (NULL: from the first), at most 500; `more` in the reply: there are
 * more. */
SL_API int sl_models(sl_client *client, const char *after, sl_reply *reply, sl_error *error);

/* Describe a model: fields `kind`, `dim`, `samples`, `spec`, `state_hash` and those of docs/protocol.md. It
 * is answered after everything that was accepted before has been learned. */
SL_API int sl_describe(sl_client *client, const char *model, sl_reply *reply, sl_error *error);

/* Request the counters of a model. NULL: those of the daemon and the first 500 models. */
SL_API int sl_stats(sl_client *client, const char *model, sl_reply *reply, sl_error *error);

/* The acknowledgement of a batch. */
typedef struct sl_ack {
    int64_t lsn;         /* number of the batch's record in the journal */
    int64_t durable_lsn; /* all records up to this one survive a power cut */
    int64_t applied_lsn; /* the model has learned all records up to this one */
    int64_t rows;        /* samples or late targets in the batch */
    int64_t matched;     /* late targets with a waiting sample; -1: unknown */
    int64_t unmatched;   /* late targets without one; -1: unknown */
    bool duplicate;      /* the daemon had the batch already: the answer to an earlier attempt was lost */
} sl_ack;

/* Zero means the default. */
typedef struct sl_learn_options {
    const char *ack; /* when to answer: "received", "written" or "durable" (the default) */
    /* A name of this batch, 1 to 256 bytes. The model learns it once, also if several processes send it. */
    const char *idempotency_key;
    /* The caller's own numbers. NULL: this client numbers the batch itself. With a producer, the caller
     * numbers all batches of (producer, epoch) from 0 without gaps, and uses a number for one content only.
     */
    const char *producer;
    int64_t epoch, seq;
    const char *const *channels; /* names of the columns, compared with those of the model */
    size_t channel_count;
    const char *const *key_names; /* texts that keys stand for, so that events have them */
    size_t key_name_count;
} sl_learn_options;

/* Learn samples or late targets exactly once: they are sent again after a lost connection, and the daemon
 * recognizes them. More rows than the limits of sl_hello are sent in parts (with numbers of the caller they
 * are refused). After an error, ack->rows is the number of rows in parts that were acknowledged; if the error
 * has `in_doubt`, the model may have learned the next part too. `options` and `ack` may be NULL. It allocates
 * no memory; libzmq allocates its messages. */
SL_API int sl_learn(sl_client *client, const char *model, const sl_samples *samples,
                    const sl_learn_options *options, sl_ack *ack, sl_error *error);

/* Compute the outputs for samples without learning them. `samples` has x, and keys and times if the model
 * uses them. */
SL_API int sl_predict(sl_client *client, const char *model, const sl_samples *samples, sl_reply *reply,
                      sl_error *error);

/* Compute what the model expects of samples: arrays `expected` and `contribution` (rows, columns), `score`
 * (rows). */
SL_API int sl_explain(sl_client *client, const char *model, const sl_samples *samples, sl_reply *reply,
                      sl_error *error);

/* Continue a recurrent network: array `forecast` (steps, columns), and `lower`, `upper` if the model has
 * bands. `key`: the stream, for models with keys; else NULL. */
SL_API int sl_forecast(sl_client *client, const char *model, size_t steps, const int64_t *key,
                       sl_reply *reply, sl_error *error);

/* Read parts of a model, such as "weights" or "quality". `parts` has `count` names. */
SL_API int sl_read(sl_client *client, const char *model, const char *const *parts, size_t count,
                   sl_reply *reply, sl_error *error);

/* The next functions, up to sl_resume, and sl_restore change the model once, also if a lost answer makes them
 * be sent again. */

/* Give the label `label`, at most 32 bytes (NULL: take it away), to a unit, or to one sample: the `columns`
 * values x (docs/models/labels.md). */
SL_API int sl_label_unit(sl_client *client, const char *model, const char *label, int64_t unit,
                         sl_reply *reply, sl_error *error);
SL_API int sl_label_sample(sl_client *client, const char *model, const char *label, const float *x,
                           size_t columns, sl_reply *reply, sl_error *error);

/* Judge a sample, by its number or by its `columns` values x. `verdict` is "normal" or "fault"; `name` is
 * that of the fault, at most 32 bytes, or NULL. */
SL_API int sl_feedback(sl_client *client, const char *model, int64_t sample, const char *verdict,
                       const char *name, sl_reply *reply, sl_error *error);
SL_API int sl_feedback_values(sl_client *client, const char *model, const float *x, size_t columns,
                              const char *verdict, const char *name, sl_reply *reply, sl_error *error);

/* Stop and continue learning; the model watches its samples meanwhile. */
SL_API int sl_pause(sl_client *client, const char *model, sl_reply *reply, sl_error *error);
SL_API int sl_resume(sl_client *client, const char *model, sl_reply *reply, sl_error *error);

/* Write a checkpoint. With a name (else NULL), the daemon keeps it; CHECKPOINT_EXISTS if the name is in use.
 */
SL_API int sl_checkpoint(sl_client *client, const char *model, const char *name, sl_reply *reply,
                         sl_error *error);

/* List the checkpoints of a model, the newest first: field `checkpoints`. */
SL_API int sl_checkpoints(sl_client *client, const char *model, sl_reply *reply, sl_error *error);

/* Restore a checkpoint: the one with `name`, or the state after the record `lsn` if `name` is NULL, or the
 * newest one if `lsn` is also 0. NO_CHECKPOINT if there is none. */
SL_API int sl_restore(sl_client *client, const char *model, const char *name, int64_t lsn, sl_reply *reply,
                      sl_error *error);

/* Return the newest epoch of a producer (0: none) and the number of its next batch (0: unknown producer). */
SL_API int sl_position(sl_client *client, const char *model, const char *producer, int64_t *epoch,
                       int64_t *next_seq, sl_error *error);

/* Write the file of a model, in safetensors format. An existing file is replaced when the new one is
 * complete. */
SL_API int sl_export(sl_client *client, const char *model, const char *path, sl_error *error);

/* Create a model from its file. */
SL_API int sl_import(sl_client *client, const char *model, const char *path, sl_reply *reply,
                     sl_error *error);

/* Send one batch without an acknowledgement, and without a number: it may be lost. The call waits until the
 * connection has taken it, at most the client's timeout. */
SL_API int sl_fire(sl_client *client, const char *model, const sl_samples *samples, sl_error *error);

/* ----------------------------------------------------------------------------------------------- streams */

typedef struct sl_stream sl_stream;

/* Zero means the default. */
typedef struct sl_stream_options {
    size_t batch;    /* largest number of samples of a batch: 256 */
    size_t window;   /* largest number of unacknowledged batches: 64; at most limits.window (256) */
    double interval; /* seconds after which an incomplete batch is sent: 0.05. Negative: only by a flush */
    double timeout;  /* of push, flush and close: 60 s */
    const char *ack; /* "received", "written" or "durable" (the default) */
    const char *producer; /* a permanent name of this sender, 1 to 64 bytes: a random one */
} sl_stream_options;

/* Open a stream of samples to a model. Each sample is learned exactly once, also if daemon or network fail
 * meanwhile.
 *
 * The stream numbers the batches, keeps each one until it is acknowledged, and sends it again after a lost
 * connection. It has no thread: it sends and receives in the calls of this section, so call one of them
 * (sl_stream_poll if there is no sample) at least every `interval` seconds.
 *
 * Memory: (window + 1) x batch x (4 x columns + 4 x targets + 24) bytes, allocated here. Until it is closed,
 * the stream allocates no other memory, except for an answer above 16 KiB; libzmq allocates its messages.
 *
 * A failure that sending again can't repair ends the stream: every later call fails with STREAM_LOST. So does
 * a newer stream with the same producer name (`cause` is FENCED). `options` may be NULL. Return NULL and fill
 * *error on failure; BAD_VALUE for a batch or window above the daemon's limits. Close the stream with
 * sl_stream_close or sl_stream_abort. */
SL_API sl_stream *sl_stream_open(sl_client *client, const char *model, const sl_stream_options *options,
                                 sl_error *error);

/* Add one sample, for models without targets and keys: x has as many values as the model has channels.
 * It waits while the window is full. NO_ANSWER after the timeout: the sample was not added; push it again. */
SL_API int sl_stream_push(sl_stream *stream, const float *x, sl_error *error);

/* Add samples or late targets, in order. They are checked before the first one is added. The number of added
 * rows is stored in *taken (may be NULL); after NO_ANSWER it is less than `rows`. `timeout` SL_NO_WAIT adds
 * what fits now. */
SL_API int sl_stream_push_many(sl_stream *stream, const sl_samples *samples, double timeout, size_t *taken,
                               sl_error *error);

/* Return the number that a text stands for as a key, as sl_identifier does, and send the text with a later
 * batch, so that events have it. The stream keeps texts of at most 2048 bytes in total, and begins again when
 * there are more. */
SL_API int64_t sl_stream_key(sl_stream *stream, const char *text);

/* Send and receive what is due, for `seconds` (SL_NO_WAIT or SL_DEFAULT: what can be done at once). */
SL_API int sl_stream_poll(sl_stream *stream, double seconds, sl_error *error);

/* Send all samples and wait until they are acknowledged. NO_ANSWER after the timeout: the stream keeps them,
 * and detail has the number of `pending` ones. */
SL_API int sl_stream_flush(sl_stream *stream, double timeout, sl_error *error);

/* Flush and close. The memory is freed in any case. STREAM_LOST: detail has the number of `unacknowledged`
 * samples, which may or may not be learned. */
SL_API int sl_stream_close(sl_stream *stream, double timeout, sl_error *error);

/* Close at once. Samples that are not acknowledged may or may not be learned. `stream` may be NULL. */
SL_API void sl_stream_abort(sl_stream *stream);

typedef struct sl_stream_status {
    const char *producer;        /* until the stream is closed */
    int64_t epoch;               /* of its batches; it grows if the daemon forgets the producer */
    uint64_t pushed;             /* samples that were added */
    uint64_t acknowledged;       /* samples that the daemon has acknowledged */
    uint64_t pending;            /* samples that are not acknowledged yet */
    uint64_t resent;             /* batches that were sent again, counted once per resend */
    uint64_t matched, unmatched; /* late targets, as far as the acks report them */
    sl_ack last_ack;             /* rows 0: none yet */
} sl_stream_status;

/* Return the state of a stream, as of its last call. */
SL_API void sl_stream_get_status(const sl_stream *stream, sl_stream_status *status);

/* ------------------------------------------------------------------------------------------------ events */

typedef struct sl_events sl_events;

/* Which events to receive. NULL and 0: all. */
typedef struct sl_selection {
    const char *const *kinds; /* such as "alarm" (docs/protocol.md, Events) */
    size_t kind_count;
    const char *const *models;
    size_t model_count;
} sl_selection;

typedef struct sl_event {
    const char *kind;
    const char *model;
    int64_t lsn;   /* number of the record that caused it */
    int64_t first; /* number of samples that the model had learned before */
    int64_t rows;
    int64_t time; /* by the daemon's clock */
    sl_arrays arrays;
    sl_value header; /* a map; `key_names` are the texts of keys */
} sl_event;

/* Subscribe, and return when the daemon has confirmed it. The timeout is that of the client. `selection` may
 * be NULL. Events are not stored: those that happen while the connection is lost, or that arrive much faster
 * than they are read, are missed. Return NULL and fill *error on failure. */
SL_API sl_events *sl_subscribe(sl_client *client, const sl_selection *selection, sl_error *error);

/* Wait for the next event, for at most `seconds` (SL_DEFAULT: without a limit; SL_NO_WAIT: not at all).
 * Return 1 and fill *event, or 0 if none came, or -1 for an error. */
SL_API int sl_next_event(sl_events *events, double seconds, sl_event *event, sl_error *error);

/* Close a subscription and free its memory. `events` may be NULL. */
SL_API void sl_unsubscribe(sl_events *events);

#ifdef __cplusplus
}
#endif

#endif
