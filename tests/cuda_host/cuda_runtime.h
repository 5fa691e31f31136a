/* cuda_runtime.h - CUDA without a device: so much of the runtime's interface as src/backend/cuda
 * uses, on the processor, so that every machine can test what those files compute.
 *
 * A kernel is an ordinary function. The threads of a block are fibers of the thread that launched
 * it, and change places where CUDA's may wait for each other; blocks run one after another. Both
 * come in an order that KILN_CUDA_HOST_ORDER tells: forward, backward, or the seed of a shuffle. A
 * result that depends on it was a race. What is asked for on a stream is done at once, or kept for
 * a graph when the stream is captured. Of a graph's nodes the latest comes first that waits for
 * none, or what KILN_CUDA_HOST_ORDER says.
 *
 * Stricter than a device: a thread that ends while others of its block wait for it, or lanes that
 * ask for different things of each other, end the program with the kernel's grid. Memory of the
 * device holds NaN until something is written to it; under AddressSanitizer the host may not touch
 * small blocks of it.
 *
 * Where KILN_CUDA_HOST_WATCH is set, two nodes of a graph that change the same memory and do not
 * wait for each other end the program.
 *
 * KILN_CUDA_HOST_DEVICES is how many devices there seem to be, KILN_CUDA_HOST_MEMORY the memory of
 * each in bytes, and KILN_CUDA_HOST_FAIL the number of the command that meets a bad address.
 *
 * Not here: how fast anything is, what several streams do at once, and how NVIDIA's compiler rounds
 * (it may fuse a product and a sum). */
#ifndef KN_CUDA_HOST_RUNTIME_H
#define KN_CUDA_HOST_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <utility>

#define CUDART_VERSION 13000

/* ---- a kernel's words ---- */

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ thread_local /* a block finds there what the one before left */

struct uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct float2 {
    float x, y;
};
static inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
static inline float2 make_float2(float x, float y) {
    return {x, y};
}

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim; /* one kernel runs at a time */

/* What a launch asks for beside a kernel's own: the one array of that kind in src/backend/cuda. */
extern thread_local float kn_launch_shared[];

void __syncthreads();

/* Gives every lane of the warp all lanes' words; all must be there, with the same name. */
const uint64_t *cuda_host_exchange(const char *name, unsigned mask, uint64_t word);
unsigned cuda_host_lane();

static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    cuda_host_exchange("__syncwarp", mask, 0);
}

static inline int __any_sync(unsigned mask, int yes) {
    const uint64_t *all = cuda_host_exchange("__any_sync", mask, yes != 0);
    for (int i = 0; i < 32; i++)
        if (all[i] != 0)
            return 1;
    return 0;
}

template <typename T> T __shfl_xor_sync(unsigned mask, T value, int away) {
    uint64_t word = 0;
    static_assert(sizeof value <= sizeof word, "a lane's value is at most a word");
    memcpy(&word, &value, sizeof value);
    word = cuda_host_exchange("__shfl_xor_sync", mask, word)[cuda_host_lane() ^ unsigned(away)];
    memcpy(&value, &word, sizeof value);
    return value;
}

/* One fiber runs at a time. */
static inline unsigned atomicAdd(unsigned *at, unsigned more) {
    unsigned before = *at;
    *at += more;
    return before;
}
static inline void __threadfence() {}

long long clock64();

static inline float __fmul_rn(float a, float b) {
    return a * b; /* compiled with -ffp-contract=off */
}
static inline float __fadd_rn(float a, float b) {
    return a + b;
}

/* ---- kernels as the runtime knows them ---- */

enum { CUDA_HOST_PARAMS = 24 };

struct cuda_host_kernel {
    void (*function)();
    void (*call)(void (*function)(), void **params); /* with the function's own type */
    int count;
    size_t size[CUDA_HOST_PARAMS];
};

/* The one place of a kernel; it stays. */
const cuda_host_kernel *cuda_host_known(const cuda_host_kernel &kernel);

template <typename... P, size_t... I>
void cuda_host_unpack(void (*function)(), void **params, std::index_sequence<I...>) {
    reinterpret_cast<void (*)(P...)>(function)(*static_cast<P *>(params[I])...);
}

template <typename... P> const void *cuda_host_kernel_of(void (*kernel)(P...)) {
    static_assert(sizeof...(P) <= CUDA_HOST_PARAMS, "too many parameters");
    cuda_host_kernel k = {};
    k.function = reinterpret_cast<void (*)()>(kernel);
    k.call = [](void (*function)(), void **params) {
        cuda_host_unpack<P...>(function, params, std::index_sequence_for<P...>());
    };
    for (size_t size : {size_t(0), sizeof(P)...})
        if (size > 0)
            k.size[k.count++] = size;
    return cuda_host_known(k);
}

#define KN_CUDA_KERNEL_OF(kernel) cuda_host_kernel_of(kernel)

/* ---- the runtime ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorIllegalAddress = 700
};
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice
};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed = 2 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocMapped = 2 };
enum { cudaStreamSetCaptureDependencies = 1 };

typedef struct cuda_host_stream *cudaStream_t;
typedef struct cuda_host_event *cudaEvent_t;
typedef struct cuda_host_node *cudaGraphNode_t;
typedef struct cuda_host_graph *cudaGraph_t;
typedef struct cuda_host_graph *cudaGraphExec_t;
struct cudaGraphEdgeData;

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor;
};

struct cudaKernelNodeParams {
    void *func;
    dim3 gridDim, blockDim;
    unsigned sharedMemBytes;
    void **kernelParams;
    void **extra;
};

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *about, int ordinal);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaSetDevice(int ordinal);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t error);

cudaError_t cudaMemGetInfo(size_t *left, size_t *all);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t began, cudaEvent_t ended);

cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **params,
                             size_t shared, cudaStream_t stream);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *graph,
                                     const cudaGraphNode_t **last, const cudaGraphEdgeData **edges,
                                     size_t *count);
cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t *nodes,
                                                const cudaGraphEdgeData *edges, size_t count,
                                                unsigned flags);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaKernelNodeParams *params);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

#endif
