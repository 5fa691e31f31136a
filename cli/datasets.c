/* datasets.c - see datasets.h. */
#include "datasets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The sums were taken from the files as their publishers serve them. */
static const dataset built_in[] = {
    {.name = "imagenette-160",
     .url = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
     .bytes = 99003388,
     .sha256 = "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5"},
};

enum { BUILT_IN = sizeof built_in / sizeof built_in[0], WORDS = 4, LINE = 2048 };

static const char digits[] = "0123456789", hex_digits[] = "0123456789abcdefABCDEF",
                  name_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789.-_";

bool dataset_name_good(const char *name) {
    size_t length = strlen(name);
    return length > 0 && length < DATASET_NAME && strspn(name, name_letters) == length &&
           name[0] != '.' && name[0] != '-' && strncmp(name, "shapes", 6) != 0;
}

bool dataset_sha256_good(const char *hex) {
    return strlen(hex) == DATASET_SHA256 - 1 && strspn(hex, hex_digits) == DATASET_SHA256 - 1;
}

int64_t dataset_bytes(const char *text) {
    size_t length = strlen(text);
    if (length == 0 || length > 16 || strspn(text, digits) != length)
        return -1;
    long long bytes = strtoll(text, NULL, 10);
    return bytes >= 1 && bytes <= (INT64_C(1) << 53) ? bytes : -1;
}

/* Its place; count when there is none. */
static int place_of(const datasets *all, const char *name) {
    int i = 0;
    while (i < all->count && strcmp(all->row[i].name, name) != 0)
        i++;
    return i;
}

const dataset *datasets_find(const datasets *all, const char *name) {
    int i = place_of(all, name);
    return i < all->count ? &all->row[i] : NULL;
}

/* ---- the file ---- */

/* NULL, or what is wrong with the line. */
static const char *take_row(datasets *all, char *const word[WORDS], int words) {
    int place = place_of(all, word[0]);
    dataset *row = place < all->count ? &all->row[place] : NULL;
    if (!dataset_name_good(word[0]))
        return "the name may hold letters, digits and . - _ only, and not begin with shapes";
    if (words != 2 && words != WORDS)
        return "expected NAME URL BYTES SHA256, or NAME URL";
    if (strlen(word[1]) >= DATASET_URL)
        return "the URL is too long";
    if (words == 2 && row == NULL)
        return "no data set of that name is known, so BYTES and SHA256 are needed";
    if (words == WORDS && row != NULL)
        return "the name is taken; NAME URL alone gives another place of it";
    if (words == WORDS && dataset_bytes(word[2]) < 0)
        return "BYTES is no number of bytes";
    if (words == WORDS && !dataset_sha256_good(word[3]))
        return "SHA256 is not 64 hex digits";
    if (row == NULL && all->count == DATASETS_MAX)
        return "there are too many";
    if (row == NULL) {
        row = &all->row[all->count++];
        snprintf(row->name, sizeof row->name, "%s", word[0]);
        row->bytes = dataset_bytes(word[2]);
        snprintf(row->sha256, sizeof row->sha256, "%s", word[3]);
    }
    snprintf(row->url, sizeof row->url, "%s", word[1]);
    return NULL;
}

static const char *take_line(datasets *all, char *line) {
    char *word[WORDS] = {0}, *rest = NULL;
    int words = 0;
    if (strchr(line, '\n') == NULL && strlen(line) == LINE - 1)
        return "the line is too long";
    for (char *at = strtok_r(line, " \t\r\n", &rest); at != NULL;
         at = strtok_r(NULL, " \t\r\n", &rest)) {
        if (words == WORDS)
            return "expected NAME URL BYTES SHA256, or NAME URL";
        word[words++] = at;
    }
    return words == 0 || word[0][0] == '#' ? NULL : take_row(all, word, words);
}

static kn_status read_file(datasets *all, const char *path, kn_error *error) {
    char line[LINE];
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return kn_error_set(error, KN_ERR_IO, "KILN_DATASETS: %s: cannot open: %s", path,
                            strerror(errno));
    kn_status status = KN_OK;
    for (int number = 1; status == KN_OK && fgets(line, sizeof line, f) != NULL; number++) {
        const char *wrong = take_line(all, line);
        if (wrong != NULL)
            status = kn_error_set(error, KN_ERR_ARG, "%s:%d: %s", path, number, wrong);
    }
    if (status == KN_OK && ferror(f))
        status = kn_error_set(error, KN_ERR_IO, "KILN_DATASETS: %s: cannot read: %s", path,
                              strerror(errno));
    fclose(f); /* only read */
    return status;
}

kn_status datasets_load(datasets *all, kn_error *error) {
    memcpy(all->row, built_in, sizeof built_in);
    all->count = BUILT_IN;
    const char *path = getenv("KILN_DATASETS");
    return path != NULL && path[0] != '\0' ? read_file(all, path, error) : KN_OK;
}
