/* explain.c - kiln explain: a page that shows where a model goes wrong. */
#include "bad_images.h"
#include "explain.h"

#include "core/file.h"
#include "json_line.h"
#include "number.h"

#include <math.h>

static kn_status make_page(explain *x) {
    evaluation *e = &x->e;
    kn_ctx *ctx = e->s->ctx;
    int64_t most = e->s->a.top < e->p.samples ? e->s->a.top : e->p.samples;
    x->place = kn_calloc(ctx, (size_t)most + 1, sizeof *x->place, "the top losses");
    x->count = x->place != NULL ? kn_top_losses(ctx, &e->p, most, x->place) : -1;
    if (x->count < 0)
        return KN_ERR_MEMORY;
    explain_open_page(x);
    kn_status status = explain_pictures(x);
    explain_close_page(x);
    if (status == KN_OK && x->page.failed)
        status = kn_fail(ctx, KN_ERR_MEMORY, "out of memory: the page");
    return status;
}

static kn_status write_page(explain *x, char path[PATH_MAX]) {
    kn_ctx *ctx = x->e.s->ctx;
    kn_error error = {0};
    if (!run_folder_file(&x->e.out, "explain.html", path))
        return kn_fail(ctx, KN_ERR_IO, "%.64s...: the path is too long", x->e.out.path);
    kn_file_write(path, x->page.data, x->page.length, &error);
    return kn_fail_with(ctx, &error);
}

static void tell(const explain *x, const char *path) {
    const evaluation *e = &x->e;
    kn_text t = {0};
    char count[NUMBER_TEXT];
    int bad;
    kn_loader_bad(e->loader, &bad);
    if (e->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "explain");
        line_int(&t, "n", e->results.samples);
        line_real(&t, "loss", e->results.loss);
        line_real(&t, "acc", e->results.acc);
        line_int(&t, "bad", bad);
        if (e->held_out)
            line_bool(&t, "held_out", true);
        line_string(&t, "page", path);
        line_close(&t);
    } else
        kn_text_printf(&t, "%s pictures: loss %.4f, accuracy %.4f\npage      %s\n",
                       number_text(e->results.samples, count), e->results.loss, e->results.acc,
                       path);
    report_out(&e->s->r, &t);
}

int explain_run(session *s) {
    explain x = {0};
    char path[PATH_MAX];
    int code = evaluation_open(&x.e, s);
    if (code == EXIT_DONE && make_page(&x) != KN_OK)
        code = session_fail(s);
    if (code == EXIT_DONE)
        code = run_folder_open(s, &x.e.out, "explain");
    if (code == EXIT_DONE && (write_page(&x, path) != KN_OK ||
                              bad_images_write(s->ctx, &x.e.out, x.e.loader) != KN_OK)) {
        code = session_fail(s);
        run_folder_discard(&x.e.out, false);
    }
    if (code == EXIT_DONE)
        tell(&x, path);
    if (code == EXIT_DONE && isnan(x.e.results.loss))
        code = report_fail(&s->r, EXIT_FAILED, "%s", model_no_number);
    kn_free(s->ctx, x.place);
    kn_text_free(&x.page);
    evaluation_close(&x.e);
    return code;
}
