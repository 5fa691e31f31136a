/* session.c - see session.h. */
#include "session.h"

int session_open(session *s) {
    kn_error error = {0};
    kn_ctx_opts opts = {.log = report_log,
                        .log_user = &s->r,
                        .seed = s->a.seed,
                        .threads = s->a.threads,
                        .device = s->a.device};
    return kn_ctx_new(&s->ctx, opts, &error) == KN_OK ? EXIT_DONE : report_error(&s->r, &error);
}

int session_fail(session *s) {
    kn_error error = kn_error_take(s->ctx);
    return report_error(&s->r, &error);
}
