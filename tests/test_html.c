/* test_html.c - the parts of a page: whatever they are given, the page is well formed, loads
 * nothing and runs nothing. */
#include "formats/html.h"
#include "support/page.h"
#include "support/svg.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const char hostile[] = "<script>alert(1)</script>\"'&]]>--> onload=x \xFF\x01\n";
static const char *const texts[] = {"a", "", hostile, "\xE6\x97\xA5\xE6\x9C\xAC"};
enum { TEXTS = KN_COUNT(texts) };

static void make(kn_text *t, const char *s, int refresh) {
    kn_text svg = {0};
    kn_text_printf(&svg, "<svg></svg>\n");
    kn_html_open(t, s, s, refresh);
    kn_html_section(t, s);
    kn_html_facts_open(t);
    kn_html_fact(t, s, s);
    kn_html_facts_close(t);
    kn_html_section_end(t);
    kn_html_section(t, NULL);
    kn_html_table_open(t, texts, TEXTS);
    kn_html_row(t, texts, TEXTS, false);
    kn_html_row(t, texts, TEXTS, true);
    kn_html_table_close(t);
    kn_html_pairs_open(t);
    kn_html_pair(t, s, s, true);
    kn_html_pairs_close(t);
    kn_html_code(t, s);
    kn_html_note(t, s);
    kn_html_drawing(t, &svg, &svg);
    kn_html_grid_open(t);
    kn_html_picture(t, "data:image/jpeg;base64,AA==", s);
    kn_html_grid_close(t);
    kn_html_words_table_open(t, texts, TEXTS, 2);
    kn_html_table_close(t);
    kn_html_cards_open(t, s);
    kn_html_card card = {
        "data:image/jpeg;base64,AA==", "data:image/jpeg;base64,AA==", s, s, s, s, s};
    kn_html_put_card(t, &card);
    card.wrong = card.over = NULL;
    kn_html_put_card(t, &card);
    kn_html_cards_close(t);
    kn_html_section_end(t);
    kn_html_close(t);
    kn_text_free(&svg);
}

static void any_text_makes_a_sound_page(void **state) {
    (void)state;
    for (int i = 0; i < TEXTS; i++) {
        kn_text t = {0};
        make(&t, texts[i], 0);
        assert_false(t.failed);
        page_check(t.data);
        assert_int_equal(svg_count(t.data, "http-equiv=\"refresh\""), 0);
        assert_int_equal(svg_count(t.data, "alert(1)"), i == 2 ? 28 : 4);
        kn_text_free(&t);
    }
}

static void a_page_may_be_loaded_anew(void **state) {
    (void)state;
    kn_text t = {0};
    make(&t, "T", 10);
    page_check(t.data);
    svg_contains(t.data, "<meta http-equiv=\"refresh\" content=\"10\">");
    svg_contains(t.data, "<title>T</title>");
    svg_contains(t.data, "prefers-color-scheme: dark");
    svg_contains(t.data, "width=device-width");
    svg_contains(t.data, "<tr class=\"marked\">");
    kn_text_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_text_makes_a_sound_page),
        cmocka_unit_test(a_page_may_be_loaded_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
