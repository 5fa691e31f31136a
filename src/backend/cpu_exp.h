/* cpu_exp.h - exp in a form that the compiler turns into vector instructions, within 2 units in the
 * last place (tests/test_ops_large.c). The standard one is a call for each number. */
#ifndef KN_BACKEND_CPU_EXP_H
#define KN_BACKEND_CPU_EXP_H

#include <stdint.h>
#include <string.h>

/* exp(x) = 2^n exp(r) with n whole and |r| <= ln(2) / 2; exp(r) by its Taylor sum. Where the result
 * leaves f32's normal range it stays at its end: near 1e-38 and 2e38. NaN stays NaN. */
static inline float kn_cpu_exp(float x) {
    const float inv_ln2 = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float whole = 12582912; /* 1.5 * 2^23: added to it, a number is rounded to a whole one */
    x = x > 88 ? 88 : x;
    x = x < -87 ? -87 : x;
    float shifted = x * inv_ln2 + whole, n = shifted - whole;
    float r = x - n * ln2_high - n * ln2_low;
    float sum = 1.98412698e-4f;
    sum = sum * r + 1.38888889e-3f;
    sum = sum * r + 8.33333333e-3f;
    sum = sum * r + 4.16666667e-2f;
    sum = sum * r + 1.66666667e-1f;
    sum = sum * r + 0.5f;
    sum = sum * r + 1;
    sum = sum * r + 1;
    uint32_t bits; /* n stands in the lowest bits of shifted */
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

#endif
