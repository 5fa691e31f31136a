/* interrupt.c - see interrupt.h. The flag is the only variable here that is not constant: a signal
 * handler has no other way to say something. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t flag;

static void on_signal(int number) {
    (void)number;
    flag = 1;
}

void interrupt_install(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction before, action = {.sa_handler = on_signal};
        action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
        /* nohup ignores SIGHUP on purpose. A script's background jobs ignore SIGINT by default, but
         * who sends one there means it. */
        if (numbers[i] != SIGHUP ||
            (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN))
            sigaction(numbers[i], &action, NULL);
    }
}

bool interrupted(void) {
    return flag != 0;
}

static kn_flow after_batch(kn_callback *cb, kn_learner *l) {
    (void)cb;
    (void)l;
    return flag != 0 ? KN_CANCEL_FIT : KN_GO;
}

/* Last, so that every other callback sees the batch's end. */
static const kn_callback_class interrupt_class = {
    .name = "interrupt", .order = 1000, .after_batch = after_batch};

static kn_callback the_callback = {&interrupt_class};

kn_callback *interrupt_cb(void) {
    return &the_callback;
}
