/* stop.c - see stop.h. The flag is the only variable here that is not constant: a signal handler
 * has no other way to say something. Every further signal is taken too: kiln passes on the one that
 * the terminal has sent to both. */
#include "download/stop.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

static volatile sig_atomic_t flag;

static void on_signal(int number) {
    (void)number;
    flag = 1;
}

void stop_install(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction before, action = {.sa_handler = on_signal};
        /* nohup ignores SIGHUP on purpose. */
        if (numbers[i] != SIGHUP ||
            (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN))
            sigaction(numbers[i], &action, NULL);
    }
}

bool stop_asked(void) {
    return flag != 0;
}

void stop_sleep(double seconds) {
    /* In short pieces: a signal just before the sleep would not end it. */
    for (int i = 0; i < (int)(seconds * 10) && flag == 0; i++) {
        const struct timespec piece = {.tv_nsec = 100000000};
        nanosleep(&piece, NULL);
    }
}
