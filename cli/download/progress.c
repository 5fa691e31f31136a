/* progress.c - see progress.h. */
#include "download/progress.h"

#include "core/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 24 };

const char *progress_size(int64_t bytes, char text[PROGRESS_SIZE]) {
    if (bytes < 1000)
        snprintf(text, PROGRESS_SIZE, "%lld bytes", (long long)bytes);
    else if (bytes < 1000000)
        snprintf(text, PROGRESS_SIZE, "%.1f KB", (double)bytes / 1e3);
    else if (bytes < 1000000000)
        snprintf(text, PROGRESS_SIZE, "%.1f MB", (double)bytes / 1e6);
    else
        snprintf(text, PROGRESS_SIZE, "%.2f GB", (double)bytes / 1e9);
    return text;
}

void progress_begin(progress *p, const report *r, const char *name, int64_t total, int64_t start) {
    *p = (progress){.r = r,
                    .name = name,
                    .total = total,
                    .start = start,
                    .began = kn_clock(),
                    .shown = kn_clock(),
                    .bar = report_has_bar(r)};
}

double progress_seconds(const progress *p) {
    return kn_clock() - p->began;
}

static void draw(progress *p, int64_t done, const char *amounts) {
    char line[256], filled[BAR + 1];
    for (int i = 0; i < BAR; i++)
        filled[i] = i < BAR * done / p->total ? '#' : '.';
    filled[BAR] = '\0';
    snprintf(line, sizeof line, "%s [%s] %s", p->name, filled, amounts);
    report_bar(line);
    p->drawn = true;
}

void progress_show(progress *p, int64_t done) {
    double time = kn_clock(), passed = time - p->began;
    if (p->r->quiet || time - p->shown < (p->bar ? 0.2 : 10))
        return;
    p->shown = time;
    char have[PROGRESS_SIZE], all[PROGRESS_SIZE], speed[PROGRESS_SIZE], amounts[128];
    double rate = passed > 0 ? (double)(done - p->start) / passed : 0;
    snprintf(amounts, sizeof amounts, "%s of %s, %s/s", progress_size(done, have),
             progress_size(p->total, all), progress_size((int64_t)rate, speed));
    if (rate >= 1) {
        size_t used = strlen(amounts);
        snprintf(amounts + used, sizeof amounts - used, ", %.0f s left",
                 (double)(p->total - done) / rate);
    }
    if (p->bar)
        draw(p, done, amounts);
    else
        report_note(p->r, "%s: %s", p->name, amounts);
}

void progress_clear(progress *p) {
    if (p->drawn)
        (void)!write(STDERR_FILENO, "\r\033[K", 4);
    p->drawn = false;
}
