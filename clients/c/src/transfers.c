/* The files of models: export and import. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "digests.h"
#include "errors.h"
#include "json.h"

enum { PART_BYTES = 4 << 20, TRIES = 3, MAX_HEADER = 1 << 20, KIND_BYTES = 32 };

static int file_error(sl_error *error, const char *what, const char *path) {
    return set_error(error, "FILE", "can't %s %s: %s", what, path, strerror(errno));
}

static bool is_code(const sl_error *error, const char *code) { return strcmp(error->code, code) == 0; }

/* ------------------------------------------------------------------------------------------------ export */

/* Copy a short text field of a reply. */
static bool copy_field(sl_value map, const char *field, char *to, size_t size) {
    size_t bytes = 0;
    const char *text = sl_as_text(sl_field(map, field), &bytes);
    if (text == NULL || bytes >= size) return false;
    memcpy(to, text, bytes);
    to[bytes] = '\0';
    return true;
}

/* Request one part. `transfer` is the id of the export; "": the first part. */
static int request_part(sl_client *client, const char *model, const char *transfer, uint64_t offset,
                        sl_reply *reply, sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 256, error) != 0) return -1;
    mp_write_map(&to, transfer[0] == '\0' ? 0 : 2);
    if (transfer[0] != '\0') {
        mp_write_string(&to, "export");
        mp_write_string(&to, transfer);
        mp_write_string(&to, "offset");
        mp_write_uint(&to, offset);
    }
    request_header request = {.op = "export", .model = model, .fields = end_fields(client, &to)};
    call how = begin_call(client, true);
    return execute(client, &how, &request, reply, error);
}

static int export_to(sl_client *client, const char *model, FILE *file, const char *path, sl_error *error) {
    char transfer[128] = "", expected[65], found[65];
    sha256 digest;
    sha256_begin(&digest);
    int64_t total = 0;
    for (uint64_t offset = 0; offset == 0 || offset < (uint64_t)total;) {
        sl_reply reply;
        if (request_part(client, model, transfer, offset, &reply, error) != 0) return -1;
        const sl_array *content = sl_find(&reply.arrays, "content");
        bool valid = sl_as_integer(sl_field(reply.ok, "bytes"), &total) && total > 0 &&
                     copy_field(reply.ok, "export", transfer, sizeof transfer) &&
                     copy_field(reply.ok, "sha256", expected, sizeof expected) && content != NULL &&
                     content->dtype == SL_U1 && content->count > 0 &&
                     content->count <= (uint64_t)total - offset;
        if (!valid)
            return protocol_error(error, client->endpoint, "the answer to export is not a part of a file");
        sha256_add(&digest, content->data, content->count);
        if (fwrite(content->data, 1, content->count, file) != content->count)
            return file_error(error, "write", path);
        offset += content->count;
    }
    sha256_end(&digest, found);
    if (strcmp(found, expected) == 0) return 0;
    return set_error(error, "BAD_CHECKPOINT",
                     "the exported file of '%s' has another SHA-256 than the daemon announced", model);
}

int sl_export(sl_client *client, const char *model, const char *path, sl_error *error) {
    sl_error local;
    if (error == NULL) error = &local;
    if (check_model(model, error) != 0) return -1;
    size_t bytes = strlen(path) + 6;
    char *part = malloc(bytes);
    if (part == NULL) return set_error(error, "NO_MEMORY", "there is no memory for the name of a file");
    snprintf(part, bytes, "%s.part", path);
    int result;
    for (int tries = TRIES;; tries--) {
        FILE *file = fopen(part, "wb");
        if (file == NULL) {
            result = file_error(error, "create", part);
            break;
        }
        result = export_to(client, model, file, part, error);
        if (fclose(file) != 0 && result == 0) result = file_error(error, "write", part);
        if (result == 0 || tries == 1 || !is_code(error, "UNKNOWN_TRANSFER")) break;
    }
    if (result == 0 && rename(part, path) != 0) result = file_error(error, "replace", path);
    if (result != 0) remove(part);
    free(part);
    return result;
}

/* ------------------------------------------------------------------------------------------------ import */

static int upload(sl_client *client, const char *model, FILE *file, const char *path, uint64_t total,
                  uint8_t *memory, const char *transfer, char digest_text[65], sl_error *error) {
    sha256 digest;
    sha256_begin(&digest);
    rewind(file);
    for (uint64_t offset = 0; offset < total;) {
        mp_writer to;
        size_t most = client->daemon.frame_bytes < PART_BYTES ? client->daemon.frame_bytes : PART_BYTES;
        size_t bytes = fread(memory, 1, most, file);
        if (bytes == 0 || bytes > total - offset)
            return set_error(error, "FILE", "%s changed while it was read", path);
        if (begin_fields(client, &to, 256, error) != 0) return -1;
        mp_write_map(&to, 3);
        mp_write_string(&to, "upload");
        mp_write_string(&to, transfer);
        mp_write_string(&to, "bytes");
        mp_write_uint(&to, total);
        mp_write_string(&to, "offset");
        mp_write_uint(&to, offset);
        sl_array content = {
            .name = "content", .dtype = SL_U1, .axes = 1, .shape = {bytes}, .count = bytes, .data = memory};
        request_header request = {
            .op = "upload", .model = model, .fields = end_fields(client, &to), .arrays = {&content, 1}};
        call how = begin_call(client, true);
        if (execute(client, &how, &request, NULL, error) != 0) return -1;
        sha256_add(&digest, memory, bytes);
        offset += bytes;
    }
    sha256_end(&digest, digest_text);
    return 0;
}

static int create_from(sl_client *client, const char *model, const char *kind, const char *transfer,
                       const char *digest, call *how, sl_reply *reply, sl_error *error) {
    mp_writer to;
    if (begin_fields(client, &to, 256 + strlen(kind), error) != 0) return -1;
    mp_write_map(&to, 3);
    mp_write_string(&to, "kind");
    mp_write_string(&to, kind);
    mp_write_string(&to, "state");
    mp_write_string(&to, transfer);
    mp_write_string(&to, "sha256");
    mp_write_string(&to, digest);
    request_header request = {.op = "create", .model = model, .fields = end_fields(client, &to)};
    *how = begin_call(client, false);
    how->patience = 300.0; /* the kernels of the kind may have to be compiled */
    return execute(client, how, &request, reply, error);
}

/* Read the kind of the model in a file of safetensors: its header is JSON, after its length in 8 bytes. */
static bool read_kind(FILE *file, char kind[KIND_BYTES]) {
    uint8_t length[8];
    uint64_t bytes = 0;
    if (fread(length, 1, 8, file) != 8) return false;
    for (size_t i = 8; i-- > 0;) bytes = bytes << 8 | length[i];
    if (bytes > MAX_HEADER) return false;
    size_t size = (size_t)bytes, at;
    char *text = malloc(size + 1);
    uint8_t *encoded = malloc(9 * size + 64);
    bool found = false;
    if (text != NULL && encoded != NULL && fread(text, 1, size, file) == size) {
        mp_writer to = {encoded, encoded + 9 * size + 64, false};
        const char *problem = json_to_msgpack(text, size, &to, &at);
        sl_value metadata = sl_field((sl_value){encoded, to.at}, "__metadata__");
        found = problem == NULL && !to.full && copy_field(metadata, "kind", kind, KIND_BYTES);
    }
    free(text);
    free(encoded);
    return found;
}

static int import_from(sl_client *client, const char *model, const char *path, FILE *file, uint8_t *memory,
                       sl_reply *reply, sl_error *error) {
    char kind[KIND_BYTES], found[KIND_BYTES], transfer[17], digest[65];
    bool answer_lost = false;
    if (!read_kind(file, kind)) {
        return set_error(error, "BAD_VALUE",
                         "%s is not the file of a model: its header has no kind. Use a file of export, of "
                         "save or of a checkpoint",
                         path);
    }
    if (fseek(file, 0, SEEK_END) != 0 || ftell(file) < 0) return file_error(error, "read", path);
    uint64_t total = (uint64_t)ftell(file);
    call greeting = begin_call(client, true);
    if (know_daemon(client, &greeting, error) != 0) return -1;
    for (int tries = TRIES; tries > 0;) {
        call how = {0};
        if (!random_digits(transfer, 16)) return set_error(error, "FILE", "can't read /dev/urandom");
        if (upload(client, model, file, path, total, memory, transfer, digest, error) == 0 &&
            create_from(client, model, kind, transfer, digest, &how, reply, error) == 0) {
            return 0;
        }
        if (how.answer_lost) {
            answer_lost = true;
        } else if (answer_lost && is_code(error, "MODEL_EXISTS")) {
            sl_error refusal = *error;
            if (sl_describe(client, model, reply, error) != 0) return -1;
            if (copy_field(reply->ok, "kind", found, sizeof found) && strcmp(found, kind) == 0) return 0;
            *error = refusal;
            return -1;
        } else if (is_code(error, "UNKNOWN_TRANSFER")) {
            tries--;
        } else {
            return -1;
        }
    }
    return -1;
}

int sl_import(sl_client *client, const char *model, const char *path, sl_reply *reply, sl_error *error) {
    sl_error local;
    sl_reply created;
    if (error == NULL) error = &local;
    if (reply == NULL) reply = &created;
    if (check_model(model, error) != 0) return -1;
    FILE *file = fopen(path, "rb");
    if (file == NULL) return file_error(error, "read", path);
    uint8_t *memory = malloc(PART_BYTES);
    int result = memory == NULL ? set_error(error, "NO_MEMORY", "there is no memory for a part of a file")
                                : import_from(client, model, path, file, memory, reply, error);
    free(memory);
    fclose(file);
    return result;
}
