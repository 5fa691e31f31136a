/* bf16.h - bf16, the upper half of an f32: its sign, exponent and 7 bits of its fraction. */
#ifndef KN_CORE_BF16_H
#define KN_CORE_BF16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t kn_bf16;

static inline float kn_bf16_value(kn_bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Rounds to nearest even; NaN stays NaN. */
static inline kn_bf16 kn_bf16_from(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (kn_bf16)((x != x ? bits | 0x400000 : rounded) >> 16);
}

#endif
