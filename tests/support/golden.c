/* golden.c - see golden.h. The file is a list of words:
 *     row NAME in SHAPE... out TYPE SHAPE NUMBER... [grad OPERAND NUMBER...]... */
#include "support/golden.h"

#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool word(FILE *f, char text[GOLDEN_WORD]) {
    return fscanf(f, "%63s", text) == 1;
}

/* Reads numbers until a word is none; that word stays in text. False at the end of the file. */
static bool numbers(golden_file *file, FILE *f, char text[GOLDEN_WORD], const float **first,
                    int64_t *count) {
    *first = &file->number[file->numbers];
    *count = 0;
    while (word(f, text)) {
        char *end;
        float value = strtof(text, &end);
        if (*end != '\0')
            return true;
        assert_true(file->numbers < GOLDEN_NUMBERS);
        file->number[file->numbers++] = value;
        ++*count;
    }
    return false;
}

static bool read_row(golden_file *file, FILE *f, char text[GOLDEN_WORD]) {
    assert_true(file->rows < GOLDEN_ROWS);
    golden *g = &file->row[file->rows++];
    *g = (golden){0};
    assert_true(word(f, g->name) && word(f, text) && strcmp(text, "in") == 0);
    while (word(f, text) && strcmp(text, "out") != 0) {
        assert_true(g->inputs < GOLDEN_INPUTS);
        memcpy(g->in[g->inputs++], text, GOLDEN_WORD);
    }
    assert_true(word(f, text) && strlen(text) < sizeof g->dtype);
    memcpy(g->dtype, text, sizeof g->dtype);
    assert_true(word(f, g->shape));
    bool more = numbers(file, f, text, &g->out, &g->out_count);
    while (more && strcmp(text, "grad") == 0) {
        assert_true(word(f, text));
        long i = strtol(text, NULL, 10);
        assert_in_range(i, 0, GOLDEN_INPUTS - 1);
        more = numbers(file, f, text, &g->grad[i], &g->grad_count[i]);
    }
    return more;
}

void golden_load(golden_file *file, const char *path) {
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s cannot be opened", path);
    file->rows = 0;
    file->numbers = 0;
    char text[GOLDEN_WORD];
    bool more = word(f, text);
    while (more) {
        assert_string_equal(text, "row");
        more = read_row(file, f, text);
    }
    fclose(f);
}

golden *golden_find(golden_file *file, const char *name) {
    for (int i = 0; i < file->rows; i++)
        if (strcmp(file->row[i].name, name) == 0) {
            file->row[i].used = true;
            return &file->row[i];
        }
    return NULL;
}
