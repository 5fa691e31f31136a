/* chart_pieces.c - what every chart is made of: the style, a line, a word. One style serves them
 * all, so that several charts in one page say the same. */
#include "formats/chart_parts.h"

#include <math.h>

/* Okabe and Ito's colours, darkened on white (and lightened on black) to a contrast of 3 or more;
 * dashes tell the lines apart without any colour. */
static const struct {
    const char *light, *dark, *dash;
} colors[KN_CHART_COLORS] = {
    {"#0072b2", "#56b4e9", "none"}, {"#d55e00", "#ff9a4d", "8 4"},
    {"#00805f", "#3ddba9", "2 3"},  {"#a6478a", "#e59ac8", "9 3 2 3"},
    {"#8a6d00", "#f0d442", "14 4"}, {"#4d4d4d", "#c9c9c9", "5 2 2 2 2 2"},
};

static void write_style(kn_text *t) {
    kn_text_printf(t, "<style>\n"
                      ".kiln-chart { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, "
                      "'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, sans-serif; "
                      "background: #ffffff; }\n"
                      ".kiln-chart .back { fill: #ffffff; }\n"
                      ".kiln-chart text { fill: #24292f; }\n"
                      ".kiln-chart .tick { fill: #57606a; }\n"
                      ".kiln-chart .grid { stroke: #e4e7eb; }\n"
                      ".kiln-chart .axis { stroke: #8c959f; }\n"
                      ".kiln-chart .mark { stroke: #57606a; stroke-dasharray: 3 3; }\n"
                      ".kiln-chart path { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"
                      ".kiln-chart .dense path { stroke-width: 1; }\n");
    for (int i = 0; i < KN_CHART_COLORS; i++)
        kn_text_printf(t,
                       ".kiln-chart .s%d path { stroke: %s; }\n"
                       ".kiln-chart .s%d circle { fill: %s; }\n"
                       ".kiln-chart .d%d path { stroke-dasharray: %s; }\n",
                       i, colors[i].light, i, colors[i].light, i, colors[i].dash);
    kn_text_printf(t, ".kiln-chart .right { fill: #0072b2; }\n"
                      ".kiln-chart .wrong { fill: #d55e00; }\n"
                      ".kiln-chart .on { fill: #ffffff; }\n"
                      ".kiln-chart .faint path { stroke-width: 1; stroke-opacity: 0.4; "
                      "stroke-dasharray: none; }\n");
    kn_text_printf(t, "@media (prefers-color-scheme: dark) {\n"
                      ".kiln-chart { background: #16191e; }\n"
                      ".kiln-chart .back { fill: #16191e; }\n"
                      ".kiln-chart text { fill: #e6e9ec; }\n"
                      ".kiln-chart .tick { fill: #a3acb6; }\n"
                      ".kiln-chart .grid { stroke: #2c3138; }\n"
                      ".kiln-chart .axis { stroke: #707983; }\n"
                      ".kiln-chart .mark { stroke: #a3acb6; }\n"
                      ".kiln-chart .right { fill: #56b4e9; }\n"
                      ".kiln-chart .wrong { fill: #ff9a4d; }\n"
                      ".kiln-chart .on, .kiln-chart .half { fill: #000000; }\n");
    for (int i = 0; i < KN_CHART_COLORS; i++)
        kn_text_printf(t,
                       ".kiln-chart .s%d path { stroke: %s; }\n"
                       ".kiln-chart .s%d circle { fill: %s; }\n",
                       i, colors[i].dark, i, colors[i].dark);
    kn_text_printf(t, "}\n</style>\n");
}

void kn_chart_attribute(kn_text *t, const char *name, double pixels) {
    kn_text_printf(t, " %s=\"", name);
    kn_chart_number(t, pixels);
    kn_text_printf(t, "\"");
}

void kn_chart_line(kn_text *t, const char *class, double x1, double y1, double x2, double y2) {
    kn_text_printf(t, "<line class=\"%s\"", class);
    kn_chart_attribute(t, "x1", x1);
    kn_chart_attribute(t, "y1", y1);
    kn_chart_attribute(t, "x2", x2);
    kn_chart_attribute(t, "y2", y2);
    kn_text_printf(t, "/>\n");
}

static void open_text(kn_text *t, double x, double y, int size, const char *more) {
    kn_text_printf(t, "<text");
    kn_chart_attribute(t, "x", x);
    kn_chart_attribute(t, "y", y);
    kn_text_printf(t, " font-size=\"%d\"%s>", size, more);
}

void kn_chart_words(kn_text *t, double x, double y, int size, double room, const char *more,
                    const char *s) {
    open_text(t, x, y, size, more);
    kn_chart_text(t, s, size, room);
    kn_text_printf(t, "</text>\n");
}

void kn_chart_label(kn_text *t, double x, double y, int size, double room, const char *more,
                    const char *s) {
    open_text(t, x, y, size, more);
    kn_chart_name(t, s, size, room);
    kn_text_printf(t, "</text>\n");
}

void kn_chart_open(kn_text *t, const char *title, int width, int height) {
    kn_text_printf(t,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"kiln-chart\" role=\"img\" "
                   "width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<title>",
                   width, height, width, height);
    kn_chart_text(t, title != NULL ? title : "chart", KN_CHART_TITLE, INFINITY);
    kn_text_printf(t, "</title>\n");
    write_style(t);
    kn_text_printf(t, "<rect class=\"back\" width=\"%d\" height=\"%d\"/>\n", width, height);
}
