/* device.cu - a CUDA device: opening and closing it, its memory, errors. */
#include "backend/cuda/cuda.cuh"
#include "backend/cuda/cudnn.cuh"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

/* ---- errors ---- */

/* As kn_error_set: the first error stays. The library's own is not linked here. */
static void set_error(kn_error *error, kn_status status, const char *format, va_list args) {
    if (error == NULL || error->status != KN_OK)
        return;
    error->status = status;
    vsnprintf(error->message, sizeof error->message, format, args);
    for (char *c = error->message; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
}

static void say(kn_error *error, kn_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set_error(error, status, format, args);
    va_end(args);
}

kn_status kn_cuda_fail(kn_device *d, kn_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set_error(d->error, status, format, args);
    va_end(args);
    return status;
}

kn_status kn_cuda_check(kn_device *d, cudaError_t error, const char *what) {
    if (error == cudaSuccess)
        return KN_OK;
    cudaGetLastError(); /* where it can be cleared it is: the next call is not to blame */
    return kn_cuda_fail(d, error == cudaErrorMemoryAllocation ? KN_ERR_MEMORY : KN_ERR_DEVICE,
                        "device cuda:%d: %s: %s", d->ordinal, what, cudaGetErrorString(error));
}

/* ---- opening and closing ---- */

static kn_status describe(kn_device *d, kn_cuda *c) {
    cudaDeviceProp about;
    int driver = 0;
    kn_status status = kn_cuda_check(d, cudaGetDeviceProperties(&about, d->ordinal), "properties");
    if (status != KN_OK)
        return status;
    cudaDriverGetVersion(&driver);
    size_t cudnn = kn_cuda_cudnn_version();
    snprintf(c->name, sizeof c->name, "%s", about.name);
    snprintf(d->about, sizeof d->about,
             "%.60s, %.1f GiB, compute %d.%d, driver for CUDA %d.%d, CUDA %d.%d, cuDNN %zu.%zu.%zu",
             about.name, (double)about.totalGlobalMem / (double)(1 << 30), about.major, about.minor,
             driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10,
             cudnn / 10000, cudnn % 10000 / 100, cudnn % 100);
    return KN_OK;
}

static kn_status make_trouble(kn_device *d, kn_cuda *c) {
    void *trouble = NULL;
    kn_status status = kn_cuda_check(
        d, cudaHostAlloc(&trouble, KN_CUDA_TROUBLES * sizeof(int), cudaHostAllocMapped),
        "pinned memory");
    c->trouble = static_cast<int *>(trouble);
    for (int i = 0; i < KN_CUDA_TROUBLES && status == KN_OK; i++)
        c->trouble[i] = 0;
    return status;
}

/* With unified addresses the device uses the host's. */
int *kn_cuda_trouble(kn_device *d) {
    return kn_cuda_of(d)->trouble;
}

static kn_status start(kn_device *d, kn_cuda *c) {
    int count = 0;
    kn_status status = kn_cuda_check(d, cudaGetDeviceCount(&count), "counting devices");
    if (status == KN_OK && d->ordinal >= count)
        status = kn_cuda_fail(d, KN_ERR_DEVICE, "device cuda:%d: there %s %d, counted from 0",
                              d->ordinal, count == 1 ? "is" : "are", count);
    if (status == KN_OK)
        status = kn_cuda_check(d, cudaSetDevice(d->ordinal), "opening it");
    if (status == KN_OK)
        status = kn_cuda_check(d, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking),
                               "a stream");
    if (status == KN_OK)
        status = describe(d, c);
    if (status == KN_OK)
        status = make_trouble(d, c);
    c->scratches = status == KN_OK ? kn_cuda_scratches_new(d) : NULL;
    c->commands = c->scratches != NULL ? kn_cuda_commands_new(d) : NULL;
    c->copies = c->commands != NULL ? kn_cuda_copies_new(d) : NULL;
    return c->copies != NULL ? KN_OK : d->error->status;
}

extern "C" void kn_cuda_close(kn_device *d) {
    kn_cuda *c = kn_cuda_of(d);
    if (c == NULL)
        return;
    cudaSetDevice(d->ordinal);
    if (c->stream != NULL)
        cudaStreamSynchronize(c->stream);
    kn_cuda_convolutions_free(d);
    kn_cuda_products_free(d);
    kn_cuda_copies_free(c->copies);
    kn_cuda_commands_free(c->commands);
    kn_cuda_scratches_free(d, c->scratches);
    if (c->trouble != NULL)
        cudaFreeHost(c->trouble);
    if (c->stream != NULL)
        cudaStreamDestroy(c->stream);
    kn_blocks_free(&c->blocks);
    free(c);
    d->state = NULL;
}

extern "C" kn_status kn_cuda_open(kn_device *d) {
    kn_cuda *c = static_cast<kn_cuda *>(calloc(1, sizeof *c));
    if (c == NULL)
        return kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: opening device cuda");
    d->state = c;
    d->bf16 = &kn_cuda_bf16_table;
    c->debug = getenv("KILN_CUDA_DEBUG") != NULL;
    c->last = "opening it";
    kn_status status = start(d, c);
    if (status != KN_OK)
        kn_cuda_close(d);
    return status;
}

/* ---- memory ---- */

extern "C" void *kn_cuda_alloc(kn_device *d, size_t bytes) {
    void *p = NULL;
    cudaError_t error = cudaSetDevice(d->ordinal);
    if (error == cudaSuccess)
        error = cudaMalloc(&p, bytes);
    if (error == cudaSuccess && kn_blocks_add(&kn_cuda_of(d)->blocks, p, bytes))
        return p;
    cudaFree(p);
    if (error == cudaSuccess)
        error = cudaErrorMemoryAllocation;
    cudaGetLastError();
    if (error != cudaErrorMemoryAllocation) /* not short of memory: then the caller says so */
        kn_cuda_check(d, error, "memory");
    return NULL;
}

extern "C" void kn_cuda_free(kn_device *d, void *p) {
    kn_cuda_wait(d); /* what was asked for may use it; an error stays in the device */
    kn_cuda_release(d, p);
}

void kn_cuda_release(kn_device *d, void *p) {
    if (p != NULL)
        kn_blocks_remove(&kn_cuda_of(d)->blocks, p);
    cudaFree(p);
}

extern "C" size_t kn_cuda_room(kn_device *d) {
    size_t left = 0, all = 0;
    bool known =
        cudaSetDevice(d->ordinal) == cudaSuccess && cudaMemGetInfo(&left, &all) == cudaSuccess;
    if (!known)
        cudaGetLastError();
    return known ? left : 0;
}

/* ---- the plugin's entry ---- */

extern "C" __attribute__((visibility("default"))) const kn_backend *
kn_plugin_backend(const kn_plugin_abi *library, kn_error *error) {
    static const kn_plugin_abi own = KN_PLUGIN_ABI;
    if (strncmp(own.version, library->version, sizeof own.version) != 0 ||
        own.device != library->device || own.table != library->table || own.bf16 != library->bf16) {
        say(error, KN_ERR_DEVICE, "libkiln_cuda.so belongs to Kiln %s, and this is %.15s",
            own.version, library->version);
        return NULL;
    }
    int count = 0;
    cudaError_t why = cudaGetDeviceCount(&count);
    if (why != cudaSuccess || count == 0) {
        say(error, KN_ERR_DEVICE, "there is no CUDA device here: %s",
            why != cudaSuccess ? cudaGetErrorString(why) : "the driver counts none");
        return NULL;
    }
    return &kn_cuda_table;
}
