/* commands.cu - how work gets to the device: at once, or as a CUDA graph that replays a step.
 *
 * A training step asks for the same kernels again and again, with the same arguments but for a few
 * numbers. What is asked for between two flushes is a run. A run that came before is kn_recorded as
 * a CUDA graph (graphs.cu); when one begins as a recorded run did, its commands are compared with
 * the record instead of being launched: an equal one costs nothing, a kernel with other arguments
 * changes them in its node, and at the flush the graph is launched as a whole. Where a run departs
 * from the record, what it had asked for so far is launched one by one, and it goes on like that.
 * So whatever the caller does, the device computes what was asked for, in order; only what it costs
 * differs. */
#include "backend/cuda/commands.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum {
    LEAST_RUN = 8,  /* commands; shorter runs are launched one by one */
    MOST_WRONG = 64 /* orders, before graphs are made without: those stay right */
};

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

/* The record's command takes over what mine touches; was that the same memory? */
static bool take_touches(const kn_blocks *blocks, const kn_run *now, const kn_command *mine,
                         kn_run *record, const kn_command *its) {
    bool same = true;
    for (int i = 0; i < mine->touches; i++) {
        const kn_touch *t = &now->touch[mine->first_touch + static_cast<size_t>(i)];
        kn_touch *old = &record->touch[its->first_touch + static_cast<size_t>(i)];
        bool alike = t->at == old->at || (t->bytes == 0 && kn_blocks_find(blocks, t->at) ==
                                                               kn_blocks_find(blocks, old->at));
        same = same && alike && t->bytes == old->bytes && t->written == old->written;
        *old = *t;
    }
    return same;
}

/* The command just appended against the record's at its place: true when the record now says the
 * same, if need be because its node was changed. */
static bool agrees(kn_device *d, kn_cuda_commands *c, kn_recorded *g) {
    size_t i = c->now.count - 1;
    if (i >= g->r.count)
        return false;
    const kn_command *mine = &c->now.commands[i], *its = &g->r.commands[i];
    if (!same_shape(mine, its))
        return false;
    unsigned char *args = c->now.bytes + mine->at, *old = g->r.bytes + its->at;
    if (memcmp(args, old, mine->bytes) == 0)
        return true;
    if (mine->kernel == NULL || mine->touches != its->touches)
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
    g->moved = !take_touches(&kn_cuda_of(d)->blocks, &c->now, mine, &g->r, its) || g->moved;
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
    if (agrees(d, c, c->follows))
        return KN_OK;
    c->follows = NULL;
    c->departed++;
    return issue_all(d, &c->now);
}

/* Does the graph that the run followed to its end run it right? With other memory other commands
 * may have to wait for each other. */
static bool is_right(kn_device *d, kn_cuda_commands *c) {
    kn_order now;
    kn_recorded *g = c->follows;
    size_t removed = kn_cuda_of(d)->blocks.removed;
    if ((!g->moved && g->removed == removed) || g->order.count == 0)
        return true;
    bool same = kn_order_of(d, &c->now, &now) && kn_order_same(&now, &g->order);
    kn_order_free(&now);
    g->moved = false;
    g->removed = removed;
    return same;
}

/* The graph's nodes have the run's memory by now, for which its order is wrong. */
static void give_up(kn_device *d, kn_cuda_commands *c) {
    cudaStreamSynchronize(kn_cuda_of(d)->stream); /* it may be running */
    kn_graph_forget(c->follows);
    c->wrong++;
    c->line = c->line || (c->wrong > MOST_WRONG && c->wrong > c->replayed / 8);
}

extern "C" kn_status kn_cuda_flush(kn_device *d) {
    kn_cuda_commands *c = kn_cuda_of(d)->commands;
    kn_status status = KN_OK;
    cudaSetDevice(d->ordinal);
    kn_cuda_of(d)->extents = 0;
    if (c->now.count == 0)
        return KN_OK;
    if (c->trace.on)
        kn_trace_keep(d, &c->trace, &c->now);
    bool complete = c->follows != NULL && c->follows->r.count == c->now.count;
    bool replay = complete && is_right(d, c);
    if (complete && !replay)
        give_up(d, c);
    if (replay) {
        c->follows->last_use = ++c->uses;
        c->replayed++;
        status = kn_cuda_complain(d, cudaGraphLaunch(c->follows->exec, kn_cuda_of(d)->stream),
                                  "a recorded step");
    } else if (c->follows != NULL) { /* it ended before its record did, or the record was wrong */
        c->departed++;
        status = issue_all(d, &c->now);
    }
    if (status == KN_OK && !replay && !c->never && c->now.count >= LEAST_RUN && seen_before(c))
        kn_graph_record(d, c);
    c->follows = NULL;
    kn_run_clear(&c->now);
    kn_cuda_scratches_rewind(kn_cuda_of(d)->scratches);
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

void kn_cuda_extent(kn_device *d, const void *p, size_t bytes) {
    kn_cuda *c = kn_cuda_of(d);
    if (p != NULL && c->extents < KN_CUDA_EXTENTS)
        c->extent[c->extents++] = {p, bytes};
}

kn_status kn_cuda_launch_raw(kn_device *d, const char *name, const void *kernel, dim3 grid,
                             dim3 block, size_t shared, void **params, const size_t *sizes,
                             int count, const kn_touches *touches) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
        kn_cuda_of(d)->extents = 0;
        return KN_OK;
    }
    size_t bytes = 0;
    unsigned short offset[KN_MOST_PARAMS] = {};
    for (int i = 0; i < count && i < KN_MOST_PARAMS; i++) {
        offset[i] = static_cast<unsigned short>(bytes);
        bytes += kn_run_aligned(sizes[i]);
    }
    if (count > KN_MOST_PARAMS || bytes > KN_MOST_BYTES || touches->count > KN_MOST_TOUCHES)
        return kn_cuda_fail(d, KN_ERR_LIMIT, "device cuda: %s has too many arguments", name);
    kn_run *r = &kn_cuda_of(d)->commands->now;
    kn_command *c = kn_run_append(d, r, name, bytes, touches);
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
                         size_t bytes, const kn_touches *touches) {
    kn_run *r = &kn_cuda_of(d)->commands->now;
    kn_command *c = kn_run_append(d, r, name, bytes, touches);
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
        c->line = graphs != NULL && strcmp(graphs, "line") == 0;
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
                "departed from their record; the largest has %zu commands, %zu of them one after "
                "another\n",
                c->launches, c->replayed, c->patched, c->departed, c->most, c->longest);
    kn_trace_close(&c->trace);
    for (kn_recorded &g : c->graphs)
        kn_graph_forget(&g);
    kn_run_free(&c->now);
    if (c->capture != NULL)
        cudaStreamDestroy(c->capture);
    free(c);
}
