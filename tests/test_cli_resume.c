/* test_cli_resume.c - kiln train is killed at random, also while it saves, stopped by signals, and
 * goes on with other loader threads: the weights are those of a training that nobody disturbed, bit
 * for bit. With KILN_TEST_FULL 300 kills, else 30. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include "core/ctx.h"

#include <kiln/checkpoint.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLS = 30, KILLS_FULL = 300, SLOW_BUILD_KILLS = 6, EPOCHS = 3, MOST_MISSES = 20 };

/* Augmentation, MixUp, EMA, accumulation, momentum, --lr as it is: all that draws or remembers. */
#define TRAIN                                                                                      \
    "train", "d", "--recipe", "chapter", "--epochs", "3", "-b", "8", "--img-size", "32", "--aug",  \
        "strong", "--mixup", "0.4", "--ema", "0.9", "--accumulate", "2", "--momentum", "0.9",      \
        "--seed", "11", "--threads", "1", "--json"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 4, 30, 10);
    return 0;
}

/* ---- time ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void wait_a_moment(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

static bool there(const char *run, const char *name) {
    char path[TREE_PATH + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s/%s", root, run, name);
    return stat(path, &st) == 0;
}

static void remove_run(const char *run) {
    char path[TREE_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", root, run);
    tree_remove(path);
}

/* ---- the undisturbed training ---- */

static char want[COMMAND_VALUE]; /* its weights */
static double whole;             /* seconds from its first batch to its end */

static void undisturbed(void) {
    command_run run;
    if (want[0] != '\0')
        return;
    command_start(&run, HERE, (const char *const[]){TRAIN, "-o", "whole", NULL});
    while (!there("whole", "sheet.svg") && !command_ended(&run))
        wait_a_moment(0.001);
    double began = now();
    command_wait(&run);
    whole = now() - began;
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", want);
    command_free(&run);
}

static void expect_same(const char *out) {
    char got[COMMAND_VALUE];
    command_value(out, "\"event\":\"done\"", 0, "weights_sha256", got);
    assert_string_equal(got, want);
}

/* ---- kills ---- */

static unsigned seed_of_kills;

static double random_share(void) {
    return (double)rand_r(&seed_of_kills) / (double)RAND_MAX;
}

/* A checkpoint is under way as long as its file has its temporary name. */
static bool saving(const command_run *run) {
    char name[64];
    snprintf(name, sizeof name, "next.ckpt.tmp-%ld", (long)run->pid);
    return there("killed", name);
}

/* Of the last checkpoint's file, which each save replaces; 0: there is none. */
static ino_t last_checkpoint(void) {
    char path[TREE_PATH + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/killed/last.ckpt", root);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Waits until this process has trained a batch, then for a random moment, and for a save to begin
 * if it is to be one inside; then kills. False: the training was over before. */
static bool kill_at_random(command_run *run, bool inside, ino_t before) {
    while (last_checkpoint() == before && !command_ended(run))
        wait_a_moment(0.0005);
    double until = now() + random_share() * whole * 0.8;
    while (now() < until && !command_ended(run))
        wait_a_moment(0.001);
    while (inside && !saving(run) && !command_ended(run))
        continue;
    if (command_ended(run))
        return false;
    kill(run->pid, SIGKILL);
    return true;
}

static void start_or_go_on(command_run *run, bool fresh, int workers) {
    char j[16];
    snprintf(j, sizeof j, "%d", workers);
    if (fresh)
        command_start(
            run, HERE,
            (const char *const[]){TRAIN, "-j", j, "-o", "killed", "--checkpoint-every", "0", NULL});
    else
        command_start(
            run, HERE,
            (const char *const[]){"train", "--resume", "killed", "--json", "-j", j, NULL});
}

/* The last line of what it said of its place. */
static void log_kill(int number, bool inside, const char *err) {
    const char *place = strstr(err, "goes on in");
    print_message("kill %d, %s%s%.*s\n", number, inside ? "inside a save" : "at random",
                  place != NULL ? ", of a process that " : ", of the first process",
                  place != NULL ? (int)strcspn(place, "\n") : 0, place != NULL ? place : "");
}

static int kills_wanted(void) {
#ifdef __SANITIZE_ADDRESS__
    return SLOW_BUILD_KILLS;
#else
    return getenv("KILN_TEST_FULL") != NULL ? KILLS_FULL : KILLS;
#endif
}

/* Enough kills, and enough of them inside a save: where one that was aimed at came too late, more
 * are aimed. */
static bool enough(int killed, int inside) {
    return killed >= kills_wanted() && inside * 4 >= kills_wanted();
}

/* A training is killed again and again until it was quicker; then the next begins. */
static void killed_anywhere_the_weights_are_the_same(void **state) {
    (void)state;
    int killed = 0, inside = 0, trainings = 0, misses = 0;
    command_run run;
    undisturbed();
    seed_of_kills = (unsigned)time(NULL);
    print_message("seed of the kills: %u\n", seed_of_kills);
    for (bool fresh = true; !enough(killed, inside) || !fresh;) {
        bool aimed = killed % 3 == 0 || killed >= kills_wanted();
        ino_t before = last_checkpoint();
        start_or_go_on(&run, fresh, 1 + killed % 3);
        bool more = !enough(killed, inside);
        bool hit = more && kill_at_random(&run, aimed, before);
        command_wait(&run);
        if (hit && run.code == 128 + SIGKILL) {
            bool unfinished = saving(&run);
            inside += unfinished;
            log_kill(++killed, unfinished, run.err);
            assert_true(killed <= 2 * kills_wanted());
            fresh = false;
        } else {
            command_expect(&run, 0);
            expect_same(run.out);
            remove_run("killed");
            trainings++;
            fresh = true;
            assert_true(misses++ < MOST_MISSES + kills_wanted());
        }
        command_free(&run);
    }
    print_message("%d kills, %d inside a save, in %d trainings\n", killed, inside, trainings);
}

/* ---- signals ---- */

static void start_training(command_run *run, const char *name, const char *every) {
    command_start(run, HERE,
                  (const char *const[]){TRAIN, "-o", name, "--checkpoint-every", every, NULL});
    while (!there(name, "sheet.svg") && !command_ended(run))
        wait_a_moment(0.0005);
}

static ino_t file_number(const char *run, const char *name) {
    char path[TREE_PATH + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s/%s", root, run, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

/* The picture of the first batch stays. */
static void resumes_to_the_same(const char *name) {
    command_run run;
    ino_t sheet = file_number(name, "sheet.svg");
    COMMAND(&run, HERE, "train", "--resume", name, "--json", "-j", "3");
    command_expect(&run, 0);
    check_contains(run.err, "goes on in epoch ");
    expect_same(run.out);
    assert_int_equal(file_number(name, "sheet.svg"), sheet);
    command_free(&run);
}

static void a_signal_ends_the_batch_and_saves(void **state) {
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM};
    undisturbed();
    for (size_t i = 0; i < KN_COUNT(signals); i++) {
        command_run run;
        start_training(&run, "stopped", "1000");
        kill(run.pid, signals[i]);
        command_wait(&run);
        command_expect(&run, 130);
        check_contains(run.err, "interrupted and saved");
        check_contains(run.err, "train --resume stopped\n");
        assert_true(there("stopped", "last.ckpt"));
        command_free(&run);
        resumes_to_the_same("stopped");
        remove_run("stopped");
    }
}

/* Saves in the middle of an epoch, whose end alone would be saved else, and goes on. */
static void sigusr1_saves(void **state) {
    (void)state;
    command_run run;
    char path[TREE_PATH + 64];
    kn_checkpoint *c;
    undisturbed();
    start_training(&run, "saves", "1000");
    kill(run.pid, SIGUSR1);
    while (!there("saves", "last.ckpt") && !command_ended(&run))
        continue;
    kill(run.pid, SIGSTOP);
    snprintf(path, sizeof path, "%s/saves", root);
    assert_int_equal(kn_checkpoint_open(&c, path, NULL, NULL), KN_OK);
    assert_non_null(c);
    kn_checkpoint_place place = kn_checkpoint_at(c);
    kn_checkpoint_close(c);
    kill(run.pid, SIGCONT);
    assert_true(place.epoch == 0 && place.batch < place.batches);
    command_wait(&run);
    command_expect(&run, 0);
    expect_same(run.out);
    command_free(&run);
    remove_run("saves");
}

/* Of a run that is over only its last validation is done again. */
static void a_whole_run_ends_at_once(void **state) {
    (void)state;
    undisturbed();
    resumes_to_the_same("whole");
    resumes_to_the_same("whole");
}

static void a_run_without_checkpoint_begins_anew(void **state) {
    (void)state;
    command_run run;
    char path[TREE_PATH + 64];
    undisturbed();
    start_training(&run, "early", "1000");
    kill(run.pid, SIGKILL);
    command_wait(&run);
    command_free(&run);
    snprintf(path, sizeof path, "%s/early/last.ckpt", root); /* of a very fast machine */
    remove(path);
    snprintf(path, sizeof path, "%s/early/previous.ckpt", root);
    remove(path);
    COMMAND(&run, HERE, "train", "--resume", "early/", "--json");
    command_expect(&run, 0);
    check_contains(run.err, "early: no checkpoint was written yet; begins anew");
    expect_same(run.out);
    command_free(&run);
    remove_run("early");
}

/* ---- refusals ---- */

static void expect(int code, const char *part, const char *const *arguments) {
    command_run run;
    command_start(&run, HERE, arguments);
    command_wait(&run);
    command_expect(&run, code);
    check_contains(run.err, part);
    assert_int_equal(command_lines(run.err), 1);
    command_free(&run);
}

#define EXPECT(code, part, ...) expect(code, part, (const char *const[]){__VA_ARGS__, NULL})

static void what_cannot_go_on_is_refused(void **state) {
    (void)state;
    char path[TREE_PATH + 64];
    undisturbed();
    EXPECT(2, "nowhere: no such run folder", "train", "--resume", "nowhere");
    EXPECT(2, "--resume RUN takes no DATA", "train", "d", "--resume", "whole");
    EXPECT(2, "--epochs cannot change with --resume", "train", "--resume", "whole", "--epochs",
           "9");
    tree_folder(root, "empty");
    EXPECT(2, "empty: no training to go on with", "train", "--resume", "empty");
    snprintf(path, sizeof path, "%s/whole/last.ckpt", root);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, -1, SEEK_END);
    fputc(0x55, f);
    fclose(f);
    command_run run;
    COMMAND(&run, HERE, "train", "--resume", "whole", "--json");
    command_expect(&run, 0);
    check_contains(run.err, "whole/last.ckpt: damaged: its checksum is not that of its bytes; "
                            "goes on from whole/previous.ckpt");
    expect_same(run.out);
    command_free(&run);
}

/* The picture that is new, gone or longer is named. */
static void other_data_is_refused(void **state) {
    (void)state;
    char path[TREE_PATH + 64], aside[TREE_PATH + 64];
    undisturbed();
    tree_put(root, "d/train/arrow/9999.jpg", "new", 3);
    EXPECT(3, "is not the data that this training began with: \"train/arrow/9999.jpg\" is new",
           "train", "--resume", "whole", "-q");
    snprintf(path, sizeof path, "%s/d/train/arrow/9999.jpg", root);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/d/valid/bars/001.jpg", root);
    snprintf(aside, sizeof aside, "%s/aside.jpg", root);
    assert_int_equal(rename(path, aside), 0);
    EXPECT(3, "\"valid/bars/001.jpg\" is gone", "train", "--resume", "whole", "-q");
    tree_put(root, "d/valid/bars/001.jpg", "other", 5);
    EXPECT(3, "\"valid/bars/001.jpg\" has another size", "train", "--resume", "whole", "-q");
    assert_int_equal(rename(aside, path), 0);
    resumes_to_the_same("whole");
}

static void two_in_one_folder_are_refused(void **state) {
    (void)state;
    command_run run;
    undisturbed();
    start_training(&run, "twice", "1000");
    kill(run.pid, SIGSTOP);
    EXPECT(2, "twice: another training is at work in it", "train", "--resume", "twice");
    kill(run.pid, SIGCONT);
    command_wait(&run);
    command_expect(&run, 0);
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_anywhere_the_weights_are_the_same),
        cmocka_unit_test(a_signal_ends_the_batch_and_saves),
        cmocka_unit_test(sigusr1_saves),
        cmocka_unit_test(a_run_without_checkpoint_begins_anew),
        cmocka_unit_test(two_in_one_folder_are_refused),
        cmocka_unit_test(a_whole_run_ends_at_once),
        cmocka_unit_test(other_data_is_refused),
        cmocka_unit_test(what_cannot_go_on_is_refused),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
