/* numbers.c - see numbers.h. Every number is a small multiple of 1/2048, exact in f32. */
#include "support/numbers.h"

/* 12 bits from a linear congruential generator. */
static uint32_t next(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 20;
}

static float wide(uint32_t bits) {
    return ((float)bits - 2048) / 1024;
}

static float number(number_kind kind, uint32_t bits) {
    switch (kind) {
    case POSITIVE:
        return 0.5f + (float)bits / 2048;
    case OFF_ZERO:
        return wide(bits) + (bits >= 2048 ? 0.0625f : -0.0625f);
    case COARSE:
        return (float)(bits >> 10) - 1;
    case WIDE:
    case INDEX:
    case BYTES:
    case LISTED:
        break;
    }
    return wide(bits);
}

void numbers_fill(number_kind kind, unsigned stream, int limit, int64_t n, void *out) {
    uint32_t state = stream + 1;
    for (int i = 0; i < 4; i++)
        next(&state);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = next(&state);
        if (kind == INDEX)
            ((int32_t *)out)[i] = (int32_t)(bits % (uint32_t)limit);
        else if (kind == BYTES)
            ((uint8_t *)out)[i] = (uint8_t)(bits % 256);
        else
            ((float *)out)[i] = number(kind, bits);
    }
}
