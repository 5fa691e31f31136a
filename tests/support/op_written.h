/* op_written.h - what a backward says of operands and results that were written to since. */
#ifndef KN_TEST_OP_WRITTEN_H
#define KN_TEST_OP_WRITTEN_H

#include "support/op_row.h"

/* On a device: a write to an operand or the result after the op is refused by backward if, and only
 * if, gradients would be others because of it. */
void row_notices_writes(kn_ctx *ctx, const char *device, const op_row *row);

#endif
