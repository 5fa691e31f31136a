/* plans.cu - see plans.cuh. */
#include "backend/cuda/plans.cuh"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

bool kn_cuda_plan_find(kn_device *d, const char *key, char text[KN_PLAN_CHOICE]) {
    char line[KN_PLAN_KEY + KN_PLAN_CHOICE];
    size_t length = strlen(key);
    bool found = false;
    FILE *f = d->plans != NULL ? fopen(d->plans, "re") : NULL;
    if (f == NULL)
        return false;
    while (fgets(line, sizeof line, f) != NULL) {
        size_t end = strcspn(line, "\n");
        if (line[end] != '\n' || strncmp(line, key, length) != 0 || line[length] != '\t')
            continue;
        line[end] = '\0';
        snprintf(text, KN_PLAN_CHOICE, "%s", line + length + 1);
        found = true;
    }
    fclose(f);
    return found;
}

void kn_cuda_plan_add(kn_device *d, const char *key, const char *text) {
    char line[KN_PLAN_KEY + KN_PLAN_CHOICE];
    if (d->plans == NULL)
        return;
    int length = snprintf(line, sizeof line, "%s\t%s\n", key, text);
    if (length >= static_cast<int>(sizeof line))
        return;
    int fd = open(d->plans, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool written = fd >= 0 && write(fd, line, static_cast<size_t>(length)) == length;
    if (!written && kn_cuda_of(d)->debug)
        fprintf(stderr, "cuda: %s: a plan could not be kept: %s\n", d->plans, strerror(errno));
    if (fd >= 0)
        close(fd);
}
