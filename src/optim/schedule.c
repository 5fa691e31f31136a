/* schedule.c - the learning rate as a function of the place in the run. */
#include <kiln/optim.h>

/* Smith, "A disciplined approach to neural network hyper-parameters" (2018); linear both ways, as
 * in the chapter. */
double kn_one_cycle_lr(double lr, double pct, kn_one_cycle_opts opts) {
    double start = opts.pct_start > 0 ? opts.pct_start : 0.25;
    double div = opts.div > 0 ? opts.div : 10;
    if (pct < start)
        return lr / div + (lr - lr / div) * (pct / start);
    return lr * (1 - (pct - start) / (1 - start));
}
