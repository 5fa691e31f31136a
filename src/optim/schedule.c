/* schedule.c - the learning rate, and for one of them the momentum, as a function of the place in
 * the run. */
#include <kiln/optim.h>

#include <assert.h>
#include <math.h>

static const double pi = 3.14159265358979323846;

/* Smith, "A disciplined approach to neural network hyper-parameters" (2018); linear both ways, as
 * in the chapter. */
double kn_one_cycle_lr(double lr, double pct, kn_one_cycle_opts opts) {
    double start = opts.pct_start > 0 ? opts.pct_start : 0.25;
    double div = opts.div > 0 ? opts.div : 10;
    if (pct < start)
        return lr / div + (lr - lr / div) * (pct / start);
    return lr * (1 - (pct - start) / (1 - start));
}

/* Half a cosine from a to b, place going from 0 to 1 (Loshchilov and Hutter, "SGDR", 2017). */
static double half_cosine(double a, double b, double place) {
    return a + (1 - cos(pi * place)) / 2 * (b - a);
}

/* fastai's combined_cos: from a to b at the turn, then to c. */
static double two_halves(double turn, double a, double b, double c, double pct) {
    return pct < turn ? half_cosine(a, b, pct / turn)
                      : half_cosine(b, c, (pct - turn) / (1 - turn));
}

static double or_default(double value, double otherwise) {
    return value > 0 ? value : otherwise;
}

static double turn_of(const kn_schedule *s) {
    return or_default(s->pct_start, s->kind == KN_SCHED_FLAT_COS ? 0.75 : 0.25);
}

/* Without the warm-up. */
static double rate(const kn_schedule *s, double lr, double pct) {
    double end = lr / or_default(s->div_final, 1e5);
    switch (s->kind) {
    case KN_SCHED_CONSTANT:
        return lr;
    case KN_SCHED_ONE_CYCLE:
        return kn_one_cycle_lr(lr, pct, (kn_one_cycle_opts){s->pct_start, s->div});
    case KN_SCHED_ONE_CYCLE_COS:
        return two_halves(turn_of(s), lr / or_default(s->div, 10), lr, end, pct);
    case KN_SCHED_COSINE:
        return half_cosine(lr, 0, pct);
    case KN_SCHED_FLAT_COS:
        return two_halves(turn_of(s), lr, lr, end, pct);
    case KN_SCHED_STEP:
        return lr *
               pow(or_default(s->gamma, 0.1), floor(pct * (s->steps > 0 ? s->steps : 3) + 1e-9));
    }
    assert(false && "a kind of schedule");
    return NAN;
}

/* The place in what the warm-up leaves. */
static double after_warmup(const kn_schedule *s, double pct) {
    return pct < s->warmup ? 0 : (pct - s->warmup) / (1 - s->warmup);
}

double kn_schedule_lr(const kn_schedule *s, double lr, double pct) {
    double value = rate(s, lr, after_warmup(s, pct));
    return pct < s->warmup ? value * (0.01 + 0.99 * (pct / s->warmup)) : value;
}

bool kn_schedule_has_momentum(const kn_schedule *s) {
    return s->kind == KN_SCHED_ONE_CYCLE_COS && !s->no_momentum;
}

double kn_schedule_momentum(const kn_schedule *s, double pct) {
    double high = or_default(s->momentum_high, 0.95), low = or_default(s->momentum_low, 0.85);
    return two_halves(turn_of(s), high, low, high, after_warmup(s, pct));
}

const char *kn_schedule_name(kn_schedule_kind kind) {
    static const char *const names[] = {"constant", "one-cycle", "one-cycle-cos",
                                        "cosine",   "flat-cos",  "step"};
    return kind >= 0 && (size_t)kind < sizeof names / sizeof *names ? names[kind] : NULL;
}

void kn_schedule_apply(const kn_schedule *s, kn_optimizer *opt, double lr, double pct) {
    opt->lr = kn_schedule_lr(s, lr, pct);
    /* A group without momentum stays without: its optimizer was not made for one. */
    for (int g = 0; g < KN_MAX_GROUPS && kn_schedule_has_momentum(s); g++)
        if (opt->group[g].momentum != 0)
            opt->group[g].momentum = kn_schedule_momentum(s, pct);
}
