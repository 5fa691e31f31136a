/* cpu_pool_rows.h - pooling of some pixels, for one kind of numbers; cpu_pool.c includes this once
 * for each. It defines NUMBER, NAME(function), GET(number) and PUT(float). No guard: it is meant to
 * be read in several times. */

/* ---- one place of a window, some channels ---- */

KN_MULTIVERSION static void NAME(take_larger)(int64_t channels, uint8_t place,
                                              const NUMBER *restrict x, float *restrict best,
                                              uint8_t *restrict which) {
    for (int64_t c = 0; c < channels; c++) {
        float value = GET(x[c]);
        bool larger = value > best[c] || value != value;
        best[c] = larger ? value : best[c];
        which[c] = larger ? place : which[c];
    }
}

KN_MULTIVERSION static void NAME(add_taken)(int64_t channels, uint8_t place,
                                            const uint8_t *restrict taken,
                                            const NUMBER *restrict dy, float *restrict sum) {
    for (int64_t c = 0; c < channels; c++)
        sum[c] += taken[c] == place ? GET(dy[c]) : 0;
}

KN_MULTIVERSION static void NAME(add_scaled)(int64_t channels, float scale,
                                             const NUMBER *restrict x, float *restrict sum) {
    for (int64_t c = 0; c < channels; c++)
        sum[c] += GET(x[c]) * scale;
}

KN_MULTIVERSION static void NAME(write)(int64_t channels, const float *restrict from,
                                        NUMBER *restrict to) {
    for (int64_t c = 0; c < channels; c++)
        to[c] = PUT(from[c]);
}

/* ---- one pixel of the result, some channels from c on ---- */

static void NAME(max_pixel)(const pool_job *job, const window *w, int64_t c, int64_t channels) {
    const kn_pool_dims *p = job->dims;
    const NUMBER *x = (const NUMBER *)job->x + w->picture + c;
    float best[CHUNK];
    uint8_t *which = job->which + w->pixel + c;
    for (int64_t i = 0; i < channels; i++)
        best[i] = -INFINITY;
    memset(which, (int)(w->rows.from * p->kernel + w->columns.from), (size_t)channels);
    for (int64_t i = w->rows.from; i < w->rows.to; i++)
        for (int64_t k = w->columns.from; k < w->columns.to; k++)
            NAME(take_larger)
    (channels, (uint8_t)(i * p->kernel + k),
     x + ((w->rows.start + i) * p->w + w->columns.start + k) * p->c, best, which);
    NAME(write)(channels, best, (NUMBER *)job->y + w->pixel + c);
}

static void NAME(mean_pixel)(const pool_job *job, const window *w, int64_t c, int64_t channels) {
    const kn_pool_dims *p = job->dims;
    const NUMBER *x = (const NUMBER *)job->x + w->picture + c;
    float sum[CHUNK] = {0}, share = 1 / (float)(w->rows.length * w->columns.length);
    for (int64_t i = w->rows.from; i < w->rows.to; i++)
        for (int64_t k = w->columns.from; k < w->columns.to; k++)
            NAME(add_scaled)
    (channels, share, x + ((w->rows.start + i) * p->w + w->columns.start + k) * p->c, sum);
    NAME(write)(channels, sum, (NUMBER *)job->y + w->pixel + c);
}

/* ---- one pixel of the gradient: what all windows over it give ---- */

static void NAME(max_grad_pixel)(const pool_job *job, const reach *r, int64_t c, int64_t channels) {
    const kn_pool_dims *p = job->dims;
    const NUMBER *dy = job->x;
    float sum[CHUNK] = {0};
    for (int64_t y = r->rows.first; y < r->rows.end; y++)
        for (int64_t x = r->columns.first; x < r->columns.end; x++) {
            int64_t out = r->picture + (y * p->out_w + x) * p->c + c;
            int64_t i = r->row + p->padding - y * p->stride;
            int64_t k = r->column + p->padding - x * p->stride;
            NAME(add_taken)
            (channels, (uint8_t)(i * p->kernel + k), job->taken + out, dy + out, sum);
        }
    NAME(write)(channels, sum, (NUMBER *)job->y + r->pixel + c);
}

static void NAME(mean_grad_pixel)(const pool_job *job, const reach *r, int64_t c,
                                  int64_t channels) {
    const kn_pool_dims *p = job->dims;
    const NUMBER *dy = job->x;
    float sum[CHUNK] = {0};
    for (int64_t y = r->rows.first; y < r->rows.end; y++)
        for (int64_t x = r->columns.first; x < r->columns.end; x++) {
            int64_t size = span_at(p, y, p->h).length * span_at(p, x, p->w).length;
            NAME(add_scaled)
            (channels, 1 / (float)size, dy + r->picture + (y * p->out_w + x) * p->c + c, sum);
        }
    NAME(write)(channels, sum, (NUMBER *)job->y + r->pixel + c);
}

/* ---- the mean over whole pictures, which is f32 ---- */

KN_MULTIVERSION static void NAME(mean_pictures)(const void *args, int64_t begin, int64_t end) {
    const mean_job *job = args;
    for (int64_t n = begin; n < end; n++) {
        const NUMBER *x = (const NUMBER *)job->from + n * job->hw * job->c;
        float *y = (float *)job->to + n * job->c;
        memset(y, 0, (size_t)job->c * sizeof *y);
        for (int64_t i = 0; i < job->hw; i++, x += job->c)
            for (int64_t c = 0; c < job->c; c++)
                y[c] += GET(x[c]);
        for (int64_t c = 0; c < job->c; c++)
            y[c] /= (float)job->hw;
    }
}

KN_MULTIVERSION static void NAME(mean_pictures_grad)(const void *args, int64_t begin, int64_t end) {
    const mean_job *job = args;
    float share = 1 / (float)job->hw;
    for (int64_t n = begin; n < end; n++) {
        const float *dy = (const float *)job->from + n * job->c;
        NUMBER *dx = (NUMBER *)job->to + n * job->hw * job->c;
        for (int64_t i = 0; i < job->hw; i++, dx += job->c)
            for (int64_t c = 0; c < job->c; c++)
                dx[c] = PUT(dy[c] * share);
    }
}

#undef NUMBER
#undef NAME
#undef GET
#undef PUT
