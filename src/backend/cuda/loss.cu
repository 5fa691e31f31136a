/* loss.cu - losses over rows of class scores, and what is added up of them for an epoch.
 *
 * One kernel makes all cross entropies, so that a term that is not there changes no bit: a warp a
 * row, each warp's rows added in their order, then the warps', then the blocks'. */
#include "backend/cuda/rows.cuh"

enum { THREADS = 256, WARPS = THREADS / 32, MOST_BLOCKS = 64 };

static __device__ double weight_of(const kn_loss_terms &t, int64_t c) {
    return t.class_weights != NULL ? static_cast<double>(t.class_weights[c]) : 1;
}

static __device__ double first_share(const kn_loss_terms &t, int64_t row) {
    return t.lambda != NULL ? static_cast<double>(t.lambda[row]) : 1;
}

/* A target that is none: the row is not a number, and the host will hear of it. */
static __device__ bool good_row(const kn_loss_terms &t, int64_t row, int *trouble) {
    double first = first_share(t, row);
    bool good = t.target[row] >= 0 && t.target[row] < t.cols &&
                (t.target2 == NULL || (t.target2[row] >= 0 && t.target2[row] < t.cols));
    if (!good)
        trouble[KN_CUDA_BAD_TARGET] = 1;
    bool shares = first >= 0 && first <= 1;
    if (!shares)
        trouble[KN_CUDA_BAD_LAMBDA] = 1;
    return good && shares;
}

/* Of a row's log-probabilities; every lane has it. A target of no share is left out, not taken
 * times 0: its log-probability may be infinite. */
static __device__ double row_loss(const kn_loss_terms &t, int64_t row, const float *log_probs) {
    double keep = 1 - t.smoothing, spread = t.smoothing / static_cast<double>(t.cols), loss = 0;
    double first = first_share(t, row);
    int32_t a = t.target[row];
    if (spread > 0)
        for (int64_t c = threadIdx.x % 32; c < t.cols; c += 32)
            loss -= spread * weight_of(t, c) * static_cast<double>(log_probs[c]);
    loss = spread > 0 ? kn_warp_sum(loss) : 0;
    if (first > 0)
        loss -= keep * first * weight_of(t, a) * static_cast<double>(log_probs[a]);
    if (first < 1)
        loss -= keep * (1 - first) * weight_of(t, t.target2[row]) *
                static_cast<double>(log_probs[t.target2[row]]);
    return loss;
}

static __device__ double row_weight(const kn_loss_terms &t, int64_t row) {
    double first = first_share(t, row), weight = first * weight_of(t, t.target[row]);
    return first < 1 ? weight + (1 - first) * weight_of(t, t.target2[row]) : weight;
}

/* The sums of all warps of all blocks, in the last block's thread 0, in a fixed order. */
static __device__ bool add_up(double *loss, double *weight, double *parts, unsigned *counters) {
    __shared__ double of_warp[2][WARPS];
    int warp = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x % 32 == 0) {
        of_warp[0][warp] = *loss;
        of_warp[1][warp] = *weight;
    }
    __syncthreads();
    *loss = *weight = 0;
    for (int i = 0; i < WARPS; i++) {
        *loss += of_warp[0][i];
        *weight += of_warp[1][i];
    }
    if (gridDim.x == 1)
        return threadIdx.x == 0;
    if (threadIdx.x == 0) {
        parts[2 * blockIdx.x] = *loss;
        parts[2 * blockIdx.x + 1] = *weight;
    }
    if (!kn_last_block(counters, gridDim.x) || threadIdx.x != 0)
        return false;
    *loss = *weight = 0;
    for (unsigned i = 0; i < gridDim.x; i++) {
        *loss += parts[2 * i];
        *weight += parts[2 * i + 1];
    }
    return true;
}

/* logits NULL: log_probs are there already. */
static __global__ void loss_kernel(kn_loss_terms t, const float *logits, float *log_probs,
                                   const float *given, double *parts, unsigned *counters,
                                   int *trouble, float *mean) {
    double loss = 0, weight = 0;
    int64_t warps = static_cast<int64_t>(gridDim.x) * WARPS;
    for (int64_t row = kn_thread() / 32; row < t.rows; row += warps) {
        if (logits != NULL) {
            kn_row_log_softmax(t.cols, logits + row * t.cols, log_probs + row * t.cols);
            __syncwarp();
        }
        const float *from = logits != NULL ? log_probs : given;
        bool good = good_row(t, row, trouble);
        loss += good ? row_loss(t, row, from + row * t.cols) : static_cast<double>(NAN);
        weight += good ? row_weight(t, row) : 1;
    }
    if (add_up(&loss, &weight, parts, counters))
        *mean = static_cast<float>(loss / weight);
}

static kn_status run_loss(kn_device *d, const kn_loss_terms *t, const float *logits,
                          float *log_probs, const float *given, float *mean) {
    double *parts = static_cast<double *>(kn_cuda_scratch(d, 2 * MOST_BLOCKS * sizeof(double)));
    if (parts == NULL)
        return KN_ERR_MEMORY;
    unsigned blocks = kn_cuda_blocks(t->rows, WARPS);
    blocks = blocks < 1 ? 1 : blocks > MOST_BLOCKS ? unsigned(MOST_BLOCKS) : blocks;
    return kn_cuda_launch(d, "cross_entropy", loss_kernel, blocks, THREADS, 0, *t, logits,
                          log_probs, given, parts, kn_cuda_counters(d), kn_cuda_trouble(d), mean);
}

static kn_loss_terms plain_terms(int64_t rows, int64_t cols, const int32_t *target) {
    kn_loss_terms t = {};
    t.rows = rows;
    t.cols = cols;
    t.target = target;
    return t;
}

extern "C" kn_status kn_cuda_cross_entropy(kn_device *d, const kn_loss_terms *t, const float *x,
                                           float *log_probs, float *loss) {
    return run_loss(d, t, x, log_probs, NULL, loss);
}
extern "C" kn_status kn_cuda_nll(kn_device *d, int64_t rows, int64_t cols, const float *log_probs,
                                 const int32_t *target, float *loss) {
    kn_loss_terms t = plain_terms(rows, cols, target);
    return run_loss(d, &t, NULL, NULL, log_probs, loss);
}

/* ---- gradients ---- */

static __global__ void nll_grad_kernel(int64_t rows, int64_t cols, const int32_t *target,
                                       const float *dloss, float *dx) {
    int64_t i = kn_thread();
    if (i < rows * cols)
        dx[i] = i % cols == target[i / cols] ? -*dloss / static_cast<float>(rows) : 0;
}

extern "C" kn_status kn_cuda_nll_grad(kn_device *d, int64_t rows, int64_t cols,
                                      const int32_t *target, const float *dloss, float *dx) {
    return kn_cuda_launch(d, "nll_grad", nll_grad_kernel, kn_cuda_blocks(rows * cols, THREADS),
                          THREADS, 0, rows, cols, target, dloss, dx);
}

/* The weight of all rows and of all classes' smoothing: every block for itself, a few thousand
 * numbers at most. */
static __device__ void totals_of(const kn_loss_terms &t, double *weight, double *every) {
    __shared__ double room[32];
    double sum = 0, spread = 0;
    if (t.class_weights == NULL) { /* each row counts as its shares do: 1 */
        *weight = static_cast<double>(t.rows);
        *every = t.smoothing;
        return;
    }
    for (int64_t r = threadIdx.x; r < t.rows; r += blockDim.x)
        sum += row_weight(t, r);
    for (int64_t c = threadIdx.x; c < t.cols; c += blockDim.x)
        spread += t.smoothing / static_cast<double>(t.cols) * weight_of(t, c);
    *weight = kn_block_sum(sum, room);
    *every = kn_block_sum(spread, room);
}

/* With q the weighted target of a class: d loss / d x = (softmax(x) * sum of q - q) / total. */
static __global__ void grad_kernel(kn_loss_terms t, const float *log_probs, const float *dloss,
                                   float *dx) {
    double weight, every;
    totals_of(t, &weight, &every);
    int64_t row = kn_thread() / 32;
    if (row >= t.rows)
        return;
    double keep = 1 - t.smoothing, spread = t.smoothing / static_cast<double>(t.cols);
    double first = first_share(t, row);
    float share = *dloss / static_cast<float>(weight);
    int32_t a = t.target[row], b = first < 1 ? t.target2[row] : a;
    bool good = a >= 0 && a < t.cols && b >= 0 && b < t.cols;
    double to_a = good ? keep * first * weight_of(t, a) : static_cast<double>(NAN);
    double to_b = good ? keep * (1 - first) * weight_of(t, b) : 0;
    float all = static_cast<float>(to_a + to_b + every);
    for (int64_t c = threadIdx.x % 32; c < t.cols; c += 32) {
        double q = (c == a ? to_a : 0) + (c == b ? to_b : 0) + spread * weight_of(t, c);
        float p = expf(log_probs[row * t.cols + c]);
        dx[row * t.cols + c] = (p * all - static_cast<float>(q)) * share;
    }
}

static kn_status run_grad(kn_device *d, const kn_loss_terms *t, const float *log_probs,
                          const float *dloss, float *dx) {
    return kn_cuda_launch(d, "cross_entropy_grad", grad_kernel, kn_cuda_blocks(t->rows, WARPS),
                          THREADS, 0, *t, log_probs, dloss, dx);
}

extern "C" kn_status kn_cuda_cross_entropy_grad(kn_device *d, const kn_loss_terms *t,
                                                const float *log_probs, const float *dloss,
                                                float *dx) {
    return run_grad(d, t, log_probs, dloss, dx);
}

/* ---- an epoch's sums ---- */

/* Is the target the row's argmax: the first NaN, else the first of the largest? */
static __device__ bool is_hit(int64_t cols, const float *x, int32_t target) {
    int lane = static_cast<int>(threadIdx.x) % 32;
    if (target < 0 || target >= cols)
        return false;
    float own = x[target];
    bool beaten = false;
    for (int64_t c = lane; c < cols; c += 32) {
        bool before = c < target;
        beaten = beaten || (isnan(own) ? before && isnan(x[c])
                                       : isnan(x[c]) || x[c] > own || (before && x[c] == own));
    }
    return !__any_sync(kn_all_lanes, beaten);
}

static __global__ void track_kernel(int64_t rows, int64_t cols, const float *preds,
                                    const int32_t *target, const float *loss, double *total) {
    __shared__ int room[32];
    int hits = 0;
    for (int64_t row = threadIdx.x / 32; row < rows && preds != NULL; row += blockDim.x / 32)
        hits += is_hit(cols, preds + row * cols, target[row]) && threadIdx.x % 32 == 0;
    hits = kn_block_sum(hits, room);
    if (threadIdx.x == 0) {
        total[0] += static_cast<double>(rows) * static_cast<double>(*loss);
        total[1] += hits;
        total[2] += static_cast<double>(rows);
    }
}

extern "C" kn_status kn_cuda_track(kn_device *d, int64_t rows, int64_t cols, const float *preds,
                                   const int32_t *target, const float *loss, double *total) {
    return kn_cuda_launch(d, "track", track_kernel, 1, 1024, 0, rows, cols, preds, target, loss,
                          total);
}
