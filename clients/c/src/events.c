/* Subscriptions to the events of models. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "client.h"
#include "errors.h"

enum { KIND_BYTES = 32, TOPIC_BYTES = KEY_BYTES + KIND_BYTES + SL_NAME_BYTES + 3 };

static const char *const event_kinds[] = {"output",  "targets", "drift",    "alarm",    "checkpoint",
                                          "created", "deleted", "restored", "reheated", "paused",
                                          "resumed", "judged",  "labelled"};
enum { KINDS = sizeof event_kinds / sizeof event_kinds[0] };

struct sl_events {
    shared_context *context;
    connection at;
    inbox in;
    char prefix[KEY_BYTES +
                1]; /* the public key and "/": the beginning of all topics of a subscriber with a key */
    char (*models)[SL_NAME_BYTES + 1];
    size_t model_count;                              /* 0: all */
    char kind[KIND_BYTES], model[SL_NAME_BYTES + 1]; /* of the last event */
};

/* --------------------------------------------------------------------------------------------- subscribe */

static bool is_kind(const char *text, size_t bytes) {
    for (size_t i = 0; i < KINDS; i++) {
        if (strlen(event_kinds[i]) == bytes && memcmp(event_kinds[i], text, bytes) == 0) return true;
    }
    return false;
}

static bool subscribe_to(sl_events *events, const char *topic) {
    return zmq_setsockopt(events->at.socket, ZMQ_SUBSCRIBE, topic, strlen(topic)) == 0;
}

static bool subscribe_to_kind(sl_events *events, const char *kind) {
    char topic[TOPIC_BYTES];
    for (size_t i = 0; i < events->model_count; i++) {
        snprintf(topic, sizeof topic, "%s%s/%s", events->prefix, kind, events->models[i]);
        if (!subscribe_to(events, topic)) return false;
    }
    snprintf(topic, sizeof topic, "%s%s/", events->prefix, kind);
    return events->model_count > 0 || subscribe_to(events, topic);
}

static int copy_selection(sl_events *events, const sl_selection *selection, sl_error *error) {
    for (size_t i = 0; i < selection->kind_count; i++) {
        if (!is_kind(selection->kinds[i], strlen(selection->kinds[i]))) {
            return set_error(error, "BAD_VALUE", "no '%.40s' events exist", selection->kinds[i]);
        }
    }
    events->models = calloc(selection->model_count + 1, sizeof *events->models);
    if (events->models == NULL) return set_error(error, "NO_MEMORY", "there is no memory for a subscription");
    for (size_t i = 0; i < selection->model_count; i++) {
        if (check_model(selection->models[i], error) != 0) return -1;
        memcpy(events->models[i], selection->models[i], strlen(selection->models[i]) + 1);
    }
    events->model_count = selection->model_count;
    return 0;
}

/* Wait for the next message. Return 1, 0 after the deadline, or -1 for an error. */
static int receive(sl_events *events, double deadline, sl_error *error) {
    for (;;) {
        int received = connection_receive(&events->at, &events->in);
        if (received > 0) return 1;
        if (received < 0) return set_error(error, "NO_MEMORY", "there is no memory for an event");
        connection_events(&events->at);
        if (connection_refused(&events->at, error)) return -1;
        double left = deadline - now();
        if (left <= 0.0) return 0;
        connection_wait(&events->at, false, left);
    }
}

/* Return whether the message in the inbox has this topic. */
static bool has_topic(const sl_events *events, const char *topic) {
    sl_value frame = inbox_frame_at(&events->in, 0);
    size_t bytes = strlen(topic);
    return (size_t)(frame.end - frame.at) == bytes && memcmp(frame.at, topic, bytes) == 0;
}

/* The daemon sends a topic of its own back after it has read the subscriptions before it. */
static int confirm(sl_events *events, double deadline, double timeout, sl_error *error) {
    char topic[32] = "subscribed/", hint[256];
    if (!random_digits(topic + strlen(topic), 16)) return set_error(error, "FILE", "can't read /dev/urandom");
    if (!subscribe_to(events, topic)) return set_error(error, "NO_MEMORY", "ZeroMQ can't subscribe");
    int received;
    while ((received = receive(events, deadline, error)) > 0 && !has_topic(events, topic)) {
    }
    if (received < 0) return -1;
    if (received == 0) {
        return set_error(error, "NO_ANSWER",
                         "no daemon publishes at %s (tried for %g s): check that `streamlearn serve` is "
                         "running and that this is its events endpoint%s",
                         events->at.endpoint, timeout, connection_hint(&events->at, hint, sizeof hint));
    }
    if (events->in.frame_count > 1) {
        inbox_reply reply;
        const char *problem = read_reply_header(inbox_frame_at(&events->in, 1), &reply);
        if (problem == NULL && sl_type_of(reply.error) == SL_MAP) return set_refusal(error, reply.error);
        return protocol_error(error, events->at.endpoint,
                              "it confirms a subscription with a frame that is no error");
    }
    zmq_setsockopt(events->at.socket, ZMQ_UNSUBSCRIBE, topic, strlen(topic));
    return 0;
}

static int open_events(sl_client *client, sl_events *events, const sl_selection *selection, sl_error *error) {
    call how = begin_call(client, true);
    if (!inbox_open(&events->in))
        return set_error(error, "NO_MEMORY", "there is no memory for a subscription");
    if (copy_selection(events, selection, error) != 0) return -1;
    if (client->events[0] == '\0' && know_daemon(client, &how, error) != 0) return -1;
    const char *endpoint = client->events[0] != '\0' ? client->events : client->daemon.events;
    if (endpoint[0] == '\0') return set_error(error, "NO_ANSWER", "the daemon announces no events endpoint");
    events->context = context_share(client->context);
    if (client->keys.given) snprintf(events->prefix, sizeof events->prefix, "%s/", client->keys.public_key);
    const char *announced_by = client->events[0] != '\0' ? NULL : client->endpoint;
    if (connection_open(&events->at, client->context, ZMQ_SUB, endpoint, &client->keys, announced_by,
                        error) != 0)
        return -1;
    for (size_t i = 0; i < (selection->kind_count > 0 ? selection->kind_count : KINDS); i++) {
        if (!subscribe_to_kind(events, selection->kind_count > 0 ? selection->kinds[i] : event_kinds[i])) {
            return set_error(error, "NO_MEMORY", "ZeroMQ can't subscribe");
        }
    }
    return confirm(events, how.deadline, how.timeout, error);
}

sl_events *sl_subscribe(sl_client *client, const sl_selection *selection, sl_error *error) {
    static const sl_selection all;
    sl_events *events = calloc(1, sizeof *events);
    if (events == NULL) {
        set_error(error, "NO_MEMORY", "there is no memory for a subscription");
        return NULL;
    }
    if (open_events(client, events, selection == NULL ? &all : selection, error) != 0) {
        sl_unsubscribe(events);
        return NULL;
    }
    return events;
}

void sl_unsubscribe(sl_events *events) {
    if (events == NULL) return;
    connection_close(&events->at, 0.0);
    context_close(events->context);
    inbox_free(&events->in);
    free(events->models);
    free(events);
}

/* ------------------------------------------------------------------------------------------------ events */

/* Whether the event is one of the chosen models. A topic also matches longer names. */
static bool is_selected(const sl_events *events) {
    for (size_t i = 0; i < events->model_count; i++) {
        if (strcmp(events->models[i], events->model) == 0) return true;
    }
    return events->model_count == 0;
}

/* Read the kind of an event from its topic, <prefix><kind>/<model>. */
static bool read_topic(sl_events *events, const sl_event *event) {
    sl_value topic = inbox_frame_at(&events->in, 0);
    size_t prefix = strlen(events->prefix), model_bytes = 0, bytes = (size_t)(topic.end - topic.at);
    const char *model = sl_as_text(sl_field(event->header, "model"), &model_bytes);
    if (bytes < prefix + model_bytes + 2 || memcmp(topic.at, events->prefix, prefix) != 0) return false;
    size_t kind_bytes = bytes - prefix - model_bytes - 1;
    const char *kind = (const char *)topic.at + prefix;
    if (kind_bytes >= KIND_BYTES || !is_kind(kind, kind_bytes)) return false;
    memcpy(events->kind, kind, kind_bytes);
    events->kind[kind_bytes] = '\0';
    memcpy(events->model, model, model_bytes);
    events->model[model_bytes] = '\0';
    return true;
}

int sl_next_event(sl_events *events, double seconds, sl_event *event, sl_error *error) {
    double deadline = deadline_after(seconds, SL_NO_LIMIT);
    for (;;) {
        int received = receive(events, deadline, error);
        if (received <= 0) return received;
        memset(event, 0, sizeof *event);
        if (events->in.frame_count == 1) continue; /* a confirmation of a subscription */
        const char *problem = inbox_read_event(&events->in, event);
        if (problem != NULL) return protocol_error(error, events->at.endpoint, problem);
        if (!read_topic(events, event)) {
            return protocol_error(error, events->at.endpoint,
                                  "a message has a topic that is not one of an event");
        }
        event->kind = events->kind;
        event->model = events->model;
        if (is_selected(events)) return 1;
    }
}
