/* fuzz_cache.c - the bytes of a cache of samples: a file as Kiln makes it, with some of its bytes
 * changed. Every sample that is still given must be the one that was kept.
 *
 * Input: how many samples, bytes a sample, bytes to cut off; then changes of three bytes each:
 * where (two bytes, thrice the number: the header is more often hit than its size would have it)
 * and what is xored there. */
#include "folder.h"
#include "target.h"

#include "data/cache_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_SAMPLES = 8, MOST_BYTES = 64 };

static kn_cache_file *open_cache(const kn_cache_form *form) {
    kn_cache_file *f;
    kn_error error = {0};
    if (kn_cache_file_open(&f, &kn_default_allocator, fuzz_folder, form, &error) != KN_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    return f;
}

static uint8_t pixel(int64_t sample, size_t at) {
    return (uint8_t)(sample * 31 + (int64_t)at * 7);
}

static void make(const kn_cache_form *form) {
    uint8_t pixels[MOST_BYTES];
    unlink(fuzz_file);
    kn_cache_file *f = open_cache(form);
    for (int64_t i = 0; i < form->samples; i++) {
        for (size_t k = 0; k < form->sample_bytes; k++)
            pixels[k] = pixel(i, k);
        kn_cache_file_put(f, i, pixels, (int32_t)i + 5);
    }
    kn_cache_file_close(f);
}

static void damage(const uint8_t *data, size_t size, size_t cut) {
    struct stat st;
    int fd = open(fuzz_file, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        exit(1);
    for (size_t i = 0; i + 3 <= size; i += 3) {
        off_t at = (off_t)((data[i] | data[i + 1] << 8) / 3);
        uint8_t byte;
        if (at >= st.st_size || pread(fd, &byte, 1, at) != 1)
            continue;
        byte ^= data[i + 2];
        if (pwrite(fd, &byte, 1, at) != 1)
            exit(1);
    }
    if (cut > 0 && ftruncate(fd, (off_t)cut < st.st_size ? st.st_size - (off_t)cut : 0) != 0)
        exit(1);
    close(fd);
}

static void check(const kn_cache_form *form) {
    uint8_t pixels[MOST_BYTES];
    int32_t label;
    kn_cache_file *f = open_cache(form);
    for (int64_t i = 0; i < form->samples; i++) {
        if (!kn_cache_file_get(f, i, pixels, &label))
            continue;
        bool same = label == (int32_t)i + 5;
        for (size_t k = 0; k < form->sample_bytes; k++)
            same = same && pixels[k] == pixel(i, k);
        if (!same)
            abort();
    }
    kn_cache_file_close(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    fuzz_in_folder("fuzz.samples");
    kn_cache_form form = {.samples = 1 + data[0] % MOST_SAMPLES,
                          .sample_bytes = 1 + data[1] % MOST_BYTES,
                          .name = "fuzz"};
    make(&form);
    damage(data + 3, size - 3, data[2]);
    check(&form);
    return 0;
}
