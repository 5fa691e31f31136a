/* broadcast.h - NumPy's rule: shapes are aligned at their last axis; an axis of length 1, or none,
 * repeats. */
#ifndef KN_OPS_BROADCAST_H
#define KN_OPS_BROADCAST_H

#include "backend/backend.h"

/* The common shape of a and b; false when they do not fit. */
bool kn_broadcast_shape(const kn_shape *a, const kn_shape *b, kn_shape *out);

/* The loop over out that reads a and b, both of which broadcast to out; neighbouring axes that
 * every operand walks alike are merged. */
kn_bcast kn_broadcast_loop(const kn_shape *out, const kn_shape *a, const kn_shape *b);

/* The sum that takes a gradient of shape from back to shape to; axes is 0 when they are equal. */
kn_reduction kn_broadcast_undo(const kn_shape *from, const kn_shape *to);

#endif
