/* cudnn.cuh - convolutions as cuDNN's execution plans; cudnn.cu is the only file that calls cuDNN.
 */
#ifndef KN_BACKEND_CUDA_CUDNN_CUH
#define KN_BACKEND_CUDA_CUDNN_CUH

#include "backend/cuda/cuda.cuh"

enum kn_conv_pass { KN_PASS_FORWARD, KN_PASS_DATA, KN_PASS_WEIGHTS };

/* What a plan computes. Images are NHWC, weights KRSC of the images' kind. */
struct kn_conv_form {
    kn_conv_dims dims;
    kn_conv_pass pass;
    bool bf16;
    bool bias; /* forward: one is added afterwards */
    bool wide; /* what comes out is f32 though images are bf16 */
    bool tf32; /* f32 may be rounded to TF32 */
};

struct kn_cudnn;
struct kn_cudnn_plan;

/* Of the library that was loaded: 91900 for 9.19.0. */
size_t kn_cuda_cudnn_version();

/* NULL with the error set. */
kn_cudnn *kn_cudnn_new(kn_device *d);
void kn_cudnn_free(kn_cudnn *c);

/* Up to `most` deterministic plans for a form, those first that cuDNN thinks the quickest. 0: there
 * is none; why is said to stderr in debug mode. Free each with kn_cudnn_plan_free. */
int kn_cudnn_plans(kn_device *d, kn_cudnn *c, const kn_conv_form *form, kn_cudnn_plan **out,
                   int most);

/* The plan that kn_cudnn_plan_text described. NULL: not on this device with this library. */
kn_cudnn_plan *kn_cudnn_plan_from(kn_device *d, kn_cudnn *c, const kn_conv_form *form,
                                  const char *text);
void kn_cudnn_plan_text(const kn_cudnn_plan *plan, char *text, size_t size);
size_t kn_cudnn_workspace(const kn_cudnn_plan *plan);
void kn_cudnn_plan_free(kn_cudnn_plan *plan);

/* Forward: in x, packed weights; out y. Data: in dy, packed weights; out dx. Weights: in x, dy; out
 * packed gradient. Puts the work on the stream at once. */
struct kn_cudnn_run {
    kn_cudnn *cudnn;
    const kn_cudnn_plan *plan;
    const void *a, *b;
    void *out, *workspace;
};
kn_status kn_cudnn_execute(kn_device *d, cudaStream_t stream, const kn_cudnn_run *run);

#endif
