/* safetensors_f32.c - the numbers of a file as f32: published weights are often stored in halves.
 */
#include <kiln/safetensors.h>

#include "core/bf16.h"

#include <string.h>

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 bit sign, 5 exponent, 10 fraction. Every value is an f32 too. */
static float from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1F, fraction = h & 0x3FF;
    if (exponent == 0x1F) /* infinity and NaN */
        return from_bits(sign | 0x7F800000 | fraction << 13);
    if (exponent > 0)
        return from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
    float value = (float)fraction * 0x1p-24F; /* subnormal, or zero */
    return sign != 0 ? -value : value;
}

/* The file's data may be unaligned. */
static uint16_t half_at(const void *data, int64_t i) {
    uint16_t half;
    memcpy(&half, (const char *)data + 2 * i, sizeof half);
    return half;
}

bool kn_st_to_f32(const kn_st_entry *entry, float *out) {
    int64_t numel = kn_shape_numel(&entry->shape);
    if (entry->dtype == KN_F32)
        memcpy(out, entry->data, (size_t)numel * sizeof *out);
    else if (entry->dtype == KN_BF16)
        for (int64_t i = 0; i < numel; i++)
            out[i] = kn_bf16_value(half_at(entry->data, i));
    else if (entry->dtype == KN_F16)
        for (int64_t i = 0; i < numel; i++)
            out[i] = from_f16(half_at(entry->data, i));
    else
        return false;
    return true;
}
