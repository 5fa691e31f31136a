/* graphs.cu - a run as a CUDA graph, in which a command waits for those whose memory it shares and
 * for no other, so that the device may run several at once. */
#include "backend/cuda/commands.cuh"

#include <cstdlib>

void kn_graph_forget(kn_recorded *g) {
    if (g->exec != NULL)
        cudaGraphExecDestroy(g->exec);
    if (g->graph != NULL)
        cudaGraphDestroy(g->graph);
    free(g->node);
    kn_order_free(&g->order);
    kn_run_free(&g->r);
    *g = kn_recorded();
}

/* ---- capturing ---- */

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

/* What comes next on the captured stream waits for these nodes alone. */
static bool wait_for(cudaStream_t stream, cudaGraphNode_t *nodes, size_t count) {
#if CUDART_VERSION >= 13000
    cudaError_t error = cudaStreamUpdateCaptureDependencies(stream, nodes, NULL, count,
                                                            cudaStreamSetCaptureDependencies);
#else
    cudaError_t error =
        cudaStreamUpdateCaptureDependencies(stream, nodes, count, cudaStreamSetCaptureDependencies);
#endif
    return error == cudaSuccess;
}

/* The nodes that command i waits for, to `before`; how many. */
static size_t nodes_before(const kn_recorded *g, size_t i, cudaGraphNode_t *before) {
    size_t count = 0;
    for (size_t k = g->order.first[i]; k < g->order.first[i + 1]; k++)
        before[count++] = g->node[g->order.before[k]];
    return count;
}

/* The nodes that no command waits for, likewise: a capture ends when they do. */
static size_t nodes_at_end(const kn_recorded *g, cudaGraphNode_t *ends) {
    size_t count = g->order.count, left = 0;
    for (size_t i = 0; i < count; i++)
        ends[i] = g->node[i];
    for (size_t k = 0; k < g->order.first[count]; k++)
        ends[g->order.before[k]] = NULL;
    for (size_t i = 0; i < count; i++)
        if (ends[i] != NULL)
            ends[left++] = ends[i];
    return left;
}

/* Without an order the commands come one after another. before: room for a node of each. */
static bool capture_commands(kn_device *d, cudaStream_t stream, kn_recorded *g,
                             cudaGraphNode_t *before) {
    bool ordered = g->order.count > 0;
    for (size_t i = 0; i < g->r.count; i++) {
        if (ordered && !wait_for(stream, before, nodes_before(g, i, before)))
            return false;
        if (kn_run_issue(d, &g->r, &g->r.commands[i], stream) != KN_OK)
            return false;
        g->node[i] = last_node(stream);
        if (g->node[i] == NULL && (ordered || g->r.commands[i].kernel != NULL))
            return false;
    }
    return !ordered || wait_for(stream, before, nodes_at_end(g, before));
}

static bool capture(kn_device *d, cudaStream_t stream, kn_recorded *g) {
    cudaGraphNode_t *before = static_cast<cudaGraphNode_t *>(calloc(g->r.count, sizeof *before));
    bool good = before != NULL &&
                cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaSuccess;
    if (good) {
        good = capture_commands(d, stream, g, before);
        good = cudaStreamEndCapture(stream, &g->graph) == cudaSuccess && good &&
               cudaGraphInstantiate(&g->exec, g->graph, 0) == cudaSuccess;
    }
    free(before);
    return good;
}

/* ---- recording ---- */

static bool make(kn_device *d, kn_cuda_commands *c, bool line, kn_recorded *g) {
    if (!kn_run_copy(&c->now, &g->r) || (!line && !kn_order_of(d, &g->r, &g->order)))
        return false;
    g->node = static_cast<cudaGraphNode_t *>(calloc(g->r.count, sizeof *g->node));
    return g->node != NULL && capture(d, c->capture, g);
}

/* The one used last the longest ago, or none yet. */
static kn_recorded *oldest(kn_cuda_commands *c) {
    kn_recorded *g = &c->graphs[0];
    for (int i = 1; i < KN_MOST_GRAPHS; i++) /* unused ones have last_use 0 */
        if (c->graphs[i].last_use < g->last_use)
            g = &c->graphs[i];
    return g;
}

void kn_graph_record(kn_device *d, kn_cuda_commands *c) {
    kn_recorded *g = oldest(c);
    kn_error *error = d->error, ignored = {};
    bool good = false;
    if (g->exec != NULL)
        cudaStreamSynchronize(kn_cuda_of(d)->stream); /* it may be running */
    d->error = &ignored;
    for (int line = c->line; line < 2 && !good; line++) {
        kn_graph_forget(g);
        good = make(d, c, line, g);
        if (!good)
            cudaGetLastError();
    }
    d->error = error;
    if (!good) {
        kn_graph_forget(g);
        return;
    }
    g->last_use = ++c->uses;
    g->removed = kn_cuda_of(d)->blocks.removed;
    if (g->r.count >= c->most) {
        c->most = g->r.count;
        c->longest = g->order.count > 0 ? g->order.longest : g->r.count;
    }
}
