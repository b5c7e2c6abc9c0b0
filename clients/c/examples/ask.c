/* Query a model: ./ask MODEL 4.1,12.3,60.2,0.1 [SAMPLE ...]
 *
 * Each sample is a list of values, separated by commas. An empty value (4.1,,60.2,0.1) is a missing value. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <streamlearn.h>
#include <string.h>

enum { MAX_VALUES = 256 };

/* Read the values of one sample. Return their number. */
static size_t read_values(const char *text, float values[MAX_VALUES]) {
    size_t count = 0;
    while (count < MAX_VALUES) {
        values[count++] = *text == ',' || *text == '\0' ? NAN : strtof(text, NULL);
        text = strchr(text, ',');
        if (text == NULL) break;
        text++;
    }
    return count;
}

/* Print the outputs of the only sample. */
static void print_outputs(const sl_arrays *arrays) {
    for (size_t i = 0; i < arrays->count; i++) {
        const sl_array *array = &arrays->items[i];
        printf("%s%s", i == 0 ? " " : ", ", array->name);
        for (size_t j = 0; j < array->count; j++) {
            if (array->dtype == SL_F4) printf(" %g", (double)((const float *)array->data)[j]);
            if (array->dtype == SL_I4) printf(" %" PRId32, ((const int32_t *)array->data)[j]);
            if (array->dtype == SL_I8) printf(" %" PRId64, ((const int64_t *)array->data)[j]);
            if (array->dtype == SL_B1) printf(" %s", ((const uint8_t *)array->data)[j] != 0 ? "yes" : "no");
        }
    }
    puts("");
}

static int ask(sl_client *client, const char *model, char **texts, int count, sl_error *error) {
    sl_reply reply;
    int64_t samples = 0;
    char kind[64];
    if (sl_describe(client, model, &reply, error) != 0) return -1;
    sl_as_integer(sl_field(reply.ok, "samples"), &samples);
    sl_to_json(sl_field(reply.ok, "kind"), kind, sizeof kind);
    printf("%s: kind %s, %" PRId64 " samples learned\n", model, kind, samples);
    for (int i = 0; i < count; i++) {
        float values[MAX_VALUES];
        sl_samples sample = {.rows = 1, .x = values, .columns = read_values(texts[i], values)};
        if (sl_predict(client, model, &sample, &reply, error) != 0) return -1;
        printf("%s:", texts[i]);
        print_outputs(&reply.arrays);
    }
    return 0;
}

int main(int count, char **arguments) {
    sl_error error;
    sl_options options = {.timeout = 5.0};
    if (count < 3) {
        fprintf(stderr, "usage: %s MODEL SAMPLE ...    for example: %s pump 4.1,12.3,,0.1\n", arguments[0],
                arguments[0]);
        return EXIT_FAILURE;
    }
    sl_client *client = sl_open(&options, &error);
    int result = client == NULL ? -1 : ask(client, arguments[1], arguments + 2, count - 2, &error);
    sl_close(client);
    if (result != 0) fprintf(stderr, "%s: %s\n", error.code, error.message);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
