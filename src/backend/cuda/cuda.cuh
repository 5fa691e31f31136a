/* cuda.cuh - what the CUDA backend's files share: the open device's state, and how work gets to it.
 *
 * All work of a device runs on one stream, in the order in which it was asked for. A kernel that is
 * launched through kn_cuda_launch, or a library call through kn_cuda_submit, is a command;
 * commands.cu runs each at once, or, where a run of them repeats step after step, as one CUDA
 * graph, in which commands that touch nothing in common run side by side. So a command must not
 * depend on anything but its arguments and what it is known to touch, and nothing may use the
 * stream but through here. */
#ifndef KN_BACKEND_CUDA_CUH
#define KN_BACKEND_CUDA_CUH

extern "C" {
#include "backend/backend.h"
#include "backend/plugin.h"
}

#include "backend/cuda/blocks.cuh"
#include "backend/cuda/touches.cuh"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <type_traits>

struct kn_cuda_commands;     /* commands.cu */
struct kn_cuda_copies;       /* memory.cu */
struct kn_cuda_convolutions; /* conv.cu */
struct kn_cuda_products;     /* matmul.cu */
struct kn_cuda_scratches;    /* scratch.cu */

enum { KN_CUDA_EXTENTS = 4 };

/* What kn_cuda_extent said. */
struct kn_extent {
    const void *at;
    size_t bytes;
};

struct kn_cuda {
    char name[256]; /* of the card */
    cudaStream_t stream;
    bool debug;       /* KILN_CUDA_DEBUG: wait after every command, to find which one failed */
    const char *last; /* the command asked for last, for errors seen later */
    kn_cuda_commands *commands;
    kn_cuda_copies *copies;
    kn_cuda_convolutions *convolutions; /* NULL until the first convolution */
    kn_cuda_products *products;         /* NULL until the first product */
    kn_cuda_scratches *scratches;
    int *trouble; /* [KN_CUDA_TROUBLES], in host memory that the device sees */
    kn_blocks blocks;
    kn_extent extent[KN_CUDA_EXTENTS]; /* of the next command */
    int extents;
};

static inline kn_cuda *kn_cuda_of(const kn_device *d) {
    return static_cast<kn_cuda *>(d->state);
}

/* Records an error in d->error, as printf would write it, and returns status. */
kn_status kn_cuda_fail(kn_device *d, kn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* KN_OK, or the error said of what: KN_ERR_MEMORY when memory is short, else KN_ERR_DEVICE. */
kn_status kn_cuda_check(kn_device *d, cudaError_t error, const char *what);

/* Device memory for a kernel's partial results, 256-byte aligned. It may be overwritten by the next
 * command that asks for scratch: ask once for everything that one kernel of the table needs. Taken
 * in turn from a few places, the same in each run, so that neighbours need not wait for each other
 * and pointers repeat from step to step. NULL with the error set. */
void *kn_cuda_scratch(kn_device *d, size_t bytes);

/* KN_CUDA_COUNTERS zeros on the device, which a kernel that counts its finished blocks leaves as
 * zeros; of several places in turn, likewise. */
enum { KN_CUDA_COUNTERS = 4096 };
unsigned *kn_cuda_counters(kn_device *d);

kn_cuda_scratches *kn_cuda_scratches_new(kn_device *d); /* NULL with the error set */
void kn_cuda_scratches_free(kn_device *d, kn_cuda_scratches *s);
void kn_cuda_scratches_rewind(kn_cuda_scratches *s); /* a run ended */

/* What a kernel may find wrong with its arguments: it sets the place of the array to 1 and computes
 * NaN; the next wait reports it. */
enum { KN_CUDA_BAD_INDEX, KN_CUDA_BAD_TARGET, KN_CUDA_BAD_LAMBDA, KN_CUDA_TROUBLES };
int *kn_cuda_trouble(kn_device *d);

/* All memory that commands use comes from here. NULL: short of memory; or with the error set. */
extern "C" void *kn_cuda_alloc(kn_device *d, size_t bytes);
extern "C" void kn_cuda_free(kn_device *d, void *p); /* once nothing uses it */
void kn_cuda_release(kn_device *d, void *p);         /* nothing uses it; NULL: nothing */

/* ---- commands ---- */

/* Of the memory at p the next command touches no more than so many bytes; the same each time that
 * its arguments are. For neighbours in one allocation, which need not wait for each other then. */
void kn_cuda_extent(kn_device *d, const void *p, size_t bytes);

/* kernel<<<grid, block, shared>>>(*params[0], ...), each of sizes[i] bytes; at most 24 parameters
 * and 1 KiB of them. Structs in them should have their padding zeroed. A grid of 0 blocks does
 * nothing.
 */
kn_status kn_cuda_launch_raw(kn_device *d, const char *name, const void *kernel, dim3 grid,
                             dim3 block, size_t shared, void **params, const size_t *sizes,
                             int count, const kn_touches *touches);

/* What the runtime knows a kernel by: its address, but in tests/cuda_host. */
#ifndef KN_CUDA_KERNEL_OF
#define KN_CUDA_KERNEL_OF(kernel) reinterpret_cast<const void *>(kernel)
#endif

template <typename T> struct kn_same { typedef T type; };

/* The same with the parameters' types checked, and what it touches told by them (touches.cuh):
 * kn_cuda_launch(d, "fill", fill_kernel, grid, block, 0, n, value, y). name is a literal, for
 * messages. */
template <typename... P>
kn_status kn_cuda_launch(kn_device *d, const char *name, void (*kernel)(P...), dim3 grid,
                         dim3 block, size_t shared, typename kn_same<P>::type... args) {
    void *params[] = {const_cast<void *>(static_cast<const void *>(&args))...};
    const size_t sizes[] = {sizeof(P)...};
    kn_touches touches;
    touches.count = 0;
    (kn_touches_of(&touches, args), ...);
    return kn_cuda_launch_raw(d, name, KN_CUDA_KERNEL_OF(kernel), grid, block, shared, params,
                              sizes, static_cast<int>(sizeof...(P)), &touches);
}

/* A call of a library that puts work on the stream and nothing else, and touches what is told of
 * it: call(d, stream, args). It may run now, later, again, or while the stream is captured, with a
 * copy of args, which mean the same then, with no padding left unset. */
typedef kn_status (*kn_cuda_call)(kn_device *d, cudaStream_t stream, const void *args);
kn_status kn_cuda_submit(kn_device *d, const char *name, kn_cuda_call call, const void *args,
                         size_t bytes, const kn_touches *touches);

/* Puts everything asked for so far on the stream. Needed before work that is not a command. */
extern "C" kn_status kn_cuda_flush(kn_device *d);

/* The same, and waits for the device. What went wrong there since the last wait is seen here. */
kn_status kn_cuda_wait(kn_device *d);

kn_cuda_commands *kn_cuda_commands_new(kn_device *d); /* NULL with the error set */
void kn_cuda_commands_free(kn_cuda_commands *c);
kn_cuda_copies *kn_cuda_copies_new(kn_device *d); /* likewise */
void kn_cuda_copies_free(kn_cuda_copies *c);

/* ---- parts that are made when first needed ---- */

void kn_cuda_convolutions_free(kn_device *d);
void kn_cuda_products_free(kn_device *d);

/* ---- kernels, by their names in the table ---- */

#define KN_CUDA_KERNEL(name)                                                                       \
    extern "C" std::remove_pointer_t<decltype(kn_backend::name)> kn_cuda_##name
#define KN_CUDA_BF16(name)                                                                         \
    extern "C" std::remove_pointer_t<decltype(kn_bf16_kernels::name)> kn_cuda_bf16_##name

#include "backend/cuda/kernels.cuh"

extern const kn_backend kn_cuda_table;
extern const kn_bf16_kernels kn_cuda_bf16_table;

/* ---- small helpers of kernels ---- */

/* May so many bytes at these places be moved sixteen at a time? */
static inline bool kn_cuda_by_sixteen(size_t bytes, const void *a, const void *b) {
    return (bytes | reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) % 16 == 0;
}

static inline unsigned kn_cuda_blocks(int64_t work, int64_t each) {
    return static_cast<unsigned>((work + each - 1) / each);
}

#endif
