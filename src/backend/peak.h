/* peak.h - what the processor can do at most, measured: the scale that kernels are held against. */
#ifndef KN_BACKEND_PEAK_H
#define KN_BACKEND_PEAK_H

#include <kiln/base.h>

/* f32 operations a second, a multiplication and an addition each one, of fused multiply-adds on
 * registers alone, by so many threads; with the widest registers there are. 0 where Kiln has no
 * such loop for the processor. Takes a quarter of a second. */
double kn_peak_flops(int threads);

/* Bytes a second that so many threads copy between buffers of 64 MiB, reading and writing counted.
 * 0 without memory for them. */
double kn_peak_copy(int threads);

#endif
