/* loader.h - the loader's inside: a ring of batches that threads fill and the caller empties.
 *
 * Samples are numbered in the epoch's order. Threads claim them in small chunks, in that order,
 * and write each straight into its place in its batch; batch b lives in slot b modulo the number
 * of slots. The mutex guards every field below it except the slots' arrays: those belong to the
 * threads while their batch is filled, and to the caller while it holds the batch. */
#ifndef KN_DATA_LOADER_H
#define KN_DATA_LOADER_H

#include "core/ctx.h"

#include <kiln/data.h>

#include <pthread.h>
#include <stdatomic.h>

/* Claimed at once. Four small pictures take about a millisecond: taking the lock costs nothing
 * beside that, and a batch's last chunk keeps nobody waiting for long. */
enum { KN_LOADER_CHUNK = 4 };

/* By how much a loader's thread gives way to one that computes. */
enum { KN_LOADER_NICE = 10 };

typedef enum kn_slot_state { KN_SLOT_FREE, KN_SLOT_FILLING, KN_SLOT_HELD } kn_slot_state;

typedef struct kn_slot {
    uint8_t *pixels; /* [room,H,W,3] */
    int32_t *labels; /* [room] */
    int64_t *index;  /* [room] */
    char **reason;   /* [room]: why a sample is to be left out, else NULL. NULL: none may be */
    kn_slot_state state;
    int n;          /* samples of the batch */
    int pending;    /* of these, not yet there */
    int failed_at;  /* the first position that failed; n: none */
    kn_error error; /* of that one */
    int ticket;     /* while held: the number in the caller's kn_batch */
} kn_slot;

typedef int (*kn_thread_start)(pthread_t *thread, const pthread_attr_t *attributes,
                               void *(*run)(void *), void *argument);

struct kn_loader {
    /* Fixed, or changed only while no thread works. */
    kn_ctx *ctx; /* the caller's thread alone uses it */
    kn_allocator allocator;
    const kn_dataset *ds;
    bool shuffle;
    int batch_size, slots, workers;
    int room; /* samples a slot can hold */
    int64_t samples, batches;
    size_t sample_bytes;
    size_t max_image_memory; /* of a thread's reader */
    bool skip_bad;
    int least_batch;
    kn_bad_sample *bad; /* [bads]: left out so far, by index; the caller's thread alone */
    size_t bads, bad_room;
    uint32_t *order; /* [samples]: the epoch's order */
    uint32_t epoch;
    pthread_t *thread;            /* [workers] */
    int threads;                  /* of these, running */
    kn_thread_start start_thread; /* pthread_create, unless a test makes it fail */

    atomic_bool abandon; /* threads leave their chunk after the sample at hand */
    pthread_mutex_t mutex;
    pthread_cond_t work;  /* for the threads: something may be claimed, or quit */
    pthread_cond_t ready; /* for the caller: the oldest batch is there, or no thread is at work */
    bool active, quit;
    int64_t fill;    /* the batch of the next claim */
    int fill_at;     /* and the position in it */
    int64_t deliver; /* the batch the caller gets next */
    bool whole;      /* the epoch began with its first batch */
    bool any;        /* a sample of it was handed out */
    int in_flight;   /* chunks claimed and not finished */
    int tickets;     /* given so far */
    kn_slot *slot;   /* [slots] */
};

/* loader_pool.c */

/* Starts the threads if none runs; with fewer than wanted it goes on. */
kn_status kn_loader_threads_start(kn_loader *l);
/* Waits for the samples at hand and ends the threads. */
void kn_loader_threads_end(kn_loader *l);
/* The samples of a batch: the last may have fewer. */
int kn_loader_batch_samples(const kn_loader *l, int64_t batch);

#endif
