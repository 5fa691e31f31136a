/* commands.cu - how work gets to the device: at once, or as a CUDA graph that replays a step.
 *
 * A training step asks for the same kernels again and again, with the same arguments but for a few
 * numbers. What is asked for between two flushes is a run. A run that came before is recorded as a
 * CUDA graph; when one begins as a recorded run did, its commands are compared with the record
 * instead of being launched: an equal one costs nothing, a kernel with other arguments changes them
 * in its node, and at the flush the graph is launched as a whole. Where a run departs from the
 * record, what it had asked for so far is launched one by one, and it goes on like that. So
 * whatever the caller does, the device computes what was asked for, in order; only what it costs
 * differs. */
#include "backend/cuda/cuda.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum {
    MOST_PARAMS = 24,
    MOST_BYTES = 1024,
    LEAST_RUN = 4, /* commands; shorter ones are launched one by one */
    MOST_GRAPHS = 12,
    MOST_SEEN = 64, /* runs remembered by their hash */
    ALIGN = 16
};

struct command {
    const char *name;
    const void *kernel; /* NULL: a call */
    kn_cuda_call call;
    dim3 grid, block;
    size_t shared;
    size_t at, bytes; /* of its arguments, in the run's */
    int count;
    unsigned short offset[MOST_PARAMS];
};

struct run {
    command *commands;
    size_t count, room;
    unsigned char *bytes;
    size_t used, bytes_room;
};

struct recorded {
    run r;
    cudaGraphNode_t *node; /* of each command; NULL for a call's */
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    uint64_t last_use;
};

struct kn_cuda_commands {
    run now;           /* since the last flush */
    recorded *follows; /* what the run has followed so far; NULL: it is launched one by one */
    recorded graphs[MOST_GRAPHS];
    uint64_t seen[MOST_SEEN];
    int next_seen;
    uint64_t uses;
    cudaStream_t capture;
    bool never; /* KILN_CUDA_GRAPHS=0, or debugging */
    bool trace; /* KILN_CUDA_TRACE: what each command of the last long run took, told at the end */
    cudaEvent_t began, ended;
    float *taken; /* of the run under way, microseconds */
    size_t taken_room;
    run traced;
    float *traced_taken;
    size_t launches, replayed, patched, departed; /* of commands; of runs */
};

/* ---- runs ---- */

static bool grow(void **array, size_t *room, size_t want, size_t size) {
    if (want <= *room)
        return true;
    size_t more = *room < 64 ? 64 : 2 * *room;
    while (more < want)
        more *= 2;
    void *larger = realloc(*array, more * size);
    if (larger == NULL)
        return false;
    *array = larger;
    *room = more;
    return true;
}

/* A command with room for its arguments, zeroed, at the run's end. NULL: no memory. */
static command *append(kn_device *d, run *r, const char *name, size_t bytes) {
    void *commands = r->commands, *all = r->bytes;
    size_t whole = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    bool room = grow(&commands, &r->room, r->count + 1, sizeof(command));
    r->commands = static_cast<command *>(commands);
    room = room && grow(&all, &r->bytes_room, r->used + whole, 1);
    r->bytes = static_cast<unsigned char *>(all);
    if (!room) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: the command %s for device cuda:%d", name,
                     d->ordinal);
        return NULL;
    }
    command *c = &r->commands[r->count++];
    *c = command();
    c->name = name;
    c->at = r->used;
    c->bytes = bytes;
    memset(r->bytes + r->used, 0, whole);
    r->used += whole;
    return c;
}

static void clear(run *r) {
    r->count = r->used = 0;
}

static void free_run(run *r) {
    free(r->commands);
    free(r->bytes);
    *r = run();
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t count) {
    const unsigned char *b = static_cast<const unsigned char *>(bytes);
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ b[i]) * 0x100000001b3ull; /* FNV-1a */
    return hash;
}

/* Of what must be alike for a graph to be patched: a kernel's arguments need not be. */
static uint64_t hash_of(const run *r) {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < r->count; i++) {
        const command *c = &r->commands[i];
        hash = mix(hash, &c->kernel, sizeof c->kernel);
        hash = mix(hash, &c->grid, sizeof c->grid);
        if (c->kernel == NULL) {
            hash = mix(hash, &c->call, sizeof c->call);
            hash = mix(hash, r->bytes + c->at, c->bytes);
        }
    }
    return hash;
}

/* ---- launching one by one ---- */

static kn_status complain(kn_device *d, cudaError_t error, const char *name) {
    if (error == cudaSuccess)
        return KN_OK;
    cudaGetLastError();
    return kn_cuda_fail(d, KN_ERR_DEVICE, "device cuda:%d: %s, at %s", d->ordinal,
                        cudaGetErrorString(error), name);
}

static void pointers(const run *r, const command *c, void **params) {
    for (int i = 0; i < c->count; i++)
        params[i] = r->bytes + c->at + c->offset[i];
}

static kn_status issue(kn_device *d, const run *r, const command *c, cudaStream_t stream) {
    if (c->kernel == NULL)
        return c->call(d, stream, r->bytes + c->at);
    void *params[MOST_PARAMS];
    pointers(r, c, params);
    return complain(d, cudaLaunchKernel(c->kernel, c->grid, c->block, params, c->shared, stream),
                    c->name);
}

/* The command alone on the device. */
static kn_status issue_traced(kn_device *d, const run *r, const command *c) {
    kn_cuda *cuda = kn_cuda_of(d);
    kn_cuda_commands *all = cuda->commands;
    void *taken = all->taken;
    float ms = 0;
    size_t at = static_cast<size_t>(c - r->commands);
    if (!grow(&taken, &all->taken_room, at + 1, sizeof *all->taken))
        return kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: a trace");
    all->taken = static_cast<float *>(taken);
    cudaStreamSynchronize(cuda->stream);
    cudaEventRecord(all->began, cuda->stream);
    kn_status status = issue(d, r, c, cuda->stream);
    cudaEventRecord(all->ended, cuda->stream);
    cudaEventSynchronize(all->ended);
    cudaEventElapsedTime(&ms, all->began, all->ended);
    all->taken[at] = ms * 1e3f;
    return status;
}

/* In debug mode, what failed is known by the command. */
static kn_status issue_now(kn_device *d, const run *r, const command *c) {
    kn_cuda *cuda = kn_cuda_of(d);
    cuda->commands->launches++;
    kn_status status = cuda->commands->trace ? issue_traced(d, r, c) : issue(d, r, c, cuda->stream);
    if (status == KN_OK && cuda->debug)
        status = complain(d, cudaStreamSynchronize(cuda->stream), c->name);
    return status;
}

static kn_status issue_all(kn_device *d, const run *r) {
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

static void forget_graph(recorded *g) {
    if (g->exec != NULL)
        cudaGraphExecDestroy(g->exec);
    if (g->graph != NULL)
        cudaGraphDestroy(g->graph);
    free(g->node);
    free_run(&g->r);
    *g = recorded();
}

static bool capture(kn_device *d, const run *r, cudaStream_t stream, recorded *g) {
    g->node = static_cast<cudaGraphNode_t *>(calloc(r->count, sizeof *g->node));
    if (g->node == NULL ||
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) != cudaSuccess)
        return false;
    bool good = true;
    for (size_t i = 0; i < r->count && good; i++) {
        good = issue(d, r, &r->commands[i], stream) == KN_OK;
        if (good && r->commands[i].kernel != NULL) {
            g->node[i] = last_node(stream);
            good = g->node[i] != NULL;
        }
    }
    return cudaStreamEndCapture(stream, &g->graph) == cudaSuccess && good &&
           cudaGraphInstantiate(&g->exec, g->graph, 0) == cudaSuccess;
}

static bool copy_run(const run *from, run *to) {
    to->commands = static_cast<command *>(malloc(from->count * sizeof(command)));
    to->bytes = static_cast<unsigned char *>(malloc(from->used));
    if (to->commands == NULL || to->bytes == NULL)
        return false;
    memcpy(to->commands, from->commands, from->count * sizeof(command));
    memcpy(to->bytes, from->bytes, from->used);
    to->count = to->room = from->count;
    to->used = to->bytes_room = from->used;
    return true;
}

/* Records the run that was just launched. When that fails the device goes on as before: a graph
 * only saves time. */
static void record(kn_device *d, kn_cuda_commands *c) {
    recorded *g = &c->graphs[0];
    for (int i = 1; i < MOST_GRAPHS; i++) /* unused ones have last_use 0 */
        if (c->graphs[i].last_use < g->last_use)
            g = &c->graphs[i];
    forget_graph(g);
    kn_error *error = d->error, ignored = {};
    d->error = &ignored;
    bool good = copy_run(&c->now, &g->r) && capture(d, &c->now, c->capture, g);
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
    uint64_t hash = hash_of(&c->now);
    for (uint64_t known : c->seen)
        if (known == hash)
            return true;
    c->seen[c->next_seen] = hash;
    c->next_seen = (c->next_seen + 1) % MOST_SEEN;
    return false;
}

/* ---- following a record ---- */

static bool same_dim(dim3 a, dim3 b) {
    return a.x == b.x && a.y == b.y && a.z == b.z;
}

static bool same_shape(const command *a, const command *b) {
    return a->kernel == b->kernel && a->call == b->call && a->bytes == b->bytes &&
           a->shared == b->shared && same_dim(a->grid, b->grid) && same_dim(a->block, b->block);
}

/* The command just appended against the record's at its place: true when the record now says the
 * same, if need be because its node was changed. */
static bool agrees(kn_cuda_commands *c, recorded *g) {
    size_t i = c->now.count - 1;
    if (i >= g->r.count)
        return false;
    const command *mine = &c->now.commands[i], *its = &g->r.commands[i];
    if (!same_shape(mine, its))
        return false;
    unsigned char *args = c->now.bytes + mine->at, *old = g->r.bytes + its->at;
    if (memcmp(args, old, mine->bytes) == 0)
        return true;
    if (mine->kernel == NULL)
        return false;
    void *params[MOST_PARAMS];
    pointers(&c->now, mine, params);
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
static recorded *begins(kn_cuda_commands *c) {
    recorded *best = NULL;
    for (recorded &g : c->graphs)
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

/* Keeps the run's times, if it is long enough for a step. */
static void keep_trace(kn_cuda_commands *c) {
    enum { STEP = 20 };
    size_t bytes = c->now.count * sizeof *c->taken;
    float *taken = c->now.count >= STEP ? static_cast<float *>(malloc(bytes)) : NULL;
    if (taken == NULL)
        return;
    free_run(&c->traced);
    free(c->traced_taken);
    memcpy(taken, c->taken, bytes);
    c->traced_taken = taken;
    if (!copy_run(&c->now, &c->traced))
        free_run(&c->traced);
}

static void tell_trace(const kn_cuda_commands *c) {
    double all = 0;
    for (size_t i = 0; i < c->traced.count; i++) {
        const command *k = &c->traced.commands[i];
        all += static_cast<double>(c->traced_taken[i]);
        fprintf(stderr, "cuda: %7.1f us %s, %u x %u blocks of %u\n",
                static_cast<double>(c->traced_taken[i]), k->name, k->grid.x, k->grid.y, k->block.x);
    }
    fprintf(stderr, "cuda: %7.1f us in %zu commands\n", all, c->traced.count);
}

extern "C" kn_status kn_cuda_flush(kn_device *d) {
    kn_cuda_commands *c = kn_cuda_of(d)->commands;
    kn_status status = KN_OK;
    if (c->now.count == 0)
        return KN_OK;
    if (c->trace)
        keep_trace(c);
    if (c->follows != NULL && c->follows->r.count == c->now.count) {
        c->follows->last_use = ++c->uses;
        c->replayed++;
        status = complain(d, cudaGraphLaunch(c->follows->exec, kn_cuda_of(d)->stream),
                          "a recorded step");
    } else if (c->follows != NULL) {
        c->departed++;
        status = issue_all(d, &c->now);
    }
    bool one_by_one = c->follows == NULL || c->follows->r.count != c->now.count;
    if (status == KN_OK && one_by_one && !c->never && c->now.count >= LEAST_RUN && seen_before(c))
        record(d, c);
    c->follows = NULL;
    clear(&c->now);
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
                        c->ordinal, cudaGetErrorString(error), c->last);
}

/* ---- asking for work ---- */

kn_status kn_cuda_launch_raw(kn_device *d, const char *name, const void *kernel, dim3 grid,
                             dim3 block, size_t shared, void **params, const size_t *sizes,
                             int count) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return KN_OK;
    size_t bytes = 0;
    unsigned short offset[MOST_PARAMS] = {};
    for (int i = 0; i < count && i < MOST_PARAMS; i++) {
        offset[i] = static_cast<unsigned short>(bytes);
        bytes += (sizes[i] + ALIGN - 1) / ALIGN * ALIGN;
    }
    if (count > MOST_PARAMS || bytes > MOST_BYTES)
        return kn_cuda_fail(d, KN_ERR_LIMIT, "device cuda: %s has too many arguments", name);
    run *r = &kn_cuda_of(d)->commands->now;
    command *c = append(d, r, name, bytes);
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
    run *r = &kn_cuda_of(d)->commands->now;
    command *c = append(d, r, name, bytes);
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
    c->trace = getenv("KILN_CUDA_TRACE") != NULL;
    c->never = kn_cuda_of(d)->debug || c->trace || (graphs != NULL && strcmp(graphs, "0") == 0);
    if (kn_cuda_check(d, cudaEventCreate(&c->began), "an event") == KN_OK &&
        kn_cuda_check(d, cudaEventCreate(&c->ended), "an event") == KN_OK &&
        kn_cuda_check(d, cudaStreamCreateWithFlags(&c->capture, cudaStreamNonBlocking),
                      "a stream to record with") == KN_OK)
        return c;
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
    if (c->trace)
        tell_trace(c);
    for (recorded &g : c->graphs)
        forget_graph(&g);
    free_run(&c->now);
    free_run(&c->traced);
    free(c->taken);
    free(c->traced_taken);
    for (cudaEvent_t event : {c->began, c->ended})
        if (event != NULL)
            cudaEventDestroy(event);
    if (c->capture != NULL)
        cudaStreamDestroy(c->capture);
    free(c);
}
