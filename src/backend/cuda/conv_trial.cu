/* conv_trial.cu - see conv_trial.cuh. */
#include "backend/cuda/conv_trial.cuh"
#include "backend/cuda/device_math.cuh"

#include <cmath>

enum { THREADS = 256, BLOCKS = 64 };

/* The largest difference, and the largest number of the second: a part of each block. */
template <typename T>
static __global__ void compare_kernel(int64_t n, const T *a, const T *b, float2 *parts) {
    __shared__ float room[2][32];
    float off = 0, size = 0;
    for (int64_t i = kn_thread(); i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        off = kn_larger(off, fabsf(kn_wide(a[i]) - kn_wide(b[i])));
        size = kn_larger(size, fabsf(kn_wide(b[i])));
    }
    off = kn_warp_max(off);
    size = kn_warp_max(size);
    if (threadIdx.x % 32 == 0) {
        room[0][threadIdx.x / 32] = off;
        room[1][threadIdx.x / 32] = size;
    }
    __syncthreads();
    for (unsigned i = 1; i < blockDim.x / 32 && threadIdx.x == 0; i++) {
        off = kn_larger(off, room[0][i]);
        size = kn_larger(size, room[1][i]);
    }
    if (threadIdx.x == 0)
        parts[blockIdx.x] = make_float2(off, size);
}

static int64_t result_numbers(const kn_conv_form *f) {
    const kn_conv_dims *c = &f->dims;
    return f->pass == KN_PASS_FORWARD ? c->n * c->out_h * c->out_w * c->out
           : f->pass == KN_PASS_DATA  ? c->n * c->h * c->w * c->in
                                      : c->out * c->in * c->kernel_h * c->kernel_w;
}

static bool narrow_result(const kn_conv_form *f) {
    return f->bf16 && f->pass != KN_PASS_WEIGHTS;
}

/* The difference of two results in parts of the second's largest number; NaN when something fails.
 **/
static float difference(kn_device *d, const kn_conv_form *f, const void *a, const void *b) {
    float2 host[BLOCKS];
    float off = 0, size = 0;
    int64_t n = result_numbers(f);
    float2 *parts = static_cast<float2 *>(kn_cuda_scratch(d, sizeof host));
    if (parts == NULL)
        return NAN;
    kn_status status =
        narrow_result(f)
            ? kn_cuda_launch(d, "compare", compare_kernel<kn_half>, BLOCKS, THREADS, 0, n,
                             static_cast<const kn_half *>(a), static_cast<const kn_half *>(b),
                             parts)
            : kn_cuda_launch(d, "compare", compare_kernel<float>, BLOCKS, THREADS, 0, n,
                             static_cast<const float *>(a), static_cast<const float *>(b), parts);
    if (status != KN_OK || kn_cuda_copy_out(d, host, parts, sizeof host) != KN_OK)
        return NAN;
    for (float2 part : host) {
        off = part.x > off || part.x != part.x ? part.x : off;
        size = part.y > size || part.y != part.y ? part.y : size;
    }
    return std::isfinite(size) && size > 0 ? off / size : off;
}

float kn_trial_allowed(const kn_conv_form *f) {
    return f->bf16 || f->tf32 ? 2e-2f : 3e-5f;
}

/* What the plain kernels make of operands. */
static kn_status run_plain(kn_device *d, const kn_conv_form *f, const kn_operands *o) {
    kn_way *plain = kn_way_plain(d, f);
    if (plain == NULL)
        return KN_ERR_MEMORY;
    char *room = static_cast<char *>(kn_cuda_scratch(d, kn_way_scratch(plain)));
    kn_status status = room != NULL ? kn_way_run(d, plain, o, room) : KN_ERR_MEMORY;
    if (status == KN_OK)
        status = kn_cuda_wait(d);
    kn_way_free(plain);
    return status;
}

/* ---- operands ---- */

/* From -1 to 1, by the mixing of MurmurHash3's end. */
template <typename T> static __global__ void random_kernel(int64_t n, uint32_t seed, T *y) {
    int64_t i = kn_thread();
    if (i >= n)
        return;
    uint32_t h = static_cast<uint32_t>(i) * 0x9e3779b9u + seed;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    h ^= h >> 16;
    kn_put(&y[i], static_cast<float>(h >> 8) * 0x1p-23f - 1);
}

static kn_status randomize(kn_device *d, int64_t n, bool bf16, uint32_t seed, void *y) {
    unsigned blocks = kn_cuda_blocks(n, THREADS);
    return bf16 ? kn_cuda_launch(d, "random operands", random_kernel<kn_half>, blocks, THREADS, 0,
                                 n, seed, static_cast<kn_half *>(y))
                : kn_cuda_launch(d, "random operands", random_kernel<float>, blocks, THREADS, 0, n,
                                 seed, static_cast<float *>(y));
}

enum { FIRST, SECOND, WEIGHTS, BIAS, OUT, WANT, PARTS };

/* What a form needs of each: numbers, and whether they are bf16. */
static void parts_of(const kn_conv_form *f, int64_t count[PARTS], bool bf16[PARTS]) {
    const kn_conv_dims *c = &f->dims;
    int64_t x = c->n * c->h * c->w * c->in, y = c->n * c->out_h * c->out_w * c->out;
    bool weights = f->pass == KN_PASS_WEIGHTS;
    for (int i = 0; i < PARTS; i++)
        bf16[i] = f->bf16 && i != WEIGHTS && i != BIAS;
    bf16[OUT] = bf16[WANT] = narrow_result(f);
    count[FIRST] = f->pass == KN_PASS_DATA ? y : x;
    count[SECOND] = weights ? y : 0;
    count[WEIGHTS] = weights ? 0 : c->out * c->in * c->kernel_h * c->kernel_w;
    count[BIAS] = f->bias ? c->out : 0;
    count[OUT] = count[WANT] = result_numbers(f);
}

kn_status kn_trial_begin(kn_device *d, const kn_conv_form *f, kn_trial *t) {
    int64_t count[PARTS];
    bool bf16[PARTS];
    size_t offset[PARTS + 1] = {0};
    void *part[PARTS];
    parts_of(f, count, bf16);
    for (int i = 0; i < PARTS; i++) {
        size_t size = bf16[i] ? sizeof(kn_bf16) : sizeof(float);
        offset[i + 1] = offset[i] + (static_cast<size_t>(count[i]) * size + 255) / 256 * 256;
    }
    *t = kn_trial();
    t->memory = kn_cuda_alloc(d, offset[PARTS]);
    if (t->memory == NULL)
        return kn_cuda_fail(
            d, KN_ERR_MEMORY,
            "out of memory on device cuda:%d: %zu bytes to try how a convolution is "
            "best computed",
            d->ordinal, offset[PARTS]);
    kn_status status = KN_OK;
    for (int i = 0; i < PARTS; i++) {
        part[i] = count[i] > 0 ? static_cast<char *>(t->memory) + offset[i] : NULL;
        if (status == KN_OK && i < OUT)
            status = randomize(d, count[i], bf16[i], static_cast<uint32_t>(i + 1), part[i]);
    }
    t->operands = {part[FIRST],
                   part[SECOND],
                   {static_cast<const float *>(part[WEIGHTS]), 0, 0},
                   static_cast<const float *>(part[BIAS]),
                   false,
                   part[WANT]};
    if (status == KN_OK)
        status = run_plain(d, f, &t->operands);
    t->want = part[WANT];
    t->operands.out = part[OUT];
    if (status != KN_OK)
        kn_trial_end(d, t);
    return status;
}

void kn_trial_end(kn_device *d, kn_trial *t) {
    kn_cuda_release(d, t->memory);
    t->memory = NULL;
}

/* ---- a way ---- */

/* Neither where the result goes nor in a workspace is there anything that helps: an engine may add
 * to what it finds, or not write at all. */
float kn_trial_off(kn_device *d, const kn_way *w, const kn_trial *t) {
    enum { SEED = 100 };
    size_t bytes = kn_way_scratch(w);
    char *room = static_cast<char *>(kn_cuda_scratch(d, bytes));
    bool well = room != NULL;
    well = well && randomize(d, result_numbers(&w->form), narrow_result(&w->form), SEED,
                             t->operands.out) == KN_OK;
    well = well && randomize(d, static_cast<int64_t>(bytes / sizeof(float)), false, SEED + 1,
                             room) == KN_OK;
    well = well && kn_way_run(d, w, &t->operands, room) == KN_OK && kn_cuda_wait(d) == KN_OK;
    return well ? difference(d, &w->form, t->operands.out, t->want) : NAN;
}

float kn_way_off(kn_device *d, const kn_way *w, const kn_operands *o) {
    size_t size = narrow_result(&w->form) ? sizeof(kn_bf16) : sizeof(float);
    kn_operands own = *o;
    own.out = kn_cuda_alloc(d, static_cast<size_t>(result_numbers(&w->form)) * size);
    float off = own.out != NULL && kn_cuda_wait(d) == KN_OK && run_plain(d, &w->form, &own) == KN_OK
                    ? difference(d, &w->form, o->out, own.out)
                    : NAN;
    kn_cuda_release(d, own.out);
    return off;
}
