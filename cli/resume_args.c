/* resume_args.c - see resume_args.h. */
#include "resume_args.h"

#include "core/ctx.h"
#include "formats/json.h"

#include <math.h>
#include <stdio.h>
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
    case KIND_SEED: /* beyond the largest signed number jansson keeps a real */
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
    if (json_is_string(value) && o->kind >= KIND_CHOICE)
        return option_set(o, json_string_value(value), a, error);
    if (value_text(o, value, text))
        return option_set(o, text, a, error);
    return kn_error_set(error, KN_ERR_FORMAT, "%s: its argument %s has a value of another kind",
                        from, o->name);
}

/* ---- all of them ---- */

/* The folder that it was, if that is still there: the command may be given elsewhere. */
static kn_status take_data(const json_t *root, const char *from, char *word[1], kn_error *error) {
    struct stat st;
    const char *path = json_string_value(json_object_get(root, "data_path"));
    const char *data = json_string_value(json_object_get(root, "data"));
    if (data == NULL)
        return kn_error_set(error, KN_ERR_FORMAT, "%s: its arguments have no data", from);
    bool there = path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    word[0] = (char *)(uintptr_t)(there ? path : data); /* only read */
    return KN_OK;
}

static kn_status take_all(const json_t *root, const char *from, args *a, kn_error *error) {
    const option *o;
    kn_status status = KN_OK;
    for (int i = 0; (o = option_at(i)) != NULL && status == KN_OK; i++) {
        if (!(o->commands & CMD_TRAIN) || o->commands == CMD_ALL || strcmp(o->name, "resume") == 0)
            continue;
        if (a->given[i] && resume_args_may(o))
            continue;
        status = take(o, json_object_get(root, o->name), from, a, error);
        a->given[i] = true; /* nothing is to be settled anew */
    }
    return status;
}

void *resume_args_read(const char *json, const char *from, args *a, char *word[1],
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
        status = take_data(root, from, word, error);
    if (status == KN_OK)
        status = take_all(root, from, a, error);
    a->word = word;
    a->words = 1;
    if (status == KN_OK)
        return root;
    json_decref(root);
    return NULL;
}

void resume_args_free(void *json) {
    json_decref(json);
}
