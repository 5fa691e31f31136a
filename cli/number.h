/* number.h - whole numbers as people read them. */
#ifndef KILN_CLI_NUMBER_H
#define KILN_CLI_NUMBER_H

#include <stdint.h>

enum { NUMBER_TEXT = 32 };

/* "98,730" into text; returns text. n is not negative. */
const char *number_text(int64_t n, char text[NUMBER_TEXT]);

#endif
