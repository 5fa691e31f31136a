/* shell_word.c - see shell_word.h. */
#include "shell_word.h"

#include <string.h>

void shell_word(kn_text *out, const char *word) {
    if (word[0] != '\0' &&
        strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,/@%:=") ==
            strlen(word)) {
        kn_text_printf(out, " %s", word);
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
