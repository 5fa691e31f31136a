/* own_state.h - what own_conv.c and own_matmul.c share. */
#ifndef KN_BACKEND_OWN_STATE_H
#define KN_BACKEND_OWN_STATE_H

#include "backend/own_conv.h"

struct kn_own_conv {
    kn_device *device;
    const kn_tile_kernels *tile;
    struct kn_own_pack *packs; /* most recently made first; a net has few */
    float *room; /* of a gradient: weights; of a product: b packed, and a turned if it has to be */
    size_t room_size;
};

/* Room for so many numbers, until the next call. what says of what. */
kn_status kn_own_room(kn_own_conv *o, int64_t size, const char *what);

#endif
