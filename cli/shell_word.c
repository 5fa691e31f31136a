/* shell_word.c - see shell_word.h. */
#include "shell_word.h"

#include "core/utf8.h"

#include <stdbool.h>
#include <string.h>

/* Or something that is no UTF-8. */
static bool has_control(const char *word) {
    for (const char *c = word; *c != '\0'; c++)
        if (kn_utf8_control(c) > 0)
            return true;
    return !kn_utf8_valid(word, strlen(word));
}

/* Between $' and ', which shells read as C does its strings: nothing that a terminal would take for
 * more than text. */
static void escape(kn_text *out, const char *word) {
    kn_text_append(out, " $'", 3);
    for (const char *c = word; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < 0x20 || byte >= 0x7F || byte == '\'' || byte == '\\')
            kn_text_printf(out, "\\x%02x", byte);
        else
            kn_text_append(out, c, 1);
    }
    kn_text_append(out, "'", 1);
}

void shell_word(kn_text *out, const char *word) {
    if (word[0] != '\0' &&
        strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,/@%:=") ==
            strlen(word)) {
        kn_text_printf(out, " %s", word);
        return;
    }
    if (has_control(word)) {
        escape(out, word);
        return;
    }
    kn_text_append(out, " '", 2);
    for (const char *c = word; *c != '\0'; c++)
        if (*c == '\'')
            kn_text_append(out, "'\\''", 4);
        else
            kn_text_append(out, c, 1);
    kn_text_append(out, "'", 1);
}

void shell_path(kn_text *out, const char *path) {
    kn_text here = {0};
    if (path[0] == '-')
        kn_text_printf(&here, "./%s", path);
    shell_word(out, here.data != NULL ? here.data : path);
    out->failed = out->failed || here.failed;
    kn_text_free(&here);
}
