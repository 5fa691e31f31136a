/* test_shell_word.c - a word as a shell reads it back, and as a terminal may show it. */
#include "support/check.h"

#include "shell_word.h"

#include <stdio.h>
#include <string.h>

static void words(void **state) {
    (void)state;
    static const char *const row[][2] = {
        {"flowers/1", " flowers/1"},           {"", " ''"},
        {"two words", " 'two words'"},         {"it's", " 'it'\\''s'"},
        {"w\xC3\xB6lf", " 'w\xC3\xB6lf'"},     {"a\x1B[2J", " $'a\\x1b[2J'"},
        {"\xC3\xB6\n", " $'\\xc3\\xb6\\x0a'"}, {"y\xC2\x9B", " $'y\\xc2\\x9b'"},
        {"d\xFF'\\", " $'d\\xff\\x27\\x5c'"},
    };
    for (size_t i = 0; i < KN_COUNT(row); i++) {
        kn_text out = {0};
        shell_word(&out, row[i][0]);
        assert_string_equal(out.data, row[i][1]);
        kn_text_free(&out);
    }
}

/* A shell gives back what it was. */
static void a_shell_reads_them(void **state) {
    (void)state;
    static const char *const row[] = {"two words", "it's", "a\x1B[2J", "d\xFF'\\", "\xC3\xB6\n."};
    for (size_t i = 0; i < KN_COUNT(row); i++) {
        kn_text out = {0};
        char got[64] = "";
        kn_text_printf(&out, "bash <<'END'\nprintf %%s");
        shell_word(&out, row[i]);
        kn_text_printf(&out, "\nEND\n");
        FILE *shell = popen(out.data, "r");
        assert_non_null(shell);
        size_t length = fread(got, 1, sizeof got - 1, shell);
        assert_int_equal(pclose(shell), 0);
        assert_int_equal(length, strlen(row[i]));
        assert_string_equal(got, row[i]);
        kn_text_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(a_shell_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
