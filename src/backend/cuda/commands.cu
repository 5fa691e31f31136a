/* commands.cu - how work gets to the device: at once, or as a CUDA graph that replays a step.
 *
 * A training step asks for the same kernels again and again, with the same arguments but for a few
 * numbers. What is asked for between two flushes is a run. A run that came before is kn_recorded as
 * a CUDA graph; when one begins as a recorded run did, its commands are compared with the record
 * instead of being launched: an equal one costs nothing, a kernel with other arguments changes them
 * in its node, and at the flush the graph is launched as a whole. Where a run departs from the
 * record, what it had asked for so far is launched one by one, and it goes on like that. So
 * whatever the caller does, the device computes what was asked for, in order; only what it costs
 * differs. */
#include "backend/cuda/commands.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { LEAST_RUN = 8 }; /* commands; shorter runs are launched one by one */

/* ---- launching one by one ---- */

/* In debug mode, what failed is known by the command. */
static kn_status issue_now(kn_device *d, const kn_run *r, const kn_command *c) {
    kn_cuda *cuda = kn_cuda_of(d);
    cudaSetDevice(d->ordinal); /* the thread may have another one open */
    cuda->commands->launches++;
    kn_status status = cuda->commands->trace.on ? kn_trace_issue(d, &cuda->commands->trace, r, c)
                                                : kn_run_issue(d, r, c, cuda->stream);
    if (status == KN_OK && cuda->debug)
        status = kn_cuda_complain(d, cudaStreamSynchronize(cuda->stream), c->name);
    return status;
}

static kn_status issue_all(kn_device *d, const kn_run *r) {
    kn_status status = KN_OK;
    for (size_t i = 0; i < r->count && status == KN_OK; i++)
        status = issue_now(d, r, &r->commands[i]);
    return status;
}

/* ---- recording ---- */

/* The node that the last command put into the capture; NULL where that cannot be told. */
static cudaGraphNode_t last_node(cudaStream_t stream) {
    cudaStreamCaptureStatus capturing;
    const cudaGraphNode_t *nodes = NULL;
    size_t count = 0;
#if CUDART_VERSION >= 13000
    cudaError_t error =
        cudaStreamGetCaptureInfo(stream, &capturing, NULL, NULL, &nodes, NULL, &count);
#else
    cudaError_t error = cudaStreamGetCaptureInfo(stream, &capturing, NULL, NULL, &nodes, &count);
#endif
    return error == cudaSuccess && count == 1 ? nodes[0] : NULL;
}

static void forget_graph(kn_recorded *g) {
    if (g->exec != NULL)
        cudaGraphExecDestroy(g->exec);
    if (g->graph != NULL)
        cudaGraphDestroy(g->graph);
    free(g->node);
    kn_run_free(&g->r);
    *g = kn_recorded();
}

static bool capture(kn_device *d, const kn_run *r, cudaStream_t stream, kn_recorded *g) {
    g->node = static_cast<cudaGraphNode_t *>(calloc(r->count, sizeof *g->node));
    if (g->node == NULL ||
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) != cudaSuccess)
        return false;
    bool good = true;
    for (size_t i = 0; i < r->count && good; i++) {
        good = kn_run_issue(d, r, &r->commands[i], stream) == KN_OK;
        if (good && r->commands[i].kernel != NULL) {
            g->node[i] = last_node(stream);
            good = g->node[i] != NULL;
        }
    }
    return cudaStreamEndCapture(stream, &g->graph) == cudaSuccess && good &&
           cudaGraphInstantiate(&g->exec, g->graph, 0) == cudaSuccess;
}

/* Records the run that was just launched. When that fails the device goes on as before: a graph
 * only saves time. */
static void record(kn_device *d, kn_cuda_commands *c) {
    kn_recorded *g = &c->graphs[0];
    for (int i = 1; i < KN_MOST_GRAPHS; i++) /* unused ones have last_use 0 */
        if (c->graphs[i].last_use < g->last_use)
            g = &c->graphs[i];
    if (g->exec != NULL)
        cudaStreamSynchronize(kn_cuda_of(d)->stream); /* it may be running */
    forget_graph(g);
    kn_error *error = d->error, ignored = {};
    d->error = &ignored;
    bool good = kn_run_copy(&c->now, &g->r) && capture(d, &c->now, c->capture, g);
    d->error = error;
    if (!good) {
        cudaGetLastError();
        forget_graph(g);
        if (kn_cuda_of(d)->debug)
            fprintf(stderr, "cuda: a run of %zu commands could not be recorded: %s\n", c->now.count,
                    ignored.message);
        return;
    }
    g->last_use = ++c->uses;
}

/* Was a run like this launched before? From now on it was. */
static bool seen_before(kn_cuda_commands *c) {
    uint64_t hash = kn_run_hash(&c->now);
    for (uint64_t known : c->seen)
        if (known == hash)
            return true;
    c->seen[c->next_seen] = hash;
    c->next_seen = (c->next_seen + 1) % KN_MOST_SEEN;
    return false;
}

/* ---- following a record ---- */

static bool same_dim(dim3 a, dim3 b) {
    return a.x == b.x && a.y == b.y && a.z == b.z;
}

static bool same_shape(const kn_command *a, const kn_command *b) {
    return a->kernel == b->kernel && a->call == b->call && a->bytes == b->bytes &&
           a->shared == b->shared && same_dim(a->grid, b->grid) && same_dim(a->block, b->block);
}

/* The command just appended against the record's at its place: true when the record now says the
 * same, if need be because its node was changed. */
static bool agrees(kn_cuda_commands *c, kn_recorded *g) {
    size_t i = c->now.count - 1;
    if (i >= g->r.count)
        return false;
    const kn_command *mine = &c->now.commands[i], *its = &g->r.commands[i];
    if (!same_shape(mine, its))
        return false;
    unsigned char *args = c->now.bytes + mine->at, *old = g->r.bytes + its->at;
    if (memcmp(args, old, mine->bytes) == 0)
        return true;
    if (mine->kernel == NULL)
        return false;
    void *params[KN_MOST_PARAMS];
    kn_run_params(&c->now, mine, params);
    cudaKernelNodeParams node = {};
    node.func = const_cast<void *>(mine->kernel);
    node.gridDim = mine->grid;
    node.blockDim = mine->block;
    node.sharedMemBytes = static_cast<unsigned>(mine->shared);
    node.kernelParams = params;
    if (cudaGraphExecKernelNodeSetParams(g->exec, g->node[i], &node) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    memcpy(old, args, mine->bytes);
    c->patched++;
    return true;
}

/* The record that begins with the command just appended, the latest used first. */
static kn_recorded *begins(kn_cuda_commands *c) {
    kn_recorded *best = NULL;
    for (kn_recorded &g : c->graphs)
        if (g.exec != NULL && same_shape(&c->now.commands[0], &g.r.commands[0]) &&
            (c->now.commands[0].kernel != NULL ||
             memcmp(c->now.bytes, g.r.bytes, c->now.commands[0].bytes) == 0) &&
            (best == NULL || g.last_use > best->last_use))
            best = &g;
    return best;
}

/* Runs, or holds back, the command just appended. */
static kn_status take(kn_device *d) {
    kn_cuda *cuda = kn_cuda_of(d);
    kn_cuda_commands *c = cuda->commands;
    cuda->last = c->now.commands[c->now.count - 1].name;
    if (c->now.count == 1)
        c->follows = c->never ? NULL : begins(c);
    if (c->follows == NULL)
        return issue_now(d, &c->now, &c->now.commands[c->now.count - 1]);
    if (agrees(c, c->follows))
        return KN_OK;
    c->follows = NULL;
    c->departed++;
    return issue_all(d, &c->now);
}

extern "C" kn_status kn_cuda_flush(kn_device *d) {
    kn_cuda_commands *c = kn_cuda_of(d)->commands;
    kn_status status = KN_OK;
    cudaSetDevice(d->ordinal);
    if (c->now.count == 0)
        return KN_OK;
    if (c->trace.on)
        kn_trace_keep(&c->trace, &c->now);
    bool replay = c->follows != NULL && c->follows->r.count == c->now.count;
    if (replay) {
        c->follows->last_use = ++c->uses;
        c->replayed++;
        status = kn_cuda_complain(d, cudaGraphLaunch(c->follows->exec, kn_cuda_of(d)->stream),
                                  "a recorded step");
    } else if (c->follows != NULL) { /* it ended before its record did */
        c->departed++;
        status = issue_all(d, &c->now);
    }
    if (status == KN_OK && !replay && !c->never && c->now.count >= LEAST_RUN && seen_before(c))
        record(d, c);
    c->follows = NULL;
    kn_run_clear(&c->now);
    return status;
}

/* What kernels found wrong with their arguments since the last wait. */
static kn_status look_for_trouble(kn_device *d) {
    static const char *const text[KN_CUDA_TROUBLES] = {
        "gather: an index is out of range", "loss: a target is out of range",
        "loss: a lambda is out of range: expected 0 to 1"};
    volatile int *trouble = kn_cuda_of(d)->trouble;
    kn_status status = KN_OK;
    for (int i = 0; i < KN_CUDA_TROUBLES; i++) {
        if (trouble[i] != 0)
            status = kn_cuda_fail(d, KN_ERR_ARG, "%s (seen on device cuda:%d at a later wait)",
                                  text[i], d->ordinal);
        trouble[i] = 0;
    }
    return status;
}

kn_status kn_cuda_wait(kn_device *d) {
    kn_cuda *c = kn_cuda_of(d);
    kn_status status = kn_cuda_flush(d);
    cudaError_t error = cudaStreamSynchronize(c->stream);
    if (status == KN_OK && error == cudaSuccess)
        return look_for_trouble(d);
    if (status != KN_OK)
        return status;
    cudaGetLastError();
    return kn_cuda_fail(d, KN_ERR_DEVICE,
                        "device cuda:%d: %s, at or before %s (KILN_CUDA_DEBUG=1 tells where)",
                        d->ordinal, cudaGetErrorString(error), c->last);
}

/* ---- asking for work ---- */

kn_status kn_cuda_launch_raw(kn_device *d, const char *name, const void *kernel, dim3 grid,
                             dim3 block, size_t shared, void **params, const size_t *sizes,
                             int count) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return KN_OK;
    size_t bytes = 0;
    unsigned short offset[KN_MOST_PARAMS] = {};
    for (int i = 0; i < count && i < KN_MOST_PARAMS; i++) {
        offset[i] = static_cast<unsigned short>(bytes);
        bytes += kn_run_aligned(sizes[i]);
    }
    if (count > KN_MOST_PARAMS || bytes > KN_MOST_BYTES)
        return kn_cuda_fail(d, KN_ERR_LIMIT, "device cuda: %s has too many arguments", name);
    kn_run *r = &kn_cuda_of(d)->commands->now;
    kn_command *c = kn_run_append(d, r, name, bytes);
    if (c == NULL)
        return KN_ERR_MEMORY;
    c->kernel = kernel;
    c->grid = grid;
    c->block = block;
    c->shared = shared;
    c->count = count;
    memcpy(c->offset, offset, sizeof c->offset);
    for (int i = 0; i < count; i++)
        memcpy(r->bytes + c->at + offset[i], params[i], sizes[i]);
    return take(d);
}

kn_status kn_cuda_submit(kn_device *d, const char *name, kn_cuda_call call, const void *args,
                         size_t bytes) {
    kn_run *r = &kn_cuda_of(d)->commands->now;
    kn_command *c = kn_run_append(d, r, name, bytes);
    if (c == NULL)
        return KN_ERR_MEMORY;
    c->call = call;
    memcpy(r->bytes + c->at, args, bytes);
    return take(d);
}

/* ---- making ---- */

kn_cuda_commands *kn_cuda_commands_new(kn_device *d) {
    kn_cuda_commands *c = static_cast<kn_cuda_commands *>(calloc(1, sizeof *c));
    if (c == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: commands for device cuda:%d", d->ordinal);
        return NULL;
    }
    const char *graphs = getenv("KILN_CUDA_GRAPHS");
    if (kn_trace_open(d, &c->trace) == KN_OK &&
        kn_cuda_check(d, cudaStreamCreateWithFlags(&c->capture, cudaStreamNonBlocking),
                      "a stream to record with") == KN_OK) {
        c->never =
            kn_cuda_of(d)->debug || c->trace.on || (graphs != NULL && strcmp(graphs, "0") == 0);
        return c;
    }
    kn_cuda_commands_free(c);
    return NULL;
}

void kn_cuda_commands_free(kn_cuda_commands *c) {
    if (c == NULL)
        return;
    if (getenv("KILN_CUDA_STATS") != NULL)
        fprintf(stderr,
                "cuda: %zu commands launched, %zu runs replayed with %zu arguments changed, %zu "
                "departed from their record\n",
                c->launches, c->replayed, c->patched, c->departed);
    kn_trace_close(&c->trace);
    for (kn_recorded &g : c->graphs)
        forget_graph(&g);
    kn_run_free(&c->now);
    if (c->capture != NULL)
        cudaStreamDestroy(c->capture);
    free(c);
}
