/* norm.cuh - how batch normalisation divides [rows,channels] among blocks, and adds up what they
 * found for each channel. */
#ifndef KN_BACKEND_CUDA_NORM_CUH
#define KN_BACKEND_CUDA_NORM_CUH

#include "backend/cuda/device_math.cuh"

enum {
    KN_NORM_THREADS = 256,
    KN_NORM_SUM_BLOCKS = 264,   /* of all tiles: each leaves sums that the last must add up */
    KN_NORM_MOST_BLOCKS = 1056, /* where nothing is left */
    KN_NORM_MOST_VECTOR = 8
};

/* A thread has V neighbouring channels; `across` threads stand beside each other, the others of the
 * block have other rows. The numbers follow from the shape alone, and so does the order of all
 * sums.
 */
struct kn_norm_grid {
    int64_t rows, channels;
    int across;      /* a power of two, at most 32 */
    unsigned tiles;  /* of across * V channels */
    unsigned blocks; /* of each tile */
};
KN_HAS_NO_POINTERS(kn_norm_grid);

static inline kn_norm_grid kn_norm_grid_of(const kn_norm_dims *n, int vector, int64_t most) {
    kn_norm_grid g = {};
    int64_t groups = (n->channels + vector - 1) / vector;
    g.rows = n->rows;
    g.channels = n->channels;
    for (g.across = 1; g.across < 32 && g.across < groups;)
        g.across *= 2;
    g.tiles = kn_cuda_blocks(groups, g.across);
    int64_t down = KN_NORM_THREADS / g.across, wanted = (n->rows + 4 * down - 1) / (4 * down);
    most = most / g.tiles > 0 ? most / g.tiles : 1;
    g.blocks = static_cast<unsigned>(wanted < 1 ? 1 : wanted < most ? wanted : most);
    return g;
}

static inline dim3 kn_norm_blocks(const kn_norm_grid *g) {
    return g->rows > 0 && g->channels > 0 ? dim3(g->tiles, g->blocks) : dim3(0);
}

/* One pair of sums for each channel and each block of its tile. */
static inline size_t kn_norm_parts_bytes(const kn_norm_grid *g) {
    return static_cast<size_t>(g->tiles) * 32 * KN_NORM_MOST_VECTOR * g->blocks * sizeof(float2);
}

/* ---- in a kernel ---- */

/* The thread's first channel, its first row, and from one of its rows to the next. */
template <int V> static __device__ __forceinline__ int64_t kn_norm_channel(const kn_norm_grid &g) {
    return (static_cast<int64_t>(blockIdx.x) * g.across +
            static_cast<int>(threadIdx.x) % g.across) *
           V;
}
static __device__ __forceinline__ int64_t kn_norm_row(const kn_norm_grid &g) {
    int down = KN_NORM_THREADS / g.across;
    return static_cast<int64_t>(blockIdx.y) * down + static_cast<int>(threadIdx.x) / g.across;
}
static __device__ __forceinline__ int64_t kn_norm_stride(const kn_norm_grid &g) {
    return static_cast<int64_t>(KN_NORM_THREADS / g.across) * gridDim.y;
}

/* The block's sums of each channel of its tile, into parts [tile][block][channel of the tile]. True
 * in the tile's last block, where all parts are. */
template <int V>
static __device__ bool kn_norm_combine(const kn_norm_grid &g, const float (&a)[V],
                                       const float (&b)[V], float2 *parts, unsigned *counters) {
    __shared__ float2 room[KN_NORM_THREADS * V];
    int width = g.across * V, down = KN_NORM_THREADS / g.across;
    int at = static_cast<int>(threadIdx.x) / g.across * width +
             static_cast<int>(threadIdx.x) % g.across * V;
#pragma unroll
    for (int k = 0; k < V; k++)
        room[at + k] = make_float2(a[k], b[k]);
    __syncthreads();
    float2 *own = parts + (static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y) * width;
    for (int c = static_cast<int>(threadIdx.x); c < width; c += KN_NORM_THREADS) {
        float2 sum = room[c];
#pragma unroll 8
        for (int i = 1; i < down; i++) {
            sum.x += room[i * width + c].x;
            sum.y += room[i * width + c].y;
        }
        own[c] = sum;
    }
    return kn_last_block(&counters[blockIdx.x], gridDim.y);
}

/* In the last block: several threads a channel, when there are fewer channels than threads; the
 * first of them has the channel for its own and gets its totals. */
template <int V>
static __device__ __forceinline__ int64_t kn_norm_own_channel(const kn_norm_grid &g) {
    int width = g.across * V;
    return static_cast<int64_t>(blockIdx.x) * width + static_cast<int>(threadIdx.x) % width;
}

template <int V>
static __device__ bool kn_norm_total(const kn_norm_grid &g, const float2 *parts, double *a,
                                     double *b) {
    __shared__ double room_a[KN_NORM_THREADS], room_b[KN_NORM_THREADS];
    int width = g.across * V, each = KN_NORM_THREADS / width; /* both powers of two */
    int c = static_cast<int>(threadIdx.x) % width, own = static_cast<int>(threadIdx.x) / width;
    const float2 *from = parts + static_cast<int64_t>(blockIdx.x) * gridDim.y * width + c;
    double sum_a = 0, sum_b = 0;
    int count = (static_cast<int>(gridDim.y) - own + each - 1) / each;
#pragma unroll 16
    for (int i = 0; i < count; i++) { /* so written, the loads do not wait for each other */
        float2 part = from[static_cast<int64_t>(own + i * each) * width];
        sum_a += static_cast<double>(part.x);
        sum_b += static_cast<double>(part.y);
    }
    room_a[threadIdx.x] = sum_a;
    room_b[threadIdx.x] = sum_b;
    __syncthreads();
    for (int i = 1; i < each && own == 0; i++) {
        sum_a += room_a[i * width + c];
        sum_b += room_b[i * width + c];
    }
    *a = sum_a;
    *b = sum_b;
    return own == 0;
}

#endif
