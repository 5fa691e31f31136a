/* wide.h - bf16 kernels by a host device's own f32 kernels: what is read is made wider, what is
 * written is rounded. What the others are checked against, and what a device takes where a bf16
 * kernel of its own would not pay. They allocate at each call. */
#ifndef KN_BACKEND_WIDE_H
#define KN_BACKEND_WIDE_H

#include "backend/backend.h"

/* All of them, as d->ops has the f32 ones. */
extern const kn_bf16_kernels kn_wide_kernels;

#endif
