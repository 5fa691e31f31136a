/* plans.cuh - the plan file: which way of computing was the quickest, so that it is measured once
 * and a later run, here or resumed, computes the same bits. One line each: the key, a tab, the
 * choice. */
#ifndef KN_BACKEND_CUDA_PLANS_CUH
#define KN_BACKEND_CUDA_PLANS_CUH

#include "backend/cuda/cuda.cuh"

enum { KN_PLAN_KEY = 400, KN_PLAN_CHOICE = 440 };

/* The choice for a key into text; false: the file has none, or d->plans is NULL. The last line of a
 * key counts; lines that are none are passed over. */
bool kn_cuda_plan_find(kn_device *d, const char *key, char text[KN_PLAN_CHOICE]);

/* Adds a line, in one write. Where the file cannot be written the next run measures again. */
void kn_cuda_plan_add(kn_device *d, const char *key, const char *text);

#endif
