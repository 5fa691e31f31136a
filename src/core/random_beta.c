/* random_beta.c - gamma and beta distributions, from which MixUp and CutMix draw their shares. In
 * double, as small shapes raise a uniform number to a high power. */
#include <kiln/random.h>

#include <assert.h>
#include <math.h>

/* In (0, 1), 53 bits: neither end, so that every logarithm is finite. */
static double open_uniform(kn_rng *rng) {
    double high = kn_rng_u32(rng) >> 5, low = kn_rng_u32(rng) >> 6;
    return (high * 0x1p26 + low + 0.5) * 0x1p-53;
}

/* shape >= 1: the cube of a shifted normal number, accepted or drawn again. */
static double gamma_above_one(kn_rng *rng, double shape) {
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = kn_rng_normal(rng), v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        if (log(open_uniform(rng)) < 0.5 * x * x + d - d * v + d * log(v))
            return d * v;
    }
}

double kn_rng_gamma(kn_rng *rng, double shape) {
    assert(shape > 0);
    if (shape >= 1)
        return gamma_above_one(rng, shape);
    double g = gamma_above_one(rng, shape + 1);
    return g * pow(open_uniform(rng), 1 / shape);
}

/* x = u^(1/a) and y = v^(1/b), given x + y <= 1: then x / (x + y) is Beta(a, b). Only logarithms
 * are formed: for small a and b both powers may be 0. */
static double johnk(kn_rng *rng, double a, double b) {
    for (;;) {
        double x = log(open_uniform(rng)) / a, y = log(open_uniform(rng)) / b;
        double most = fmax(x, y), sum = most + log(exp(x - most) + exp(y - most));
        if (sum <= 0)
            return exp(x - sum);
    }
}

double kn_rng_beta(kn_rng *rng, double a, double b) {
    assert(a > 0 && b > 0);
    if (a <= 1 && b <= 1)
        return johnk(rng, a, b);
    double x = kn_rng_gamma(rng, a), y = kn_rng_gamma(rng, b);
    return x / (x + y);
}
