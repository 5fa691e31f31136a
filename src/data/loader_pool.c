/* loader_pool.c - the loader's threads: what they claim, load and report. They never touch the
 * context; what they need of it was copied. Nobody polls: a thread without work sleeps, so that the
 * training threads have the processors. */
#include "data/loader.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Room for a decoder and a user's own get; only the pages that are touched cost memory. */
enum { STACK_BYTES = 1 << 20 };

typedef struct claim {
    kn_slot *slot;
    int64_t first; /* in the epoch's order */
    int at, n;     /* positions in the batch */
    int failed_at; /* the position whose sample failed; at + n: none */
} claim;

int kn_loader_batch_samples(const kn_loader *l, int64_t batch) {
    int64_t rest = l->samples - batch * l->batch_size;
    return rest < l->batch_size ? (int)rest : l->batch_size;
}

/* ---- under the mutex ---- */

static bool can_claim(const kn_loader *l) {
    return l->active && l->fill < l->batches &&
           (l->fill_at > 0 || l->slot[l->fill % l->slots].state == KN_SLOT_FREE);
}

static claim take_claim(kn_loader *l) {
    kn_slot *slot = &l->slot[l->fill % l->slots];
    if (l->fill_at == 0) {
        slot->state = KN_SLOT_FILLING;
        slot->n = kn_loader_batch_samples(l, l->fill);
        slot->pending = slot->failed_at = slot->n;
        slot->error.status = KN_OK;
    }
    int rest = slot->n - l->fill_at;
    claim c = {.slot = slot,
               .first = l->fill * l->batch_size + l->fill_at,
               .at = l->fill_at,
               .n = rest < KN_LOADER_CHUNK ? rest : KN_LOADER_CHUNK};
    c.failed_at = c.at + c.n;
    l->fill_at += c.n;
    if (l->fill_at == slot->n) {
        l->fill++;
        l->fill_at = 0;
    }
    l->in_flight++;
    return c;
}

static void finish_claim(kn_loader *l, const claim *c, const kn_error *error) {
    kn_slot *slot = c->slot;
    slot->pending -= c->n;
    /* The first by position, not by time: the same error whatever the number of threads. */
    if (c->failed_at < c->at + c->n && c->failed_at < slot->failed_at) {
        slot->failed_at = c->failed_at;
        slot->error = *error;
    }
    l->in_flight--;
    bool oldest = slot->pending == 0 && slot == &l->slot[l->deliver % l->slots];
    if (oldest || l->in_flight == 0)
        pthread_cond_signal(&l->ready);
}

/* ---- outside the mutex ---- */

/* Of a sample that failed: KN_OK if it is itself at fault, and will be left out. */
static kn_status leave_out(kn_loader *l, kn_slot *slot, int at, kn_status status, kn_error *error) {
    if (slot->reason == NULL || (status != KN_ERR_DATA && status != KN_ERR_LIMIT))
        return status;
    kn_error_set(error, status, "%s", kn_status_name(status)); /* unless it said why */
    slot->reason[at] = kn_mem_strdup(&l->allocator, error->message);
    error->status = KN_OK;
    if (slot->reason[at] != NULL)
        return KN_OK;
    return kn_error_set(error, KN_ERR_MEMORY, "out of memory: why a sample is left out");
}

/* Stops at the first failure: the batch is lost, and a later position's error would not be told. */
static void load(kn_loader *l, claim *c, kn_image_reader *reader, kn_error *error) {
    for (int i = 0; i < c->n && !atomic_load(&l->abandon); i++) {
        int at = c->at + i;
        kn_slot *slot = c->slot;
        slot->index[at] = l->order[c->first + i];
        error->status = KN_OK;
        kn_sample sample = {.index = slot->index[at],
                            .epoch = l->epoch,
                            .slot = slot->pixels + (size_t)at * l->sample_bytes,
                            .label = &slot->labels[at],
                            .reader = reader,
                            .error = error};
        kn_status status = l->ds->cls->get(l->ds, &sample);
        if (status != KN_OK)
            status = leave_out(l, slot, at, status, error);
        if (status == KN_OK)
            continue;
        kn_error_set(error, status, "sample %lld of the dataset failed (%s)",
                     (long long)sample.index, kn_status_name(status));
        error->status = status;
        c->failed_at = at;
        return;
    }
}

/* A compute thread that waits for its turn holds up all compute threads; a picture more or less
 * ready ahead holds up nobody. On Linux a nice value is a thread's own. Where it cannot be set,
 * nothing but speed is lost. */
static void yield_to_compute(void) {
    id_t self = (id_t)syscall(SYS_gettid);
    int now = getpriority(PRIO_PROCESS, self); /* -1, if it fails, is as good a start as any */
    setpriority(PRIO_PROCESS, self, now + KN_LOADER_NICE);
}

static void *work(void *argument) {
    kn_loader *l = argument;
    yield_to_compute();
    kn_image_reader reader = {.allocator = &l->allocator, .max_memory = l->max_image_memory};
    kn_error error = {0};
    pthread_mutex_lock(&l->mutex);
    while (!l->quit) {
        if (!can_claim(l)) {
            pthread_cond_wait(&l->work, &l->mutex);
            continue;
        }
        claim c = take_claim(l);
        pthread_mutex_unlock(&l->mutex);
        load(l, &c, &reader, &error);
        pthread_mutex_lock(&l->mutex);
        finish_claim(l, &c, &error);
    }
    pthread_mutex_unlock(&l->mutex);
    kn_image_reader_free(&reader);
    return NULL;
}

/* ---- starting and ending ---- */

/* The signals a thread can only raise itself stay open, so that a debugger or a sanitizer sees
 * them; all others are for the program's own threads. */
static void block_signals(sigset_t *before) {
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < KN_COUNT(own); i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

kn_status kn_loader_threads_start(kn_loader *l) {
    pthread_attr_t attributes;
    if (l->threads > 0)
        return KN_OK;
    int code = pthread_attr_init(&attributes);
    if (code != 0)
        return kn_fail(l->ctx, KN_ERR_MEMORY, "loader: cannot start a thread: %s", strerror(code));
    code = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t before;
    block_signals(&before); /* a thread begins with its maker's mask */
    while (code == 0 && l->threads < l->workers) {
        code = l->start_thread(&l->thread[l->threads], &attributes, work, l);
        if (code == 0)
            l->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (l->threads == 0)
        return kn_fail(l->ctx, KN_ERR_MEMORY, "loader: cannot start a thread: %s", strerror(code));
    if (code != 0)
        kn_report(l->ctx, KN_LOG_WARNING, "loader: works with %d of %d threads: %s", l->threads,
                  l->workers, strerror(code));
    return KN_OK;
}

void kn_loader_threads_end(kn_loader *l) {
    if (l->threads == 0)
        return;
    atomic_store(&l->abandon, true);
    pthread_mutex_lock(&l->mutex);
    l->quit = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
    for (int i = 0; i < l->threads; i++)
        pthread_join(l->thread[i], NULL);
    l->threads = 0;
}
