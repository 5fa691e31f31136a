/* options.c - the command line of kiln-download, by one table. */
#include "download/job.h"

#include "args.h"
#include "download/url.h"
#include "home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { FLAG, NUMBER, LARGE, TEXT } kind;

/* What is given for a data set that the table of names lacks. */
typedef struct given {
    const char *name, *url, *sha256, *to;
    int64_t bytes;
    const char *to_fetch; /* an option that says how to fetch, the last of them; NULL: none */
} given;

typedef struct row {
    const char *name;
    char letter;
    kind kind;
    bool in_given;       /* at is an offset into given, else into job */
    size_t at;           /* of a bool, int, int64_t or const char * */
    int64_t least, most; /* of a number */
    const char *value, *help;
} row;

#define JOB(field)   .at = offsetof(job, field)
#define GIVEN(field) .in_given = true, .at = offsetof(given, field)

static const row table[] = {
    {"to", 0, TEXT, GIVEN(to), 0, 0, "FOLDER", "where the data set's folder goes (Kiln's cache)"},
    {"url", 0, TEXT, GIVEN(url), 0, 0, "URL", "where the .tar.gz lies, instead of the known place"},
    {"sha256", 0, TEXT, GIVEN(sha256), 0, 0, "HEX", "its SHA-256, for a NAME that is not known"},
    {"size", 0, LARGE, GIVEN(bytes), 1, INT64_C(1) << 53, "BYTES", "its size, the same"},
    {"stall-time", 0, NUMBER, JOB(stall), 1, 3600, "SECONDS",
     "give a connection up that brings less than 1 KB/s for so long (30)"},
    {"retries", 0, NUMBER, JOB(retries), 0, 100, "N", "tries after a failed one (4)"},
    {"retry-wait", 0, NUMBER, JOB(wait), 0, 3600, "SECONDS",
     "before the first of them; doubled for each further one (1)"},
    {"max-files", 0, LARGE, JOB(max_files), 1, INT64_C(1) << 53, "N",
     "refuse an archive with more files and folders (1000000)"},
    {"max-bytes", 0, LARGE, JOB(max_bytes), 1, INT64_C(1) << 53, "BYTES",
     "refuse one that unpacks to more (10 times its size and 64 MiB)"},
    {"max-file-bytes", 0, LARGE, JOB(max_file_bytes), 1, INT64_C(1) << 53, "BYTES",
     "refuse one with a larger file (268435456)"},
    {"list", 0, FLAG, JOB(list), 0, 0, NULL, "the data sets that are known by name"},
    {"json", 0, FLAG, JOB(r.json), 0, 0, NULL, "one JSON object a line on stdout"},
    {"quiet", 'q', FLAG, JOB(r.quiet), 0, 0, NULL, "no progress and no notes"},
    {"help", 'h', FLAG, JOB(help), 0, 0, NULL, "this text"},
    {"version", 0, FLAG, JOB(version), 0, 0, NULL, "print the versions of program and libraries"},
};

enum { ROWS = sizeof table / sizeof table[0] };

static const char before[] =
    "kiln-download NAME - fetches a data set: downloads, checks, unpacks\n"
    "\n"
    "  kiln-download imagenette-160              into Kiln's cache, as kiln train does\n"
    "  kiln-download imagenette-160 --to data    into data/imagenette-160\n"
    "  kiln-download --list                      the names\n"
    "  kiln-download flowers --url https://example.org/flowers.tar.gz --size 1234 --sha256 ...\n"
    "\n"
    "The file must have the known size and SHA-256; only then is it unpacked. What an interrupted\n"
    "download leaves is kept as NAME.part, and the same command goes on from there. On success\n"
    "the folder's path is printed.\n"
    "\n"
    "Options (with their defaults):\n";

static const char after[] =
    "\n"
    "URLs are https; plain http only to this machine. KILN_DATASETS may name a file with more\n"
    "names, a line each: NAME URL BYTES SHA256, or NAME URL for another place of a known one.\n"
    "SSL_CERT_FILE may name a file of certificates to trust. Proxies: https_proxy, no_proxy.\n"
    "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 the file is not what it should be,\n"
    "4 memory, 130 interrupted.\n";

void job_help(kn_text *t) {
    kn_text_append(t, before, sizeof before - 1);
    for (int i = 0; i < ROWS; i++) {
        const row *o = &table[i];
        char left[64], shorter[8] = "    ";
        if (o->letter != 0)
            snprintf(shorter, sizeof shorter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", shorter, o->name, o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
        kn_text_printf(t, "  %-27s %s\n", left, o->help);
    }
    kn_text_append(t, after, sizeof after - 1);
}

/* ---- reading ---- */

static const char *next_name(const void *user, int i) {
    (void)user;
    return i < ROWS ? table[i].name : NULL;
}

static const row *find(const char *text, size_t length, kn_error *error) {
    char name[64];
    for (int i = 0; i < ROWS; i++)
        if (strlen(table[i].name) == length && strncmp(table[i].name, text, length) == 0)
            return &table[i];
    snprintf(name, sizeof name, "%.*s", length < 60 ? (int)length : 60, text);
    const char *near = suggest(name, next_name, NULL);
    kn_error_set(error, KN_ERR_ARG,
                 near != NULL ? "unknown option --%s; did you mean --%s?" : "unknown option --%s%s",
                 name, near != NULL ? near : "");
    return NULL;
}

/* Whether it means something to --list too. */
static bool goes_with_list(const row *o) {
    return o->kind == FLAG || strcmp(o->name, "to") == 0;
}

static kn_status set(const row *o, const char *value, job *j, given *g, kn_error *error) {
    if (!goes_with_list(o))
        g->to_fetch = o->name;
    char *at = (o->in_given ? (char *)g : (char *)j) + o->at;
    if (o->kind == FLAG)
        *(bool *)(void *)at = true;
    else if (o->kind == TEXT) {
        if (value[0] == '\0')
            return kn_error_set(error, KN_ERR_ARG, "--%s \"\": expected %s", o->name, o->value);
        *(const char **)(void *)at = value;
    } else {
        size_t length = strlen(value);
        int64_t n = length > 0 && length <= 16 && strspn(value, "0123456789") == length
                        ? strtoll(value, NULL, 10)
                        : -1;
        if (n < o->least || n > o->most)
            return kn_error_set(error, KN_ERR_ARG,
                                "--%s \"%s\": expected a whole number from %lld to %lld", o->name,
                                value, (long long)o->least, (long long)o->most);
        if (o->kind == NUMBER)
            *(int *)(void *)at = (int)n;
        else
            *(int64_t *)(void *)at = n;
    }
    return KN_OK;
}

typedef struct parser {
    int argc, at;
    char **argv;
    job *j;
    given g;
    kn_error *error;
} parser;

static kn_status read_long(parser *p, const char *text) {
    size_t length = strcspn(text, "=");
    const row *o = find(text, length, p->error);
    if (o == NULL)
        return KN_ERR_ARG;
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    if (o->kind == FLAG && value != NULL)
        return kn_error_set(p->error, KN_ERR_ARG, "--%s takes no value", o->name);
    if (o->kind != FLAG && value == NULL) {
        if (p->at + 1 >= p->argc || strncmp(p->argv[p->at + 1], "--", 2) == 0)
            return kn_error_set(p->error, KN_ERR_ARG, "--%s needs a value: %s", o->name, o->value);
        value = p->argv[++p->at];
    }
    return set(o, value, p->j, &p->g, p->error);
}

static kn_status read_short(parser *p, const char *letters) {
    for (const char *c = letters; *c != '\0'; c++) {
        int i = 0;
        while (i < ROWS && table[i].letter != *c)
            i++;
        if (i == ROWS)
            return kn_error_set(p->error, KN_ERR_ARG, "unknown option -%c", *c);
        set(&table[i], "", p->j, &p->g, p->error); /* those with a letter take no value */
    }
    return KN_OK;
}

static kn_status read_all(parser *p) {
    kn_status status = KN_OK;
    bool options = true;
    for (p->at = 1; p->at < p->argc && status == KN_OK; p->at++) {
        const char *text = p->argv[p->at];
        if (options && strcmp(text, "--") == 0)
            options = false;
        else if (options && text[0] == '-' && text[1] != '\0')
            status = text[1] == '-' ? read_long(p, text + 2) : read_short(p, text + 1);
        else if (p->g.name != NULL)
            status =
                kn_error_set(p->error, KN_ERR_ARG, "unexpected argument %s; one NAME a run", text);
        else
            p->g.name = text;
    }
    return status;
}

/* ---- what goes together ---- */

static const char *next_dataset(const void *user, int i) {
    const datasets *all = user;
    return i < all->count ? all->row[i].name : NULL;
}

/* A known name keeps its size and sum wherever the file is taken from. */
static kn_status known(const given *g, const dataset *set, dataset *out, kn_error *error) {
    *out = *set;
    if (g->sha256 != NULL || g->bytes != 0)
        return kn_error_set(error, KN_ERR_ARG,
                            "--sha256 and --size of %s are known; leave them out", g->name);
    if (g->url != NULL)
        snprintf(out->url, sizeof out->url, "%s", g->url);
    return KN_OK;
}

static kn_status unknown(const given *g, const datasets *all, dataset *out, kn_error *error) {
    const char *near = suggest(g->name, next_dataset, all);
    if (g->url == NULL && g->sha256 == NULL && g->bytes == 0)
        return kn_error_set(error, KN_ERR_ARG,
                            near != NULL ? "unknown data set %s; did you mean %s?"
                                         : "unknown data set %s; kiln-download --list lists them%s",
                            g->name, near != NULL ? near : "");
    if (g->url == NULL || g->sha256 == NULL || g->bytes == 0)
        return kn_error_set(error, KN_ERR_ARG, "%s: --url, --size and --sha256 go together",
                            g->name);
    if (!dataset_name_good(g->name))
        return kn_error_set(error, KN_ERR_ARG,
                            "NAME \"%s\": expected letters, digits and . - _, not beginning with "
                            "shapes",
                            g->name);
    if (!dataset_sha256_good(g->sha256))
        return kn_error_set(error, KN_ERR_ARG, "--sha256 \"%s\": expected 64 hex digits",
                            g->sha256);
    *out = (dataset){.bytes = g->bytes};
    snprintf(out->name, sizeof out->name, "%s", g->name);
    snprintf(out->url, sizeof out->url, "%s", g->url);
    snprintf(out->sha256, sizeof out->sha256, "%s", g->sha256);
    return KN_OK;
}

static kn_status choose(const given *g, job *j, kn_error *error) {
    datasets all;
    if (g->name == NULL)
        return kn_error_set(error, KN_ERR_ARG, "usage: kiln-download NAME; --help says more");
    if (g->url != NULL && strlen(g->url) >= DATASET_URL)
        return kn_error_set(error, KN_ERR_ARG, "--url: is longer than %d", DATASET_URL - 1);
    if (datasets_load(&all, error) != KN_OK)
        return error->status;
    const dataset *set = datasets_find(&all, g->name);
    kn_status status =
        set != NULL ? known(g, set, &j->set, error) : unknown(g, &all, &j->set, error);
    if (status == KN_OK)
        status = url_check(j->set.url, false, KN_ERR_ARG, error);
    if (status == KN_OK && j->max_bytes == 0)
        j->max_bytes = 10 * j->set.bytes + (INT64_C(64) << 20);
    return status;
}

kn_status job_parse(int argc, char **argv, job *j, kn_error *error) {
    *j = (job){.r = {.program = "kiln-download", .json = args_want_json(argc, argv)},
               .stall = 30,
               .retries = 4,
               .wait = 1,
               .max_files = 1000000,
               .max_file_bytes = INT64_C(256) << 20};
    parser p = {.argc = argc, .argv = argv, .j = j, .error = error};
    kn_status status = read_all(&p);
    if (status != KN_OK || j->help || j->version)
        return status;
    if (j->list && p.g.name != NULL)
        return kn_error_set(error, KN_ERR_ARG, "--list lists all names; leave %s out", p.g.name);
    if (j->list && p.g.to_fetch != NULL)
        return kn_error_set(error, KN_ERR_ARG,
                            "--%s does not go with --list: only --to, --json and --quiet do",
                            p.g.to_fetch);
    if (!j->list)
        status = choose(&p.g, j, error);
    if (status != KN_OK)
        return status;
    return p.g.to != NULL ? home_join(j->to, p.g.to, "", error) : home_path(j->to, error);
}
