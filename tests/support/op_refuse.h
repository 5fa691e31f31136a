/* op_refuse.h - what every op does with operands that it cannot use. */
#ifndef KN_TEST_OP_REFUSE_H
#define KN_TEST_OP_REFUSE_H

#include "support/op_row.h"

/* With each operand in turn NULL, of another type, of another device, or released: the result is
 * NULL and the context says why; an error that was there before stays. */
void row_refuses(kn_ctx *ctx, const char *device, const op_row *row);

#endif
