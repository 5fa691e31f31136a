/* number.c - see number.h. */
#include "number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *number_text(int64_t n, char text[NUMBER_TEXT]) {
    char digits[NUMBER_TEXT];
    int count = snprintf(digits, sizeof digits, "%" PRId64, n), used = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}
