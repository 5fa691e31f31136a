/* explain_page.c - the page of kiln explain: one HTML file that needs no other, no network and no
 * script, for light and dark screens, wide and narrow ones. */
#include "explain.h"
#include "number.h"

#include "formats/chart_parts.h"

#include <math.h>
#include <string.h>

enum { TOP = 5, PAIRS = 15, MOST_DRAWN = 2000 };

/* ---- parts ---- */

/* Text from outside: names and paths may hold anything. */
static void put_text(kn_text *t, const char *s) {
    kn_chart_text(t, s, 1, INFINITY);
}

static void put_percent(kn_text *t, double share) {
    if (isfinite(share))
        kn_text_printf(t, "%.1f%%", 100 * share);
    else
        kn_text_printf(t, "no number");
}

static void put_count(kn_text *t, int64_t count) {
    char text[NUMBER_TEXT];
    kn_text_printf(t, "%s", number_text(count, text));
}

/* The policy makes the browser keep the promise: nothing is fetched, nothing is run. */
static const char head[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'\">\n";

static const char style[] =
    "<style>\n"
    ":root { --back: #ffffff; --text: #24292f; --pale: #57606a; --line: #e4e7eb; --card: #f6f8fa; "
    "--right: #0072b2; --wrong: #b34700; }\n"
    "@media (prefers-color-scheme: dark) { :root { --back: #16191e; --text: #e6e9ec; "
    "--pale: #a3acb6; --line: #2c3138; --card: #1f242b; --right: #56b4e9; --wrong: #ff9a4d; } }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0 auto; max-width: 1120px; padding: 16px; background: var(--back); "
    "color: var(--text); font: 16px/1.45 system-ui, -apple-system, 'Segoe UI', Roboto, "
    "'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, sans-serif; }\n"
    "h1 { font-size: 24px; line-height: 1.2; margin: 8px 0; }\n"
    "h2 { font-size: 18px; margin: 32px 0 8px; }\n"
    "p { margin: 4px 0 12px; max-width: 70ch; }\n"
    "code, .path { overflow-wrap: anywhere; }\n"
    ".pale, .path { color: var(--pale); }\n"
    ".figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); "
    "gap: 12px; margin: 16px 0; padding: 0; }\n"
    ".figures div { background: var(--card); border-radius: 8px; padding: 10px 14px; }\n"
    ".figures dt { color: var(--pale); font-size: 14px; }\n"
    ".figures dd { margin: 0; font-size: 24px; font-weight: 600; }\n"
    ".beside { display: flex; flex-wrap: wrap; column-gap: 32px; }\n"
    ".beside section { min-width: 0; }\n"
    ".figures dd .pale { font-size: 16px; font-weight: 400; }\n"
    ".scroll { overflow-x: auto; margin: 0; }\n"
    ".scroll svg { display: block; max-width: 100%; min-width: 560px; height: auto; }\n"
    "table { border-collapse: collapse; font-variant-numeric: tabular-nums; }\n"
    "th, td { padding: 4px 12px 4px 0; text-align: left; border-bottom: 1px solid var(--line); }\n"
    "th { color: var(--pale); font-weight: 400; font-size: 14px; }\n"
    "th.n, td.n { text-align: right; }\n"
    "tr.mean td { border-bottom: 0; color: var(--pale); }\n"
    ".grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); "
    "gap: 16px 12px; margin-top: 16px; }\n"
    "figure { margin: 0; }\n"
    ".picture { position: relative; background: var(--card); border-radius: 8px; "
    "overflow: hidden; }\n"
    ".picture img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; }\n"
    ".picture .heat { position: absolute; inset: 0; opacity: 0; transition: opacity 0.2s; }\n"
    "#heat:checked ~ .grid .heat { opacity: 1; }\n"
    "figcaption { font-size: 14px; line-height: 1.35; padding: 6px 2px; overflow-wrap: anywhere; "
    "}\n"
    "figcaption b { font-weight: 600; }\n"
    ".right { color: var(--right); }\n"
    ".wrong { color: var(--wrong); }\n"
    ".path { display: block; font-size: 12px; }\n"
    "#heat { width: 18px; height: 18px; vertical-align: -3px; margin: 0 6px 0 0; }\n"
    "footer { margin-top: 32px; font-size: 14px; color: var(--pale); }\n"
    "</style>\n";

/* ---- figures ---- */

static void open_figure(kn_text *t, const char *name) {
    kn_text_printf(t, "<div><dt>%s</dt><dd>", name);
}

static void close_figure(kn_text *t) {
    kn_text_printf(t, "</dd></div>\n");
}

/* Below the data's folder, which the page's head names. */
static const char *short_path(const evaluation *e, const char *path) {
    size_t root = strlen(e->folder);
    return strncmp(path, e->folder, root) == 0 && path[root] == '/' ? path + root + 1 : path;
}

static int64_t mistakes(const evaluation *e) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < e->p.samples; i++)
        wrong += e->p.rank[i] > 0;
    return wrong;
}

static void put_figures(kn_text *t, const evaluation *e) {
    kn_text_printf(t, "<dl class=\"figures\">\n");
    open_figure(t, "accuracy");
    put_percent(t, e->results.acc);
    close_figure(t);
    if (e->confusion.classes > TOP) {
        open_figure(t, "top-5 accuracy");
        put_percent(t, kn_top_k_accuracy(&e->p, TOP));
        close_figure(t);
    }
    open_figure(t, "loss");
    kn_text_printf(t, isfinite(e->results.loss) ? "%.3f" : "no number", e->results.loss);
    close_figure(t);
    open_figure(t, "wrong");
    put_count(t, mistakes(e));
    kn_text_printf(t, " <span class=\"pale\">of ");
    put_count(t, e->p.samples);
    kn_text_printf(t, "</span>");
    close_figure(t);
    kn_text_printf(t, "</dl>\n");
}

/* ---- tables ---- */

static void put_matrix(kn_text *t, const evaluation *e) {
    kn_matrix_chart chart = {.names = (const char *const *)e->split.vocab.name,
                             .counts = e->confusion.count,
                             .classes = e->confusion.classes};
    if (chart.classes > MOST_DRAWN)
        return;
    kn_text_printf(t, "<section><h2>What was taken for what</h2>\n<div class=\"scroll\">\n");
    kn_matrix_chart_svg(t, &chart);
    kn_text_printf(t, "</div></section>\n");
}

static void put_confused(kn_text *t, const evaluation *e) {
    kn_confused pair[PAIRS];
    int pairs = kn_most_confused(&e->confusion, 1, PAIRS, pair);
    kn_text_printf(t, "<section><h2>Most confused</h2>\n");
    if (pairs == 0) {
        kn_text_printf(t, "<p>No picture was taken for another class.</p></section>\n");
        return;
    }
    kn_text_printf(t, "<div class=\"scroll\"><table>\n<tr><th>class</th><th>taken for</th>"
                      "<th class=\"n\">pictures</th></tr>\n");
    for (int i = 0; i < pairs; i++) {
        kn_text_printf(t, "<tr><td>");
        put_text(t, e->split.vocab.name[pair[i].label]);
        kn_text_printf(t, "</td><td>");
        put_text(t, e->split.vocab.name[pair[i].predicted]);
        kn_text_printf(t, "</td><td class=\"n\">");
        put_count(t, pair[i].count);
        kn_text_printf(t, "</td></tr>\n");
    }
    kn_text_printf(t, "</table></div></section>\n");
}

static void put_row(kn_text *t, const char *name, const kn_class_score *score, bool mean) {
    const double figure[] = {score->precision, score->recall, score->f1};
    kn_text_printf(t, "<tr%s><td>", mean ? " class=\"mean\"" : "");
    put_text(t, name);
    for (int i = 0; i < 3; i++)
        kn_text_printf(t, "</td><td class=\"n\">%.3f", figure[i]);
    kn_text_printf(t, "</td><td class=\"n\">");
    put_count(t, score->support);
    kn_text_printf(t, "</td></tr>\n");
}

static void put_classes(kn_text *t, const evaluation *e) {
    kn_class_score macro = kn_average_score(&e->confusion, false),
                   weighted = kn_average_score(&e->confusion, true);
    kn_text_printf(t,
                   "<h2>Classes</h2>\n"
                   "<p class=\"pale\">Precision: of what was predicted as the class, how much is "
                   "of it. Recall: of the class, how much was found. F1: their harmonic "
                   "mean.</p>\n"
                   "<div class=\"scroll\"><table>\n<tr><th>class</th><th "
                   "class=\"n\">precision</th><th class=\"n\">recall</th><th "
                   "class=\"n\">F1</th><th class=\"n\">pictures</th></tr>\n");
    for (int i = 0; i < e->confusion.classes; i++)
        put_row(t, e->split.vocab.name[i], &e->score[i], false);
    put_row(t, "mean", &macro, true);
    put_row(t, "weighted mean", &weighted, true);
    kn_text_printf(t, "</table></div>\n");
}

/* ---- pictures ---- */

void explain_card(explain *x, int64_t place, const kn_text *picture, const kn_text *heat) {
    const kn_predictions *p = &x->e.p;
    char *const *name = x->e.split.vocab.name;
    kn_text *t = &x->page;
    const char *path = short_path(&x->e, x->e.split.valid[p->index[place]].path);
    bool hit = p->rank[place] == 0;
    kn_text_printf(t, "<figure><div class=\"picture\"><img alt=\"");
    put_text(t, path);
    kn_text_printf(t, "\" src=\"");
    kn_text_append(t, picture->data, picture->length);
    if (heat != NULL) {
        kn_text_printf(t, "\"><img class=\"heat\" alt=\"\" src=\"");
        kn_text_append(t, heat->data, heat->length);
    }
    kn_text_printf(t, "\"></div>\n<figcaption><b>");
    put_text(t, name[p->label[place]]);
    kn_text_printf(t, hit ? "</b><br>found, with " : "</b><br>taken for <b class=\"wrong\">");
    if (!hit) {
        put_text(t, name[p->predicted[place]]);
        kn_text_printf(t, "</b>, ");
    }
    put_percent(t, (double)p->prob[place]);
    kn_text_printf(t, "<br><span class=\"pale\">loss ");
    kn_text_printf(t, isfinite(p->loss[place]) ? "%.2f" : "no number", (double)p->loss[place]);
    kn_text_printf(t, "</span><span class=\"path\">");
    put_text(t, path);
    kn_text_printf(t, "</span></figcaption></figure>\n");
}

static void open_pictures(explain *x) {
    kn_text *t = &x->page;
    kn_text_printf(t, "<h2>Highest losses</h2>\n<p class=\"pale\">");
    if (x->count == 0) {
        kn_text_printf(t, "None asked for.</p>\n");
        return;
    }
    kn_text_printf(t,
                   "The pictures whose true class the model thought least likely, the worst "
                   "first: look for wrong labels, odd pictures and classes that look alike.</p>\n");
    if (!x->no_heat)
        kn_text_printf(t,
                       "<input type=\"checkbox\" id=\"heat\"><label for=\"heat\">Show what spoke "
                       "for the predicted class, bright where it did (Grad-CAM)</label>\n");
    kn_text_printf(t, "<div class=\"grid\">\n");
}

/* ---- the page ---- */

void explain_open_page(explain *x) {
    kn_text *t = &x->page;
    const evaluation *e = &x->e;
    const args *a = &e->s->a;
    const char *model = a->weights != NULL ? a->weights : a->word[0];
    kn_text_append(t, head, sizeof head - 1);
    kn_text_printf(t, "<title>What the model gets wrong: ");
    put_text(t, e->data);
    kn_text_printf(t, "</title>\n");
    kn_text_append(t, style, sizeof style - 1);
    kn_text_printf(t,
                   "</head>\n<body>\n<h1>What the model gets wrong</h1>\n<p class=\"pale\"><code>");
    put_text(t, model);
    kn_text_printf(t, "</code> (%s, pictures of %d by %d) on ", e->m.arch, e->m.size, e->m.size);
    put_count(t, e->p.samples);
    kn_text_printf(t, " pictures of <code>");
    put_text(t, e->data);
    kn_text_printf(t, a->tta ? "</code>, each also mirrored</p>\n" : "</code></p>\n");
    put_figures(t, e);
    kn_text_printf(t, "<div class=\"beside\">\n");
    put_matrix(t, e);
    put_confused(t, e);
    kn_text_printf(t, "</div>\n");
    open_pictures(x);
}

void explain_close_page(explain *x) {
    if (x->count > 0)
        kn_text_printf(&x->page, "</div>\n");
    put_classes(&x->page, &x->e);
    kn_text_printf(&x->page, "<footer>kiln %s</footer>\n</body>\n</html>\n", KN_VERSION);
}
