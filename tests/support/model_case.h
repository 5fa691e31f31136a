/* model_case.h - what the tests of modules, optimizers and model files share: a context a test,
 * whose memory must all be given back, and short ways to run and read a model. */
#ifndef KN_TEST_MODEL_CASE_H
#define KN_TEST_MODEL_CASE_H

#include <kiln/layers.h>

#include "support/check.h"
#include "support/counted.h"

enum { SIMPLE_CNN_NUMBERS = 98730 };

/* A test whose state is a context on device "cpu". It fails when it leaves an error or
 * memory behind. */
#define MODEL_CASE(name) cmocka_unit_test_setup_teardown(name, model_case_open, model_case_close)
int model_case_open(void **state);
int model_case_close(void **state);

/* The counts of the case under way. */
counted *model_case_memory(void);

/* A step tensor of numbers in [-2, 2). */
kn_tensor *made_input(kn_ctx *ctx, unsigned stream, kn_shape shape);

/* Forward, cross entropy and backward of n made pictures of that size; ends the step. */
void backward_once(kn_module *m, int n, int size);

/* All parameters' values, or gradients, one after the other. Returns how many numbers. */
int64_t read_params(kn_module *m, bool grads, float *out);

void zero_grads(kn_module *m);

#endif
