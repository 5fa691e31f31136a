/* svg.c - see svg.h. */
#include "svg.h"

#include "core/ctx.h"
#include "core/utf8.h"
#include "formats/chart_parts.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

int svg_count(const char *text, const char *part) {
    int count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

void svg_contains(const char *text, const char *part) {
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %.3000s", part, text);
}

/* Balanced tags, attributes in quotes, no stray < or &, UTF-8. */
static void check_xml(const char *svg) {
    char open[16][16];
    int depth = 0, roots = 0;
    assert_true(kn_utf8_valid(svg, strlen(svg)));
    for (const char *c = svg; *c != '\0';) {
        if (*c == '&') {
            size_t name = strspn(c + 1, "abcdefghijklmnopqrstuvwxyz#0123456789");
            assert_true(name > 0 && c[1 + name] == ';');
        }
        if (*c != '<') {
            assert_true((unsigned char)*c >= 0x20 || *c == '\n');
            c++;
            continue;
        }
        bool closing = c[1] == '/';
        char tag[16] = "";
        assert_int_equal(sscanf(c + 1 + closing, "%15[a-z]", tag), 1);
        const char *end = c + 1;
        for (bool quoted = false; *end != '>' || quoted; end++) {
            assert_true(*end != '\0' && *end != '<');
            quoted = quoted != (*end == '"');
        }
        if (closing)
            assert_true(depth > 0 && strcmp(open[--depth], tag) == 0);
        else if (end[-1] != '/') {
            assert_true(depth < 16);
            roots += depth == 0;
            strcpy(open[depth++], tag);
        }
        c = end + 1;
    }
    assert_int_equal(depth, 0);
    assert_int_equal(roots, 1);
}

typedef struct {
    double left, top, right, bottom;
    char text[512];
} box;

/* The first part within the tag that starts at tag; NULL when it is not there. */
static const char *in_tag(const char *tag, const char *part) {
    return memmem(tag, strcspn(tag, ">"), part, strlen(part));
}

/* The value of an attribute within the tag; NAN when it is not there. */
static double attribute(const char *tag, const char *name) {
    char search[32];
    snprintf(search, sizeof search, " %s=\"", name);
    const char *at = in_tag(tag, search);
    return at != NULL ? strtod(at + strlen(search), NULL) : NAN;
}

/* The box of a <text>, by the width the library assumes and a tall font's height. */
static box box_of(const char *tag) {
    box b;
    const char *text = strchr(tag, '>') + 1;
    size_t used = 0;
    while (*text != '<') {
        assert_true(used < sizeof b.text - 1);
        b.text[used++] = *text == '&' ? 'n' : *text; /* an entity is about as wide as n */
        text += *text == '&' ? strcspn(text, ";") + 1 : 1;
    }
    b.text[used] = '\0';
    double x = attribute(tag, "x"), y = attribute(tag, "y"), size = attribute(tag, "font-size");
    double width =
        kn_chart_text_width(b.text, size) * (in_tag(tag, "font-weight") != NULL ? 1.12 : 1);
    double before = in_tag(tag, "\"middle\"") != NULL ? width / 2
                    : in_tag(tag, "\"end\"") != NULL  ? width
                                                      : 0;
    double above = 0.95 * size, below = 0.25 * size;
    if (in_tag(tag, "rotate(-90 ") != NULL) {
        b.left = x - above, b.right = x + below, b.top = y - width + before, b.bottom = y + before;
    } else {
        b.left = x - before, b.right = x - before + width, b.top = y - above, b.bottom = y + below;
    }
    return b;
}

/* No two texts overlap, all lie in the picture. */
static void check_texts(const char *svg, double width, double height) {
    static box boxes[1200];
    int count = 0;
    for (const char *tag = svg; (tag = strstr(tag, "<text ")) != NULL; tag++) {
        assert_true(count < (int)KN_COUNT(boxes));
        boxes[count++] = box_of(tag);
    }
    for (int i = 0; i < count; i++) {
        const box *a = &boxes[i];
        if (a->left < 0 || a->top < 0 || a->right > width + 0.2 || a->bottom > height)
            fail_msg("\"%s\" at %g..%g, %g..%g leaves the picture", a->text, a->left, a->right,
                     a->top, a->bottom);
        for (int k = 0; k < i; k++) {
            const box *b = &boxes[k];
            if (a->left < b->right && b->left < a->right && a->top < b->bottom &&
                b->top < a->bottom)
                fail_msg("\"%s\" and \"%s\" overlap", a->text, b->text);
        }
    }
}

/* Every number of a path, and every line and circle, lies in the picture. */
static void check_bounds(const char *svg, double width, double height) {
    for (const char *tag = svg; (tag = strstr(tag, " d=\"")) != NULL; tag++) {
        const char *c = tag + 4;
        while (*c != '"') {
            size_t letters = strspn(c, "M h");
            bool relative = memchr(c, 'h', letters) != NULL;
            c += letters;
            char *end;
            double x = strtod(c, &end);
            if (!relative) {
                assert_true(x >= 0 && x <= width && *end == ',');
                double y = strtod(end + 1, &end);
                assert_true(y >= 0 && y <= height);
            }
            c = end;
        }
    }
    static const char *const horizontal[] = {"x1", "x2", "cx"}, *const vertical[] = {"y1", "y2",
                                                                                     "cy"};
    for (const char *tag = svg; (tag = strchr(tag, '<')) != NULL; tag++)
        for (int i = 0; i < 3 && tag[1] != '/'; i++) {
            double x = attribute(tag, horizontal[i]), y = attribute(tag, vertical[i]);
            assert_true(isnan(x) || (x >= 0 && x <= width));
            assert_true(isnan(y) || (y >= 0 && y <= height));
        }
}

void svg_check(const char *svg) {
    double width = attribute(svg, "width"), height = attribute(svg, "height");
    check_xml(svg);
    check_texts(svg, width, height);
    check_bounds(svg, width, height);
}
