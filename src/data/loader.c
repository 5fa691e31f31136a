/* loader.c - the caller's side of the loader: making it, starting an epoch, taking batches in
 * order, giving them back. All memory is allocated here at the start, so that from then on the
 * caller's thread allocates nothing. */
#include "data/loader.h"

#include <kiln/random.h>

#include <assert.h>
#include <limits.h>
#include <string.h>

enum { MAX_WORKERS = 1024 };

/* Read-ahead stops at this much memory; two batches there are in any case. */
static const size_t max_ring_bytes = (size_t)1 << 30;

/* ---- making and freeing ---- */

/* Batches in the ring: those the threads have chunks of at the same time, which is one more than
 * fit their chunks whole, one in the caller's hands, and one finished in reserve for when the
 * caller is faster for a moment. More would only take memory. */
static int slots_for(const kn_loader *l) {
    int64_t chunks = (l->room + KN_LOADER_CHUNK - 1) / KN_LOADER_CHUNK;
    int64_t slots = (l->workers + chunks - 1) / chunks + 3;
    int64_t fitting = (int64_t)(max_ring_bytes / ((size_t)l->room * l->sample_bytes));
    if (slots > fitting)
        slots = fitting;
    if (slots < 2)
        slots = 2;
    return (int)(slots < l->batches ? slots : l->batches);
}

static kn_status make_slots(kn_loader *l) {
    kn_ctx *ctx = l->ctx;
    size_t n = (size_t)l->room;
    l->slot = kn_calloc(ctx, (size_t)l->slots, sizeof *l->slot, "the loader's batches");
    if (l->slot == NULL)
        return KN_ERR_MEMORY;
    for (int i = 0; i < l->slots; i++) {
        kn_slot *slot = &l->slot[i];
        slot->pixels = kn_alloc(ctx, n * l->sample_bytes, "a batch's pixels");
        slot->labels = kn_alloc(ctx, n * sizeof *slot->labels, "a batch's labels");
        slot->index = kn_alloc(ctx, n * sizeof *slot->index, "a batch's indices");
        if (l->skip_bad)
            slot->reason = kn_calloc(ctx, n, sizeof *slot->reason, "samples left out");
        if (slot->pixels == NULL || slot->labels == NULL || slot->index == NULL ||
            (l->skip_bad && slot->reason == NULL))
            return KN_ERR_MEMORY;
    }
    return KN_OK;
}

static kn_status make_arrays(kn_loader *l) {
    if (l->samples == 0)
        return KN_OK;
    l->order = kn_alloc(l->ctx, (size_t)l->samples * sizeof *l->order, "the order of samples");
    l->thread = kn_alloc(l->ctx, (size_t)l->workers * sizeof *l->thread, "the loader's threads");
    return l->order != NULL && l->thread != NULL ? make_slots(l) : KN_ERR_MEMORY;
}

static void forget_reasons(kn_loader *l, kn_slot *slot) {
    for (int i = 0; slot->reason != NULL && i < l->room; i++) {
        kn_mem_free(&l->allocator, slot->reason[i]);
        slot->reason[i] = NULL;
    }
}

static void free_arrays(kn_loader *l) {
    for (size_t i = 0; i < l->bads; i++)
        kn_mem_free(&l->allocator, (void *)(uintptr_t)l->bad[i].reason);
    kn_mem_free(&l->allocator, l->bad);
    for (int i = 0; l->slot != NULL && i < l->slots; i++) {
        forget_reasons(l, &l->slot[i]);
        kn_free(l->ctx, l->slot[i].reason);
        kn_free(l->ctx, l->slot[i].pixels);
        kn_free(l->ctx, l->slot[i].labels);
        kn_free(l->ctx, l->slot[i].index);
    }
    kn_free(l->ctx, l->slot);
    kn_free(l->ctx, l->thread);
    kn_free(l->ctx, l->order);
}

static bool make_locks(kn_loader *l) {
    if (pthread_mutex_init(&l->mutex, NULL) != 0)
        return false;
    if (pthread_cond_init(&l->work, NULL) == 0) {
        if (pthread_cond_init(&l->ready, NULL) == 0)
            return true;
        pthread_cond_destroy(&l->work);
    }
    pthread_mutex_destroy(&l->mutex);
    return false;
}

static kn_status set_sizes(kn_loader *l, int batch_size, kn_loader_opts opts) {
    l->samples = l->ds->cls->len(l->ds);
    assert(l->samples >= 0 && l->ds->height > 0 && l->ds->width > 0);
    if (l->samples > UINT32_MAX)
        return kn_fail(l->ctx, KN_ERR_LIMIT, "loader: %lld samples, the limit is %u",
                       (long long)l->samples, UINT32_MAX);
    l->batches = (l->samples + batch_size - 1) / batch_size;
    l->least_batch = opts.least_batch < batch_size ? opts.least_batch : batch_size;
    if (l->batches > 1 && l->samples - (l->batches - 1) * batch_size < l->least_batch)
        l->batches--;
    l->batch_size = batch_size;
    /* Of a batch size beyond the dataset's, only what is used takes memory. */
    l->room = l->samples < batch_size && l->samples > 0 ? (int)l->samples : batch_size;
    l->workers = opts.workers > 0 ? opts.workers : kn_cpu_count();
    l->sample_bytes = (size_t)l->ds->height * (size_t)l->ds->width * 3;
    if (l->sample_bytes > SIZE_MAX / 2 / (size_t)l->room)
        return kn_fail(l->ctx, KN_ERR_LIMIT, "loader: a batch of %d pictures of %dx%d is too large",
                       l->room, l->ds->height, l->ds->width);
    l->slots = slots_for(l);
    return KN_OK;
}

kn_loader *kn_loader_new(kn_ctx *ctx, kn_dataset *ds, int batch_size, kn_loader_opts opts) {
    if (ds == NULL)
        return NULL;
    if (batch_size < 1) {
        kn_fail(ctx, KN_ERR_ARG, "batch size: %d, expected at least 1", batch_size);
        return NULL;
    }
    if (opts.workers < 0 || opts.workers > MAX_WORKERS) {
        kn_fail(ctx, KN_ERR_ARG, "loader threads: %d, expected 0 to %d", opts.workers, MAX_WORKERS);
        return NULL;
    }
    kn_loader *l = kn_calloc(ctx, 1, sizeof *l, "a loader");
    if (l == NULL)
        return NULL;
    l->ctx = ctx;
    l->allocator = *kn_ctx_allocator(ctx);
    l->ds = ds;
    l->shuffle = opts.shuffle;
    l->max_image_memory = opts.max_image_memory;
    l->skip_bad = opts.skip_bad;
    l->start_thread = pthread_create;
    l->deliver = -1; /* not started */
    atomic_init(&l->abandon, false);
    bool locks = false;
    if (set_sizes(l, batch_size, opts) == KN_OK && make_arrays(l) == KN_OK) {
        locks = make_locks(l);
        if (!locks)
            kn_fail(ctx, KN_ERR_MEMORY, "loader: cannot make its locks");
    }
    if (!locks) {
        free_arrays(l);
        kn_free(ctx, l);
        return NULL;
    }
    return l;
}

void kn_loader_free(kn_loader *l) {
    if (l == NULL)
        return;
    kn_loader_threads_end(l);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->mutex);
    free_arrays(l);
    kn_free(l->ctx, l);
}

int64_t kn_loader_len(const kn_loader *l) {
    return l != NULL ? l->batches : 0;
}

int64_t kn_loader_samples(const kn_loader *l) {
    return l != NULL ? l->samples : 0;
}

int kn_loader_batch_size(const kn_loader *l) {
    return l != NULL ? l->batch_size : 0;
}

int kn_loader_workers(const kn_loader *l) {
    return l->threads > 0 ? l->threads : l->workers;
}

/* ---- an epoch ---- */

static void set_order(kn_loader *l) {
    if (l->shuffle)
        kn_shuffle(kn_ctx_seed(l->ctx), KN_RANDOM_SHUFFLE, l->epoch, l->order,
                   (uint32_t)l->samples);
    else
        for (int64_t i = 0; i < l->samples; i++)
            l->order[i] = (uint32_t)i;
}

/* Keeps the threads from claiming and waits for the samples they are at. */
static void abandon(kn_loader *l) {
    l->active = false;
    atomic_store(&l->abandon, true);
    while (l->in_flight > 0)
        pthread_cond_wait(&l->ready, &l->mutex);
    atomic_store(&l->abandon, false);
    for (int i = 0; i < l->slots; i++) {
        l->slot[i].state = KN_SLOT_FREE;
        l->slot[i].ticket = 0;
        forget_reasons(l, &l->slot[i]);
    }
}

kn_status kn_loader_start(kn_loader *l, uint32_t epoch) {
    if (l == NULL)
        return KN_ERR_STATE;
    return kn_loader_start_at(l, epoch, 0);
}

kn_status kn_loader_start_at(kn_loader *l, uint32_t epoch, int64_t batch) {
    if (batch < 0 || batch > l->batches)
        return kn_fail(l->ctx, KN_ERR_ARG, "loader: batch %lld of %lld", (long long)batch,
                       (long long)l->batches);
    kn_status status = l->batches > 0 ? kn_loader_threads_start(l) : KN_OK;
    if (status != KN_OK)
        return status;
    pthread_mutex_lock(&l->mutex);
    abandon(l);
    l->epoch = epoch;
    set_order(l);
    l->fill = l->deliver = batch;
    l->whole = batch == 0;
    l->any = false;
    l->fill_at = 0;
    l->active = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
    return KN_OK;
}

/* ---- slots ---- */

/* A slot that is free again: the threads may go on, if they had reached it. */
static void free_slot(kn_loader *l, kn_slot *slot) {
    slot->state = KN_SLOT_FREE;
    slot->ticket = 0;
    pthread_cond_broadcast(&l->work);
}

static void hand_out(kn_loader *l, kn_slot *slot, kn_batch *batch) {
    /* 0 is no ticket, so that a zeroed kn_batch releases nothing. */
    l->tickets = l->tickets == INT_MAX ? 1 : l->tickets + 1;
    slot->state = KN_SLOT_HELD;
    slot->ticket = l->tickets;
    *batch = (kn_batch){.n = slot->n,
                        .height = l->ds->height,
                        .width = l->ds->width,
                        .pixels = slot->pixels,
                        .labels = slot->labels,
                        .index = slot->index,
                        .number = l->deliver - 1,
                        .slot = slot->ticket};
}

/* ---- samples left out ---- */

/* Takes the reason into the list, unless the sample is there from an epoch before. */
static kn_status note_bad(kn_loader *l, int64_t index, char *reason) {
    size_t at = l->bads;
    while (at > 0 && l->bad[at - 1].index > index)
        at--;
    if (at > 0 && l->bad[at - 1].index == index) {
        kn_mem_free(&l->allocator, reason);
        return KN_OK;
    }
    void *list = l->bad;
    bool room = kn_mem_grow(&l->allocator, &list, &l->bad_room, l->bads + 1, sizeof(kn_bad_sample));
    l->bad = list;
    if (!room) {
        kn_mem_free(&l->allocator, reason);
        return kn_fail(l->ctx, KN_ERR_MEMORY, "out of memory: the list of samples left out");
    }
    memmove(l->bad + at + 1, l->bad + at, (l->bads++ - at) * sizeof *l->bad);
    l->bad[at] = (kn_bad_sample){index, reason};
    return KN_OK;
}

/* The samples that are there move together. */
static kn_status close_gaps(kn_loader *l, kn_slot *slot) {
    kn_status status = KN_OK;
    int kept = 0;
    for (int i = 0; i < slot->n; i++) {
        char *reason = slot->reason[i];
        slot->reason[i] = NULL;
        if (reason != NULL) {
            kn_status noted = note_bad(l, slot->index[i], reason);
            status = status == KN_OK ? noted : status;
            continue;
        }
        if (kept < i) {
            memcpy(slot->pixels + (size_t)kept * l->sample_bytes,
                   slot->pixels + (size_t)i * l->sample_bytes, l->sample_bytes);
            slot->labels[kept] = slot->labels[i];
            slot->index[kept] = slot->index[i];
        }
        kept++;
    }
    slot->n = kept;
    return status;
}

const kn_bad_sample *kn_loader_bad(const kn_loader *l, int *count) {
    *count = (int)l->bads;
    return l->bad;
}

/* ---- taking batches ---- */

/* The next batch; passed over, without *got, when it has no or too few samples. */
static kn_status take_next(kn_loader *l, kn_batch *batch, bool *got) {
    kn_status status = KN_OK;
    pthread_mutex_lock(&l->mutex);
    kn_slot *slot = &l->slot[l->deliver % l->slots];
    if (slot->state == KN_SLOT_HELD) {
        pthread_mutex_unlock(&l->mutex);
        return kn_fail(l->ctx, KN_ERR_STATE,
                       "loader: batch %lld has no room until an earlier one is released",
                       (long long)l->deliver);
    }
    while (slot->state == KN_SLOT_FREE || slot->pending > 0)
        pthread_cond_wait(&l->ready, &l->mutex);
    l->deliver++;
    if (slot->failed_at < slot->n) {
        forget_reasons(l, slot);
        status = kn_fail_with(l->ctx, &slot->error);
    } else if (slot->reason != NULL)
        status = close_gaps(l, slot);
    bool enough = slot->n > 0 && (slot->n >= l->least_batch || l->batches == 1);
    if (status == KN_OK && enough) {
        hand_out(l, slot, batch);
        *got = l->any = true;
    } else
        free_slot(l, slot);
    pthread_mutex_unlock(&l->mutex);
    return status;
}

/* An epoch of nothing but bad samples is nobody's wish. */
static kn_status nothing_left(kn_loader *l) {
    if (l->bads == (size_t)l->samples)
        return kn_fail(l->ctx, KN_ERR_DATA, "none of the %lld samples could be read, the first: %s",
                       (long long)l->samples, l->bad[0].reason);
    return kn_fail(l->ctx, KN_ERR_DATA,
                   "%zu of %lld samples could not be read, and no batch has %d left; the first: %s",
                   l->bads, (long long)l->samples, l->least_batch, l->bad[0].reason);
}

kn_status kn_loader_next(kn_loader *l, kn_batch *batch, bool *got) {
    *batch = (kn_batch){0};
    *got = false;
    if (l == NULL)
        return KN_ERR_STATE;
    if (l->deliver < 0)
        return kn_fail(l->ctx, KN_ERR_STATE, "loader: no epoch was started");
    kn_status status = KN_OK;
    while (status == KN_OK && !*got && l->deliver < l->batches)
        status = take_next(l, batch, got);
    if (status == KN_OK && !*got && l->whole && !l->any && l->bads > 0)
        return nothing_left(l);
    return status;
}

void kn_loader_release(kn_loader *l, kn_batch *batch) {
    pthread_mutex_lock(&l->mutex);
    for (int i = 0; i < l->slots && batch->slot > 0; i++)
        if (l->slot[i].ticket == batch->slot)
            free_slot(l, &l->slot[i]);
    pthread_mutex_unlock(&l->mutex);
    *batch = (kn_batch){0};
}
