/* interrupt.c - see interrupt.h. A signal handler has no other way to say something than a
 * variable of the file. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t flag, save;
static bool asked, last; /* interrupt_last_batch, and what it answered */

/* The second one does what it does by default, as soon as this returns. */
static void on_signal(int number) {
    if (flag != 0) {
        signal(number, SIG_DFL);
        raise(number);
    }
    flag = 1;
}

static void on_save(int number) {
    (void)number;
    save = 1;
}

void interrupt_install(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction before, action = {.sa_handler = on_signal};
        action.sa_flags = SA_RESTART;
        /* nohup ignores SIGHUP on purpose. A script's background jobs ignore SIGINT by default, but
         * who sends one there means it. */
        if (numbers[i] != SIGHUP ||
            (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN))
            sigaction(numbers[i], &action, NULL);
    }
    struct sigaction action = {.sa_handler = on_save};
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, NULL);
}

bool interrupt_take_save(void) {
    bool was = save != 0;
    save = 0;
    return was;
}

bool interrupted(void) {
    return flag != 0;
}

bool interrupt_last_batch(void) {
    asked = true;
    last = flag != 0;
    return last;
}

static kn_flow after_batch(kn_callback *cb, kn_learner *l) {
    (void)cb;
    bool end = l->training && asked ? last : flag != 0;
    return end ? KN_CANCEL_FIT : KN_GO;
}

/* Last, so that every other callback sees the batch's end. */
static const kn_callback_class interrupt_class = {
    .name = "interrupt", .order = 1000, .after_batch = after_batch};

static kn_callback the_callback = {&interrupt_class};

kn_callback *interrupt_cb(void) {
    return &the_callback;
}
