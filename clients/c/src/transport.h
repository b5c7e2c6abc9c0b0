/* A ZeroMQ socket that connects to one endpoint and reconnects, and its monitor. */
#ifndef SL_TRANSPORT_H
#define SL_TRANSPORT_H

#include "inbox.h"
#include "keys.h"

/* The ZeroMQ context of a client and of everything that was opened with it. */
typedef struct shared_context shared_context;

shared_context *context_open(void);
shared_context *context_share(shared_context *context);
void context_close(shared_context *context); /* the last user ends it */

typedef struct connection {
    void *socket, *monitor; /* of ZeroMQ */
    bool connected;         /* the last handshake succeeded, and its connection is not lost */
    bool refused;           /* the daemon refused the connection, and ZeroMQ does not try again */
    uint16_t refusal_event;
    uint32_t refusal_value;
    unsigned ended; /* handshakes without an outcome since the last success */
    bool has_key;
    char public_key[KEY_BYTES];
    char endpoint[256];
} connection;

/* Connect a socket of a ZeroMQ type. The endpoint need not exist yet. The daemon that listens at
 * `announced_by` announced the endpoint; NULL: the user gave it. */
int connection_open(connection *at, shared_context *context, int type, const char *endpoint,
                    const client_keys *keys, const char *announced_by, sl_error *error);

/* Close the socket. Messages have `linger` seconds to leave. */
void connection_close(connection *at, double linger);

/* Read the events of the monitor. Return whether a connection was lost. */
bool connection_events(connection *at);

/* Return whether the connection is refused, and fill *error. */
bool connection_refused(const connection *at, sl_error *error);

/* A likely reason why there is no connection yet, to be added to a message; "" if nothing is known. */
const char *connection_hint(const connection *at, char *text, size_t size);

typedef struct frame_part {
    const void *data;
    size_t bytes;
} frame_part;

/* Send a message without waiting. Return whether the socket accepted all frames. Send only while
 * `connected`. */
bool connection_send(connection *at, const frame_part *frames, size_t count);

/* Copy the next message that has arrived. Return 1, 0 if there is none, or -1 without memory. */
int connection_receive(connection *at, inbox *in);

/* Wait for an event of the socket or its monitor, for at most `seconds`. `sending`: also until it accepts
 * messages. */
void connection_wait(connection *at, bool sending, double seconds);

/* Seconds of a monotonic clock. */
double now(void);

/* Nanoseconds since 1970. */
int64_t nanoseconds(void);

/* Fill a text with `digits` random hexadecimal digits and a NUL. Return false if there is no random
 * source. */
bool random_digits(char *text, size_t digits);

/* Return the deadline of a timeout of the caller (see streamlearn.h, Units). */
double deadline_after(double timeout, double default_timeout);

/* Describe a peer that does not follow the protocol. Return -1. */
int protocol_error(sl_error *error, const char *endpoint, const char *problem);

#endif
