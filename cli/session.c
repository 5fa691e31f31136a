/* session.c - see session.h. */
#include "session.h"

#include "core/ctx.h"
#include "home.h"

#include <string.h>

int session_open(session *s) {
    kn_error error = {0};
    char home[PATH_MAX], plans[PATH_MAX];
    bool known =
        home_path(home, NULL) == KN_OK && home_join(plans, home, "/plans/cuda.txt", NULL) == KN_OK;
    kn_ctx_opts opts = {.log = report_log,
                        .log_user = &s->r,
                        .seed = s->a.seed,
                        .threads = s->a.threads,
                        .device = s->a.device,
                        .plans = known ? plans : NULL};
    return kn_ctx_new(&s->ctx, opts, &error) == KN_OK ? EXIT_DONE : report_error(&s->r, &error);
}

int session_fail(session *s) {
    kn_error error = kn_error_take(s->ctx);
    return report_error(&s->r, &error);
}

kn_dtype session_dtype(session *s) {
    if (s->a.dtype == NULL || strcmp(s->a.dtype, "bf16") != 0)
        return KN_F32;
    const kn_device *device = kn_device_default(s->ctx);
    if (device != NULL && !kn_device_can(device, KN_BF16))
        kn_fail(s->ctx, KN_ERR_DEVICE,
                "--dtype bf16: device %s cannot on this machine; cpu can where the processor has "
                "AVX-512 BF16. --dtype f32 works everywhere",
                kn_device_name(device));
    return KN_BF16;
}
