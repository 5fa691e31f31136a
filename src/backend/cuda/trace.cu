/* trace.cu - how long each command takes, for whoever tunes them: KILN_CUDA_TRACE. Each is waited
 * for, so a step takes longer than without. */
#include "backend/cuda/commands.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

kn_status kn_trace_open(kn_device *d, kn_trace *t) {
    t->on = getenv("KILN_CUDA_TRACE") != NULL;
    kn_status status = t->on ? kn_cuda_check(d, cudaEventCreate(&t->began), "an event") : KN_OK;
    return t->on && status == KN_OK ? kn_cuda_check(d, cudaEventCreate(&t->ended), "an event")
                                    : status;
}

kn_status kn_trace_issue(kn_device *d, kn_trace *t, const kn_run *r, const kn_command *c) {
    cudaStream_t stream = kn_cuda_of(d)->stream;
    size_t at = static_cast<size_t>(c - r->commands);
    float ms = 0;
    if (at >= t->room) {
        size_t more = 2 * at + 64;
        void *larger = realloc(t->taken, more * sizeof *t->taken);
        if (larger == NULL)
            return kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: a trace");
        t->taken = static_cast<float *>(larger);
        t->room = more;
    }
    cudaStreamSynchronize(stream);
    cudaEventRecord(t->began, stream);
    kn_status status = kn_run_issue(d, r, c, stream);
    cudaEventRecord(t->ended, stream);
    cudaEventSynchronize(t->ended);
    cudaEventElapsedTime(&ms, t->began, t->ended);
    t->taken[at] = ms * 1e3f;
    return status;
}

void kn_trace_keep(kn_trace *t, const kn_run *r) {
    enum { STEP = 20 };
    size_t bytes = r->count * sizeof *t->taken;
    float *taken = r->count >= STEP ? static_cast<float *>(malloc(bytes)) : NULL;
    if (taken == NULL)
        return;
    kn_run_free(&t->last);
    free(t->last_taken);
    memcpy(taken, t->taken, bytes);
    t->last_taken = taken;
    if (!kn_run_copy(r, &t->last))
        kn_run_free(&t->last);
}

static void tell(const kn_trace *t) {
    double all = 0;
    for (size_t i = 0; i < t->last.count; i++) {
        const kn_command *k = &t->last.commands[i];
        all += static_cast<double>(t->last_taken[i]);
        fprintf(stderr, "cuda: %7.1f us %s, %u x %u blocks of %u\n",
                static_cast<double>(t->last_taken[i]), k->name, k->grid.x, k->grid.y, k->block.x);
    }
    fprintf(stderr, "cuda: %7.1f us in %zu commands\n", all, t->last.count);
}

void kn_trace_close(kn_trace *t) {
    if (t->on)
        tell(t);
    kn_run_free(&t->last);
    free(t->taken);
    free(t->last_taken);
    for (cudaEvent_t event : {t->began, t->ended})
        if (event != NULL)
            cudaEventDestroy(event);
}
