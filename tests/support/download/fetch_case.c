/* fetch_case.c - see fetch_case.h. */
#include "support/download/fetch_case.h"

#include "support/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 6, FILE_BYTES = 10000, MAX_MORE = 12 };

char case_root[TREE_PATH];
tgz case_good;
server case_server;

int case_prepare(void **state) {
    (void)state;
    tree_make(case_root);
    case_archive(&case_good);
    return 0;
}

int case_clean(void **state) {
    (void)state;
    tree_remove(case_root);
    tgz_free(&case_good);
    return 0;
}

int case_fresh(void **state) {
    (void)state;
    case_empty();
    unsetenv("KILN_DATASETS");
    return 0;
}

const char *case_path(const char *relative) {
    static char path[TREE_PATH + 256];
    snprintf(path, sizeof path, "%s/%s", case_root, relative);
    return path;
}

void case_empty(void) {
    struct stat st;
    if (stat(case_path("cache"), &st) == 0)
        tree_remove(case_path("cache"));
}

const char *case_serve(const server_answer *script, int answers) {
    static char url[SERVER_TEXT];
    server_start(&case_server, script, answers);
    return server_url(&case_server, "http", "127.0.0.1", url);
}

long case_part_size(void) {
    struct stat st;
    return stat(case_path("cache/pictures.part"), &st) == 0 ? (long)st.st_size : -1;
}

/* ---- the archive ---- */

static const char *file_name(int i, char name[64]) {
    snprintf(name, 64, "%s/%s/%d.jpg", i < 4 ? "train" : "val", i % 2 == 0 ? "a" : "b", i);
    return name;
}

/* Bytes that do not compress, the same in each run. */
static void file_bytes(int i, unsigned char data[FILE_BYTES]) {
    uint32_t x = (uint32_t)i + 1;
    for (int k = 0; k < FILE_BYTES; k++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        data[k] = (unsigned char)(x >> 11);
    }
}

void case_archive(tgz *t) {
    char name[64], path[128];
    unsigned char data[FILE_BYTES];
    tgz_begin(t);
    tgz_folder(t, "photos-1/");
    for (int i = 0; i < FILES; i++) {
        file_bytes(i, data);
        snprintf(path, sizeof path, "photos-1/%s", file_name(i, name));
        tgz_file(t, path, data, sizeof data);
    }
    tgz_end(t);
}

/* ---- running ---- */

void case_start(command_run *run, command_opts opts, const char *url, const tgz *expected,
                const char *const *more) {
    char size[32];
    snprintf(size, sizeof size, "%zu", expected->bytes);
    const char *arguments[MAX_MORE + 16] = {"pictures",       "--url", url,
                                            "--size",         size,    "--sha256",
                                            expected->sha256, "--to",  case_path("cache"),
                                            "--retry-wait",   "0"};
    int n = 11;
    for (int i = 0; more[i] != NULL; i++) {
        assert_true(i < MAX_MORE);
        arguments[n++] = more[i];
    }
    opts.program = "kiln-download";
    command_start(run, opts, arguments);
}

void case_ended(command_run *run, int code, const char *words) {
    command_expect(run, code);
    if (strstr(run->err, words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, run->err);
    command_free(run);
}

/* ---- the cache ---- */

static int visible(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static void is_listed(const char *folder, const char *names) {
    char text[1024] = "";
    struct dirent **list = NULL;
    int count = scandir(folder, &list, visible, alphasort);
    for (int i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? " " : "", list[i]->d_name);
        free(list[i]);
    }
    free(list);
    if (strcmp(text, names) != 0)
        fail_msg("%s holds \"%s\", expected \"%s\"", folder, text, names);
}

void case_cache_is(const char *names) {
    is_listed(case_path("cache"), names);
}

static void file_is(int i) {
    char name[64], relative[128];
    unsigned char want[FILE_BYTES], have[FILE_BYTES + 1];
    struct stat st;
    snprintf(relative, sizeof relative, "cache/pictures/%s", file_name(i, name));
    FILE *f = fopen(case_path(relative), "rb");
    if (f == NULL)
        fail_msg("%s is not there", relative);
    assert_int_equal(fstat(fileno(f), &st), 0);
    assert_int_equal(st.st_mode & 07111, 0); /* no setuid, nothing to run */
    assert_int_equal(fread(have, 1, sizeof have, f), FILE_BYTES);
    fclose(f);
    file_bytes(i, want);
    assert_memory_equal(have, want, FILE_BYTES);
}

void case_cache_whole(void) {
    case_cache_is("pictures");
    is_listed(case_path("cache/pictures"), "train val");
    for (int i = 0; i < FILES; i++)
        file_is(i);
}
