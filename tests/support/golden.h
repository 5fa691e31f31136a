/* golden.h - reads tests/data/ops_golden.txt, which tools/make_op_goldens.py wrote. */
#ifndef KN_TEST_GOLDEN_H
#define KN_TEST_GOLDEN_H

#include <kiln/tensor.h>

enum { GOLDEN_INPUTS = 6, GOLDEN_ROWS = 400, GOLDEN_NUMBERS = 60000, GOLDEN_WORD = 64 };

typedef struct golden {
    char name[GOLDEN_WORD];
    char in[GOLDEN_INPUTS][GOLDEN_WORD]; /* shapes, as text */
    int inputs;
    char dtype[8];
    char shape[GOLDEN_WORD];
    const float *out, *grad[GOLDEN_INPUTS]; /* NULL: no such gradient */
    int64_t out_count, grad_count[GOLDEN_INPUTS];
    bool used;
} golden;

typedef struct golden_file {
    golden row[GOLDEN_ROWS];
    int rows;
    float number[GOLDEN_NUMBERS];
    int64_t numbers;
} golden_file;

/* Reads the file whole; fails the test when it cannot. */
void golden_load(golden_file *file, const char *path);

/* The row of that name, marked as used; NULL when there is none. */
golden *golden_find(golden_file *file, const char *name);

#endif
