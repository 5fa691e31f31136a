/* order.cu - which commands of a run must wait for which: a command waits for those before it that
 * wrote what it reads or writes, or read what it writes. */
#include "backend/cuda/commands.cuh"

#include <cstdlib>
#include <cstring>

enum { MOST = 4096 }; /* commands: what is known of each takes a bit for each */

/* A touch of a command, in the list of those of its block. */
struct use {
    unsigned command;
    uintptr_t from, to;
    bool written;
    use *earlier;
};

/* What is needed while an order is made. */
struct work {
    use *uses, **last; /* of each block, and of what lies in none */
    uint64_t *known;   /* [count][words]: whom a command waits for, by way of others too */
    size_t words;
    size_t *depth;
};

static bool make_room(const kn_run *r, size_t blocks, work *w, kn_order *o) {
    w->words = (r->count + 63) / 64;
    w->uses = static_cast<use *>(malloc((r->touched + 1) * sizeof *w->uses));
    w->last = static_cast<use **>(calloc(blocks + 1, sizeof *w->last));
    w->known = static_cast<uint64_t *>(calloc(r->count * w->words, sizeof *w->known));
    w->depth = static_cast<size_t *>(calloc(r->count, sizeof *w->depth));
    o->first = static_cast<size_t *>(calloc(r->count + 1, sizeof *o->first));
    return w->uses != NULL && w->last != NULL && w->known != NULL && w->depth != NULL &&
           o->first != NULL;
}

static void free_work(work *w) {
    free(w->uses);
    free(w->last);
    free(w->known);
    free(w->depth);
}

/* Sets the bit of each command that one must wait for on account of what it touches, and enters
 * that in the lists. */
static void find_rivals(const kn_cuda *cuda, const kn_run *r, unsigned i, work *w,
                        uint64_t *rivals) {
    const kn_command *c = &r->commands[i];
    for (int k = 0; k < c->touches; k++) {
        const kn_touch *t = &r->touch[c->first_touch + static_cast<size_t>(k)];
        size_t block = kn_blocks_find(&cuda->blocks, t->at);
        uintptr_t from = reinterpret_cast<uintptr_t>(t->at), to = from + t->bytes;
        if (t->at == cuda->trouble) /* all write the same there */
            continue;
        if (block == cuda->blocks.count) {
            from = 0;
            to = UINTPTR_MAX;
        } else if (t->bytes == 0) {
            from = cuda->blocks.block[block].at;
            to = from + cuda->blocks.block[block].bytes;
        }
        for (const use *u = w->last[block]; u != NULL; u = u->earlier)
            if (u->command != i && (u->written || t->written) && u->from < to && from < u->to)
                rivals[u->command / 64] |= 1ull << u->command % 64;
        use *own = &w->uses[c->first_touch + static_cast<size_t>(k)];
        *own = {i, from, to, t->written, w->last[block]};
        w->last[block] = own;
    }
}

static bool append(kn_order *o, size_t *room, unsigned before) {
    size_t count = o->first[o->count];
    if (count == *room) {
        *room = *room == 0 ? 64 : 2 * *room;
        void *larger = realloc(o->before, *room * sizeof *o->before);
        if (larger == NULL)
            return false;
        o->before = static_cast<unsigned *>(larger);
    }
    o->before[count] = before;
    o->first[o->count]++;
    return true;
}

/* From the latest rival to the first: one that another one waits for is waited for with that. */
static bool reduce(work *w, unsigned i, const uint64_t *rivals, kn_order *o, size_t *room) {
    uint64_t *known = w->known + i * w->words;
    o->count = i + 1;
    o->first[o->count] = o->first[i];
    for (unsigned j = i; j-- > 0;) {
        uint64_t bit = 1ull << j % 64;
        if ((rivals[j / 64] & bit) == 0 || (known[j / 64] & bit) != 0)
            continue;
        if (!append(o, room, j))
            return false;
        known[j / 64] |= bit;
        for (size_t k = 0; k < w->words; k++)
            known[k] |= w->known[j * w->words + k];
        if (w->depth[j] + 1 > w->depth[i])
            w->depth[i] = w->depth[j] + 1;
    }
    if (w->depth[i] + 1 > o->longest)
        o->longest = w->depth[i] + 1;
    return true;
}

bool kn_order_of(kn_device *d, const kn_run *r, kn_order *o) {
    const kn_cuda *cuda = kn_cuda_of(d);
    uint64_t rivals[MOST / 64];
    work w = {};
    size_t room = 0;
    *o = kn_order();
    bool good = r->count <= MOST && make_room(r, cuda->blocks.count, &w, o);
    for (unsigned i = 0; i < r->count && good; i++) {
        memset(rivals, 0, w.words * sizeof *rivals);
        find_rivals(cuda, r, i, &w, rivals);
        good = reduce(&w, i, rivals, o, &room);
    }
    free_work(&w);
    if (!good)
        kn_order_free(o);
    return good;
}

bool kn_order_same(const kn_order *a, const kn_order *b) {
    return a->count == b->count &&
           memcmp(a->first, b->first, (a->count + 1) * sizeof *a->first) == 0 &&
           (a->first[a->count] == 0 ||
            memcmp(a->before, b->before, a->first[a->count] * sizeof *a->before) == 0);
}

void kn_order_free(kn_order *o) {
    free(o->first);
    free(o->before);
    *o = kn_order();
}
