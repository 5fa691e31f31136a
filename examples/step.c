/* step.c - training inside a program that has a loop of its own: one batch a turn, and between two
 * turns the model is the program's to use. Here a window would be redrawn or a request answered; we
 * ask the model about one picture, and stop as soon as it is sure enough.
 *
 * The pictures are made up, so this program needs none: 32 of 8x8 pixels, reddish (class 0) or
 * bluish (class 1), in noise. */
#include <kiln/kiln.h>

#include <stdio.h>

enum { SIDE = 8, COUNT = 32, BATCH = 8, EPOCHS = 20, CLASSES = 2 };

/* ---- pictures: a dataset is two functions ---- */

static int64_t colours_len(const kn_dataset *ds) {
    (void)ds;
    return COUNT;
}

static kn_status colours_get(const kn_dataset *ds, kn_sample *s) {
    kn_rng noise = kn_rng_at(42, KN_RANDOM_USER, 0, 0, (uint32_t)s->index);
    (void)ds;
    *s->label = (int32_t)(s->index % CLASSES);
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        bool tinted = i % 3 == (*s->label == 0 ? 0 : 2);
        s->slot[i] = (uint8_t)(kn_rng_below(&noise, 200) + (tinted ? 30 : 0));
    }
    return KN_OK;
}

static const kn_dataset_class colours_class = {.len = colours_len, .get = colours_get};

/* ---- between two steps ---- */

/* How sure the model is of the first picture's class. The next step turns training mode on again.
 */
static double sure_of_first(kn_ctx *ctx, kn_module *model, const kn_normalize *norm,
                            const kn_dataset *ds) {
    uint8_t pixels[SIDE * SIDE * 3];
    int32_t label;
    float prob[CLASSES] = {0};
    kn_sample s = {.index = 0, .slot = pixels, .label = &label};
    colours_get(ds, &s);
    kn_module_train(model, false);
    bool was = kn_grad_enable(ctx, false);
    kn_tensor *x = kn_from(ctx, KN_U8, KN_SHAPE(1, SIDE, SIDE, 3), pixels);
    kn_tensor *y = kn_softmax(ctx, kn_forward(model, kn_normalize_apply(ctx, norm, x)));
    kn_tensor_read(ctx, y, prob, sizeof prob);
    kn_grad_enable(ctx, was);
    kn_step_end(ctx);
    return prob[label];
}

/* ---- the loop is ours ---- */

static void train(kn_ctx *ctx, kn_learner *l, const kn_normalize *norm, const kn_dataset *ds) {
    bool trained = true;
    double sure = 0;
    kn_learner_begin(l, EPOCHS);
    while (sure < 0.9 && kn_learner_step(l, &trained) == KN_OK && trained) {
        sure = sure_of_first(ctx, l->model, norm, ds);
        if (l->step % 8 == 1 || sure >= 0.9)
            printf("epoch %2d, batch %lld: loss %.2f, sure %.2f\n", l->epoch,
                   (long long)l->batch_index, kn_track_results_now(l).loss, sure);
    }
    printf("%s\n", trained ? "sure enough: we stop" : "all epochs are done");
    kn_learner_end(l);
}

int main(void) {
    kn_error error = {0};
    kn_ctx *ctx = NULL;
    if (kn_ctx_new(&ctx, (kn_ctx_opts){.seed = 42}, &error) != KN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    kn_dataset colours = {.cls = &colours_class, .height = SIDE, .width = SIDE};
    kn_normalize norm = {0}; /* measured from the first batch */
    kn_loaders loaders = {kn_loader_new(ctx, &colours, BATCH, (kn_loader_opts){.shuffle = true}),
                          kn_loader_new(ctx, &colours, BATCH, (kn_loader_opts){0})};
    kn_module *model = kn_sequential(ctx, kn_conv_layer(ctx, 3, 8, (kn_conv_opts){.stride = 2}),
                                     kn_adaptive_pool(ctx), kn_linear(ctx, 8, CLASSES));
    kn_learner *l =
        kn_learner_new(ctx, (kn_learner_opts){.model = model, .loaders = loaders, .lr = 0.2});
    kn_learner_add(l, kn_setup_cb(ctx, &norm));
    kn_learner_add(l, kn_track_results_cb(ctx));
    train(ctx, l, &norm, &colours);

    kn_learner_free(l);
    kn_module_free(model);
    kn_loader_free(loaders.valid);
    kn_loader_free(loaders.train);
    error = kn_error_take(ctx);
    if (error.status)
        fprintf(stderr, "%s\n", error.message);
    kn_ctx_free(ctx);
    return error.status ? 1 : 0;
}
