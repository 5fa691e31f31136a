/* runtime.cpp - the runtime's functions: memory, streams and events, graphs. The device's time is
 * counted, not measured: a nanosecond for each thread of a kernel, so that whoever compares what
 * two ways take finds the same each time. */
#include "host.h"
#include "watch.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, bytes)   ((void)(p), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(p, bytes) ((void)(p), (void)(bytes))
#endif

/* ---- the device's memory ---- */

static std::mutex memory_lock;
static cuda_host_memory memory;
static size_t memory_used;

/* The host may not touch blocks of up to so many bytes; larger ones take too long to lock. */
static const size_t LOCKED = 64 << 10;

static void lock(void *p, size_t bytes) {
    if (bytes <= LOCKED)
        ASAN_POISON_MEMORY_REGION(p, bytes);
}

static void unlock(void *p, size_t bytes) {
    if (bytes <= LOCKED)
        ASAN_UNPOISON_MEMORY_REGION(p, bytes);
}

/* Work of the device: it alone may touch its memory. */
class at_work {
  public:
    at_work() : held(memory_lock) {
        for (auto &block : memory)
            unlock(block.first, block.second);
    }
    ~at_work() {
        for (auto &block : memory)
            lock(block.first, block.second);
    }

  private:
    std::lock_guard<std::mutex> held;
};

static thread_local cudaError_t last_error;

static cudaError_t told(cudaError_t error) {
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

/* KILN_CUDA_HOST_MEMORY: bytes of the device. */
static size_t memory_size() {
    const char *size = getenv("KILN_CUDA_HOST_MEMORY");
    return size != nullptr ? strtoull(size, nullptr, 10) : size_t(4) << 30;
}

cudaError_t cudaMalloc(void **p, size_t bytes) {
    std::lock_guard<std::mutex> held(memory_lock);
    size_t whole = (bytes + 255) / 256 * 256;
    *p = memory_used + whole <= memory_size() ? aligned_alloc(256, whole) : nullptr;
    if (*p == nullptr)
        return told(cudaErrorMemoryAllocation);
    memset(*p, 0xff, whole);
    lock(*p, bytes);
    memory[*p] = bytes;
    memory_used += whole;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *all) {
    std::lock_guard<std::mutex> held(memory_lock);
    *all = memory_size();
    *left = *all > memory_used ? *all - memory_used : 0;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p) {
    std::lock_guard<std::mutex> held(memory_lock);
    auto block = memory.find(p);
    if (p == nullptr)
        return cudaSuccess;
    if (block == memory.end())
        return told(cudaErrorInvalidValue);
    size_t whole = (block->second + 255) / 256 * 256;
    unlock(p, block->second);
    memory_used -= whole;
    memory.erase(block);
    free(p);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
    *p = malloc(bytes);
    return told(*p != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaMallocHost(void **p, size_t bytes) {
    return cudaHostAlloc(p, bytes, 0);
}

cudaError_t cudaFreeHost(void *p) {
    free(p);
    return cudaSuccess;
}

/* ---- work ---- */

struct cuda_host_node {
    size_t index;
    std::vector<size_t> before; /* of these indices, when in a graph */
    double nanoseconds;
    const cuda_host_kernel *kernel; /* NULL: a call */
    std::function<void()> call;
    dim3 grid, block;
    size_t shared;
    std::vector<std::vector<char>> params;
};

struct cuda_host_graph {
    std::vector<std::unique_ptr<cuda_host_node>> nodes;
};

struct cuda_host_stream {
    cuda_host_graph *capture;
    std::vector<cudaGraphNode_t> last; /* of capture: what comes next waits for these */
};

struct cuda_host_event {
    double at;
};

static std::atomic<double> device_time; /* nanoseconds */

static void spend(double nanoseconds) {
    device_time = device_time + nanoseconds;
}

static void set_params(cuda_host_node *node, void **params) {
    node->params.clear();
    for (int i = 0; i < node->kernel->count; i++) {
        const char *from = static_cast<const char *>(params[i]);
        node->params.emplace_back(from, from + node->kernel->size[i]);
    }
}

static void run(cuda_host_node *node) {
    void *params[CUDA_HOST_PARAMS];
    for (size_t i = 0; i < node->params.size(); i++)
        params[i] = node->params[i].data();
    spend(node->nanoseconds);
    if (node->kernel != nullptr)
        cuda_host_run(node->kernel, node->grid, node->block, node->shared, params);
    else
        node->call();
}

/* KILN_CUDA_HOST_FAIL=N: the Nth command finds a bad address, which every call tells from then on.
 */
static bool is_broken(bool by_work) {
    static std::atomic<long> works;
    const char *at = getenv("KILN_CUDA_HOST_FAIL");
    if (at == nullptr)
        return false;
    long number = strtol(at, nullptr, 10);
    works += by_work;
    return works >= number;
}

static cudaError_t take(cudaStream_t stream, std::unique_ptr<cuda_host_node> node) {
    if (stream->capture != nullptr) {
        node->index = stream->capture->nodes.size();
        for (cudaGraphNode_t before : stream->last)
            node->before.push_back(before->index);
        stream->last = {node.get()};
        stream->capture->nodes.push_back(std::move(node));
        return cudaSuccess;
    }
    if (is_broken(true)) /* it is told later */
        return cudaSuccess;
    at_work now;
    run(node.get());
    return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **params,
                             size_t shared, cudaStream_t stream) {
    std::unique_ptr<cuda_host_node> node(new cuda_host_node());
    unsigned threads = block.x * block.y * block.z;
    if (threads == 0 || threads > 1024 || grid.y > 65535 || grid.z > 65535 || shared > 227 << 10)
        return told(cudaErrorInvalidValue);
    node->kernel = static_cast<const cuda_host_kernel *>(kernel);
    node->grid = grid;
    node->block = block;
    node->shared = shared;
    node->nanoseconds = double(grid.x) * grid.y * grid.z * threads;
    set_params(node.get(), params);
    return take(stream, std::move(node));
}

cudaError_t cuda_host_submit(cudaStream_t stream, double nanoseconds, std::function<void()> call) {
    std::unique_ptr<cuda_host_node> node(new cuda_host_node());
    node->nanoseconds = nanoseconds;
    node->call = std::move(call);
    return take(stream, std::move(node));
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
    return cuda_host_submit(stream, double(bytes), [=] { memcpy(to, from, bytes); });
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
    return cuda_host_submit(stream, double(bytes), [=] { memset(p, value, bytes); });
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    *stream = new cuda_host_stream();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return told(is_broken(false) ? cudaErrorIllegalAddress : cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    *event = new cuda_host_event();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    return cudaEventCreate(event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    event->at = device_time;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) {
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t began, cudaEvent_t ended) {
    *ms = float((ended->at - began->at) * 1e-6);
    return cudaSuccess;
}

long long clock64() {
    spend(1);
    return static_cast<long long>(device_time)
           << 20; /* so that who waits for it does not wait long */
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    stream->capture = new cuda_host_graph();
    stream->last.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    *graph = stream->capture;
    stream->capture = nullptr;
    return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus *status,
                                     unsigned long long *, cudaGraph_t *,
                                     const cudaGraphNode_t **last, const cudaGraphEdgeData **,
                                     size_t *count) {
    *status =
        stream->capture != nullptr ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    *last = stream->last.data();
    *count = stream->last.size();
    return cudaSuccess;
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t *nodes,
                                                const cudaGraphEdgeData *, size_t count,
                                                unsigned flags) {
    if (stream->capture == nullptr || flags != cudaStreamSetCaptureDependencies)
        return told(cudaErrorInvalidValue);
    stream->last.assign(nodes, nodes + count);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    *exec = new cuda_host_graph();
    for (auto &node : graph->nodes)
        (*exec)->nodes.emplace_back(new cuda_host_node(*node));
    return cudaSuccess;
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaKernelNodeParams *params) {
    cuda_host_node *own = exec->nodes[node->index].get();
    if (own->kernel != params->func)
        return told(cudaErrorInvalidValue);
    own->grid = params->gridDim;
    own->block = params->blockDim;
    own->shared = params->sharedMemBytes;
    set_params(own, params->kernelParams);
    return cudaSuccess;
}

/* What is ready may come in any order: the latest first, unless KILN_CUDA_HOST_ORDER says something
 * else. */
static size_t take_one(std::vector<size_t> *ready) {
    const char *told_order = getenv("KILN_CUDA_HOST_ORDER");
    unsigned long seed = told_order != nullptr ? strtoul(told_order, nullptr, 10) : 0;
    static std::minstd_rand random(static_cast<unsigned>(seed) + 1);
    std::sort(ready->begin(), ready->end());
    size_t at = ready->size() - 1;
    if (told_order != nullptr && strcmp(told_order, "forward") == 0)
        at = 0;
    else if (seed != 0)
        at = random() % ready->size();
    size_t taken = (*ready)[at];
    ready->erase(ready->begin() + long(at));
    return taken;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
    std::vector<size_t> ready, waits_for;
    std::vector<std::vector<size_t>> before, after(exec->nodes.size());
    if (is_broken(true))
        return cudaSuccess;
    at_work now;
    std::unique_ptr<cuda_host_watch> watch;
    if (getenv("KILN_CUDA_HOST_WATCH") != nullptr)
        watch.reset(new cuda_host_watch(memory));
    for (auto &node : exec->nodes) {
        before.push_back(node->before);
        waits_for.push_back(node->before.size());
        for (size_t first : node->before)
            after[first].push_back(node->index);
        if (node->before.empty())
            ready.push_back(node->index);
    }
    while (!ready.empty()) {
        size_t next = take_one(&ready);
        run(exec->nodes[next].get());
        if (watch)
            watch->ran(next);
        for (size_t then : after[next])
            if (--waits_for[then] == 0)
                ready.push_back(then);
    }
    if (watch)
        watch->judge(before);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}

/* ---- the device ---- */

/* All are the host; KILN_CUDA_HOST_DEVICES says how many there seem to be. */
static int device_count() {
    const char *told_count = getenv("KILN_CUDA_HOST_DEVICES");
    return told_count != nullptr ? atoi(told_count) : 1;
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = device_count();
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *about, int) {
    *about = cudaDeviceProp();
    strcpy(about->name, "the host, as a device of CUDA");
    about->totalGlobalMem = memory_size();
    about->major = 9;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int ordinal) {
    return told(ordinal >= 0 && ordinal < device_count() ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGetLastError() {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    }
    return "an unknown error";
}
