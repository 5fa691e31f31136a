/* host.h - what the files of this folder share; see cuda_runtime.h. */
#ifndef KN_CUDA_HOST_HOST_H
#define KN_CUDA_HOST_HOST_H

#include "cuda_runtime.h"

#include <functional>

/* Runs all blocks of a grid. */
void cuda_host_run(const cuda_host_kernel *kernel, dim3 grid, dim3 block, size_t shared,
                   void **params);

/* What a library puts on a stream: it is called now, or with each launch of the graph that the
 * stream is captured for. It takes so many nanoseconds of the device's time. */
cudaError_t cuda_host_submit(cudaStream_t stream, double nanoseconds, std::function<void()> call);

#endif
