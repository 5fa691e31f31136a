/* test_plugin.c - a device that is a plugin, and what is said where it is not there. These run on
 * every machine: without a plugin, without a driver, and with both. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAIN "train", "data", "--recipe", "chapter", "--epochs", "1", "-b", "4", "--img-size", "16"

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "data", 2, 4, 2);
    tree_folder(root, "none");
    tree_put(root, "wrong/libkiln_cuda.so", "no library", 10);
    return 0;
}

static bool has_driver(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (driver != NULL)
        dlclose(driver);
    return driver != NULL;
}

/* kiln train --device cuda with the plugin in a folder of root: exit 4, one line that says why, and
 * no run folder. */
static void refused(const char *plugins, const char *why) {
    char folder[TREE_PATH + 16];
    command_run run;
    snprintf(folder, sizeof folder, "%s/%s", root, plugins);
    setenv("KILN_PLUGINS", folder, 1);
    COMMAND(&run, HERE, TRAIN, "--device", "cuda", "-o", "run");
    unsetenv("KILN_PLUGINS");
    command_expect(&run, 4);
    assert_int_equal(command_lines(run.err), 1);
    assert_non_null(strstr(run.err, "device cuda: "));
    if (strstr(run.err, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", run.err, why);
    command_free(&run);
    COMMAND(&run, HERE, "train", "--resume", "run");
    command_expect(&run, 2); /* there is no run */
    command_free(&run);
}

static void a_missing_plugin_is_named(void **state) {
    (void)state;
    refused("none", "libkiln_cuda.so was not found");
}

static void a_file_that_is_no_plugin_is_named(void **state) {
    (void)state;
    refused("wrong", has_driver() ? "wrong/libkiln_cuda.so could not be loaded"
                                  : "there is no NVIDIA driver here: libcuda.so.1");
}

/* Whatever this machine has: the doctor says the same as a training, and auto always finds one. */
static void the_doctor_says_what_is_missing(void **state) {
    (void)state;
    char out[16384];
    COMMAND_WELL(out, HERE, "doctor");
    const char *line = strstr(out, "device cuda "), *text = line;
    assert_non_null(line);
    for (text += strlen("device cuda "); *text == ' ';)
        text++;
    bool missing = strncmp(text, "not there: ", 11) == 0;
    command_run run;
    COMMAND(&run, HERE, TRAIN, "--device", "cuda", "-o", "doctored");
    if (missing) {
        command_expect(&run, 4);
        text += 11;
        size_t length = strcspn(text, "\n");
        const char *said = strstr(run.err, "device cuda");
        assert_non_null(said);
        if (strncmp(said, text, length) != 0)
            fail_msg("the doctor says \"%.*s\", a training \"%s\"", (int)length, text, said);
    } else
        command_expect(&run, 0);
    command_free(&run);
}

static void auto_finds_a_device(void **state) {
    (void)state;
    char folder[TREE_PATH + 16], out[16384];
    snprintf(folder, sizeof folder, "%s/none", root);
    setenv("KILN_PLUGINS", folder, 1);
    COMMAND_WELL(out, HERE, "doctor");
    unsetenv("KILN_PLUGINS");
    const char *line = strstr(out, "device auto ");
    assert_non_null(line);
    line += strlen("device auto ");
    assert_int_equal(strncmp(line + strspn(line, " "), "cpu\n", 4), 0);
}

static void other_names_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"cuda:", "cuda:x", "cuda:1x", "cuda:99999", "cudax", "gpu"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        command_run run;
        COMMAND(&run, HERE, TRAIN, "--device", names[i], "-o", "named");
        command_expect(&run, 2);
        assert_non_null(strstr(run.err, names[i]));
        command_free(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_plugin_is_named),
        cmocka_unit_test(a_file_that_is_no_plugin_is_named),
        cmocka_unit_test(the_doctor_says_what_is_missing),
        cmocka_unit_test(auto_finds_a_device),
        cmocka_unit_test(other_names_are_refused),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
