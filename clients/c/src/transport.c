#define _POSIX_C_SOURCE 200809L
#include "transport.h"

#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "errors.h"

enum { RECONNECT_MS = 50, RECONNECT_MAX_MS = 1000, HEARTBEAT_MS = 2000, HEARTBEAT_TIMEOUT_MS = 10000 };
static const double longest_wait = 3600.0; /* every wait is part of a loop */

/* ------------------------------------------------------------------------------------ context and clocks */

struct shared_context {
    void *zmq;
    atomic_int users;
    atomic_uint monitors; /* number of monitors so far, for their names */
};

shared_context *context_open(void) {
    shared_context *context = calloc(1, sizeof *context);
    if (context == NULL) return NULL;
    context->zmq = zmq_ctx_new();
    if (context->zmq == NULL) {
        free(context);
        return NULL;
    }
    atomic_init(&context->users, 1);
    atomic_init(&context->monitors, 0);
    return context;
}

shared_context *context_share(shared_context *context) {
    atomic_fetch_add(&context->users, 1);
    return context;
}

void context_close(shared_context *context) {
    if (context == NULL || atomic_fetch_sub(&context->users, 1) > 1) return;
    while (zmq_ctx_term(context->zmq) != 0 && errno == EINTR) {
    }
    free(context);
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int64_t nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

bool random_digits(char *text, size_t digits) {
    unsigned char bytes[32];
    FILE *source = fopen("/dev/urandom", "rb");
    bool complete =
        source != NULL && digits / 2 <= sizeof bytes && fread(bytes, 1, digits / 2, source) == digits / 2;
    if (source != NULL) fclose(source);
    for (size_t i = 0; complete && i < digits / 2; i++) snprintf(text + 2 * i, 3, "%02x", (unsigned)bytes[i]);
    return complete;
}

double deadline_after(double timeout, double default_timeout) {
    double seconds = timeout == SL_DEFAULT ? default_timeout : timeout;
    return now() + (seconds < 0 ? 0.0 : seconds);
}

int protocol_error(sl_error *error, const char *endpoint, const char *problem) {
    set_error(error, "PROTOCOL_ERROR",
              "what listens at %s does not follow the protocol: %s. Check the endpoint, and that "
              "client and daemon have the same version",
              endpoint, problem);
    if (error != NULL) error->in_doubt = true;
    return -1;
}

/* -------------------------------------------------------------------------------------------- connection */

static bool set_number(void *socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

static bool set_key(void *socket, int option, const char *key) {
    return zmq_setsockopt(socket, option, key, strlen(key)) == 0;
}

/* Whether the host of a TCP endpoint is an IPv6 address, or a name without an IPv4 address. A socket with
 * IPv6 would connect to the IPv6 address of a name that has both, where a daemon on 127.0.0.1 does not
 * listen. */
static bool needs_ipv6(const char *endpoint) {
    char host[256];
    const char *start = strncmp(endpoint, "tcp://", 6) == 0 ? endpoint + 6 : NULL;
    const char *colon = start == NULL ? NULL : strrchr(start, ':');
    if (colon == NULL || (size_t)(colon - start) >= sizeof host) return false;
    if (*start == '[') return true;
    memcpy(host, start, (size_t)(colon - start));
    host[colon - start] = '\0';
    struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    bool has_ipv4 = getaddrinfo(host, NULL, &wanted, &found) == 0;
    if (found != NULL) freeaddrinfo(found);
    return !has_ipv4;
}

/* The socket has ZMQ_IMMEDIATE: it accepts a message only while it is connected, so none queue for a daemon
 * that is away. On a SUB socket it would delay the subscriptions until the first read. */
static bool set_options(connection *at, int type, const char *endpoint, const client_keys *keys) {
    void *socket = at->socket;
    bool set = set_number(socket, ZMQ_LINGER, 0) && set_number(socket, ZMQ_IMMEDIATE, type != ZMQ_SUB) &&
               set_number(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
               set_number(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) &&
               set_number(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) &&
               set_number(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS) &&
               set_number(socket, ZMQ_IPV6, needs_ipv6(endpoint));
    if (!set || !keys->given) return set;
    return set_key(socket, ZMQ_CURVE_SERVERKEY, keys->server) &&
           set_key(socket, ZMQ_CURVE_PUBLICKEY, keys->public_key) &&
           set_key(socket, ZMQ_CURVE_SECRETKEY, keys->secret);
}

/* The monitor's queue has no limit: ZeroMQ's thread would wait for space in a full one. */
static bool open_monitor(connection *at, shared_context *context) {
    char address[64];
    snprintf(address, sizeof address, "inproc://streamlearn-monitor-%u",
             atomic_fetch_add(&context->monitors, 1U));
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(at->socket, address, events) != 0) return false;
    at->monitor = zmq_socket(context->zmq, ZMQ_PAIR);
    return at->monitor != NULL && set_number(at->monitor, ZMQ_LINGER, 0) &&
           set_number(at->monitor, ZMQ_RCVHWM, 0) && zmq_connect(at->monitor, address) == 0;
}

int connection_open(connection *at, shared_context *context, int type, const char *endpoint,
                    const client_keys *keys, const char *announced_by, sl_error *error) {
    memset(at, 0, sizeof *at);
    at->has_key = keys->given;
    memcpy(at->public_key, keys->public_key, sizeof at->public_key);
    if (strlen(endpoint) >= sizeof at->endpoint) {
        return set_error(error, "BAD_VALUE", "the endpoint has more than %zu characters",
                         sizeof at->endpoint - 1);
    }
    memcpy(at->endpoint, endpoint, strlen(endpoint) + 1);
    at->socket = zmq_socket(context->zmq, type);
    if (at->socket == NULL || !set_options(at, type, endpoint, keys) || !open_monitor(at, context)) {
        set_error(error, "NO_MEMORY", "ZeroMQ can't open a socket: %s", zmq_strerror(errno));
        connection_close(at, 0.0);
        return -1;
    }
    if (zmq_connect(at->socket, endpoint) == 0) return 0;
    const char *problem = zmq_strerror(errno);
    if (announced_by != NULL)
        protocol_error(error, announced_by, "it announces an endpoint that is not valid");
    else
        set_error(error, "BAD_VALUE", "'%s' is not a valid endpoint (%s); use tcp://HOST:PORT or ipc://PATH",
                  endpoint, problem);
    connection_close(at, 0.0);
    return -1;
}

void connection_close(connection *at, double linger) {
    if (at->socket != NULL) {
        zmq_socket_monitor(at->socket, NULL, 0);
        set_number(at->socket, ZMQ_LINGER, (int)(1000.0 * linger));
    }
    if (at->monitor != NULL) zmq_close(at->monitor);
    if (at->socket != NULL) zmq_close(at->socket);
    at->socket = at->monitor = NULL;
    at->connected = false;
}

/* Receive a frame without waiting; again if a signal interrupted it. */
static int receive_frame(zmq_msg_t *frame, void *socket) {
    int bytes;
    do bytes = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT);
    while (bytes < 0 && errno == EINTR);
    return bytes;
}

static void process_event(connection *at, uint16_t event, uint32_t value) {
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        at->connected = true;
        at->ended = 0;
        int events;
        size_t size = sizeof events;
        zmq_getsockopt(at->socket, ZMQ_EVENTS, &events, &size); /* the socket drops the old connection */
    } else if (event == ZMQ_EVENT_DISCONNECTED) {
        at->ended += !at->connected;
        at->connected = false;
    } else {
        at->refused = true;
        at->refusal_event = event;
        at->refusal_value = value;
    }
}

/* ZeroMQ reports a lost connection shortly before it drops it, and loses the messages that it accepts in
 * between. So `connected` stays false until the next handshake. */
bool connection_events(connection *at) {
    bool lost = false;
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    while (receive_frame(&frame, at->monitor) >= 0) {
        if (zmq_msg_more(&frame) && zmq_msg_size(&frame) == 6) { /* the second frame is an address */
            uint16_t event;
            uint32_t value;
            memcpy(&event, zmq_msg_data(&frame), sizeof event);
            memcpy(&value, (const char *)zmq_msg_data(&frame) + sizeof event, sizeof value);
            process_event(at, event, value);
            lost |= event == ZMQ_EVENT_DISCONNECTED;
        }
    }
    zmq_msg_close(&frame);
    return lost;
}

bool connection_refused(const connection *at, sl_error *error) {
    if (!at->refused) return false;
    if (at->refusal_event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && at->has_key) {
        set_error(error, "FORBIDDEN",
                  "the daemon at %s does not admit the public key %s: it is unknown or revoked, or has "
                  "no right that this connection needs; see the daemon's log, its client_keys and its rights",
                  at->endpoint, at->public_key);
    } else if (at->refusal_value != ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH) {
        protocol_error(error, at->endpoint, "the ZeroMQ handshake failed");
    } else {
        set_error(error, "FORBIDDEN", "the daemon at %s %s", at->endpoint,
                  at->has_key
                      ? "takes no keys: leave out server_key and key_file, also in the environment "
                        "(STREAMLEARN_SERVER_KEY, STREAMLEARN_KEY_FILE)"
                      : "requires a key: pass server_key and key_file, or set STREAMLEARN_SERVER_KEY and "
                        "STREAMLEARN_KEY_FILE");
    }
    return true;
}

const char *connection_hint(const connection *at, char *text, size_t size) {
    if (at->ended == 0) return "";
    snprintf(
        text, size,
        ". %u connections ended during the handshake: possibly %s, or a tunnel or proxy at this endpoint "
        "has no daemon behind it",
        at->ended, at->has_key ? "server_key is not this daemon's key" : "the daemon requires a key");
    return text;
}

/* If the connection is lost in the middle of a message, ZeroMQ refuses a frame and drops all frames up to the
 * next last one. So an empty last frame ends the message. */
bool connection_send(connection *at, const frame_part *frames, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0), sent;
        do sent = zmq_send(at->socket, frames[i].data, frames[i].bytes, flags);
        while (sent < 0 && errno == EINTR);
        if (sent < 0) {
            if (i > 0 && i + 1 < count) zmq_send(at->socket, "", 0, ZMQ_DONTWAIT);
            return false;
        }
    }
    return true;
}

int connection_receive(connection *at, inbox *in) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    inbox_clear(in);
    bool more = true, copied = true;
    for (size_t count = 0; more; count++) {
        if (receive_frame(&frame, at->socket) < 0)
            break; /* ZeroMQ delivers whole messages: only before the first frame */
        copied = copied && inbox_add(in, zmq_msg_data(&frame), zmq_msg_size(&frame));
        more = zmq_msg_more(&frame) != 0;
    }
    zmq_msg_close(&frame);
    return more ? 0 : copied ? 1 : -1;
}

void connection_wait(connection *at, bool sending, double seconds) {
    zmq_pollitem_t items[] = {
        {at->socket, 0, (short)(ZMQ_POLLIN | (sending ? ZMQ_POLLOUT : 0)), 0},
        {at->monitor, 0, ZMQ_POLLIN, 0},
    };
    double wait = seconds < 0.0 ? 0.0 : seconds > longest_wait ? longest_wait : seconds;
    zmq_poll(items, 2, (long)(1000.0 * wait + 0.999)); /* may end early; every caller is a loop */
}
