/* module.c - the chapter's section on Module and Parameter, and its simple_cnn.
 *
 * A module registers its parameters and children by name; parameters(), training mode and saving
 * then work on any module, as on the two written here. */
#include <kiln/kiln.h>

#include <stdio.h>

/* ---- a module of our own: y = weight * x ---- */

typedef struct scale {
    kn_module base;
    kn_param *weight;
} scale;

static kn_tensor *scale_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) {
    return kn_mul(ctx, x, kn_param_value(((scale *)m)->weight));
}

static const kn_module_class scale_class = {.name = "Scale", .forward = scale_forward};

/* The weight is its own, or shared: one parameter in two modules. */
static kn_module *scale_new(kn_ctx *ctx, kn_param *shared) {
    scale *s = kn_module_new(ctx, &scale_class, sizeof *s);
    if (s == NULL)
        return NULL;
    s->weight = shared == NULL ? kn_module_param(&s->base, "weight", KN_SCALAR)
                               : kn_module_share_param(&s->base, "weight", shared);
    return &s->base;
}

/* ---- the chapter's T: a module made of others ---- */

typedef struct T {
    kn_module base;
    kn_module *conv, *linear;
} T;

static kn_tensor *T_forward(kn_module *m, kn_ctx *ctx, kn_tensor *x) { /* [N,H,W,3] -> [N,2] */
    T *t = (T *)m;
    return kn_forward(t->linear, kn_mean_hw(ctx, kn_forward(t->conv, x)));
}

static const kn_module_class T_class = {.name = "T", .forward = T_forward};

static kn_module *T_new(kn_ctx *ctx) {
    T *t = kn_module_new(ctx, &T_class, sizeof *t);
    if (t == NULL)
        return NULL;
    t->conv = kn_module_child(&t->base, "conv", kn_conv_layer(ctx, 3, 4, (kn_conv_opts){0}));
    t->linear = kn_module_child(&t->base, "linear", kn_linear(ctx, 4, 2));
    return &t->base;
}

/* ---- looking at them ---- */

static void show(kn_module *m, kn_shape input) {
    kn_ctx *ctx = kn_module_ctx(m);
    kn_named_list all;
    char text[KN_SHAPE_TEXT];
    if (kn_module_parameters(m, &all) == KN_OK) {
        printf("%s: parameters %d, numbers %lld\n", m->cls->name, all.count,
               (long long)kn_module_numel(m));
        for (int i = 0; i < all.count; i++)
            printf("  %-16s %s\n", all.item[i].name,
                   kn_shape_text(kn_tensor_shape(kn_param_value(all.item[i].param)), text));
    }
    kn_named_free(ctx, &all);

    kn_tensor *y = kn_forward(m, kn_full(ctx, input, 1));
    if (y != NULL) {
        printf("  %s ->", kn_shape_text(&input, text));
        printf(" %s\n", kn_shape_text(kn_tensor_shape(y), text));
    }
    kn_step_end(ctx);
}

/* Two modules with one weight w compute w * w * x. So d/dw is 2 * w * x: both uses add to it. */
static void show_shared(kn_ctx *ctx) {
    kn_module *first = scale_new(ctx, NULL);
    kn_param *weight = first != NULL ? ((scale *)first)->weight : NULL;
    kn_module *both = kn_sequential(ctx, first, scale_new(ctx, weight));
    if (both == NULL)
        return;
    show(both, KN_SCALAR);
    const float w = 3, x = 2;
    kn_tensor_write(ctx, kn_param_value(weight), &w, sizeof w);
    kn_tensor *y = kn_forward(both, kn_full(ctx, KN_SCALAR, x));
    double value = kn_item(ctx, y);
    kn_backward(ctx, y);
    printf("  w 3, x 2: y %g, dy/dw %g\n", value, kn_item(ctx, kn_param_grad(weight)));
    kn_step_end(ctx);
    kn_module_free(both);
}

int main(void) {
    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 42}, &error) != KN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    kn_module *t = T_new(ctx), *cnn = kn_simple_cnn(ctx, 10);
    if (t != NULL && cnn != NULL) {
        show(t, KN_SHAPE(128, 64, 64, 3));
        printf("  training %d", kn_module_training(((T *)t)->conv));
        kn_module_train(t, false);
        printf(", then %d\n", kn_module_training(((T *)t)->conv));
        show(cnn, KN_SHAPE(128, 64, 64, 3));
    }
    kn_module_free(cnn);
    kn_module_free(t);
    show_shared(ctx);

    error = kn_error_take(ctx);
    if (error.status)
        fprintf(stderr, "%s\n", error.message);
    kn_ctx_free(ctx);
    return error.status ? 1 : 0;
}
