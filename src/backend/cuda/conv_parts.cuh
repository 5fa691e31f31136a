/* conv_parts.cuh - what stands around cuDNN's convolutions: packing weights, plain convolutions for
 * what it has no engine for, gradients of biases.
 *
 * An image is [N,H,W,C]; bf16 says whether images are bf16 or f32. Packed weights are [O,KH,KW,P],
 * of the images' kind, P being the input channels, or more: those beyond are zeros. scratch is
 * device memory of the size that the function with _scratch tells. */
#ifndef KN_BACKEND_CUDA_CONV_PARTS_CUH
#define KN_BACKEND_CUDA_CONV_PARTS_CUH

#include "backend/cuda/cuda.cuh"

/* ---- conv_pack.cu ---- */

/* packed [O,KH,KW,padded] of weights [O,I,KH,KW]. */
kn_status kn_cuda_pack_weights(kn_device *d, const kn_conv_dims *c, int64_t padded, bool bf16,
                               const float *weights, void *packed);

/* The reverse for a gradient; bf16 says what packed is. */
kn_status kn_cuda_unpack_weights(kn_device *d, const kn_conv_dims *c, int64_t padded, bool bf16,
                                 const void *packed, float *weights);

/* y [pixels,padded] = x [pixels,channels] with zeros behind. */
kn_status kn_cuda_pad_channels(kn_device *d, int64_t pixels, int64_t channels, int64_t padded,
                               bool bf16, const void *x, void *y);

/* y [rows,cols] = x + bias [cols] (may be NULL), then relu if said. x is f32; NULL: y itself. */
kn_status kn_cuda_bias_relu(kn_device *d, int64_t rows, int64_t cols, bool bf16, const float *x,
                            const float *bias, bool relu, void *y);

/* ---- column_sums.cu ---- */

/* y [cols] = sums of x [rows,cols] over the rows. */
kn_status kn_cuda_column_sums(kn_device *d, int64_t rows, int64_t cols, bool bf16, const void *x,
                              float *y);

/* ---- conv_first.cu: where is_first, what conv_plain.cu uses instead of its own; 32-bit counts of
 * pixels ---- */

bool kn_cuda_is_first(const kn_conv_dims *c);
kn_status kn_cuda_first_conv(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                             const void *packed, const float *bias, bool relu, void *y);
size_t kn_cuda_first_grad_weights_scratch(const kn_conv_dims *c);
kn_status kn_cuda_first_grad_weights(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                                     const void *dy, float *dw, void *scratch);

/* ---- conv_plain.cu, from packed weights without padding ---- */

kn_status kn_cuda_plain_conv(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                             const void *packed, const float *bias, bool relu, void *y);
kn_status kn_cuda_plain_grad_data(kn_device *d, const kn_conv_dims *c, bool bf16, const void *dy,
                                  const void *packed, void *dx);
/* dw is [O,I,KH,KW]. */
size_t kn_cuda_plain_grad_weights_scratch(const kn_conv_dims *c);
kn_status kn_cuda_plain_grad_weights(kn_device *d, const kn_conv_dims *c, bool bf16, const void *x,
                                     const void *dy, float *dw, void *scratch);

#endif
