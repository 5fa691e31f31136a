/* trace.cu - how long each command takes and which ones it waits for in a graph, for whoever tunes
 * them: KILN_CUDA_TRACE. Each is waited for, so a step takes longer than without. */
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

void kn_trace_keep(kn_device *d, kn_trace *t, const kn_run *r) {
    enum { STEP = 20 };
    size_t bytes = r->count * sizeof *t->taken;
    bool keep = r->count >= STEP && r->count >= t->last.count;
    float *taken = keep ? static_cast<float *>(malloc(bytes)) : NULL;
    if (taken == NULL)
        return;
    kn_run_free(&t->last);
    kn_order_free(&t->last_order);
    free(t->last_taken);
    memcpy(taken, t->taken, bytes);
    t->last_taken = taken;
    if (!kn_run_copy(r, &t->last) || !kn_order_of(d, r, &t->last_order))
        kn_run_free(&t->last);
}

static void tell(const kn_trace *t) {
    const kn_order *o = &t->last_order;
    double all = 0;
    for (size_t i = 0; i < t->last.count; i++) {
        const kn_command *k = &t->last.commands[i];
        all += static_cast<double>(t->last_taken[i]);
        fprintf(stderr, "cuda: %3zu %7.1f us %s, %u x %u blocks of %u", i,
                static_cast<double>(t->last_taken[i]), k->name, k->grid.x, k->grid.y, k->block.x);
        for (size_t j = o->first[i]; j < o->first[i + 1]; j++)
            fprintf(stderr, "%s %u", j == o->first[i] ? ", waits for" : "", o->before[j]);
        fputc('\n', stderr);
    }
    fprintf(stderr, "cuda: %7.1f us in %zu commands, at least %zu one after another\n", all,
            t->last.count, o->longest);
}

void kn_trace_close(kn_trace *t) {
    if (t->on && t->last.count > 0)
        tell(t);
    kn_order_free(&t->last_order);
    kn_run_free(&t->last);
    free(t->taken);
    free(t->last_taken);
    for (cudaEvent_t event : {t->began, t->ended})
        if (event != NULL)
            cudaEventDestroy(event);
}
