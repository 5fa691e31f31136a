/* fetch_case.h - what the tests of kiln-download share: a folder, an archive, a run of the program
 * on it, and a look at what is in the cache afterwards. */
#ifndef KN_TEST_FETCH_CASE_H
#define KN_TEST_FETCH_CASE_H

#include "support/command.h"
#include "support/download/server.h"
#include "support/download/tgz.h"
#include "support/tree.h"

/* Made by case_prepare, removed by case_clean: cmocka's functions for a group. */
extern char case_root[TREE_PATH];
extern tgz case_good; /* case_archive */
int case_prepare(void **state);
int case_clean(void **state);

/* cmocka's for one test: no cache, and no table of data sets. */
int case_fresh(void **state);
#define CASE_TEST(name) cmocka_unit_test_setup(name, case_fresh)

/* One server at a time; server_stop(&case_server) must follow. Returns the URL of the script. */
extern server case_server;
const char *case_serve(const server_answer *script, int answers);
#define CASE_SERVE(...)                                                                            \
    case_serve((const server_answer[]){__VA_ARGS__},                                               \
               sizeof((const server_answer[]){__VA_ARGS__}) / sizeof(server_answer))
#define CASE_GOOD .body = case_good.data, .bytes = case_good.bytes

/* Bytes of pictures.part in the cache; -1: there is none. */
long case_part_size(void);

/* case_root/relative, in static memory. */
const char *case_path(const char *relative);

/* Removes the cache. */
void case_empty(void);

/* An archive of one folder, photos-1, with some files of 60,000 random bytes in all. */
void case_archive(tgz *t);

/* Arguments that name an archive: "pictures" --url URL --size N --sha256 HEX --to cache
 * --retry-wait 0, then more, NULL last; starts kiln-download with them. */
void case_start(command_run *run, command_opts opts, const char *url, const tgz *expected,
                const char *const *more);

/* Starts and waits, with more as a list. */
#define CASE_RUN(run, url, expected, ...)                                                          \
    do {                                                                                           \
        case_start((run), (command_opts){0}, (url), (expected),                                    \
                   (const char *const[]){__VA_ARGS__, NULL});                                      \
        command_wait(run);                                                                         \
    } while (0)

/* The names in the cache, sorted, with a blank between. */
void case_cache_is(const char *names);

/* The cache holds pictures, with every file of case_archive as it was, and no more. */
void case_cache_whole(void);

/* The run ended with this code and these words on stderr; frees it. */
void case_ended(command_run *run, int code, const char *words);

#endif
