/* Print the events of a model, and its unusual samples: ./watch_events [MODEL]
 *
 * Ctrl-C ends it. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <streamlearn.h>
#include <string.h>

static const float unusual = 0.999f;

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static void print_event(const sl_event *event) {
    size_t rows = 0;
    const float *score = sl_floats(&event->arrays, "score", &rows);
    if (strcmp(event->kind, "output") != 0) {
        printf("%s of %s (lsn %" PRId64 ")\n", event->kind, event->model, event->lsn);
    }
    for (size_t row = 0; strcmp(event->kind, "output") == 0 && row < rows; row++) {
        if (score[row] > unusual)
            printf("sample %" PRId64 ": score %.4f\n", event->first + (int64_t)row, (double)score[row]);
    }
    fflush(stdout);
}

int main(int count, char **arguments) {
    sl_error error;
    const char *model = count > 1 ? arguments[1] : "pump";
    sl_selection selection = {.models = &model, .model_count = 1};
    signal(SIGINT, stop);
    sl_client *client = sl_open(NULL, &error);
    sl_events *events = client == NULL ? NULL : sl_subscribe(client, &selection, &error);
    int received = events == NULL ? -1 : 0;
    while (received >= 0 && !stopped) {
        sl_event event;
        received = sl_next_event(events, 0.5, &event, &error);
        if (received > 0) print_event(&event);
    }
    sl_unsubscribe(events);
    sl_close(client);
    if (received < 0) fprintf(stderr, "%s: %s\n", error.code, error.message);
    return received < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
