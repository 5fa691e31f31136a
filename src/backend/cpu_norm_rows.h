/* cpu_norm_rows.h - the passes of batch normalisation over rows, for one kind of numbers;
 * cpu_norm.c includes this once for each. It defines NUMBER, NAME(function), GET(number) and
 * PUT(float), and ROUND(float), which is GET(PUT(float)): before a residual is added the norm's own
 * result is rounded, as it is where somebody looks at it. No guard: it is meant to be read in
 * several times. */

KN_MULTIVERSION static void NAME(add_squares)(int64_t rows, int64_t channels,
                                              const NUMBER *restrict x, const float *restrict shift,
                                              float *restrict sum, float *restrict squares) {
    for (int64_t r = 0; r < rows; r++, x += channels)
        for (int64_t c = 0; c < channels; c++) {
            float off = GET(x[c]) - shift[c];
            sum[c] += off;
            squares[c] += off * off;
        }
}

KN_MULTIVERSION static void NAME(add_products)(int64_t rows, int64_t channels,
                                               const NUMBER *restrict x, const NUMBER *restrict g,
                                               const float *restrict mean, float *restrict sum,
                                               float *restrict product) {
    for (int64_t r = 0; r < rows; r++, x += channels, g += channels)
        for (int64_t c = 0; c < channels; c++) {
            sum[c] += GET(g[c]);
            product[c] += GET(g[c]) * (GET(x[c]) - mean[c]);
        }
}

KN_MULTIVERSION static void NAME(add_masked)(int64_t rows, int64_t channels,
                                             const NUMBER *restrict x, const NUMBER *restrict y,
                                             const NUMBER *restrict dy, const float *restrict mean,
                                             float *restrict sum, float *restrict product) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels, dy += channels)
        for (int64_t c = 0; c < channels; c++) {
            float grad = GET(dy[c]), g = GET(y[c]) <= 0 ? 0 : grad;
            sum[c] += g;
            product[c] += g * (GET(x[c]) - mean[c]);
        }
}

KN_MULTIVERSION static void NAME(mask)(int64_t n, const NUMBER *restrict y,
                                       const NUMBER *restrict dy, NUMBER *restrict g) {
    for (int64_t i = 0; i < n; i++) {
        float grad = GET(dy[i]); /* read in any case: else clang makes no vectors of it */
        g[i] = PUT(GET(y[i]) <= 0 ? 0 : grad);
    }
}

KN_MULTIVERSION static void NAME(scale_rows)(int64_t rows, int64_t channels,
                                             const float *restrict a, const float *restrict b,
                                             const NUMBER *restrict x, NUMBER *restrict y) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels)
        for (int64_t c = 0; c < channels; c++)
            y[c] = PUT(GET(x[c]) * a[c] + b[c]);
}

KN_MULTIVERSION static void NAME(scale_relu_rows)(int64_t rows, int64_t channels,
                                                  const float *restrict a, const float *restrict b,
                                                  const NUMBER *restrict x, NUMBER *restrict y) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels)
        for (int64_t c = 0; c < channels; c++) {
            float value = GET(x[c]) * a[c] + b[c];
            y[c] = PUT(value < 0 ? 0 : value);
        }
}

KN_MULTIVERSION static void NAME(scale_add_rows)(int64_t rows, int64_t channels, bool relu,
                                                 const float *restrict a, const float *restrict b,
                                                 const NUMBER *restrict x,
                                                 const NUMBER *restrict residual,
                                                 NUMBER *restrict y) {
    float floor = relu ? 0 : -INFINITY;
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels, residual += channels)
        for (int64_t c = 0; c < channels; c++) {
            float value = ROUND(GET(x[c]) * a[c] + b[c]) + GET(residual[c]);
            y[c] = PUT(value < floor ? floor : value);
        }
}

/* The same in place, of some columns of rows that are `step` numbers apart. */
KN_MULTIVERSION static void NAME(scale_here)(int64_t rows, int64_t step, int64_t cols, float floor,
                                             const float *restrict a, const float *restrict b,
                                             NUMBER *restrict y) {
    for (int64_t r = 0; r < rows; r++, y += step)
        for (int64_t c = 0; c < cols; c++) {
            float value = GET(y[c]) * a[c] + b[c];
            y[c] = PUT(value < floor ? floor : value);
        }
}

KN_MULTIVERSION static void
NAME(scale_add_here)(int64_t rows, int64_t step, int64_t cols, float floor, const float *restrict a,
                     const float *restrict b, const NUMBER *restrict residual, NUMBER *restrict y) {
    for (int64_t r = 0; r < rows; r++, y += step, residual += step)
        for (int64_t c = 0; c < cols; c++) {
            float value = ROUND(GET(y[c]) * a[c] + b[c]) + GET(residual[c]);
            y[c] = PUT(value < floor ? floor : value);
        }
}

/* dx = a g - (b (x - mean) + c): see reference_norm.c. */
KN_MULTIVERSION static void NAME(grad_rows)(int64_t rows, const norm_job *job,
                                            const NUMBER *restrict x, const NUMBER *restrict g,
                                            NUMBER *restrict dx) {
    const float *restrict a = job->a, *restrict b = job->b, *restrict k = job->c;
    const float *restrict mean = job->state->mean;
    int64_t channels = job->dims->channels;
    for (int64_t r = 0; r < rows; r++, x += channels, g += channels, dx += channels)
        for (int64_t c = 0; c < channels; c++)
            dx[c] = PUT(a[c] * GET(g[c]) - (b[c] * (GET(x[c]) - mean[c]) + k[c]));
}

KN_MULTIVERSION static void NAME(grad_masked_rows)(int64_t rows, const norm_job *job,
                                                   const NUMBER *restrict x,
                                                   const NUMBER *restrict y,
                                                   const NUMBER *restrict dy, NUMBER *restrict dx) {
    const float *restrict a = job->a, *restrict b = job->b, *restrict k = job->c;
    const float *restrict mean = job->state->mean;
    int64_t channels = job->dims->channels;
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels, dy += channels, dx += channels)
        for (int64_t c = 0; c < channels; c++) {
            float grad = GET(dy[c]), g = GET(y[c]) <= 0 ? 0 : grad;
            dx[c] = PUT(a[c] * g - (b[c] * (GET(x[c]) - mean[c]) + k[c]));
        }
}

/* ---- some rows of a job ---- */

/* What is subtracted before squares are summed: the first row. */
static void NAME(first_row)(const norm_job *job) {
    const NUMBER *x = job->x;
    for (int64_t c = 0; c < job->dims->channels; c++)
        job->shift[c] = GET(x[c]);
}

/* Sums of x and its square, or, given dy, of the gradient and its product with x. A residual's
 * gradient is the masked one, so it is written on the way. */
static void NAME(add_rows)(const norm_job *job, int64_t begin, int64_t rows, const sums *s) {
    int64_t channels = job->dims->channels, at = begin * channels;
    const NUMBER *x = (const NUMBER *)job->x + at, *dy = job->dy, *y = job->y;
    NUMBER *g = job->grads != NULL ? job->grads->residual : NULL;
    if (dy == NULL) {
        NAME(add_squares)(rows, channels, x, job->shift, s->run_first, s->run_second);
    } else if (g != NULL && job->dims->relu) {
        NAME(mask)(rows * channels, y + at, dy + at, g + at);
        NAME(add_products)(rows, channels, x, g + at, job->shift, s->run_first, s->run_second);
    } else if (job->dims->relu) {
        NAME(add_masked)
        (rows, channels, x, y + at, dy + at, job->shift, s->run_first, s->run_second);
    } else {
        if (g != NULL)
            memcpy(g + at, dy + at, (size_t)(rows * channels) * sizeof *g);
        NAME(add_products)(rows, channels, x, dy + at, job->shift, s->run_first, s->run_second);
    }
}

static void NAME(write_result)(const norm_job *job, int64_t begin, int64_t rows) {
    int64_t channels = job->dims->channels, at = begin * channels;
    const NUMBER *x = (const NUMBER *)job->x + at, *residual = job->residual;
    NUMBER *y = (NUMBER *)job->out + at;
    if (residual != NULL)
        NAME(scale_add_rows)(rows, channels, job->dims->relu, job->a, job->b, x, residual + at, y);
    else if (job->dims->relu)
        NAME(scale_relu_rows)(rows, channels, job->a, job->b, x, y);
    else
        NAME(scale_rows)(rows, channels, job->a, job->b, x, y);
}

static void NAME(write_grad)(const norm_job *job, int64_t begin, int64_t rows) {
    int64_t at = begin * job->dims->channels;
    const NUMBER *x = (const NUMBER *)job->x + at, *y = job->y, *dy = job->dy;
    const NUMBER *masked = job->grads->residual;
    NUMBER *dx = (NUMBER *)job->grads->x + at;
    if (masked != NULL)
        NAME(grad_rows)(rows, job, x, masked + at, dx);
    else if (job->dims->relu)
        NAME(grad_masked_rows)(rows, job, x, y + at, dy + at, dx);
    else
        NAME(grad_rows)(rows, job, x, dy + at, dx);
}

static void NAME(some_here)(const kn_norm_after *n, int64_t first, int64_t count, int64_t col,
                            int64_t end) {
    int64_t step = n->channels, at = first * step + col, cols = end - col;
    NUMBER *y = (NUMBER *)n->y + at;
    if (n->residual == NULL) {
        NAME(scale_here)(count, step, cols, n->floor, n->a + col, n->b + col, y);
    } else {
        const NUMBER *residual = (const NUMBER *)n->residual + at;
        NAME(scale_add_here)(count, step, cols, n->floor, n->a + col, n->b + col, residual, y);
    }
}

static const norm_kind NAME(kind) = {NAME(first_row), NAME(add_rows), NAME(write_result),
                                     NAME(write_grad)};

#undef NUMBER
#undef NAME
#undef GET
#undef PUT
#undef ROUND
