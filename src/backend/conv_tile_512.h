/* conv_tile_512.h - the two loops of conv_tile.h on registers of 512 bits, for one kind of images.
 * conv_tile_avx512.c and conv_tile_bf16.c define ISA, WEIGHTS (a register of units),
 * PRODUCT(sum, unit's address, weights), LOAD(address, mask) and STORE(address, mask, sums) of 16
 * numbers, and BYTES of one. No guard: it is meant to be read in several times.
 *
 * Tiles of 8 rows: the pointers to them fill the general registers, their sums with two panels half
 * of the vector registers. Each loop is there for one panel and for two. */

#define INLINE ISA static inline __attribute__((always_inline))

enum { ROWS = KN_TILE_ROWS, UNIT = 4 /* bytes */ };

/* The columns of panel p that are stored. */
INLINE __mmask16 stored(int64_t cols, int p) {
    int64_t left = cols - p * KN_PANEL;
    unsigned mask = left >= KN_PANEL ? 0xffffU : left > 0 ? (1U << left) - 1U : 0;
    return (__mmask16)mask;
}

INLINE char *place_of(const kn_pixel_tile *t, int r, int p) {
    return (char *)t->out[r] + p * KN_PANEL * BYTES;
}

INLINE WEIGHTS load_weights(const char *at) {
    WEIGHTS w;
    __builtin_memcpy(&w, at, sizeof w);
    return w;
}

/* What the sums begin with. */
INLINE void begin(const kn_pixel_tile *t, const int panels, __m512 sum[2][ROWS]) {
    bool add = t->add;
    const float *bias = t->bias;
#pragma GCC unroll 2
    for (int p = 0; p < 2; p++) {
        __mmask16 mask = stored(t->cols, p);
        __m512 first = _mm512_setzero_ps();
        if (p < panels && !add && bias != NULL)
            first = _mm512_loadu_ps(bias + p * KN_PANEL);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[p][r] = first;
        if (p < panels && add && BYTES < UNIT && t->sums) {
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sum[p][r] = _mm512_maskz_loadu_ps(mask, (const float *)t->out[r] + p * KN_PANEL);
        } else if (p < panels && add) {
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sum[p][r] = LOAD(place_of(t, r, p), mask);
        }
    }
}

/* Panel p, whole or what there is of it. */
INLINE void finish(const kn_pixel_tile *t, int p, __m512 sum[ROWS]) {
    __mmask16 mask = stored(t->cols, p);
    if (t->relu) { /* in this order a NaN of the sum is kept */
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[r] = _mm512_max_ps(_mm512_setzero_ps(), sum[r]);
    }
    if (BYTES < UNIT && t->sums) {
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            _mm512_mask_storeu_ps((float *)t->out[r] + p * KN_PANEL, mask, sum[r]);
        return;
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
        STORE(place_of(t, r, p), mask, sum[r]);
}

/* Two panels of sums. */
INLINE void add_wide(const kn_pixel_tile *t, __m512 sum[2][ROWS]) {
    const char *w0 = t->weights[0], *w1 = t->weights[1];
    const void *const *in = t->in;
    int64_t bytes = t->depth * UNIT;
    for (int64_t tap = 0; tap < t->taps; tap++, in += ROWS) {
        const char *a[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            a[r] = in[r];
        for (int64_t k = 0; k < bytes; k += UNIT, w0 += UNIT * KN_PANEL, w1 += UNIT * KN_PANEL) {
            WEIGHTS first = load_weights(w0), second = load_weights(w1);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                sum[0][r] = PRODUCT(sum[0][r], a[r] + k, first);
                sum[1][r] = PRODUCT(sum[1][r], a[r] + k, second);
            }
        }
    }
}

/* One panel, whose even and odd units have sums of their own: eight sums would wait for each
 * other. */
INLINE void add_narrow(const kn_pixel_tile *t, __m512 sum[2][ROWS]) {
    const char *w = t->weights[0];
    const void *const *in = t->in;
    int64_t bytes = t->depth * UNIT;
    for (int64_t tap = 0; tap < t->taps; tap++, in += ROWS) {
        const char *a[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            a[r] = in[r];
        int64_t k = 0;
        for (; k + UNIT < bytes; k += 2 * UNIT, w += 2 * UNIT * KN_PANEL) {
            WEIGHTS first = load_weights(w), second = load_weights(w + UNIT * KN_PANEL);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                sum[0][r] = PRODUCT(sum[0][r], a[r] + k, first);
                sum[1][r] = PRODUCT(sum[1][r], a[r] + k + UNIT, second);
            }
        }
        if (k < bytes) {
            WEIGHTS last = load_weights(w);
            w += UNIT * KN_PANEL;
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sum[0][r] = PRODUCT(sum[0][r], a[r] + k, last);
        }
    }
}

INLINE void pixels(const kn_pixel_tile *t, const int panels) {
    __m512 sum[2][ROWS];
    begin(t, panels, sum);
    if (panels > 1) {
        add_wide(t, sum);
        finish(t, 1, sum[1]);
    } else {
        add_narrow(t, sum);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[0][r] = _mm512_add_ps(sum[0][r], sum[1][r]);
    }
    finish(t, 0, sum[0]);
}

ISA static void tile_pixels(const kn_pixel_tile *t) {
    if (t->panels > 1)
        pixels(t, 2);
    else
        pixels(t, 1);
}

INLINE void gradient(const kn_gradient_tile *t, const int panels) {
    __m512 sum[2][ROWS];
    const char *a[ROWS], *b0 = t->b[0], *b1 = t->b[panels - 1];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        a[r] = t->a[r];
        sum[0][r] = sum[1][r] = _mm512_setzero_ps();
    }
    const int32_t *b_at = t->at, *end = b_at + t->pixels;
    int64_t at = 0, a_step = t->a_step * UNIT;
    for (; b_at < end; b_at++, at += a_step) {
        int64_t pixel = (int64_t)*b_at * UNIT;
        WEIGHTS first = load_weights(b0 + pixel);
        WEIGHTS second = panels > 1 ? load_weights(b1 + pixel) : first;
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            sum[0][r] = PRODUCT(sum[0][r], a[r] + at, first);
            if (panels > 1)
                sum[1][r] = PRODUCT(sum[1][r], a[r] + at, second);
        }
    }
    /* Loops that always run to their end: else clang keeps the sums in memory. */
#pragma GCC unroll 2
    for (int p = 0; p < 2; p++)
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            if (p >= panels || r >= t->rows)
                continue;
            float *to = t->sums[p] + r * KN_PANEL;
            _mm512_store_ps(to, t->add ? _mm512_add_ps(sum[p][r], _mm512_load_ps(to)) : sum[p][r]);
        }
}

ISA static void tile_gradient(const kn_gradient_tile *t) {
    if (t->panels > 1)
        gradient(t, 2);
    else
        gradient(t, 1);
}
