/* cuda_bf16.h - CUDA's bf16 without a device; see cuda_runtime.h. */
#ifndef KN_CUDA_HOST_BF16_H
#define KN_CUDA_HOST_BF16_H

#include <stdint.h>
#include <string.h>

struct __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float x) { /* to the nearest, a tie to the even one; NaN as the device makes it */
        uint32_t wide;
        memcpy(&wide, &x, sizeof wide);
        bits = x != x ? uint16_t(0x7fff) : uint16_t((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
    }
};

static inline float __bfloat162float(__nv_bfloat16 x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

static inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    return __nv_bfloat16(x);
}

#endif
