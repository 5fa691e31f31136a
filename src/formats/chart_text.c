/* chart_text.c - text in a chart: how wide it is at most, and how XML writes it. */
#include "formats/chart_parts.h"

#include "core/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The width of a character in units of the font's size, in the widest of the usual fonts (DejaVu
 * Sans, Verdana), rounded up. */
static double character_width(const char *s, size_t length) {
    if (length == 2)
        return 0.75;
    if (length > 2)
        return 1.05;
    if (strchr("ijlIft.,:;'|!()[]/\\ -\"r", *s) != NULL)
        return 0.47;
    if (strchr("#&+<=>^~{}", *s) != NULL)
        return 0.85;
    if (strchr("mMwW@%", *s) != NULL)
        return 1.0;
    return *s >= 'A' && *s <= 'Z' ? 0.79 : 0.65;
}

/* One character: its length in bytes, and what to write for it. Line ends become spaces; what XML
 * does not allow, U+FFFD. */
static size_t character(const char *s, size_t left, const char **written, size_t *bytes) {
    static const char replacement[] = "\xEF\xBF\xBD";
    size_t length = kn_utf8_length(s, left);
    *written = s;
    *bytes = length;
    if (*s == '\n' || *s == '\r' || *s == '\t')
        *written = " ";
    else if (length == 0 || (unsigned char)*s < 0x20 || *s == 0x7F ||
             (length == 3 && memcmp(s, "\xEF\xBF", 2) == 0 && (unsigned char)s[2] >= 0xBE)) {
        *written = replacement;
        *bytes = sizeof replacement - 1;
    }
    return length > 0 ? length : 1;
}

double kn_chart_text_width(const char *s, double font_size) {
    double width = 0;
    for (size_t left = strlen(s); left > 0;) {
        const char *written;
        size_t bytes, length = character(s, left, &written, &bytes);
        width += character_width(written, bytes);
        s += length;
        left -= length;
    }
    return width * font_size;
}

static void append_escaped(kn_text *t, const char *written, size_t bytes) {
    static const struct {
        char plain;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (size_t i = 0; i < KN_COUNT(entities); i++)
        if (*written == entities[i].plain) {
            kn_text_append(t, entities[i].entity, strlen(entities[i].entity));
            return;
        }
    kn_text_append(t, written, bytes);
}

/* Appends s, shortened to fit into room. tail: the part of the room that its end keeps. */
static void append_fitting(kn_text *t, const char *s, double font_size, double room, double tail) {
    static const char ellipsis[] = "\xE2\x80\xA6";
    double rest = kn_chart_text_width(s, font_size); /* from s on */
    bool cut = rest > room, cutting = false;
    if (cut)
        room -= kn_chart_text_width(ellipsis, font_size);
    tail *= room;
    for (size_t left = strlen(s); left > 0;) {
        const char *written;
        size_t bytes, length = character(s, left, &written, &bytes);
        double width = character_width(written, bytes) * font_size;
        room -= width;
        if (cut && !cutting && room < tail) {
            kn_text_append(t, ellipsis, sizeof ellipsis - 1);
            cutting = true;
        }
        if (!cutting || rest <= tail)
            append_escaped(t, written, bytes);
        rest -= width;
        s += length;
        left -= length;
    }
}

void kn_chart_text(kn_text *t, const char *s, double font_size, double room) {
    append_fitting(t, s, font_size, room, 0);
}

void kn_chart_name(kn_text *t, const char *s, double font_size, double room) {
    append_fitting(t, s, font_size, room, 0.4);
}

void kn_chart_number(kn_text *t, double pixels) {
    long tenths = lround(pixels * 10);
    long whole = labs(tenths) / 10, tenth = labs(tenths) % 10;
    kn_text_printf(t, tenth != 0 ? "%s%ld.%ld" : "%s%ld", tenths < 0 ? "-" : "", whole, tenth);
}
