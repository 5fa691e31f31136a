/* init.h - how a layer with a weight, and perhaps a bias, begins. */
#ifndef KN_NN_INIT_H
#define KN_NN_INIT_H

#include "nn/module.h"

#include <kiln/layers.h>

/* act: whether relu follows. A NULL weight: the context's status. */
kn_status kn_init_layer(kn_ctx *ctx, kn_init init, bool act, kn_param *weight, kn_param *bias);

#endif
