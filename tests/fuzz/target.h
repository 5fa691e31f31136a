/* target.h - what each fuzz target is: a function of some bytes, for libFuzzer or for replay.c. It
 * may refuse them; it must not crash, hang or leak. */
#ifndef KN_FUZZ_TARGET_H
#define KN_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
