/* table.cu - the tables that the library calls, of the kernels that kernels.cuh lists. */
#include "backend/cuda/cuda.cuh"

extern "C" {
kn_status kn_cuda_open(kn_device *d);
void kn_cuda_close(kn_device *d);
void *kn_cuda_alloc(kn_device *d, size_t bytes);
void kn_cuda_free(kn_device *d, void *p);
size_t kn_cuda_room(kn_device *d);
}

/* Every entry is set but conv_norm: beside the kernels there are name, async, open, close, alloc,
 * free, room, submit. */
#undef KN_CUDA_KERNEL
#undef KN_CUDA_BF16
#define KN_CUDA_KERNEL(name) char name
#define KN_CUDA_BF16(name)
struct every_kernel {
#include "backend/cuda/kernels.cuh"
};
#undef KN_CUDA_KERNEL
#undef KN_CUDA_BF16
#define KN_CUDA_KERNEL(name)
#define KN_CUDA_BF16(name) char name
struct every_bf16_kernel {
#include "backend/cuda/kernels.cuh"
};
static_assert(sizeof(kn_backend) == (sizeof(every_kernel) + 9) * sizeof(void *),
              "kernels.cuh lacks an entry of the table");
static_assert(sizeof(kn_bf16_kernels) == (sizeof(every_bf16_kernel) + 1) * sizeof(void *),
              "kernels.cuh lacks an entry of the table for bf16");

static kn_backend make_table() {
    kn_backend t = {};
    t.name = "cuda";
    t.async = true;
    t.open = kn_cuda_open;
    t.close = kn_cuda_close;
    t.alloc = kn_cuda_alloc;
    t.free = kn_cuda_free;
    t.room = kn_cuda_room;
    t.submit = kn_cuda_flush;
#undef KN_CUDA_KERNEL
#undef KN_CUDA_BF16
#define KN_CUDA_KERNEL(name) t.name = kn_cuda_##name
#define KN_CUDA_BF16(name)
#include "backend/cuda/kernels.cuh"
    return t;
}

static kn_bf16_kernels make_bf16_table() {
    kn_bf16_kernels t = {};
#undef KN_CUDA_KERNEL
#undef KN_CUDA_BF16
#define KN_CUDA_KERNEL(name)
#define KN_CUDA_BF16(name) t.name = kn_cuda_bf16_##name
#include "backend/cuda/kernels.cuh"
    return t;
}

const kn_backend kn_cuda_table = make_table();
const kn_bf16_kernels kn_cuda_bf16_table = make_bf16_table();
