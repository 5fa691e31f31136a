/* page.c - see page.h. */
#include "page.h"
#include "svg.h"

#include "core/ctx.h"
#include "core/utf8.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { DEEP = 32 };

static const char *const known[] = {
    "html", "head",   "meta",       "title",  "style", "body", "main",  "header", "section", "h1",
    "h2",   "p",      "dl",         "dt",     "dd",    "div",  "table", "thead",  "tbody",   "tr",
    "th",   "td",     "pre",        "figure", "img",   "svg",  "rect",  "text",   "g",       "path",
    "line", "circle", "figcaption", "b",      "br",    "span", "input", "label"};

static const char *const allowed[] = {
    "lang",      "charset",      "name",      "content",     "http-equiv",  "class",
    "tabindex",  "title",        "alt",       "src",         "xmlns",       "role",
    "width",     "height",       "viewBox",   "x",           "y",           "x1",
    "x2",        "y1",           "y2",        "cx",          "cy",          "r",
    "d",         "fill-opacity", "font-size", "font-weight", "text-anchor", "pointer-events",
    "transform", "type",         "id",        "for"};

static const char *const single[] = {"meta", "img", "br", "input"};

static bool is_in(const char *const *list, size_t count, const char *word) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], word) == 0)
            return true;
    return false;
}

/* Each attribute is one we write, its value in quotes; what src names is inside the page. Returns
 * the tag's end. */
static const char *check_attributes(const char *at, bool *empty) {
    char name[32];
    *empty = false;
    for (;;) {
        at += strspn(at, " \n");
        if (*at == '/') {
            *empty = true;
            at++;
        }
        if (*at == '>')
            return at + 1;
        size_t length = strcspn(at, "= >\n");
        assert_true(length > 0 && length < sizeof name && at[length] == '=' &&
                    at[length + 1] == '"');
        memcpy(name, at, length);
        name[length] = '\0';
        if (!is_in(allowed, KN_COUNT(allowed), name))
            fail_msg("an attribute %s", name);
        at += length + 2;
        if (strcmp(name, "src") == 0)
            assert_memory_equal(at, "data:image/jpeg;base64,", 23);
        at += strcspn(at, "\"");
        assert_true(*at == '"');
        at++;
    }
}

/* Tags in order. The contents of style are skipped. */
static void check_tags(const char *html) {
    char open[DEEP][16], tag[16];
    int depth = 0;
    for (const char *at = html; (at = strchr(at, '<')) != NULL;) {
        bool closing = at[1] == '/', empty;
        size_t length = 0;
        at += 1 + closing;
        while (isalnum((unsigned char)at[length]) && length < sizeof tag - 1)
            length++;
        memcpy(tag, at, length);
        tag[length] = '\0';
        if (!is_in(known, KN_COUNT(known), tag))
            fail_msg("a tag %.40s", at);
        at = check_attributes(at + length, &empty);
        if (closing) {
            if (depth == 0 || strcmp(open[--depth], tag) != 0)
                fail_msg("</%s> closes nothing", tag);
        } else if (!empty && !is_in(single, KN_COUNT(single), tag)) {
            assert_true(depth < DEEP);
            strcpy(open[depth++], tag);
        }
        if (strcmp(tag, "style") == 0 && !closing)
            at = strstr(at, "</style>");
    }
    assert_int_equal(depth, 0);
}

void page_check(const char *html) {
    static const char doctype[] = "<!DOCTYPE html>\n";
    assert_memory_equal(html, doctype, sizeof doctype - 1);
    assert_true(kn_utf8_valid(html, strlen(html)));
    check_tags(html + sizeof doctype - 1);
    /* The only address is the name of SVG. */
    assert_int_equal(svg_count(html, "http:"), svg_count(html, "\"http://www.w3.org/2000/svg\""));
    static const char *const never[] = {"https:",  "url(",        "@import",
                                        "<script", "javascript:", "file:"};
    for (size_t i = 0; i < KN_COUNT(never); i++)
        assert_int_equal(svg_count(html, never[i]), 0);
    assert_int_equal(svg_count(html, "Content-Security-Policy"), 1);
}
