/* memory.cu - copies between host and device.
 *
 * A large copy to the device, a batch, goes by way of pinned memory and a stream of its own, so
 * that it travels while the device still computes the step before: this thread copies it to a
 * pinned slot, the copy stream to the slot's memory on the device, the main stream, in order, to
 * its place. */
#include "backend/cuda/cuda.cuh"

#include <cstdlib>
#include <cstring>

enum { SLOTS = 3 };
static const size_t LEAST = 32 << 10; /* bytes; below, the driver's own staging is quicker */

struct slot {
    void *pinned, *device;
    size_t bytes;
    cudaEvent_t there; /* the bytes left the pinned memory, and are on the device */
    cudaEvent_t taken; /* and were copied to their place */
};

struct kn_cuda_copies {
    cudaStream_t stream;
    slot slots[SLOTS];
    int next;
};

static kn_status make_slots(kn_device *d, kn_cuda_copies *c) {
    kn_status status = kn_cuda_check(
        d, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "a stream for copies");
    for (int i = 0; i < SLOTS && status == KN_OK; i++) {
        slot *s = &c->slots[i];
        status = kn_cuda_check(d, cudaEventCreateWithFlags(&s->there, cudaEventDisableTiming),
                               "an event");
        if (status == KN_OK)
            status = kn_cuda_check(d, cudaEventCreateWithFlags(&s->taken, cudaEventDisableTiming),
                                   "an event");
    }
    return status;
}

kn_cuda_copies *kn_cuda_copies_new(kn_device *d) {
    kn_cuda_copies *c = static_cast<kn_cuda_copies *>(calloc(1, sizeof *c));
    if (c == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: copies to device cuda:%d", d->ordinal);
        return NULL;
    }
    if (make_slots(d, c) == KN_OK)
        return c;
    kn_cuda_copies_free(c);
    return NULL;
}

void kn_cuda_copies_free(kn_cuda_copies *c) {
    if (c == NULL)
        return;
    if (c->stream != NULL)
        cudaStreamSynchronize(c->stream);
    for (slot &s : c->slots) {
        if (s.pinned != NULL)
            cudaFreeHost(s.pinned);
        if (s.device != NULL)
            cudaFree(s.device);
        if (s.there != NULL)
            cudaEventDestroy(s.there);
        if (s.taken != NULL)
            cudaEventDestroy(s.taken);
    }
    if (c->stream != NULL)
        cudaStreamDestroy(c->stream);
    free(c);
}

static kn_status make_room(kn_device *d, slot *s, size_t bytes) {
    if (bytes <= s->bytes)
        return KN_OK;
    kn_status status = kn_cuda_wait(d);
    cudaFreeHost(s->pinned);
    cudaFree(s->device);
    s->pinned = s->device = NULL;
    s->bytes = 0;
    if (status == KN_OK)
        status = kn_cuda_check(d, cudaMallocHost(&s->pinned, bytes), "pinned memory");
    if (status == KN_OK)
        status = kn_cuda_check(d, cudaMalloc(&s->device, bytes), "memory for copies");
    if (status == KN_OK)
        s->bytes = bytes;
    return status;
}

static kn_status copy_by_slot(kn_device *d, void *to, const void *host, size_t bytes) {
    kn_cuda *c = kn_cuda_of(d);
    kn_cuda_copies *copies = c->copies;
    slot *s = &copies->slots[copies->next];
    copies->next = (copies->next + 1) % SLOTS;
    kn_status status = make_room(d, s, bytes);
    if (status != KN_OK)
        return status;
    cudaError_t error =
        cudaEventSynchronize(s->there); /* of the slot's last use; at once if none */
    if (error == cudaSuccess) {
        memcpy(s->pinned, host, bytes);
        error = cudaStreamWaitEvent(copies->stream, s->taken, 0);
    }
    if (error == cudaSuccess)
        error =
            cudaMemcpyAsync(s->device, s->pinned, bytes, cudaMemcpyHostToDevice, copies->stream);
    if (error == cudaSuccess)
        error = cudaEventRecord(s->there, copies->stream);
    if (error == cudaSuccess)
        error = cudaStreamWaitEvent(c->stream, s->there, 0);
    if (error == cudaSuccess)
        error = cudaMemcpyAsync(to, s->device, bytes, cudaMemcpyDeviceToDevice, c->stream);
    if (error == cudaSuccess)
        error = cudaEventRecord(s->taken, c->stream);
    return kn_cuda_check(d, error, "copying to it");
}

extern "C" kn_status kn_cuda_copy_in(kn_device *d, void *to, const void *host, size_t bytes) {
    kn_cuda *c = kn_cuda_of(d);
    kn_status status = bytes > 0 ? kn_cuda_flush(d) : KN_OK;
    if (status != KN_OK || bytes == 0)
        return status;
    if (bytes >= LEAST)
        return copy_by_slot(d, to, host, bytes);
    /* From memory that is not pinned: the driver has it when the call returns. */
    return kn_cuda_check(d, cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, c->stream),
                         "copying to it");
}

extern "C" kn_status kn_cuda_copy_out(kn_device *d, void *host, const void *from, size_t bytes) {
    kn_cuda *c = kn_cuda_of(d);
    kn_status status = bytes > 0 ? kn_cuda_flush(d) : KN_OK;
    if (status != KN_OK || bytes == 0)
        return status;
    cudaError_t error = cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, c->stream);
    if (error != cudaSuccess)
        return kn_cuda_check(d, error, "copying from it");
    return kn_cuda_wait(d);
}

/* ---- on the device: kernels, whose arguments a recorded graph can change ---- */

enum { THREADS = 256 };

/* bytes is divided into words of W. */
template <typename W> static __global__ void copy_kernel(size_t words, const W *from, W *to) {
    size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < words)
        to[i] = from[i];
}

template <typename W> static __global__ void zero_kernel(size_t words, W none, W *to) {
    size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < words)
        to[i] = none;
}

static unsigned blocks_of(size_t words) {
    return kn_cuda_blocks(static_cast<int64_t>(words), THREADS);
}

extern "C" kn_status kn_cuda_copy(kn_device *d, void *to, const void *from, size_t bytes) {
    return kn_cuda_by_sixteen(bytes, to, from)
               ? kn_cuda_launch(d, "copy", copy_kernel<uint4>, blocks_of(bytes / 16), THREADS, 0,
                                bytes / 16, static_cast<const uint4 *>(from),
                                static_cast<uint4 *>(to))
               : kn_cuda_launch(d, "copy", copy_kernel<uint8_t>, blocks_of(bytes), THREADS, 0,
                                bytes, static_cast<const uint8_t *>(from),
                                static_cast<uint8_t *>(to));
}

extern "C" kn_status kn_cuda_zero(kn_device *d, void *to, size_t bytes) {
    return kn_cuda_by_sixteen(bytes, to, NULL)
               ? kn_cuda_launch(d, "zero", zero_kernel<uint4>, blocks_of(bytes / 16), THREADS, 0,
                                bytes / 16, make_uint4(0, 0, 0, 0), static_cast<uint4 *>(to))
               : kn_cuda_launch(d, "zero", zero_kernel<uint8_t>, blocks_of(bytes), THREADS, 0,
                                bytes, uint8_t(0), static_cast<uint8_t *>(to));
}
