/* doctor.c - kiln doctor: what this build is, and what it finds on this machine. */
#include "fetch.h"
#include "home.h"
#include "json_line.h"
#include "session.h"

#include "data/loader.h"

#include <kiln/tensor.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef KILN_BUILT_WITH
#define KILN_BUILT_WITH "unknown"
#endif

enum { TEXT = KN_ERROR_MAX + PATH_MAX };

/* The processor's name as /proc has it. */
static void processor(char text[TEXT]) {
    char line[TEXT];
    snprintf(text, TEXT, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        snprintf(text, TEXT, "%s", colon + 1 + strspn(colon + 1, " \t"));
        text[strcspn(text, "\n")] = '\0';
        break;
    }
    if (f != NULL)
        fclose(f);
}

static void memory(char text[TEXT]) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
    double gib = pages > 0 && page > 0 ? (double)pages * (double)page / (double)(1 << 30) : 0;
    snprintf(text, TEXT, "%.1f GiB", gib);
}

static void device(session *s, const char *name, char text[TEXT]) {
    kn_device *d = kn_device_open(s->ctx, name);
    if (d != NULL) {
        snprintf(text, TEXT, "%s", kn_device_about(d));
        return;
    }
    kn_error error = kn_error_take(s->ctx);
    snprintf(text, TEXT, "not there: %s", error.message);
}

/* Where Kiln would keep data, and whether it could. */
static void home(char text[TEXT]) {
    char path[PATH_MAX];
    kn_error error = {0};
    if (home_path(path, &error) != KN_OK) {
        snprintf(text, TEXT, "%s", error.message);
        return;
    }
    const char *state = access(path, W_OK) == 0 ? ""
                        : errno == ENOENT       ? " (not yet made)"
                                                : " (cannot be written to)";
    snprintf(text, TEXT, "%s%s", path, state);
}

/* The program that fetches data sets, and its libraries. */
static void downloader(char text[TEXT]) {
    char path[PATH_MAX], version[KN_ERROR_MAX / 2];
    if (!fetch_program(path))
        snprintf(text, TEXT, "not found beside kiln nor on PATH: data sets cannot be fetched");
    else if (!fetch_version(path, version, sizeof version))
        snprintf(text, TEXT, "%s does not run", path);
    else
        snprintf(text, TEXT, "%s (%s)", path, version);
}

static void row(session *s, kn_text *t, const char *key, const char *value) {
    if (s->r.json)
        line_string(t, key, value);
    else
        kn_text_printf(t, "%-16s %s\n", key, value);
}

static void number_row(session *s, kn_text *t, const char *key, int value) {
    if (s->r.json)
        line_int(t, key, value);
    else
        kn_text_printf(t, "%-16s %d\n", key, value);
}

int doctor_run(session *s) {
    char text[TEXT];
    kn_text t = {0};
    if (s->r.json) {
        line_open(&t);
        line_string(&t, "event", "doctor");
    }
    row(s, &t, "kiln", KN_VERSION);
    row(s, &t, "compiler", __VERSION__);
    processor(text);
    row(s, &t, "processor", text);
    number_row(s, &t, "processors", kn_cpu_count());
    number_row(s, &t, "threads", kn_ctx_threads(s->ctx));
    snprintf(text, sizeof text, "%d, at nice %d: the threads that compute come first",
             kn_cpu_count(), KN_LOADER_NICE);
    row(s, &t, "loader threads", text);
    memory(text);
    row(s, &t, "memory", text);
    row(s, &t, "device auto",
        kn_device_default(s->ctx) != NULL ? kn_device_name(kn_device_default(s->ctx)) : "none");
    device(s, "cpu", text);
    row(s, &t, "device cpu", text);
#ifdef KN_HAVE_ONEDNN
    device(s, "onednn", text);
    row(s, &t, "device onednn", text);
#endif
    device(s, "reference", text);
    row(s, &t, "device reference", text);
    device(s, "cuda", text);
    row(s, &t, "device cuda", text);
    row(s, &t, "built with", KILN_BUILT_WITH);
    snprintf(text, sizeof text, "jansson %s, %s", jansson_version_str(),
             OpenSSL_version(OPENSSL_VERSION));
    row(s, &t, "running with", text);
    downloader(text);
    row(s, &t, "kiln-download", text);
    home(text);
    row(s, &t, "KILN_HOME", text);
    if (s->r.json)
        line_close(&t);
    report_out(&s->r, &t);
    return EXIT_DONE;
}
