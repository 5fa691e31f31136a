/* commands.cuh - the inside of commands.cu: commands, runs of them, and what is kept of runs. */
#ifndef KN_BACKEND_CUDA_COMMANDS_CUH
#define KN_BACKEND_CUDA_COMMANDS_CUH

#include "backend/cuda/cuda.cuh"
#include "backend/cuda/order.cuh"

enum {
    KN_MOST_PARAMS = 24,
    KN_MOST_BYTES = 1024, /* of them */
    KN_MOST_GRAPHS = 12,
    KN_MOST_SEEN = 64 /* runs remembered by their hash */
};

struct kn_command {
    const char *name;
    const void *kernel; /* NULL: a call */
    kn_cuda_call call;
    dim3 grid, block;
    size_t shared;
    size_t at, bytes; /* of its arguments, in the run's */
    int count;
    unsigned short offset[KN_MOST_PARAMS];
    size_t first_touch; /* of the run's */
    int touches;
};

struct kn_run {
    kn_command *commands;
    size_t count, room;
    unsigned char *bytes;
    size_t used, bytes_room;
    kn_touch *touch;
    size_t touched, touch_room;
};

struct kn_recorded {
    kn_run r;
    cudaGraphNode_t *node; /* the last of each command; of a call in a line NULL if not told */
    kn_order order;        /* of the graph's commands; none: they are a line */
    bool moved;            /* they touch other memory than when the order was found */
    size_t removed;        /* blocks of memory, until then: what was apart may not be now */
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    uint64_t last_use;
};

/* KILN_CUDA_TRACE: what each command of the longest run took, the last of these, told when the
 * device is closed. */
struct kn_trace {
    bool on;
    cudaEvent_t began, ended;
    float *taken; /* of the run under way, microseconds */
    size_t room;
    kn_run last;
    kn_order last_order;
    float *last_taken;
};

struct kn_cuda_commands {
    kn_run now;           /* since the last flush */
    kn_recorded *follows; /* what the run has followed so far; NULL: it is launched one by one */
    kn_recorded graphs[KN_MOST_GRAPHS];
    uint64_t seen[KN_MOST_SEEN];
    int next_seen;
    uint64_t uses;
    cudaStream_t capture;
    bool never;   /* KILN_CUDA_GRAPHS=0, or debugging */
    bool line;    /* KILN_CUDA_GRAPHS=line, or orders are no good */
    size_t wrong; /* orders that other memory made wrong */
    kn_trace trace;
    size_t launches, replayed, patched,
        departed;         /* of commands; of runs; told to KILN_CUDA_STATS */
    size_t most, longest; /* commands of the largest graph, and one after another in it */
};

/* ---- runs.cu ---- */

/* Arguments begin at multiples of sixteen. */
static inline size_t kn_run_aligned(size_t bytes) {
    return (bytes + 15) / 16 * 16;
}

/* A command with room for its arguments, zeroed, at the run's end. NULL with the error set. */
kn_command *kn_run_append(kn_device *d, kn_run *r, const char *name, size_t bytes,
                          const kn_touches *touches);
bool kn_run_copy(const kn_run *from, kn_run *to); /* to an empty one; false: no memory */
void kn_run_clear(kn_run *r);
void kn_run_free(kn_run *r);

/* Of what must be alike for a graph to be patched: a kernel's arguments need not be. */
uint64_t kn_run_hash(const kn_run *r);

/* Where the arguments of a kernel are. */
void kn_run_params(const kn_run *r, const kn_command *c, void **params);

/* Puts one command on a stream. */
kn_status kn_run_issue(kn_device *d, const kn_run *r, const kn_command *c, cudaStream_t stream);

/* KN_OK, or the error said of a command. */
kn_status kn_cuda_complain(kn_device *d, cudaError_t error, const char *name);

/* ---- graphs.cu ---- */

/* Records the run that was just launched. Where that fails the device goes on as before: a graph
 * only saves time. */
void kn_graph_record(kn_device *d, kn_cuda_commands *c);
void kn_graph_forget(kn_recorded *g);

/* ---- trace.cu ---- */

kn_status kn_trace_open(kn_device *d, kn_trace *t);
/* A command alone on the device, timed. */
kn_status kn_trace_issue(kn_device *d, kn_trace *t, const kn_run *r, const kn_command *c);
void kn_trace_keep(kn_device *d, kn_trace *t, const kn_run *r); /* if none was longer */
void kn_trace_close(kn_trace *t);

#endif
