/* main.c - kiln-download: brings a data set into the cache. Downloads into a file that can be gone
 * on with, checks its SHA-256, unpacks beside, and renames. */
#include "download/job.h"
#include "download/part.h"
#include "download/place.h"
#include "download/progress.h"
#include "download/stop.h"
#include "download/transfer.h"
#include "download/unpack.h"
#include "home.h"
#include "json_line.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct done {
    int64_t resumed; /* bytes that were there before */
    int64_t files;
} done;

/* ---- the work ---- */

static kn_status check_sum(const job *j, const part *p, bool *same, kn_error *error) {
    char hex[65];
    if (part_sha256(p, hex, error) != KN_OK)
        return error->status;
    if (stop_asked())
        return kn_error_set(error, KN_ERR_STATE, "interrupted");
    *same = strcasecmp(hex, j->set.sha256) == 0;
    return KN_OK;
}

/* Until the part has the right bytes. A resumed one that has not is fetched once more from the
 * start: its first bytes may be of another version of the file. */
static kn_status fetch(const job *j, const place *where, part *p, done *d, kn_error *error) {
    bool same = false;
    if (p->size > j->set.bytes && part_restart(p, "", error) != KN_OK)
        return error->status;
    for (;;) {
        if (place_room(where, j->set.bytes - p->size, error) || transfer_run(j, p, error) ||
            check_sum(j, p, &same, error))
            return error->status;
        bool resumed = p->kept > 0; /* after the transfer, which may have begun anew */
        d->resumed = p->kept;
        if (same)
            return KN_OK;
        if (part_restart(p, "", error) != KN_OK)
            return error->status;
        if (!resumed)
            return kn_error_set(error, KN_ERR_DATA,
                                "%s: its SHA-256 is not %s; the file is removed, nothing was "
                                "unpacked",
                                j->set.url, j->set.sha256);
        report_note(&j->r, "%s: the earlier part does not belong to this file; starting over",
                    j->set.name);
    }
}

static kn_status unpack_part(const job *j, place *where, part *p, done *d, kn_error *error) {
    unpack_limits limits = {
        .files = j->max_files, .bytes = j->max_bytes, .file_bytes = j->max_file_bytes};
    if (place_make(where, error) != KN_OK)
        return error->status;
    report_note(&j->r, "Unpacking %s", where->final);
    kn_status status = unpack(p->fd, j->set.name, where->unpack, limits, &d->files, error);
    if (status == KN_ERR_DATA || status == KN_ERR_LIMIT)
        part_remove(p); /* another try would end the same way */
    return status == KN_OK ? place_commit(where, error) : status;
}

static kn_status fetch_and_unpack(const job *j, place *where, done *d, kn_error *error) {
    part p = {.fd = -1};
    char size[PROGRESS_SIZE], have[PROGRESS_SIZE];
    kn_status status = part_open(&p, j->to, j->set.name, error);
    if (status == KN_OK) {
        if (p.size > 0)
            report_note(&j->r, "Downloading the rest of %s (%s of %s are there) from %s",
                        j->set.name, progress_size(p.size, have), progress_size(j->set.bytes, size),
                        j->set.url);
        else
            report_note(&j->r, "Downloading %s (%s) from %s", j->set.name,
                        progress_size(j->set.bytes, size), j->set.url);
        status = fetch(j, where, &p, d, error);
    }
    if (status == KN_OK)
        status = unpack_part(j, where, &p, d, error);
    if (status == KN_OK)
        part_remove(&p);
    part_close(&p);
    return status;
}

/* ---- telling ---- */

static void tell(job *j, const place *where, const done *d, double seconds) {
    kn_text t = {0};
    if (j->r.json) {
        line_open(&t);
        line_string(&t, "event", "download");
        line_string(&t, "name", j->set.name);
        line_string(&t, "folder", where->final);
        line_string(&t, "url", j->set.url);
        line_int(&t, "bytes", j->set.bytes);
        line_int(&t, "resumed", d->resumed);
        line_int(&t, "files", d->files);
        line_real(&t, "seconds", seconds);
        line_close(&t);
    } else
        kn_text_printf(&t, "%s\n", where->final);
    report_out(&j->r, &t);
}

static int download(job *j) {
    kn_error error = {0};
    place where;
    progress clock;
    done d = {0};
    stop_install();
    progress_begin(&clock, &j->r, j->set.name, j->set.bytes, 0);
    kn_status status = place_open(&where, &j->r, j->to, j->set.name, &error);
    if (status == KN_OK && !place_filled(&where))
        status = fetch_and_unpack(j, &where, &d, &error);
    if (status == KN_OK)
        tell(j, &where, &d, progress_seconds(&clock));
    place_close(&where);
    if (status == KN_ERR_STATE && stop_asked())
        return report_fail(&j->r, EXIT_INTERRUPTED, "interrupted; what has arrived is kept");
    return status == KN_OK ? EXIT_DONE : report_error(&j->r, &error);
}

static int list(job *j) {
    datasets all;
    kn_error error = {0};
    kn_text t = {0};
    char path[PATH_MAX], size[PROGRESS_SIZE];
    struct stat st;
    if (datasets_load(&all, &error) != KN_OK)
        return report_error(&j->r, &error);
    for (int i = 0; i < all.count; i++) {
        const dataset *set = &all.row[i];
        int length = snprintf(path, sizeof path, "%s/%s", j->to, set->name);
        bool there = length > 0 && length < PATH_MAX && stat(path, &st) == 0;
        if (j->r.json) {
            line_open(&t);
            line_string(&t, "event", "dataset");
            line_string(&t, "name", set->name);
            line_string(&t, "url", set->url);
            line_int(&t, "bytes", set->bytes);
            line_string(&t, "sha256", set->sha256);
            line_bool(&t, "there", there);
            line_close(&t);
        } else
            kn_text_printf(&t, "%-20s %9s  %-9s  %s\n", set->name, progress_size(set->bytes, size),
                           there ? "there" : "not there", set->url);
    }
    report_out(&j->r, &t);
    return EXIT_DONE;
}

static int print_text(job *j) {
    kn_text t = {0};
    char curl[128];
    transfer_version(curl, sizeof curl);
    if (j->help)
        job_help(&t);
    else
        kn_text_printf(&t, "kiln-download %s, %s, %s, %s\n", KN_VERSION, curl, unpack_version(),
                       OpenSSL_version(OPENSSL_VERSION));
    report_out(&j->r, &t);
    return EXIT_DONE;
}

int main(int argc, char **argv) {
    job j;
    kn_error error = {0};
    int code;
    report_prepare();
    if (job_parse(argc, argv, &j, &error) != KN_OK)
        code = report_error(&j.r, &error);
    else if (j.help || j.version)
        code = print_text(&j);
    else
        code = j.list ? list(&j) : download(&j);
    return report_end(&j.r, code);
}
