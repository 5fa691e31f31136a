/* fuzz_resume.c - the arguments of a training, as JSON. */
#include "target.h"

#include "resume_args.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    static resume_words words;
    args a = {.command = command_find("train")};
    kn_error error = {0};
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    resume_args_free(resume_args_read(text, "fuzz", &a, &words, &error));
    free(text);
    return 0;
}
