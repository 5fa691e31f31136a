/* hooks.c - the chapter's look inside a network: a hook on each layer of simple_cnn prints the mean
 * and the standard deviation of what the layer gives for one batch of pictures; a backward hook,
 * how large the gradients are that come back.
 *
 * usage: hooks [IMAGENETTE]   (else KILN_TEST_DATA, else Kiln's own shapes, drawn here) */
#include <kiln/kiln.h>

#include <stdio.h>
#include <stdlib.h>

enum { MAX_LAYERS = 16 };

/* Called after a module's forward; user is what was given with the hook. It may return another
 * tensor to stand for y. */
static kn_tensor *print_stats(void *user, kn_module *m, kn_tensor *x, kn_tensor *y) {
    kn_ctx *ctx = kn_module_ctx(m);
    char from[KN_SHAPE_TEXT], to[KN_SHAPE_TEXT];
    double mean = kn_item(ctx, kn_mean(ctx, y, KN_ALL, (kn_reduce_opts){0}));
    double std = kn_item(ctx, kn_std(ctx, y, KN_ALL, (kn_reduce_opts){0}));
    printf("%-12s %s -> %s: mean %.3f, std %.3f\n", m->cls->name,
           kn_shape_text(kn_tensor_shape(x), from), kn_shape_text(kn_tensor_shape(y), to), mean,
           std);
    ++*(int *)user;
    return y;
}

static void look_inside(kn_ctx *ctx, kn_module *model, kn_tensor *x) {
    int id[MAX_LAYERS] = {0}, calls = 0, layers = kn_module_child_count(model);
    for (int i = 0; i < layers && i < MAX_LAYERS; i++)
        id[i] = kn_module_add_hook(kn_module_child_at(model, i), print_stats, &calls);

    double hooked = kn_item(ctx, kn_max(ctx, kn_forward(model, x), KN_ALL, (kn_reduce_opts){0}));
    printf("%d calls\n", calls);

    calls = 0;
    for (int i = 0; i < layers && i < MAX_LAYERS; i++)
        kn_module_remove_hook(kn_module_child_at(model, i), id[i]);
    double bare = kn_item(ctx, kn_max(ctx, kn_forward(model, x), KN_ALL, (kn_reduce_opts){0}));
    printf("removed: %d calls, and the outputs are %s\n", calls,
           hooked == bare ? "the same" : "others");
}

/* Called in the backward pass with the gradients of the loss with respect to the module's input and
 * output; dx is NULL where the input, here the pictures, wants none. What it returns stands for dx.
 */
static kn_tensor *print_gradient(void *user, kn_module *m, kn_tensor *dx, kn_tensor *dy) {
    kn_ctx *ctx = kn_module_ctx(m);
    char shape[KN_SHAPE_TEXT];
    printf("%-12s %s: gradient std %.5f\n", m->cls->name, kn_shape_text(kn_tensor_shape(dy), shape),
           kn_item(ctx, kn_std(ctx, dy, KN_ALL, (kn_reduce_opts){0})));
    ++*(int *)user;
    return dx;
}

static void look_back(kn_ctx *ctx, kn_module *model, kn_tensor *x, kn_tensor *y) {
    int calls = 0;
    for (int i = 0; i < kn_module_child_count(model); i++)
        kn_module_add_backward_hook(kn_module_child_at(model, i), print_gradient, &calls);
    kn_backward(ctx, kn_cross_entropy(ctx, kn_forward(model, x), y));
    printf("%d calls, from the last layer to the first\n", calls);
}

static void run(kn_ctx *ctx, kn_module *model, kn_loader *loader) {
    kn_batch batch = {0};
    bool got = false;
    kn_normalize norm = {0};
    kn_loader_start(loader, 0);
    if (kn_loader_next(loader, &batch, &got) != KN_OK || !got)
        return;
    kn_normalize_from(ctx, &batch, &norm);
    kn_shape shape = KN_SHAPE(batch.n, batch.height, batch.width, 3);
    kn_tensor *x = kn_normalize_apply(ctx, &norm, kn_from(ctx, KN_U8, shape, batch.pixels));
    kn_tensor *y = kn_from(ctx, KN_I32, KN_SHAPE(batch.n), batch.labels);
    kn_loader_release(loader, &batch);

    kn_grad_enable(ctx, false); /* we only look */
    look_inside(ctx, model, x);
    kn_grad_enable(ctx, true);
    look_back(ctx, model, x, y);
    kn_step_end(ctx);
}

int main(int argc, char **argv) {
    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 42}, &error) != KN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const char *folder = argc > 1 ? argv[1] : getenv("KILN_TEST_DATA");
    if (folder == NULL) {
        folder = "kiln-shapes";
        kn_shapes_write(ctx, folder, 42);
    }
    kn_split split = {0};
    if (kn_split_folder(ctx, folder, (kn_split_opts){0}, &split) == KN_OK) {
        kn_dataset *train =
            kn_image_dataset(ctx, split.train, split.train_count, 64, (kn_image_opts){0});
        kn_loader *loader = kn_loader_new(ctx, train, 128, (kn_loader_opts){.shuffle = true});
        kn_module *model = kn_simple_cnn(ctx, split.vocab.count);
        if (loader != NULL && model != NULL)
            run(ctx, model, loader);
        kn_module_free(model);
        kn_loader_free(loader);
        kn_dataset_free(train);
    }
    kn_split_free(ctx, &split);

    error = kn_error_take(ctx);
    if (error.status)
        fprintf(stderr, "%s\n", error.message);
    kn_ctx_free(ctx);
    return error.status ? 1 : 0;
}
