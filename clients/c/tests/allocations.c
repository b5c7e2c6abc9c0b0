/* Counts the library's calls of malloc, calloc, realloc and free while it learns: ./allocations ENDPOINT
 * COUNT
 *
 * The linker replaces the calls of this program and of the static library, not those within libzmq and libc.
 * Prints the calls of COUNT pushes, of their acknowledgements, and of COUNT / 100 calls of sl_learn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "streamlearn.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void __real_free(void *memory);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void __wrap_free(void *memory);

static unsigned long calls;

void *__wrap_malloc(size_t bytes) {
    calls++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes) {
    calls++;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes) {
    calls++;
    return __real_realloc(memory, bytes);
}

void __wrap_free(void *memory) {
    calls++;
    __real_free(memory);
}

static int fail(const sl_error *error) {
    fprintf(stderr, "%s: %s\n", error->code, error->message);
    return EXIT_FAILURE;
}

int main(int count, char **arguments) {
    sl_error error;
    sl_options options = {.endpoint = count > 2 ? arguments[1] : NULL, .timeout = 60.0};
    unsigned long pushes = count > 2 ? strtoul(arguments[2], NULL, 10) : 1000;
    sl_stream_options settings = {.batch = 16, .window = 8};
    float x[3] = {0.5f, -1.0f, 2.0f};
    sl_samples samples = {.rows = 1, .x = x, .columns = 3};
    sl_client *client = sl_open(&options, &error);
    if (client == NULL) return fail(&error);
    if (sl_create(client, "counted", "som", "{\"dim\": 3, \"grid\": [4, 4]}", NULL, &error) != 0)
        return fail(&error);
    unsigned long opening = calls;
    sl_stream *stream = sl_stream_open(client, "counted", &settings, &error);
    if (stream == NULL) return fail(&error);
    opening = calls - opening;
    unsigned long before = calls;
    for (unsigned long i = 0; i < pushes; i++) {
        x[0] = (float)(i % 100);
        if (sl_stream_push(stream, x, &error) != 0) return fail(&error);
    }
    if (sl_stream_flush(stream, SL_DEFAULT, &error) != 0) return fail(&error);
    unsigned long streaming = calls - before;
    before = calls;
    for (unsigned long i = 0; i < pushes / 100; i++) {
        if (sl_learn(client, "counted", &samples, NULL, NULL, &error) != 0) return fail(&error);
    }
    unsigned long learning = calls - before;
    if (sl_stream_close(stream, SL_DEFAULT, &error) != 0) return fail(&error);
    sl_close(client);
    printf("{\"opening\": %lu, \"streaming\": %lu, \"learning\": %lu}\n", opening, streaming, learning);
    return EXIT_SUCCESS;
}
