/* html.c - see html.h. */
#include "formats/html.h"

#include "formats/chart_parts.h"

#include <math.h>

/* The policy lets a page load nothing and run nothing, should a text ever slip through unescaped.
 */
static const char head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:\">\n";

static const char style[] =
    "<style>\n"
    ":root { color-scheme: light dark; --back: #f3f4f6; --card: #ffffff; --text: #24292f; "
    "--pale: #57606a; --line: #e4e7eb; --mark: #00609a; --wrong: #b34700; }\n"
    "@media (prefers-color-scheme: dark) { :root { --back: #0d0f12; --card: #16191e; "
    "--text: #e6e9ec; --pale: #a3acb6; --line: #2c3138; --mark: #56b4e9; --wrong: #ff9a4d; } }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, "
    "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, "
    "sans-serif; overflow-wrap: anywhere; }\n"
    "main { max-width: 784px; margin: 0 auto; padding: 24px 16px; }\n"
    "h1 { font-size: 24px; line-height: 1.25; margin: 0; }\n"
    "header p { margin: 4px 0 20px; color: var(--pale); }\n"
    "section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; "
    "padding: 16px; margin: 0 0 16px; overflow: hidden; }\n"
    "h2 { font-size: 16px; margin: 0 0 12px; }\n"
    ".facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(124px, 1fr)); "
    "gap: 12px 16px; margin: 0; }\n"
    ".facts dt { color: var(--pale); font-size: 13px; }\n"
    ".facts dd { margin: 0; font-size: 20px; font-weight: 600; line-height: 1.4; white-space: "
    "nowrap; }\n"
    ".scroll { overflow-x: auto; }\n"
    ".rows { max-height: 480px; overflow-y: auto; }\n"
    "table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; "
    "white-space: nowrap; font-size: 14px; }\n"
    "th { position: sticky; top: 0; background: var(--card); color: var(--pale); "
    "font-weight: 400; font-size: 13px; box-shadow: inset 0 -1px var(--line); }\n"
    "th, td { text-align: right; padding: 4px 0 4px 16px; }\n"
    "th:first-child, td:first-child { padding-left: 0; }\n"
    "td { border-bottom: 1px solid var(--line); }\n"
    "tr:last-child td { border-bottom: 0; }\n"
    "tr.marked td { font-weight: 600; color: var(--mark); }\n"
    ".pairs { display: grid; grid-template-columns: auto 1fr auto 1fr; gap: 2px 16px; "
    "margin: 0; }\n"
    ".pairs dt { color: var(--pale); }\n"
    ".pairs dd { margin: 0; }\n"
    ".pairs .marked { font-weight: 600; color: var(--text); }\n"
    ".note { margin: 0; color: var(--pale); }\n"
    "pre { margin: 0 0 12px; padding: 10px 12px; background: var(--back); border-radius: 6px; "
    "font: 13px/1.5 ui-monospace, Menlo, Consolas, 'Liberation Mono', monospace; "
    "overflow-x: auto; }\n"
    ".drawing { margin: -16px; }\n"
    ".drawing svg { display: block; max-width: none; }\n"
    ".narrow { display: none; }\n"
    ".grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(80px, 1fr)); "
    "gap: 12px 10px; }\n"
    "figure { margin: 0; min-width: 0; }\n"
    "figure img { display: block; width: 100%; height: auto; }\n"
    "figcaption { font-size: 12px; line-height: 1.3; padding-top: 2px; text-align: center; "
    "overflow: hidden; display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; "
    "}\n"
    ".words1 tr > :first-child, .words2 tr > :nth-child(-n+2) { text-align: left; }\n"
    "#over { width: 18px; height: 18px; margin: 12px 8px 0 0; vertical-align: -4px; }\n"
    ".cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); "
    "gap: 16px 12px; margin-top: 16px; }\n"
    ".picture { position: relative; background: var(--back); border-radius: 6px; "
    "overflow: hidden; }\n"
    ".picture img { aspect-ratio: 1; object-fit: contain; }\n"
    ".picture .over { position: absolute; inset: 0; opacity: 0; transition: opacity 0.2s; }\n"
    "#over:checked ~ .cards .over { opacity: 1; }\n"
    ".cards figcaption { display: block; font-size: 13px; line-height: 1.4; text-align: left; "
    "white-space: normal; padding-top: 4px; }\n"
    ".cards span { display: block; color: var(--pale); }\n"
    ".cards .path { font-size: 12px; }\n"
    ".wrong { color: var(--wrong); }\n"
    "@media (max-width: 783px) {\n"
    "main { padding: 16px 12px; }\n"
    ".pairs { grid-template-columns: auto 1fr; }\n"
    ".grid { grid-template-columns: repeat(auto-fill, minmax(66px, 1fr)); gap: 10px 8px; }\n"
    ".wide { display: none; }\n"
    ".narrow { display: block; }\n"
    "}\n"
    "</style>\n";

void kn_html_text(kn_text *t, const char *s) {
    kn_chart_text(t, s, 1, INFINITY);
}

/* <tag class>s</tag> */
static void element(kn_text *t, const char *tag, const char *class, const char *s) {
    if (class != NULL)
        kn_text_printf(t, "<%s class=\"%s\">", tag, class);
    else
        kn_text_printf(t, "<%s>", tag);
    kn_html_text(t, s);
    kn_text_printf(t, "</%s>", tag);
}

void kn_html_open(kn_text *t, const char *title, const char *subtitle, int refresh) {
    kn_text_append(t, head, sizeof head - 1);
    if (refresh > 0)
        kn_text_printf(t, "<meta http-equiv=\"refresh\" content=\"%d\">\n", refresh);
    element(t, "title", NULL, title);
    kn_text_printf(t, "\n");
    kn_text_append(t, style, sizeof style - 1);
    kn_text_printf(t, "</head>\n<body>\n<main>\n<header>\n");
    element(t, "h1", NULL, title);
    if (subtitle != NULL)
        element(t, "p", NULL, subtitle);
    kn_text_printf(t, "\n</header>\n");
}

void kn_html_close(kn_text *t) {
    kn_text_printf(t, "</main>\n</body>\n</html>\n");
}

void kn_html_section(kn_text *t, const char *heading) {
    kn_text_printf(t, "<section>\n");
    if (heading != NULL)
        element(t, "h2", NULL, heading);
    kn_text_printf(t, "\n");
}

void kn_html_section_end(kn_text *t) {
    kn_text_printf(t, "</section>\n");
}

void kn_html_facts_open(kn_text *t) {
    kn_text_printf(t, "<dl class=\"facts\">\n");
}

void kn_html_fact(kn_text *t, const char *name, const char *value) {
    kn_text_printf(t, "<div>");
    element(t, "dt", NULL, name);
    element(t, "dd", NULL, value);
    kn_text_printf(t, "</div>\n");
}

void kn_html_facts_close(kn_text *t) {
    kn_text_printf(t, "</dl>\n");
}

void kn_html_table_open(kn_text *t, const char *const *heads, int count) {
    kn_html_words_table_open(t, heads, count, 0);
}

void kn_html_words_table_open(kn_text *t, const char *const *heads, int count, int words) {
    kn_text_printf(t,
                   "<div class=\"scroll rows\" tabindex=\"0\">\n<table class=\"words%d\">\n"
                   "<thead>\n<tr>",
                   words);
    for (int i = 0; i < count; i++)
        element(t, "th", NULL, heads[i]);
    kn_text_printf(t, "</tr>\n</thead>\n<tbody>\n");
}

void kn_html_row(kn_text *t, const char *const *cells, int count, bool marked) {
    kn_text_printf(t, marked ? "<tr class=\"marked\">" : "<tr>");
    for (int i = 0; i < count; i++)
        element(t, "td", NULL, cells[i]);
    kn_text_printf(t, "</tr>\n");
}

void kn_html_table_close(kn_text *t) {
    kn_text_printf(t, "</tbody>\n</table>\n</div>\n");
}

void kn_html_pairs_open(kn_text *t) {
    kn_text_printf(t, "<dl class=\"pairs\">\n");
}

void kn_html_pair(kn_text *t, const char *name, const char *value, bool marked) {
    element(t, "dt", marked ? "marked" : NULL, name);
    element(t, "dd", marked ? "marked" : NULL, value);
    kn_text_printf(t, "\n");
}

void kn_html_pairs_close(kn_text *t) {
    kn_text_printf(t, "</dl>\n");
}

void kn_html_note(kn_text *t, const char *s) {
    element(t, "p", "note", s);
    kn_text_printf(t, "\n");
}

void kn_html_code(kn_text *t, const char *line) {
    element(t, "pre", NULL, line);
    kn_text_printf(t, "\n");
}

void kn_html_drawing(kn_text *t, const kn_text *wide, const kn_text *narrow) {
    kn_text_printf(t, "<div class=\"drawing scroll wide\" tabindex=\"0\">\n");
    kn_text_append(t, wide->data, wide->length);
    kn_text_printf(t, "</div>\n<div class=\"drawing scroll narrow\" tabindex=\"0\">\n");
    kn_text_append(t, narrow->data, narrow->length);
    kn_text_printf(t, "</div>\n");
    t->failed = t->failed || wide->failed || narrow->failed;
}

void kn_html_grid_open(kn_text *t) {
    kn_text_printf(t, "<div class=\"grid\">\n");
}

void kn_html_picture(kn_text *t, const char *uri, const char *caption) {
    kn_text_printf(t, "<figure title=\"");
    kn_html_text(t, caption);
    kn_text_printf(t, "\"><img alt=\"\" src=\"%s\">", uri);
    element(t, "figcaption", NULL, caption);
    kn_text_printf(t, "</figure>\n");
}

void kn_html_grid_close(kn_text *t) {
    kn_text_printf(t, "</div>\n");
}

/* ---- cards ---- */

void kn_html_cards_open(kn_text *t, const char *switch_label) {
    if (switch_label != NULL) {
        kn_text_printf(t, "<input type=\"checkbox\" id=\"over\"><label for=\"over\">");
        kn_html_text(t, switch_label);
        kn_text_printf(t, "</label>\n");
    }
    kn_text_printf(t, "<div class=\"cards\">\n");
}

void kn_html_put_card(kn_text *t, const kn_html_card *card) {
    kn_text_printf(t, "<figure><div class=\"picture\"><img alt=\"");
    kn_html_text(t, card->path);
    kn_text_printf(t, "\" src=\"%s\">", card->picture);
    if (card->over != NULL)
        kn_text_printf(t, "<img class=\"over\" alt=\"\" src=\"%s\">", card->over);
    kn_text_printf(t, "</div>\n<figcaption>");
    element(t, "b", NULL, card->head);
    kn_text_printf(t, "<br>");
    kn_html_text(t, card->text);
    if (card->wrong != NULL)
        element(t, "b", "wrong", card->wrong);
    element(t, "span", NULL, card->note);
    element(t, "span", "path", card->path);
    kn_text_printf(t, "</figcaption></figure>\n");
}

void kn_html_cards_close(kn_text *t) {
    kn_text_printf(t, "</div>\n");
}
