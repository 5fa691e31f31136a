/* data.h - from files to batches: scan, vocab, split, dataset, loader, normalise. */
#ifndef KILN_DATA_H
#define KILN_DATA_H

#include <kiln/augment.h>
#include <kiln/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- files ---- */

/* The pictures below a folder: paths sorted bytewise, endings .jpg .jpeg .jpe .jfif .png in any
 * case; hidden folders and files and .ipynb_checkpoints are skipped, links to folders are not
 * followed. */
typedef struct kn_files {
    char **path; /* root joined with the relative path */
    int count;
    size_t root_length; /* path[i] + root_length + 1 is relative to the root */
    /* What was passed over: pictures of other kinds by their endings (.heic, .webp, ...), and links
     * to folders; how many, and the first by path (NULL: none). */
    int other_pictures, folder_links;
    char *other_picture, *folder_link;
    /* Folders right below the root, or in a split below train/, in which no picture was found; how
     * many, and the first. */
    int empty_folders;
    char *empty_folder;
} kn_files;

/* KN_ERR_DATA when root is missing, is no folder or holds no picture; KN_ERR_IO when a folder
 * cannot be read. Free with kn_files_free, also after a failure. */
KN_API KN_NODISCARD kn_status kn_files_scan(kn_ctx *ctx, const char *root, kn_files *out);
KN_API void kn_files_free(kn_ctx *ctx, kn_files *files);

/* SHA-256, as 64 hex digits, of all relative paths and sizes; times are left out, so that a copy of
 * the files has the same. A file that cannot be looked at, as a link to nothing, counts as of size
 * -1. KN_ERR_MEMORY. */
KN_API kn_status kn_files_sha256(kn_ctx *ctx, const kn_files *files, char hex[65]);

/* ---- vocab ---- */

/* Class names, sorted bytewise, without doubles. */
typedef struct kn_vocab {
    char **name;
    int count;
} kn_vocab;

KN_API KN_NODISCARD kn_status kn_vocab_from(kn_ctx *ctx, const char *const *names, int count,
                                            kn_vocab *out);
KN_API int kn_vocab_index(const kn_vocab *vocab, const char *name); /* -1: unknown */
KN_API void kn_vocab_free(kn_ctx *ctx, kn_vocab *vocab);

/* ---- split ---- */

typedef struct kn_labelled {
    const char *path; /* borrowed from the kn_files inside kn_split */
    int32_t label;
} kn_labelled;

typedef struct kn_split_opts {
    double valid_pct;      /* percent held out when there is no validation folder; 0: 20 */
    const uint64_t *seed;  /* that chooses them; NULL: the context's */
    const kn_vocab *vocab; /* use these classes instead of the training folders'; may be NULL */
    bool valid_only; /* want only the pictures to validate on: kiln eval on a folder of classes
                        without train/ and valid/ takes them all */
} kn_split_opts;

/* Training and validation pictures with their labels. */
typedef struct kn_split {
    kn_files files;
    kn_vocab vocab;
    kn_labelled *train, *valid; /* in path order */
    int train_count, valid_count;
    bool by_folder; /* from train/ and val/, not by fraction */
} kn_split;

/* root holds train/ and one of val/, valid/, validation/, each with a folder a class; or just a
 * folder a class, split by a seeded fraction of each class (at least one of a class of two or more
 * is held out, at least one stays). The classes are the folders right below train/, or else root;
 * pictures may lie in folders of theirs. A class that only validation has is KN_ERR_DATA naming the
 * folder. Free with kn_split_free, also after a failure. */
KN_API KN_NODISCARD kn_status kn_split_folder(kn_ctx *ctx, const char *root, kn_split_opts opts,
                                              kn_split *out);
KN_API void kn_split_free(kn_ctx *ctx, kn_split *split);

/* ---- dataset ---- */

/* What a dataset's get receives and fills. */
typedef struct kn_sample {
    int64_t index;           /* which: 0 <= index < len */
    uint32_t epoch;          /* of the run; for augmentation */
    uint8_t *slot;           /* write u8 [H,W,3] here */
    int32_t *label;          /* and the class here */
    kn_image_reader *reader; /* the calling thread's own buffers */
    kn_error *error;         /* on failure: kn_error_set(error, ...) and return its status */
} kn_sample;

typedef struct kn_dataset kn_dataset;

enum { KN_DATASET_NAME = 65 };

/* A dataset is two functions. get is called from several threads at once. */
typedef struct kn_dataset_class {
    int64_t (*len)(const kn_dataset *ds);
    kn_status (*get)(const kn_dataset *ds, kn_sample *s);
    void (*free)(kn_dataset *ds); /* may be NULL; frees the object too */
    /* May be NULL. Says what all samples are made of, as 64 hex digits: another name when a byte of
     * any sample may be another. A cache on disk asks for it. */
    kn_status (*identify)(const kn_dataset *ds, char name[KN_DATASET_NAME], kn_error *error);
    /* Both or none: get in two steps, for samples that vary. read gives the picture that they are
     * drawn from, the same in every epoch, and writes the label; draw writes this epoch's sample of
     * it. A cache then keeps pictures. */
    kn_status (*read)(const kn_dataset *ds, kn_sample *s, kn_image *picture);
    kn_status (*draw)(const kn_dataset *ds, kn_sample *s, const kn_image *picture);
} kn_dataset_class;

struct kn_dataset {
    const kn_dataset_class *cls;
    int height, width; /* of every sample */
    bool varies;       /* a sample differs from epoch to epoch, so none is worth keeping itself */
};

KN_API void kn_dataset_free(kn_dataset *ds); /* NULL is allowed */

/* Pictures from files, made size x size: squashed and as they are, unless opts say otherwise.
 * Random draws follow from the context's seed, the epoch and the index. items are borrowed. */
KN_API kn_dataset *kn_image_dataset(kn_ctx *ctx, const kn_labelled *items, int count, int size,
                                    kn_image_opts opts);

/* ---- cache: samples made once ---- */

typedef enum kn_cache_kind {
    KN_CACHE_AUTO, /* memory if they fit its budget, else disk if that has room, else off */
    KN_CACHE_RAM,
    KN_CACHE_DISK, /* a file in folder, which later runs find again */
    KN_CACHE_OFF
} kn_cache_kind;

typedef struct kn_cache_opts {
    kn_cache_kind kind;
    size_t memory;      /* bytes that AUTO, or pictures, may take; 0: kn_cache_memory */
    const char *folder; /* for files; made if need be. NULL: AUTO knows no disk */
} kn_cache_opts;

/* The samples of ds, which is borrowed: each made at its first use and kept from then on. The bytes
 * are those of ds, whatever the cache. Of one that varies the pictures are kept that samples are
 * drawn from, if its class can read and draw: as many as fit into the memory that AUTO may take,
 * with RAM too, as only reading them tells their size; never in a file: with DISK nothing is kept,
 * and the state's kind is OFF, of that as of no samples. NULL on failure:
 * KN_ERR_MEMORY, KN_ERR_IO when DISK was asked for and cannot be had, KN_ERR_ARG when it was
 * without a folder or for a dataset without a name. A file is whole, but for samples that are bad
 * (KN_ERR_DATA, KN_ERR_LIMIT), or not there; it is used only if its name, form and checksums are
 * right, and else made anew. A sample that it has is taken, though this run's max_image_memory
 * would not allow to decode it. A new one takes the place of those in the folder that no run has
 * used for 30 days. A NULL ds (whose constructor failed) gives NULL.
 */
KN_API kn_dataset *kn_cached_dataset(kn_ctx *ctx, kn_dataset *ds, kn_cache_opts opts);

/* A quarter of the memory that the machine, or the limit of a container or job, has left. */
KN_API size_t kn_cache_memory(void);

/* What became of it. */
typedef struct kn_cache_state {
    kn_cache_kind kind; /* never AUTO */
    int64_t bytes;      /* of all samples; where pictures are kept, of those kept so far */
    int64_t pictures;   /* so many */
    bool crowded;       /* and for others there was no room */
    int64_t found;      /* samples that a file of an earlier run had */
    int64_t damaged;    /* of those, found wrong and made anew */
    const char
        *given_up; /* why no file could be written, NULL: it was; until the dataset is freed */
} kn_cache_state;
KN_API kn_cache_state kn_cached_dataset_state(const kn_dataset *ds);

/* ---- loader ---- */

typedef struct kn_loader kn_loader;

typedef struct kn_loader_opts {
    bool shuffle;            /* a permutation from (the context's seed, epoch) */
    int workers;             /* threads, up to 1,024; 0: the processors */
    size_t max_image_memory; /* bytes one picture may take while decoded; 0: 512 MiB */
    /* A sample that is itself at fault (KN_ERR_DATA, KN_ERR_LIMIT) is left out of its batch, which
     * gets shorter; a batch without samples is passed over, an epoch without batches is
     * KN_ERR_DATA. What a sample's index means, and what all others are drawn, stays. Other
     * failures, of a disk or of memory, fail as ever. */
    bool skip_bad;
    /* Batches of fewer samples are left out, unless there is only one: batch norm cannot train on a
     * single number a channel (2), and fastai leaves out what is no whole batch. 0: none is. */
    int least_batch;
} kn_loader_opts;

/* A batch in host memory. pixels and labels belong to the loader and stay until kn_loader_release.
 */
typedef struct kn_batch {
    int n, height, width;
    const uint8_t *pixels; /* [n,height,width,3] */
    const int32_t *labels; /* [n] */
    const int64_t *index;  /* [n]: which samples */
    int64_t number;        /* of the epoch's batches, from 0 */
    int slot;              /* private */
} kn_batch;

/* ds is borrowed; a NULL ds (whose constructor failed) gives NULL. Threads start at the first
 * kn_loader_start and live until kn_loader_free. */
KN_API kn_loader *kn_loader_new(kn_ctx *ctx, kn_dataset *ds, int batch_size, kn_loader_opts opts);
KN_API void kn_loader_free(kn_loader *l);
KN_API int64_t kn_loader_len(const kn_loader *l);     /* batches: ceil(samples / batch_size) */
KN_API int64_t kn_loader_samples(const kn_loader *l); /* len of the dataset */
KN_API int kn_loader_batch_size(const kn_loader *l);
KN_API int kn_loader_workers(const kn_loader *l);

/* Begins an epoch: workers read ahead from here. An epoch under way is abandoned, its outstanding
 * batches released. */
KN_API kn_status kn_loader_start(kn_loader *l, uint32_t epoch);
/* The same from a batch on, 0 <= batch <= len: the batches before it are as if they were taken. */
KN_API kn_status kn_loader_start_at(kn_loader *l, uint32_t epoch, int64_t batch);

/* The next batch, in order whatever the number of workers. *got is false past the last. A sample's
 * failure is returned, and recorded in the context, in place of the batch that holds it: of several
 * the first by position; the batches after it can still be taken. KN_ERR_STATE before the first
 * start, and when the caller holds so many batches that there is no room for the next. */
KN_API kn_status kn_loader_next(kn_loader *l, kn_batch *batch, bool *got);
KN_API void kn_loader_release(kn_loader *l, kn_batch *batch);

/* A sample that was left out, and why. */
typedef struct kn_bad_sample {
    int64_t index;
    const char *reason;
} kn_bad_sample;

/* Those of all batches taken so far, by index, each once. Good until the next batch is taken. */
KN_API const kn_bad_sample *kn_loader_bad(const kn_loader *l, int *count);

typedef struct kn_loaders {
    kn_loader *train, *valid;
} kn_loaders;

/* ---- normalise ---- */

typedef struct kn_normalize {
    float mean[3], std[3]; /* of pixels scaled to [0,1] */
} kn_normalize;

/* From one batch u8 [N,H,W,3]: mean and (n - 1) standard deviation a channel over N, H and W, in
 * double. A channel without variation is KN_ERR_DATA. */
KN_API kn_status kn_normalize_from(kn_ctx *ctx, const kn_batch *batch, kn_normalize *out);

/* u8 [N,H,W,3] -> f32 (x / 255 - mean) / std, on x's device. */
KN_API kn_tensor *kn_normalize_apply(kn_ctx *ctx, const kn_normalize *norm, kn_tensor *x);

/* ---- shapes: a data set that Kiln draws itself ---- */

enum {
    KN_SHAPES_CLASSES = 10,
    KN_SHAPES_TRAIN = 2000,
    KN_SHAPES_VALID = 500,
    KN_SHAPES_SIZE = 96,
    KN_SHAPES_VERSION = 1, /* grows when the pictures change */
};

/* Draws the data set into folder/train/CLASS/N.jpg and folder/valid/..., the same bytes for the
 * same seed; does nothing when it is there whole. Written beside and renamed, so never half there.
 * Nothing is ever replaced: a folder that holds anything else, shapes of another seed or version
 * too, is KN_ERR_DATA. */
KN_API kn_status kn_shapes_write(kn_ctx *ctx, const char *folder, uint64_t seed);

#ifdef __cplusplus
}
#endif
#endif
