#define _POSIX_C_SOURCE 200809L
#include "keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "errors.h"

static const char server_variable[] = "STREAMLEARN_SERVER_KEY", file_variable[] = "STREAMLEARN_KEY_FILE";

static const char *setting(const char *given, const char *variable) {
    const char *value = given != NULL ? given : getenv(variable);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* Copy a key of exactly 40 characters. Return false for other texts. */
static bool copy_key(char to[KEY_BYTES], const char *text, size_t bytes) {
    static const char alphabet[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    if (bytes != KEY_BYTES - 1) return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\0' || strchr(alphabet, text[i]) == NULL) return false;
    }
    memcpy(to, text, bytes);
    to[bytes] = '\0';
    return true;
}

/* Find a line `field = "KEY"` in a key file, which is TOML as `streamlearn keygen` writes it. */
static bool read_field(FILE *file, const char *field, char key[KEY_BYTES]) {
    char line[256], name[32];
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        const char *open = strchr(line, '"'), *close = strrchr(line, '"');
        if (sscanf(line, " %31[a-z] =", name) != 1 || strcmp(name, field) != 0 || open == close) continue;
        bool found = copy_key(key, open + 1, (size_t)(close - open - 1));
        memset(line, 0, sizeof line);
        return found;
    }
    return false;
}

/* Read a field of a key file. The file of a secret key may be read by its owner and group, and written by its
 * owner. */
static int read_key_file(const char *path, bool secret, char key[KEY_BYTES], sl_error *error) {
    FILE *file = fopen(path, "r");
    struct stat facts;
    if (file == NULL)
        return set_error(error, "BAD_VALUE", "can't read the key file %s: %s", path, strerror(errno));
    int result = 0;
    if (secret && fstat(fileno(file), &facts) == 0 && (facts.st_mode & 027) != 0) {
        result = set_error(error, "BAD_VALUE",
                           "%s has mode %04o, so other users can read or replace this secret key; "
                           "run: chmod 600 %s",
                           path, (unsigned)facts.st_mode & 07777U, path);
    } else if (!read_field(file, secret ? "secret" : "public", key)) {
        result =
            set_error(error, "BAD_VALUE", "%s has no %s key; pass a file of `streamlearn keygen`: NAME.%s",
                      path, secret ? "secret" : "public", secret ? "key" : "pub");
    }
    fclose(file);
    return result;
}

int read_client_keys(const sl_options *options, client_keys *keys, sl_error *error) {
    memset(keys, 0, sizeof *keys);
    const char *server = setting(options->server_key, server_variable);
    const char *file = setting(options->key_file, file_variable);
    if (server == NULL && file == NULL) return 0;
    if (server == NULL || file == NULL) {
        return set_error(error, "BAD_VALUE",
                         "%s is given without %s; a client with a key needs both (variables %s and %s)",
                         server != NULL ? "server_key" : "key_file",
                         server != NULL ? "key_file" : "server_key", server_variable, file_variable);
    }
    size_t bytes = strlen(server);
    if (bytes > 4 && strcmp(server + bytes - 4, ".pub") == 0) {
        if (read_key_file(server, false, keys->server, error) != 0) return -1;
    } else if (!copy_key(keys->server, server, bytes)) {
        return set_error(error, "BAD_VALUE",
                         "server_key is not a key; expected 40 characters of Z85, or a .pub file");
    }
    if (read_key_file(file, true, keys->secret, error) != 0) return -1;
    if (zmq_curve_public(keys->public_key, keys->secret) != 0) {
        return set_error(error, "BAD_VALUE", "the secret key in %s is not a key, or this libzmq has no CURVE",
                         file);
    }
    keys->given = true;
    return 0;
}
