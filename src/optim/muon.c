/* muon.c - Muon (Keller Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024):
 * the step of a weight matrix is its momentum with all singular values brought near 1, so that no
 * direction is learned much faster than another. What is no hidden matrix takes AdamW's steps.
 *
 * Orthogonalising X [r,c] is five rounds of X <- (a I + b X X^T + c (X X^T)^2) X (Newton and
 * Schulz, with a quintic chosen for speed: its values end between 0.7 and 1.2). Here the rounds run
 * on the small side alone. With A = X X^T, which has r <= c rows, round k multiplies X by
 * Q_k = a I + b A_k + c A_k^2; all Q and A are polynomials in the first A, so they are symmetric,
 * they commute, and A_k+1 = Q_k A_k Q_k. So P = Q_5 ... Q_1 is found among [r,r] matrices, and X
 * meets two products in place of ten. Squaring costs accuracy where singular values are small: in
 * f32 the result is within 2e-5 of float64's on random matrices and 5e-4 on those with a condition
 * number up to 1e6, where bfloat16, the type that the method was published with, is off by 3e-2 to
 * 4e-1 (tools/check_muon.py). */
#include "optim/adam.h"

#include <math.h>

enum { ROUNDS = 5, MATRIX = 1 };

/* Floats for matrices that a device of its own memory works on at once: 512 MiB. */
static const int64_t SIDE_BY_SIDE = 1 << 27;

static const float quintic[3] = {3.4445f, -4.7750f, 2.0315f};

typedef struct muon {
    kn_optimizer base;
    kn_opt_state state; /* a matrix has its momentum in buffer 0; the rest as AdamW */
    double adam_ratio;
    bool no_nesterov;
} muon;

/* ---- which ---- */

/* Weights of rank 2 or more, a convolution's as [O, I*KH*KW], but the last one: that is the model's
 * output layer, whose rows are classes and not features. */
static int kind_of(const kn_pack *pack, int i) {
    if (pack->segment[i].param->value.shape.rank < 2 || pack->segment[i].length == 0)
        return 0;
    for (int j = i + 1; j < pack->count; j++)
        if (pack->segment[j].param->value.shape.rank >= 2)
            return MATRIX;
    return 0;
}

/* ---- orthogonalising ---- */

/* Memory of one matrix's step: x and y are as the weight, the others [r,r]. */
typedef struct scratch {
    kn_tensor *x, *y, *a, *p, *q, *t, *norm;
} scratch;

static int64_t smaller(int64_t rows, int64_t cols) {
    return rows < cols ? rows : cols;
}

static int64_t scratch_floats(const kn_segment *segment) {
    int64_t rows = segment->param->value.shape.dim[0], r = smaller(rows, segment->length / rows);
    return 2 * segment->length + 4 * r * r;
}

static bool make_scratch(kn_ctx *ctx, kn_device *d, int64_t rows, int64_t cols, scratch *s) {
    int64_t r = smaller(rows, cols);
    kn_tensor **large[] = {&s->x, &s->y}, **small[] = {&s->a, &s->p, &s->q, &s->t};
    for (size_t i = 0; i < KN_COUNT(large); i++)
        if ((*large[i] = kn_tensor_new(ctx, d, KN_F32, KN_SHAPE(rows, cols))) == NULL)
            return false;
    for (size_t i = 0; i < KN_COUNT(small); i++)
        if ((*small[i] = kn_tensor_new(ctx, d, KN_F32, KN_SHAPE(r, r))) == NULL)
            return false;
    s->norm = kn_tensor_new(ctx, d, KN_F32, KN_SHAPE(1));
    return s->norm != NULL;
}

static kn_status times(const kn_tensor *a, const kn_tensor *b, kn_matmul_dims m, kn_tensor *to) {
    m.batch = 1;
    return to->device->ops->matmul(to->device, &m, kn_f32(a), kn_f32(b), NULL, kn_f32_out(to));
}

static void swap(kn_tensor **a, kn_tensor **b) {
    kn_tensor *t = *a;
    *a = *b;
    *b = t;
}

/* s->p becomes Q_5 ... Q_1 of the scaled s->a. */
static kn_status polynomials(scratch *s, int64_t r) {
    kn_device *d = s->a->device;
    kn_matmul_dims square = {.m = r, .n = r, .k = r, .symmetric = true};
    kn_status status = KN_OK;
    for (int k = 0; k < ROUNDS && status == KN_OK; k++) {
        status = times(s->a, s->a, square, s->t);
        if (status == KN_OK)
            status = d->ops->muon_poly(d, r, quintic, kn_f32(s->a), kn_f32(s->t), kn_f32_out(s->q));
        if (status == KN_OK && k + 1 < ROUNDS)
            status = times(s->q, s->a, square, s->t);
        if (status == KN_OK && k + 1 < ROUNDS)
            status = times(s->t, s->q, square, s->a);
        if (k == 0)
            swap(&s->p, &s->q);
        else if (status == KN_OK)
            status = times(s->q, s->p, square, s->t);
        if (k > 0)
            swap(&s->p, &s->t);
    }
    return status;
}

/* s->y becomes s->x [rows,cols] with its singular values near 1, times s->norm. */
static kn_status orthogonalise(scratch *s, int64_t rows, int64_t cols) {
    kn_device *d = s->x->device;
    bool tall = rows > cols;
    int64_t r = tall ? cols : rows, c = tall ? rows : cols;
    kn_matmul_dims gram = {
        .m = r, .n = r, .k = c, .trans_a = tall, .trans_b = !tall, .symmetric = true};
    kn_status status = times(s->x, s->x, gram, s->a);
    if (status == KN_OK)
        status = d->ops->muon_normalize(d, r, kn_f32_out(s->a), kn_f32_out(s->norm));
    if (status == KN_OK)
        status = polynomials(s, r);
    if (status != KN_OK)
        return status;
    kn_matmul_dims last = {.m = rows, .n = cols, .k = r};
    return tall ? times(s->x, s->p, last, s->y) : times(s->p, s->x, last, s->y);
}

/* ---- the optimizer ---- */

/* The scale by the matrix's form makes the change of a feature as large whether it has few inputs
 * or many. Its memory is the caller's to release: with memory of their own, matrices need not wait
 * for each other on a device. */
static kn_status step_matrix(muon *m, const kn_pack *pack, const kn_segment *segment,
                             const kn_opt_run *run) {
    kn_ctx *ctx = m->base.ctx;
    kn_device *d = pack->values->device;
    int64_t rows = segment->param->value.shape.dim[0], cols = segment->length / rows;
    double form = rows > cols ? sqrt((double)rows / (double)cols) : 1;
    scratch s;
    kn_status status =
        make_scratch(ctx, d, rows, cols, &s)
            ? d->ops->muon_momentum(d, segment->length, (float)run->group->momentum,
                                    !m->no_nesterov, kn_f32(pack->grads) + segment->offset,
                                    kn_opt_state_at(&m->state, 0, segment->offset), kn_f32_out(s.x))
            : kn_ctx_status(ctx);
    if (status == KN_OK)
        status = orthogonalise(&s, rows, cols);
    if (status == KN_OK)
        status = d->ops->muon_step(d, segment->length, (float)(1 - run->lr * run->wd),
                                   (float)(run->lr * form), kn_f32(s.y), kn_f32(s.norm),
                                   kn_f32_out(pack->values) + segment->offset);
    return status;
}

/* AdamW's step for what is no hidden matrix. Its betas are those of Jordan's code. */
static kn_status step_rest(muon *m, const kn_pack *pack, kn_opt_run run) {
    kn_group group = *run.group;
    group.momentum = 0.9;
    run.group = &group;
    return kn_adam_run(KN_ADAM_W, false, run.lr * m->adam_ratio, pack, &m->state, &run);
}

static kn_status muon_step(kn_optimizer *opt, const kn_pack *pack) {
    muon *m = (muon *)opt;
    kn_status status = kn_opt_state_fit(&m->state, opt->ctx, pack, 2);
    kn_opt_run run;
    int64_t held = 0, most = kn_device_is_host(pack->values->device) ? 0 : SIDE_BY_SIDE;
    size_t mark = kn_step_mark(opt->ctx);
    for (int at = 0; status == KN_OK && kn_opt_next(opt, pack, &m->state, kind_of, &at, &run);)
        if (run.kind == MATRIX)
            for (int i = run.first; i < at && status == KN_OK; i++) {
                status = step_matrix(m, pack, &pack->segment[i], &run);
                held += scratch_floats(&pack->segment[i]);
                if (held > most) {
                    kn_step_release_since(opt->ctx, mark, NULL);
                    held = 0;
                }
            }
        else
            status = step_rest(m, pack, run);
    kn_step_release_since(opt->ctx, mark, NULL);
    return status;
}

static kn_status muon_visit(kn_optimizer *opt, const kn_pack *pack,
                            const kn_state_visitor *visitor) {
    muon *m = (muon *)opt;
    kn_status status = kn_opt_state_fit(&m->state, opt->ctx, pack, 2);
    return status != KN_OK
               ? status
               : kn_opt_state_visit(&m->state, "parameter_steps", kn_adam_names, visitor);
}

static void muon_free(kn_optimizer *opt) {
    kn_opt_state_free(&((muon *)opt)->state, opt->ctx);
}

static const kn_optimizer_class muon_class = {
    .name = "muon", .step = muon_step, .free = muon_free, .state = muon_visit};

kn_optimizer *kn_muon(kn_module *model, double lr, kn_muon_opts opts) {
    muon *m = kn_optimizer_new(model, &muon_class, sizeof *m, lr);
    if (m == NULL)
        return NULL;
    m->adam_ratio = opts.adam_ratio > 0 ? opts.adam_ratio : 0.1;
    m->no_nesterov = opts.no_nesterov;
    for (int g = 0; g < KN_MAX_GROUPS; g++) {
        kn_group *group = &m->base.group[g];
        group->wd = opts.wd;
        group->momentum = opts.momentum > 0 ? opts.momentum : 0.95;
        group->beta2 = 0.95;
        group->eps = 1e-10;
        group->no_wd_rank1 = opts.no_wd_rank1;
    }
    return &m->base;
}
