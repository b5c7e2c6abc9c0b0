/* Send the samples of a simulated sensor to a model: ./push_sensor
 *
 * While it runs, you may stop the daemon, even with `kill -9`, and start it again. No sample is lost or
 * learned twice. Ctrl-C ends it. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <streamlearn.h>
#include <string.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static float noise(float size) { return size * (2.0f * (float)rand() / (float)RAND_MAX - 1.0f); }

/* Pressure, flow, temperature and vibration of a simulated pump. */
static void read_sensor(unsigned number, float sample[4]) {
    float stroke = sinf(0.1256637f * (float)(number % 50));
    sample[0] = 4.0f + 0.5f * stroke + noise(0.02f);
    sample[1] = 12.0f + 2.0f * stroke + noise(0.1f);
    sample[2] = 60.0f + noise(0.1f);
    sample[3] = fabsf(noise(0.3f));
}

static int push_samples(sl_stream *stream, sl_error *error) {
    sl_stream_status status;
    for (unsigned number = 0; !stopped; number++) {
        float sample[4];
        read_sensor(number, sample);
        if (sl_stream_push(stream, sample, error) != 0) return -1;
        if (sl_stream_poll(stream, 0.02, error) != 0)
            return -1; /* 50 samples per second; sends what is due */
        if (number % 50 == 49) {
            sl_stream_get_status(stream, &status);
            printf("%" PRIu64 " acknowledged, %" PRIu64 " pending\n", status.acknowledged, status.pending);
            fflush(stdout);
        }
    }
    return 0;
}

int main(void) {
    sl_error error;
    signal(SIGINT, stop);
    sl_client *client = sl_open(NULL, &error);
    sl_stream *stream = NULL;
    int result = client == NULL ? -1 : 0;
    if (result == 0) {
        result = sl_create(client, "pump", "som", "{\"dim\": 4, \"grid\": [8, 8], \"scale\": \"standard\"}",
                           NULL, &error);
    }
    if (result != 0 && strcmp(error.code, "MODEL_EXISTS") == 0) {
        puts("model pump exists already; continuing with it");
        result = 0;
    }
    if (result == 0) {
        stream = sl_stream_open(client, "pump", NULL, &error);
        result = stream == NULL ? -1 : push_samples(stream, &error);
    }
    if (result == 0) {
        result = sl_stream_close(stream, SL_DEFAULT, &error);
        puts("stopped");
    } else {
        sl_stream_abort(stream);
    }
    sl_close(client);
    if (result != 0) fprintf(stderr, "%s: %s\n", error.code, error.message);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
