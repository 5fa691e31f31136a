/* test_cli_cache.c - kiln train --cache: wherever decoded pictures are kept, the weights are the
 * same bit for bit. */
#include "support/check.h"
#include "support/command.h"
#include "support/root.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static int prepare(void **state) {
    (void)state;
    tree_make(root);
    command_data(root, "d", 3, 12, 6);
    command_data(root, "large", 3, 16, 2); /* 48 pictures of 27 kB, decoded */
    return 0;
}

/* The weights of a small training; what it noted goes to err. */
static void sha_of(const char *cache, const char *aug, char sha[COMMAND_VALUE], char err[4096]) {
    command_run run;
    char folder[TREE_PATH + 16];
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "-o", "run", "--json", "-v", "-b", "8",
            "--img-size", "32", "--epochs", "2", "--threads", "1", "--cache", cache, "--aug", aug);
    command_expect(&run, 0);
    command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", sha);
    snprintf(err, 4096, "%s", run.err);
    command_free(&run);
    snprintf(folder, sizeof folder, "%s/run", root);
    tree_remove(folder);
}

/* A byte of the last picture of each file. */
static int damage_all(void) {
    char path[TREE_PATH + 600];
    int count = 0;
    snprintf(path, sizeof path, "%s/.samples", root);
    DIR *folder = opendir(path);
    for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/.samples/%s", root, e->d_name);
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, -1, SEEK_END), 0);
        int c = fgetc(f);
        assert_int_equal(fseek(f, -1, SEEK_END), 0);
        fputc(c ^ 1, f);
        fclose(f);
        count++;
    }
    if (folder != NULL)
        closedir(folder);
    return count;
}

static void test_same_weights(void **state) {
    (void)state;
    char off[COMMAND_VALUE], sha[COMMAND_VALUE], err[4096];
    sha_of("off", "none", off, err);
    check_contains(err, "training pictures: 0 MB, not kept");
    sha_of("ram", "none", sha, err);
    assert_string_equal(sha, off);
    check_contains(err, "training pictures: 0 MB, in memory\n");
    sha_of("auto", "none", sha, err);
    assert_string_equal(sha, off);
    check_contains(err, "validation pictures: 0 MB, in memory\n");
    sha_of("disk", "none", sha, err);
    assert_string_equal(sha, off);
    check_contains(err, "training pictures: 0 MB, in a file\n");
    sha_of("disk", "none", sha, err);
    assert_string_equal(sha, off);
    check_contains(err, "training pictures: 0 MB, in a file, from an earlier run\n");
    assert_int_equal(damage_all(), 2);
    sha_of("disk", "none", sha, err);
    assert_string_equal(sha, off);
    check_contains(err, "warning: 1 kept training pictures were damaged");
    assert_int_equal(damage_all(), 0); /* gone with that */
}

/* Samples that change are drawn from whole pictures, which are kept; those to validate on are kept
 * themselves. */
static void test_augmented(void **state) {
    (void)state;
    char off[COMMAND_VALUE], sha[COMMAND_VALUE], err[4096];
    sha_of("off", "strong", off, err);
    sha_of("ram", "strong", sha, err);
    assert_string_equal(sha, off);
    check_contains(err, "training pictures: 1 MB, whole, in memory\n");
    check_contains(err, "validation pictures: 0 MB, in memory\n");
    sha_of("disk", "strong", sha, err);
    assert_string_equal(sha, off);
    check_contains(err, "training pictures: 0 MB, not kept\n");
    check_contains(err, "validation pictures: 0 MB, in a file\n");
}

/* Some fit, the others are decoded each time; where decoding them smaller would help that is said,
 * once. */
static void test_few_fit(void **state) {
    (void)state;
    static const struct {
        const char *size, *decode;
        bool told;
    } cases[] = {{"16", "exact", true}, {"32", "exact", false}, {"16", "fast", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        command_run run;
        char sha[2][COMMAND_VALUE];
        for (int few = 0; few < 2; few++) {
            COMMAND(&run, HERE, "train", "--recipe", "chapter", "large", "-o", "few", "--json",
                    "-v", "-b", "8", "--epochs", "2", "--threads", "1", "--aug", "light",
                    "--img-size", cases[i].size, "--decode", cases[i].decode, "--cache",
                    few ? "auto" : "off", "--cache-memory", "1");
            command_expect(&run, 0);
            command_value(run.out, "\"event\":\"done\"", 0, "weights_sha256", sha[few]);
            if (few) {
                const char *note = strstr(run.err, " training pictures fit into --cache-memory");
                assert_true((note != NULL) == cases[i].told);
                assert_true(note == NULL || strstr(note + 30, "fit into") == NULL);
                assert_true((strstr(run.err, " of 48 kept\n") != NULL) ==
                            (strcmp(cases[i].decode, "exact") == 0));
            }
            command_free(&run);
            char folder[TREE_PATH + 16];
            snprintf(folder, sizeof folder, "%s/few", root);
            tree_remove(folder);
        }
        assert_string_equal(sha[0], sha[1]);
    }
}

/* The sets may be kept in different places: args.json, from which a resumed run takes it, then says
 * what was asked for. */
static void test_each_in_its_place(void **state) {
    (void)state;
    command_run run;
    char text[4096], path[TREE_PATH + 32], value[COMMAND_VALUE];
    COMMAND(&run, HERE, "train", "--recipe", "chapter", "d", "-o", "both", "-v", "-b", "8",
            "--epochs", "1", "--threads", "1", "--aug", "light", "--img-size", "160",
            "--cache-memory", "1");
    command_expect(&run, 0);
    check_contains(run.err, "training pictures: 1 MB, whole, in memory\n");
    check_contains(run.err, "validation pictures: 1 MB, in a file\n");
    command_free(&run);
    snprintf(path, sizeof path, "%s/both/args.json", root);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    command_value(text, "version", 0, "cache", value);
    assert_string_equal(value, "\"auto\"");
}

/* Nowhere to put the file: the run says so before it starts. */
static void test_no_folder(void **state) {
    (void)state;
    command_run run;
    command_opts opts = {.folder = root, .home = "/dev/null/x"};
    COMMAND(&run, opts, "train", "--recipe", "chapter", "d", "-o", "run", "--cache", "disk");
    command_expect(&run, 1);
    check_contains(run.err, "/dev/null");
    command_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_weights), cmocka_unit_test(test_augmented),
        cmocka_unit_test(test_few_fit),      cmocka_unit_test(test_each_in_its_place),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests(tests, prepare, root_remove);
}
