/* grad_cam.h - where in a picture a model saw its reason for a class: Grad-CAM (Selvaraju et al.,
 * "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017; chapter
 * 18 of the fastai book). The last feature map's channels are weighted by the mean of the class
 * score's gradient over each; what remains above zero is the heat. */
#ifndef KILN_GRAD_CAM_H
#define KILN_GRAD_CAM_H

#include <kiln/data.h>
#include <kiln/module.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Free with kn_heat_free. */
typedef struct kn_heat {
    int n, height, width; /* of the feature map: 4 x 4 for simple_cnn on 64 x 64 */
    float *values;        /* [n,height,width], from 0 to 1, the highest of a picture; all 0 where
                             nothing speaks for the class */
} kn_heat;

/* Of pictures u8 [n,H,W,3], for one class each: classes is [n], each in [0, the model's classes).
 * Weights and mode stay as they are. It ends the caller's step (kn_step_end: tensors that were not
 * taken out of it are gone) and leaves every gradient zero. KN_ERR_SHAPE when no module of it gives
 * a feature map [N,H,W,C]. */
KN_API KN_NODISCARD kn_status kn_grad_cam(kn_module *model, const kn_normalize *norm,
                                          const kn_batch *batch, const int32_t *classes,
                                          kn_heat *out);
KN_API void kn_heat_free(kn_ctx *ctx, kn_heat *heat);

#ifdef __cplusplus
}
#endif
#endif
