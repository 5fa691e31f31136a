/* fuzz_args.c - a command line: a line an argument. */
#include "target.h"

#include "args.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { MOST = 64 };
    char *text = malloc(size + 1), *argv[MOST + 1] = {"kiln"};
    int argc = 1;
    args a;
    kn_error error = {0};
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = text; argc < MOST && *at != '\0';) {
        argv[argc++] = at;
        at += strcspn(at, "\n");
        if (*at == '\n')
            *at++ = '\0';
    }
    (void)!args_parse(argc, argv, &a, &error);
    free(text);
    return 0;
}
