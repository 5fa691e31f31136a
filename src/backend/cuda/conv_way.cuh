/* conv_way.cuh - a way to compute a convolution: one of cuDNN's plans, or the plain kernels.
 * conv.cu runs it, conv_choose.cu finds the best. */
#ifndef KN_BACKEND_CUDA_CONV_WAY_CUH
#define KN_BACKEND_CUDA_CONV_WAY_CUH

#include "backend/cuda/cudnn.cuh"
#include "backend/cuda/weights.cuh"

/* A way to compute a form. Without a plan: the plain kernels. Bias and relu have a kernel of their
 * own: cuDNN's relu makes 0 of NaN, and a plan with them in it would round otherwise than one
 * without. */
struct kn_way {
    kn_conv_form form; /* as the caller has it */
    kn_cudnn_plan *plan;
    bool wide;      /* the plan's result is f32, of images in bf16 */
    int64_t padded; /* input channels of the plan */
    size_t workspace;
    kn_way *next; /* in its bucket */
};

/* Forward: in x, weights, bias; out y. Data: dy, weights; dx. Weights: x, dy; dw [O,I,KH,KW]. */
struct kn_operands {
    const void *a, *b;
    kn_weights weights;
    const float *bias;
    bool relu;
    void *out;
};

enum { KN_WAY_BUCKETS = 256 };

struct kn_cuda_convolutions {
    kn_cudnn *cudnn; /* NULL: plain kernels only */
    bool tf32;
    bool check; /* KILN_CUDA_CONV=check: each result against the plain kernels' */
    kn_way *bucket[KN_WAY_BUCKETS];
    kn_packed_table packed;
    cudaEvent_t began, ended;
};

/* conv.cu: bytes of scratch, and a run with so much room. */
size_t kn_way_scratch(const kn_way *w);
kn_status kn_way_run(kn_device *d, const kn_way *w, const kn_operands *o, char *room);

/* conv_choose.cu: the way that the plan file names for a form, or else the quickest of those that
 * compute what the plain kernels do, which the file then names. NULL with the error set. */
kn_way *kn_way_choose(kn_device *d, const kn_conv_form *f);
kn_way *kn_way_plain(kn_device *d, const kn_conv_form *f); /* that of the plain kernels; likewise */
void kn_way_free(kn_way *w);

/* For whoever looks for an engine's fault: tells on stderr when the result that o->out holds is not
 * the plain kernels'. */
void kn_way_check(kn_device *d, const kn_way *w, const kn_operands *o);

#endif
