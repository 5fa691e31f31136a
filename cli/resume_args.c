/* resume_args.c - see resume_args.h. */
#include "resume_args.h"

#include "core/ctx.h"
#include "formats/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool resume_args_may(const option *o) {
    static const char *const names[] = {"workers", "device", "checkpoint-every", "resume"};
    bool may = o->commands == CMD_ALL;
    for (size_t i = 0; i < KN_COUNT(names); i++)
        may = may || strcmp(o->name, names[i]) == 0;
    return may;
}

/* ---- a value's text, as it would be typed ---- */

enum { TEXT = 128 };

static bool rgb_text(const json_t *value, char text[TEXT]) {
    int length = 0;
    if (json_array_size(value) != 3)
        return false;
    for (size_t c = 0; c < 3; c++) {
        const json_t *number = json_array_get(value, c);
        if (!json_is_number(number))
            return false;
        length += snprintf(text + length, (size_t)(TEXT - length), "%s%.17g", c > 0 ? "," : "",
                           json_number_value(number));
    }
    return true;
}

/* False: not of that kind. */
static bool value_text(const option *o, const json_t *value, char text[TEXT]) {
    switch (o->kind) {
    case KIND_INT:
    case KIND_COUNT:
        snprintf(text, TEXT, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return json_is_integer(value);
    case KIND_SEED: /* above 2^63 - 1 it is a string */
        snprintf(text, TEXT, "%llu", (unsigned long long)json_integer_value(value));
        return json_is_integer(value);
    case KIND_REAL:
    case KIND_RATE:
        snprintf(text, TEXT, "%.17g", json_number_value(value));
        return json_is_number(value);
    case KIND_RGB:
        return rgb_text(value, text);
    case KIND_FLAG:
    case KIND_CHOICE:
    case KIND_MODEL:
    case KIND_TEXT:
        break;
    }
    return false;
}

/* What an option has that was not given: it need not be in its range. */
static bool is_unset(const option *o, const json_t *value) {
    if (json_is_null(value) || json_is_false(value))
        return true;
    bool number = o->kind == KIND_INT || o->kind == KIND_COUNT || o->kind == KIND_REAL ||
                  o->kind == KIND_RATE;
    return number && json_is_number(value) && fpclassify(json_number_value(value)) == FP_ZERO;
}

static void set_zero(const option *o, args *a) {
    char *at = (char *)a + o->at;
    switch (o->kind) {
    case KIND_FLAG:
        *(bool *)(void *)at = false;
        break;
    case KIND_INT:
    case KIND_COUNT:
        *(int *)(void *)at = 0;
        break;
    case KIND_SEED:
        *(uint64_t *)(void *)at = 0;
        break;
    case KIND_REAL:
    case KIND_RATE:
        *(double *)(void *)at = 0;
        break;
    case KIND_RGB: /* mean is NaN, std is 0 */
        *(double *)(void *)at = (const void *)at == a->mean ? NAN : 0;
        break;
    case KIND_CHOICE:
    case KIND_MODEL:
    case KIND_TEXT:
        *(const char **)(void *)at = NULL;
        break;
    }
}

static kn_status take(const option *o, const json_t *value, const char *from, args *a,
                      kn_error *error) {
    char text[TEXT];
    if (value == NULL)
        return kn_error_set(error, KN_ERR_FORMAT, "%s: its arguments have no %s", from, o->name);
    if (is_unset(o, value)) {
        set_zero(o, a);
        return KN_OK;
    }
    if (json_is_true(value) && o->kind == KIND_FLAG)
        return option_set(o, "", a, error);
    if (json_is_string(value) && (o->kind >= KIND_CHOICE || o->kind == KIND_SEED))
        return option_set(o, json_string_value(value), a, error);
    if (value_text(o, value, text))
        return option_set(o, text, a, error);
    return kn_error_set(error, KN_ERR_FORMAT, "%s: its argument %s has a value of another kind",
                        from, o->name);
}

/* ---- all of them ---- */

static bool from_hex(const char *hex, char out[PATH_MAX]) {
    size_t length = strlen(hex);
    bool good =
        length % 2 == 0 && length / 2 < PATH_MAX && strspn(hex, "0123456789abcdef") == length;
    for (size_t i = 0; good && i < length / 2; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (char)strtoul(digits, NULL, 16);
    }
    if (good)
        out[length / 2] = '\0';
    return good;
}

/* A path that stands under key, or, as it is no text, under key_hex; empty: neither. */
static void whole_path(const json_t *root, const char *key, char out[PATH_MAX]) {
    char name[32];
    snprintf(name, sizeof name, "%s_hex", key);
    const char *hex = json_string_value(json_object_get(root, name));
    const char *text = json_string_value(json_object_get(root, key));
    out[0] = '\0';
    if (hex != NULL ? !from_hex(hex, out) : text == NULL || strlen(text) >= PATH_MAX)
        out[0] = '\0';
    else if (hex == NULL)
        strcpy(out, text);
}

/* What was typed, if it still leads to the whole path, or if that is gone: the command may be given
 * elsewhere. */
static const char *choose_path(const char *typed, const char *whole) {
    char now[PATH_MAX];
    struct stat st;
    bool leads = realpath(typed, now) != NULL && strcmp(now, whole) == 0;
    return leads || whole[0] == '\0' || stat(whole, &st) != 0 ? typed : whole;
}

static kn_status take_data(const json_t *root, const char *from, resume_words *words,
                           kn_error *error) {
    const char *data = json_string_value(json_object_get(root, "data"));
    if (data == NULL)
        return kn_error_set(error, KN_ERR_FORMAT, "%s: its arguments have no data", from);
    whole_path(root, "data_path", words->data);
    words->word[0] = (char *)(uintptr_t)choose_path(data, words->data); /* only read */
    return KN_OK;
}

static void take_weights(const json_t *root, args *a, resume_words *words) {
    whole_path(root, "weights_path", words->weights);
    if (a->weights == NULL)
        return;
    a->weights = choose_path(a->weights, words->weights);
    a->weights_path = words->weights[0] != '\0' ? words->weights : NULL;
}

/* Older versions did not write which options were typed: then what has a value was. */
static bool was_typed(const json_t *root, const option *o) {
    const json_t *given = json_object_get(root, "given"), *item;
    const json_t *value = json_object_get(root, o->name);
    bool found = given == NULL && value != NULL && !is_unset(o, value);
    for (size_t i = 0; (item = json_array_get(given, i)) != NULL && !found; i++)
        found = json_is_string(item) && strcmp(json_string_value(item), o->name) == 0;
    return found;
}

static kn_status take_all(const json_t *root, const char *from, args *a, kn_error *error) {
    const option *o;
    kn_status status = KN_OK;
    for (int i = 0; (o = option_at(i)) != NULL && status == KN_OK; i++) {
        bool kept = o->commands != CMD_ALL && strcmp(o->name, "resume") != 0;
        a->typed[i] = was_typed(root, o) || (a->typed[i] && kept);
        if (!(o->commands & CMD_TRAIN) || o->commands == CMD_ALL || strcmp(o->name, "resume") == 0)
            continue;
        if (a->given[i] && resume_args_may(o))
            continue;
        status = take(o, json_object_get(root, o->name), from, a, error);
        a->given[i] = true; /* nothing is to be settled anew */
    }
    return status;
}

void *resume_args_read(const char *json, const char *from, args *a, resume_words *words,
                       kn_error *error) {
    char wrong[KN_JSON_MESSAGE];
    json_t *root;
    kn_status status = kn_json_read(json, strlen(json), JSON_REJECT_DUPLICATES, &root, wrong);
    if (status == KN_ERR_MEMORY)
        kn_error_set(error, status, "%s: out of memory: its arguments", from);
    else if (status != KN_OK)
        kn_error_set(error, status, "%s: its arguments are no JSON: %s", from, wrong);
    if (root == NULL)
        return NULL;
    const char *name = json_string_value(json_object_get(root, "command"));
    if (name == NULL || strcmp(name, "train") != 0)
        status = kn_error_set(error, KN_ERR_FORMAT, "%s: is of no training", from);
    if (status == KN_OK)
        status = take_data(root, from, words, error);
    if (status == KN_OK)
        status = take_all(root, from, a, error);
    if (status == KN_OK)
        take_weights(root, a, words);
    a->word = words->word;
    a->words = 1;
    if (status == KN_OK)
        return root;
    json_decref(root);
    return NULL;
}

void resume_args_free(void *json) {
    json_decref(json);
}
