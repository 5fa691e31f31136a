/* threads.cpp - runs the blocks of a grid: each thread on a fiber, which gives way to the next
 * where a thread of CUDA's may wait. */
#include "host.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#if !defined(__x86_64__)
#error "fibers are written for x86-64"
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

enum { SHARED_NUMBERS = 57 << 10 }; /* of f32: what a block has on an H100 */
alignas(16) thread_local float kn_launch_shared[SHARED_NUMBERS];

/* ---- kernels ---- */

const cuda_host_kernel *cuda_host_known(const cuda_host_kernel &kernel) {
    static std::map<void (*)(), std::unique_ptr<cuda_host_kernel>> all;
    static std::mutex lock;
    std::lock_guard<std::mutex> held(lock);
    std::unique_ptr<cuda_host_kernel> &own = all[kernel.function];
    if (own == nullptr)
        own.reset(new cuda_host_kernel(kernel));
    return own.get();
}

/* ---- fibers ---- */

/* Keeps the registers that a function must keep, and the stack's place in *from; goes on at to. */
extern "C" void cuda_host_switch(void **from, void *to);
asm(R"(
.text
.type cuda_host_switch, @function
cuda_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_host_switch, . - cuda_host_switch
)");

static const size_t STACK = 256 << 10;

struct fiber {
    void *at = nullptr; /* its place, while another one runs */
    std::unique_ptr<char[]> stack;
    const void *bottom = nullptr;
    size_t size = 0;
    void *fake = nullptr; /* AddressSanitizer's */
    unsigned thread = 0;  /* of the block */
};

struct warp {
    const char *name; /* of what its lanes wait for */
    unsigned round;
    uint64_t word[2][32];
    std::vector<fiber *> waiting;
};

/* The block under way. */
struct team {
    const cuda_host_kernel *kernel;
    void **params;
    unsigned size, begun, ended;
    std::vector<unsigned> order, rank; /* of the threads, and where each is in it */
    std::vector<fiber *> ready, idle, at_barrier;
    size_t next_ready;
    warp warps[32];
    fiber outside, *now, *before;
    std::vector<std::unique_ptr<fiber>> made;
};

static team all;

/* A fiber goes on; the sanitizer learns whose stack this is, and whose the last was. */
static void arrive(void *fake) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, &all.before->bottom, &all.before->size);
#else
    (void)fake;
#endif
}

static void change(fiber *to) {
    fiber *from = all.now;
    if (to == from)
        return;
    all.before = from;
    all.now = to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake, to->bottom, to->size);
#endif
    cuda_host_switch(&from->at, to->at);
    arrive(from->fake);
}

[[noreturn]] static void give_up(const char *what) {
    fprintf(stderr,
            "cuda on the host: %s: thread %u of block (%u,%u,%u), grid (%u,%u,%u), block "
            "(%u,%u,%u)\n",
            what, all.now->thread, blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y,
            gridDim.z, blockDim.x, blockDim.y, blockDim.z);
    abort();
}

static void take_place(unsigned thread) {
    all.now->thread = thread;
    threadIdx = dim3(thread % blockDim.x, thread / blockDim.x % blockDim.y,
                     thread / (blockDim.x * blockDim.y));
}

static void go_on(fiber *to) {
    unsigned own = all.now->thread;
    change(to);
    take_place(own);
}

/* ---- threads of a block ---- */

static void fiber_main();

static fiber *new_fiber() {
    all.made.emplace_back(new fiber);
    fiber *f = all.made.back().get();
    f->stack.reset(new char[STACK]);
    f->bottom = f->stack.get();
    f->size = STACK;
    void **top =
        reinterpret_cast<void **>((reinterpret_cast<uintptr_t>(f->stack.get()) + STACK) / 16 * 16);
    *--top = nullptr; /* where fiber_main would return to; so its stack begins as the ABI wants */
    *--top = reinterpret_cast<void *>(fiber_main);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->at = top;
    return f;
}

/* The fiber that runs next: one that waited, one for a thread that has not begun. NULL: none can.
 */
static fiber *next_fiber() {
    if (all.next_ready < all.ready.size())
        return all.ready[all.next_ready++];
    if (all.begun == all.size)
        return nullptr;
    if (all.idle.empty())
        return new_fiber();
    fiber *f = all.idle.back();
    all.idle.pop_back();
    return f;
}

/* Runs threads that have not begun, one after another, for as long as there are any. */
static void fiber_main() {
    arrive(nullptr);
    for (;;) {
        while (all.begun < all.size) {
            take_place(all.order[all.begun++]);
            all.kernel->call(all.kernel->function, all.params);
            all.ended++;
        }
        fiber *next = next_fiber();
        if (next == nullptr && all.ended < all.size)
            give_up("threads wait for others that have ended");
        all.idle.push_back(all.now);
        change(next != nullptr ? next : &all.outside);
    }
}

/* The fibers that waited may go on, in the order of their threads; this one among them. */
static void release(std::vector<fiber *> *waiting) {
    if (all.next_ready == all.ready.size()) {
        all.ready.clear();
        all.next_ready = 0;
    }
    std::sort(waiting->begin(), waiting->end(), [](const fiber *a, const fiber *b) {
        return all.rank[a->thread] < all.rank[b->thread];
    });
    all.ready.insert(all.ready.end(), waiting->begin(), waiting->end());
    waiting->clear();
}

static void wait_with(std::vector<fiber *> *waiting, size_t wanted) {
    waiting->push_back(all.now);
    if (waiting->size() == wanted)
        release(waiting);
    fiber *next = next_fiber();
    if (next == nullptr)
        give_up("threads wait for each other for ever, or for one that has ended");
    go_on(next);
}

void __syncthreads() {
    if (all.ended > 0)
        give_up("__syncthreads, and a thread of the block has ended");
    wait_with(&all.at_barrier, all.size);
}

unsigned cuda_host_lane() {
    return all.now->thread % 32;
}

/* Words of one round are read before any lane comes to the next but one. */
const uint64_t *cuda_host_exchange(const char *name, unsigned mask, uint64_t word) {
    unsigned first = all.now->thread / 32 * 32;
    warp *w = &all.warps[first / 32];
    if (mask != 0xffffffffu || first + 32 > all.size)
        give_up("not all lanes of a warp take part");
    if (w->waiting.empty()) {
        w->name = name;
        w->round ^= 1;
    }
    if (strcmp(w->name, name) != 0)
        give_up("lanes of a warp wait for different things");
    uint64_t *words = w->word[w->round];
    words[all.now->thread - first] = word;
    wait_with(&w->waiting, 32);
    return words;
}

/* ---- blocks of a grid ---- */

/* 0 to count - 1 as KILN_CUDA_HOST_ORDER says. */
static void order_of(unsigned count, std::vector<unsigned> *order) {
    const char *told = getenv("KILN_CUDA_HOST_ORDER");
    bool backward = told != nullptr && strcmp(told, "backward") == 0;
    order->resize(count);
    for (unsigned i = 0; i < count; i++)
        (*order)[i] = backward ? count - 1 - i : i;
    if (told == nullptr || backward || strcmp(told, "forward") == 0)
        return;
    std::minstd_rand random(static_cast<unsigned>(strtoul(told, nullptr, 10)) + 1);
    for (unsigned i = count; i > 1; i--)
        std::swap((*order)[i - 1], (*order)[random() % i]);
}

static void run_block() {
    all.begun = all.ended = 0;
    fiber *first = next_fiber();
    all.now = &all.outside;
    change(first);
    if (!all.at_barrier.empty() || all.ended != all.size)
        give_up("a block did not end");
}

void cuda_host_run(const cuda_host_kernel *kernel, dim3 grid, dim3 block, size_t shared,
                   void **params) {
    std::vector<unsigned> blocks;
    all.kernel = kernel;
    all.params = params;
    all.size = block.x * block.y * block.z;
    gridDim = grid;
    blockDim = block;
    if (all.order.size() != all.size) {
        order_of(all.size, &all.order);
        all.rank.resize(all.size);
        for (unsigned i = 0; i < all.size; i++)
            all.rank[all.order[i]] = i;
    }
    order_of(grid.x * grid.y * grid.z, &blocks);
    for (unsigned at : blocks) {
        blockIdx = dim3(at % grid.x, at / grid.x % grid.y, at / (grid.x * grid.y));
        memset(kn_launch_shared, 0xff, shared); /* NaN */
        run_block();
    }
}
