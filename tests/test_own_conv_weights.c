/* test_own_conv_weights.c - what Kiln's own convolutions do around their sums: the bits are the
 * same whichever thread takes what and however the weights are packed, these follow their version,
 * no failure leaves anything behind, and what follows a pass gets each result. */
#include "support/check.h"
#include "support/counted.h"
#include "support/own_conv.h"

#include "backend/reference.h"
#include "backend/winograd.h"

#include <stdlib.h>
#include <string.h>

/* As in test_own_conv.c. */
static const double tolerance = 1e-5;

/* The same bits again, on as many threads: which thread takes which item must not matter. */
static void a_pass_gives_the_same_bits_again(void **state) {
    (void)state;
    own_place p;
    assert_true(own_open(&p, kn_tile_best(), 3));
    kn_conv_dims c = own_sized((kn_conv_dims){40, 16, 16, 32, 32, 3, 3, 1, 1, 0, 0});
    kn_conv_dims strided = own_sized((kn_conv_dims){40, 16, 16, 32, 32, 3, 3, 2, 1, 0, 0});
    int64_t pixels = c.n * c.h * c.w * c.in, weights = c.out * c.in * 9;
    float *x = own_some(1, pixels), *dy = own_some(2, pixels);
    float *once = own_some(3, pixels), *again = own_some(4, pixels);
    kn_weights w = {own_some(5, weights), 0, 0};
    for (int i = 0; i < 20; i++) {
        const kn_conv_dims *dims = i % 2 == 0 ? &c : &strided;
        kn_own_conv_grad_weights(p.own, dims, x, dy, once, NULL);
        kn_own_conv_grad_weights(p.own, dims, x, dy, again, NULL);
        assert_memory_equal(once, again, (size_t)weights * sizeof *once);
        int64_t out = dims->n * dims->out_h * dims->out_w * dims->out;
        kn_own_conv_forward(p.own, dims, x, w, NULL, false, NULL, once);
        kn_own_conv_forward(p.own, dims, x, w, NULL, false, NULL, again);
        assert_memory_equal(once, again, (size_t)out * sizeof *once);
        kn_own_conv_grad_data(p.own, dims, dy, w, once);
        kn_own_conv_grad_data(p.own, dims, dy, w, again);
        assert_memory_equal(once, again, (size_t)pixels * sizeof *once);
    }
    float *all[] = {x, dy, once, again, (float *)(uintptr_t)w.data};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
    own_close(&p);
}

/* Packed weights are made anew when the version moves, and only then. */
static void packed_weights_follow_the_version(void **state) {
    (void)state;
    own_place p;
    assert_true(own_open(&p, kn_tile_best(), 1));
    kn_conv_dims c = own_sized((kn_conv_dims){1, 4, 4, 16, 16, 3, 3, 1, 1, 0, 0});
    float *x = own_some(1, 256), *w = own_some(2, 2304), *first = own_some(3, 256),
          *then = own_some(4, 256);
    kn_own_conv_forward(p.own, &c, x, (kn_weights){w, 3, 1}, NULL, false, NULL, first);
    w[0] += 1;
    kn_own_conv_forward(p.own, &c, x, (kn_weights){w, 3, 1}, NULL, false, NULL, then);
    assert_memory_equal(first, then, 256 * sizeof *first);
    kn_own_conv_forward(p.own, &c, x, (kn_weights){w, 3, 2}, NULL, false, NULL, then);
    assert_memory_not_equal(first, then, 256 * sizeof *first);
    float *all[] = {x, w, first, then};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
    own_close(&p);
}

/* Returns whether the shape's new weights are transformed on the way. */
static bool check_new(own_place *p, const kn_tile_kernels *tile, size_t shape) {
    kn_conv_dims c = own_shape(shape);
    kn_correlation k = kn_correlation_forward(&c);
    int64_t xs = c.n * c.h * c.w * c.in, ys = c.n * c.out_h * c.out_w * c.out;
    size_t bytes = (size_t)ys * sizeof(float) / (size_t)tile->unit;
    float *x = own_some(1, xs), *w = own_some(2, c.out * c.in * c.kernel_h * c.kernel_w);
    float *bias = own_some(3, c.out), *first = own_some(4, ys), *then = own_some(5, ys);
    kn_bf16 *half = own_halves(x, xs);
    const void *in = tile->unit > 1 ? (const void *)half : x;
    for (int times = 0; times < 6; times++) { /* three times each of two versions */
        kn_weights weights = {w, 7, times < 3 ? 1 : 2};
        float *y = times % 3 == 0 ? first : then;
        if (times == 3)
            for (int64_t i = 0; i < c.out * c.in * c.kernel_h * c.kernel_w; i++)
                w[i] = -w[i];
        assert_int_equal(kn_own_conv_forward(p->own, &c, in, weights, bias, true, NULL, y), KN_OK);
        if (times == 3) /* else the second version was not seen */
            assert_memory_not_equal(first, then, bytes);
        if (times % 3 > 0 && memcmp(first, then, bytes) != 0)
            fail_msg("%s: shape %zu: other bits when weights come again", tile->name, shape);
    }
    kn_own_conv_forget(p->own, 7);
    void *all[] = {x, w, bias, first, then, half};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
    return kn_winograd_takes_new(p->device, tile, &k, kn_winograd_side(tile, &k));
}

/* Calls it for every kind of tiles, with one thread and with three, and all shapes that these can;
 * fails where it was true of fewer. */
static void on_all_tiles(bool (*check)(own_place *p, const kn_tile_kernels *tile, size_t shape),
                         int least) {
    const kn_tile_kernels *tiles[] = {kn_tile_nth(0), kn_tile_nth(1), kn_tile_bf16_best()};
    own_need_tiles();
    for (size_t k = 0; k < KN_COUNT(tiles); k++)
        for (int threads = 1; tiles[k] != NULL && threads < 4; threads += 2) {
            own_place p;
            int count = 0;
            assert_true(own_open(&p, tiles[k], threads));
            for (size_t i = 0; i < OWN_SHAPES; i++) {
                kn_conv_dims c = own_shape(i);
                if (kn_own_conv_can(p.own, &c))
                    count += check(&p, tiles[k], i);
            }
            assert_true(count >= least);
            own_close(&p);
        }
}

static void new_weights_give_the_bits_of_packed_ones(void **state) {
    (void)state;
    on_all_tiles(check_new, 2);
}

/* After a pass that found no memory the next one is right, though the version stands. */
static void a_pass_without_memory_leaves_nothing_behind(void **state) {
    (void)state;
    own_need_tiles();
    kn_conv_dims c = own_sized((kn_conv_dims){2, 9, 8, 16, 32, 3, 3, 2, 1, 0, 0});
    int64_t xs = c.n * c.h * c.w * c.in, ys = c.n * c.out_h * c.out_w * c.out;
    int64_t ws = c.out * c.in * 9;
    float *x = own_some(1, xs), *w = own_some(2, ws), *dy = own_some(3, ys),
          *got = own_some(4, xs + ys + ws);
    float *want = own_some(5, xs + ys + ws);
    for (int pass = 0; pass < 3; pass++)
        for (int n = 1;; n++) {
            counted memory = {0};
            kn_ctx *ctx = counted_ctx(&memory, "cpu");
            kn_device *d = kn_device_default(ctx);
            kn_own_conv *own = kn_own_conv_open(d, kn_tile_best());
            kn_weights weights = {w, 7, 1};
            long before = memory.made;
            kn_status status = KN_OK;
            for (int again = 0; again < 2; again++) {
                memory.fail_at = again == 0 ? before + n : 0;
                if (pass == 0)
                    status = kn_own_conv_forward(own, &c, x, weights, NULL, false, NULL, got);
                else if (pass == 1)
                    status = kn_own_conv_grad_data(own, &c, dy, weights, got);
                else
                    status = kn_own_conv_grad_weights(own, &c, x, dy, got, NULL);
                if (again == 0 && status != KN_OK)
                    check_error(ctx, KN_ERR_MEMORY, "out of memory");
            }
            assert_int_equal(status, KN_OK);
            bool refused = memory.refused > 0;
            int64_t size = pass == 0 ? ys : pass == 1 ? xs : ws;
            if (pass == 0)
                kn_ref_conv(d, &c, x, weights, NULL, false, want);
            else if (pass == 1)
                kn_ref_conv_grad_data(d, &c, dy, weights, want);
            else
                kn_ref_conv_grad_weights(d, &c, x, dy, want, NULL);
            check_numbers("after a failure", size, got, want, tolerance);
            kn_own_conv_close(own);
            counted_ctx_free(&memory, ctx);
            if (!refused) {
                assert_true(n > 1);
                break;
            }
        }
    float *all[] = {x, w, dy, got, want};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
}

/* ---- what follows ---- */

typedef struct follower {
    const char *y;
    size_t size;          /* bytes of a number */
    int64_t pixels, cols; /* of the result */
    char *seen;
    int *times;
} follower;

static void follow(const void *args, int64_t first, int64_t count, int64_t col, int64_t end) {
    const follower *f = args;
    assert_true(first >= 0 && count > 0 && first + count <= f->pixels);
    assert_true(col >= 0 && col < end && end <= f->cols);
    for (int64_t pixel = first; pixel < first + count; pixel++)
        for (int64_t i = pixel * f->cols + col; i < pixel * f->cols + end; i++) {
            memcpy(f->seen + (size_t)i * f->size, f->y + (size_t)i * f->size, f->size);
            f->times[i]++;
        }
}

static bool check_follower(own_place *p, const kn_tile_kernels *tile, size_t shape) {
    kn_conv_dims c = own_shape(shape);
    int64_t xs = c.n * c.h * c.w * c.in, pixels = c.n * c.out_h * c.out_w, ys = pixels * c.out;
    float *x = own_some(1, xs), *w = own_some(2, c.out * c.in * c.kernel_h * c.kernel_w);
    float *y = own_some(3, ys), *seen = own_some(4, ys);
    kn_bf16 *half = own_halves(x, xs);
    int *times = calloc((size_t)ys, sizeof *times);
    size_t size = sizeof(float) / (size_t)tile->unit;
    follower f = {(const char *)y, size, pixels, c.out, (char *)seen, times};
    kn_conv_then then = {follow, &f};
    const void *in = tile->unit > 1 ? (const void *)half : x;
    for (int again = 0; again < 2; again++) { /* with new weights, and with packed ones */
        kn_weights weights = {w, 7, 1};
        memset(seen, 0, (size_t)ys * size);
        assert_int_equal(kn_own_conv_forward(p->own, &c, in, weights, NULL, false, &then, y),
                         KN_OK);
        assert_memory_equal(y, seen, (size_t)ys * size);
        for (int64_t i = 0; i < ys; i++)
            if (times[i] != again + 1)
                fail_msg("%s: shape %zu: number %lld was given %d times", tile->name, shape,
                         (long long)i, times[i] - again);
    }
    kn_own_conv_forget(p->own, 7);
    void *all[] = {x, w, y, seen, half, times};
    for (size_t a = 0; a < KN_COUNT(all); a++)
        free(all[a]);
    return true;
}

/* Each number of a result is given once, when it is what it will be. */
static void what_follows_gets_each_result_once(void **state) {
    (void)state;
    on_all_tiles(check_follower, OWN_SHAPES / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_gives_the_same_bits_again),
        cmocka_unit_test(packed_weights_follow_the_version),
        cmocka_unit_test(new_weights_give_the_bits_of_packed_ones),
        cmocka_unit_test(a_pass_without_memory_leaves_nothing_behind),
        cmocka_unit_test(what_follows_gets_each_result_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
