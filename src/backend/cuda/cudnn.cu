/* cudnn.cu - cuDNN 9, through its graph interface in C: a convolution is described as a graph of
 * operations on tensors, heuristics name engines for it, an engine with its knobs set becomes a
 * plan, and a plan is executed on pointers. Nothing here is kept but plans. */
#include "backend/cuda/cudnn.cuh"

#include <cudnn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { FIRST = 1, SECOND, RESULT }; /* tensors' numbers */
enum { MOST_CONFIGS = 48, MOST_KNOBS = 24, TEXT = 400 };
static const int64_t most_workspace = 256 << 20;

typedef cudnnBackendDescriptor_t descriptor;

struct kn_cudnn {
    cudnnHandle_t handle;
};

struct kn_cudnn_plan {
    descriptor plan;
    size_t workspace;
    kn_conv_pass pass;
    char text[TEXT];
};

size_t kn_cuda_cudnn_version() {
    return cudnnGetVersion();
}

/* ---- descriptors ---- */

/* Some descriptors under way. Once a call has failed the others do nothing, so that the first
 * failure is the one that is told. */
struct builder {
    descriptor made[64];
    int count;
    cudnnStatus_t status;
    const char *failed;
};

static void note(builder *b, cudnnStatus_t status, const char *what) {
    if (b->status == CUDNN_STATUS_SUCCESS && status != CUDNN_STATUS_SUCCESS) {
        b->status = status;
        b->failed = what;
    }
}

static bool good(const builder *b) {
    return b->status == CUDNN_STATUS_SUCCESS;
}

static descriptor make(builder *b, cudnnBackendDescriptorType_t type) {
    descriptor d = NULL;
    if (b->count == static_cast<int>(sizeof b->made / sizeof b->made[0]))
        note(b, CUDNN_STATUS_INTERNAL_ERROR, "too many descriptors");
    if (good(b))
        note(b, cudnnBackendCreateDescriptor(type, &d), "a descriptor");
    if (d != NULL)
        b->made[b->count++] = d;
    return d;
}

static void set(builder *b, descriptor d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *value,
                const char *what) {
    if (good(b))
        note(b, cudnnBackendSetAttribute(d, name, type, count, value), what);
}

static void set_one(builder *b, descriptor d, cudnnBackendAttributeName_t name,
                    const descriptor *value, const char *what) {
    set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, value, what);
}

static void finish(builder *b, descriptor d, const char *what) {
    if (good(b))
        note(b, cudnnBackendFinalize(d), what);
}

/* All that were made and not taken out. */
static void drop(builder *b) {
    while (b->count > 0)
        if (b->made[--b->count] != NULL)
            cudnnBackendDestroyDescriptor(b->made[b->count]);
}

/* ---- the graph of a form ---- */

/* NHWC as cuDNN has it: the sizes in the order N, C, H, W, the strides say where they lie. */
static descriptor tensor(builder *b, int64_t id, cudnnDataType_t type, int64_t n, int64_t c,
                         int64_t h, int64_t w) {
    const int64_t dims[4] = {n, c, h, w}, strides[4] = {h * w * c, 1, w * c, c}, alignment = 16;
    descriptor t = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(b, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id, "a tensor's number");
    set(b, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type, "a tensor's type");
    set(b, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims, "a tensor's dimensions");
    set(b, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides, "a tensor's strides");
    set(b, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment,
        "a tensor's alignment");
    finish(b, t, "a tensor");
    return t;
}

static descriptor convolution(builder *b, const kn_conv_dims *c) {
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t spatial = 2, ones[2] = {1, 1}, stride[2] = {c->stride, c->stride},
                  padding[2] = {c->padding, c->padding};
    descriptor d = make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute, "compute type");
    set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode, "mode");
    set(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &spatial, "dimensions");
    set(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones, "dilations");
    set(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride, "strides");
    set(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, padding, "padding");
    set(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, padding, "padding");
    finish(b, d, "the convolution");
    return d;
}

/* Scale factors are of the compute type: a double's first four bytes would be read as the float 0.
 */
static const float one = 1, zero = 0;

enum kind { INPUT, OUTPUT, WEIGHTS };

/* Of a pass: its operation, what it reads and makes, and cuDNN's names for all that. */
struct pass_form {
    cudnnBackendDescriptorType_t operation;
    kind a, b, out;
    cudnnBackendAttributeName_t a_name, b_name, out_name, conv, alpha, beta;
};

static const pass_form pass_forms[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, INPUT, WEIGHTS, OUTPUT,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, OUTPUT, WEIGHTS, INPUT,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, INPUT, OUTPUT, WEIGHTS,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static descriptor tensor_of(builder *b, kind of, int64_t id, cudnnDataType_t type,
                            const kn_conv_dims *c) {
    return of == INPUT    ? tensor(b, id, type, c->n, c->in, c->h, c->w)
           : of == OUTPUT ? tensor(b, id, type, c->n, c->out, c->out_h, c->out_w)
                          : tensor(b, id, type, c->out, c->in, c->kernel_h, c->kernel_w);
}

static descriptor operation(builder *b, const kn_conv_form *f) {
    const pass_form *p = &pass_forms[f->pass];
    cudnnDataType_t type = f->bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    descriptor first = tensor_of(b, p->a, FIRST, type, &f->dims);
    descriptor second = tensor_of(b, p->b, SECOND, type, &f->dims);
    descriptor result = tensor_of(b, p->out, RESULT, f->wide ? CUDNN_DATA_FLOAT : type, &f->dims);
    descriptor conv = convolution(b, &f->dims), op = make(b, p->operation);
    set_one(b, op, p->a_name, &first, "the first operand");
    set_one(b, op, p->b_name, &second, "the second operand");
    set_one(b, op, p->out_name, &result, "the result");
    set_one(b, op, p->conv, &conv, "the convolution");
    set(b, op, p->alpha, CUDNN_TYPE_FLOAT, 1, &one, "alpha");
    set(b, op, p->beta, CUDNN_TYPE_FLOAT, 1, &zero, "beta");
    finish(b, op, "the operation");
    return op;
}

static descriptor make_graph(builder *b, kn_cudnn *c, const kn_conv_form *f) {
    descriptor op = operation(b, f);
    descriptor d = make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &c->handle, "a handle");
    set_one(b, d, CUDNN_ATTR_OPERATIONGRAPH_OPS, &op, "an operation");
    finish(b, d, "the graph of operations");
    return d;
}

/* ---- engines ---- */

/* Deterministic, and of the precision that was asked for: large tiles of Winograd's method lose
 * digits. */
static bool acceptable(descriptor engine, const kn_conv_form *f) {
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                 CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count,
                                 notes) != CUDNN_STATUS_SUCCESS)
        return false;
    bool exact = !f->bf16 && !f->tf32;
    for (int64_t i = 0; i < count; i++)
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
            notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
            (exact && (notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE ||
                       notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
                       notes[i] == CUDNN_NUMERICAL_NOTE_FFT ||
                       notes[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4 ||
                       notes[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6 ||
                       notes[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13)))
            return false;
    return true;
}

/* In debug mode: which engine, and what cuDNN says of it. */
static void tell_engine(descriptor engine, const kn_conv_form *f, const char *text) {
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    const kn_conv_dims *c = &f->dims;
    cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                             CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes);
    fprintf(stderr, "cuda: pass %d, %s, %lldx%lldx%lld %lld to %lld, kernel %lld: %s; notes",
            f->pass, f->bf16 ? "bf16" : "f32", static_cast<long long>(c->n),
            static_cast<long long>(c->h), static_cast<long long>(c->w),
            static_cast<long long>(c->in), static_cast<long long>(c->out),
            static_cast<long long>(c->kernel_h), text);
    for (int64_t i = 0; i < count; i++)
        fprintf(stderr, " %d", static_cast<int>(notes[i]));
    fprintf(stderr, "\n");
}

static bool compiles(descriptor engine) {
    cudnnBackendBehaviorNote_t notes[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t count = 0;
    if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                                 CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &count,
                                 notes) != CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < count; i++)
        if (notes[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)
            return true;
    return false;
}

/* "engine 12 3=1 5=0": its index, then each knob's type and value. */
static bool describe(descriptor config, descriptor engine, char *text, size_t size) {
    descriptor knob[MOST_KNOBS] = {};
    int64_t index = 0, count = 0, knobs = 0;
    bool fine = cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64,
                                         1, &count, &index) == CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < MOST_KNOBS && fine; i++)
        fine = cudnnBackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[i]) ==
               CUDNN_STATUS_SUCCESS;
    fine = fine && cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                            CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_KNOBS, &knobs,
                                            knob) == CUDNN_STATUS_SUCCESS;
    int at = snprintf(text, size, "engine %lld", static_cast<long long>(index));
    for (int i = 0; i < MOST_KNOBS; i++) {
        cudnnBackendKnobType_t type;
        int64_t value;
        if (fine && i < knobs &&
            cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                     CUDNN_TYPE_KNOB_TYPE, 1, &count,
                                     &type) == CUDNN_STATUS_SUCCESS &&
            cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64,
                                     1, &count, &value) == CUDNN_STATUS_SUCCESS)
            at += snprintf(text + at, size - static_cast<size_t>(at), " %d=%lld",
                           static_cast<int>(type), static_cast<long long>(value));
        if (knob[i] != NULL)
            cudnnBackendDestroyDescriptor(knob[i]);
        fine = fine && at < static_cast<int>(size) - 32;
    }
    return fine;
}

/* A plan of a finished engine's config. NULL: it does not run here. */
static kn_cudnn_plan *make_plan(kn_cudnn *c, const kn_conv_form *f, descriptor config,
                                builder *why) {
    builder b = {};
    int64_t workspace = 0, count = 0;
    descriptor plan = make(&b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &c->handle, "a handle");
    set_one(&b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &config, "a plan's engine");
    finish(&b, plan, "a plan");
    if (good(&b))
        note(&b,
             cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                      CUDNN_TYPE_INT64, 1, &count, &workspace),
             "a plan's workspace");
    kn_cudnn_plan *made = good(&b) && workspace <= most_workspace
                              ? static_cast<kn_cudnn_plan *>(calloc(1, sizeof *made))
                              : NULL;
    if (made == NULL) {
        note(why, good(&b) ? CUDNN_STATUS_NOT_SUPPORTED : b.status,
             good(&b) ? "its workspace" : b.failed);
        drop(&b);
        return NULL;
    }
    made->plan = plan;
    made->workspace = static_cast<size_t>(workspace);
    made->pass = f->pass;
    return made;
}

static kn_cudnn_plan *plan_of_config(kn_device *d, kn_cudnn *c, const kn_conv_form *f,
                                     descriptor config, bool compiled, builder *why) {
    builder b = {};
    int64_t count = 0;
    kn_cudnn_plan *made = NULL;
    descriptor engine = make(&b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (good(&b))
        note(&b,
             cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &engine),
             "a config's engine");
    if (good(&b) && acceptable(engine, f) && compiles(engine) == compiled)
        made = make_plan(c, f, config, why);
    if (made != NULL && !describe(config, engine, made->text, sizeof made->text)) {
        kn_cudnn_plan_free(made);
        made = NULL;
    }
    if (made != NULL && kn_cuda_of(d)->debug)
        tell_engine(engine, f, made->text);
    note(why, b.status, b.failed);
    drop(&b);
    return made;
}

/* Plans of the configs that one mode of the heuristics names. */
static int plans_of_mode(kn_device *d, kn_cudnn *c, const kn_conv_form *f, descriptor graph_of,
                         cudnnBackendHeurMode_t mode, bool compiled, kn_cudnn_plan **out, int most,
                         builder *why) {
    builder b = {};
    int64_t count = 0;
    int found = 0;
    descriptor heuristics = make(&b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), config[MOST_CONFIGS];
    set_one(&b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &graph_of, "heuristics");
    set(&b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode, "heuristics");
    finish(&b, heuristics, "heuristics");
    for (int i = 0; i < MOST_CONFIGS; i++)
        config[i] = make(&b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (good(&b))
        note(&b,
             cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                      CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_CONFIGS, &count, config),
             "heuristics' results");
    for (int64_t i = 0; good(&b) && i < count && i < MOST_CONFIGS && found < most; i++) {
        out[found] = plan_of_config(d, c, f, config[i], compiled, why);
        found += out[found] != NULL;
    }
    note(why, b.status, b.failed);
    drop(&b);
    return found;
}

int kn_cudnn_plans(kn_device *d, kn_cudnn *c, const kn_conv_form *f, kn_cudnn_plan **out,
                   int most) {
    builder b = {}, why = {};
    descriptor graph_of = make_graph(&b, c, f);
    int found = 0;
    for (int i = 0; i < 4 && good(&b) && found == 0; i++)
        found = plans_of_mode(d, c, f, graph_of,
                              i % 2 == 0 ? CUDNN_HEUR_MODE_A : CUDNN_HEUR_MODE_FALLBACK, i >= 2,
                              out, most, &why);
    note(&b, why.status, why.failed);
    if (found == 0 && kn_cuda_of(d)->debug)
        fprintf(stderr, "cuda: cuDNN has no engine: %s: %s\n",
                b.failed != NULL ? b.failed : "none fits", cudnnGetErrorString(b.status));
    drop(&b);
    return found;
}

kn_cudnn_plan *kn_cudnn_plan_from(kn_device *d, kn_cudnn *c, const kn_conv_form *f,
                                  const char *text) {
    builder b = {}, why = {};
    descriptor knob[MOST_KNOBS];
    int64_t index = 0, value = 0;
    int type = 0, length = 0, knobs = 0;
    if (sscanf(text, "engine %ld%n", &index, &length) != 1)
        return NULL;
    descriptor graph_of = make_graph(&b, c, f), engine = make(&b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    set_one(&b, engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, &graph_of, "an engine's graph");
    set(&b, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index, "its index");
    finish(&b, engine, "an engine");
    for (const char *at = text + length;
         knobs < MOST_KNOBS && sscanf(at, " %d=%ld%n", &type, &value, &length) == 2; at += length) {
        cudnnBackendKnobType_t kind = static_cast<cudnnBackendKnobType_t>(type);
        descriptor k = make(&b, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        set(&b, k, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &kind, "a knob");
        set(&b, k, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &value,
            "a knob's value");
        finish(&b, k, "a knob");
        knob[knobs++] = k;
    }
    descriptor config = make(&b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    set_one(&b, config, CUDNN_ATTR_ENGINECFG_ENGINE, &engine, "a config's engine");
    if (knobs > 0)
        set(&b, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, knobs,
            knob, "a config's knobs");
    finish(&b, config, "a config");
    kn_cudnn_plan *plan = good(&b) && acceptable(engine, f) ? make_plan(c, f, config, &why) : NULL;
    if (plan != NULL)
        snprintf(plan->text, sizeof plan->text, "%s", text);
    else if (kn_cuda_of(d)->debug)
        fprintf(stderr, "cuda: \"%s\" from the plan file does not run: %s\n", text,
                good(&b) ? why.failed : b.failed);
    drop(&b);
    return plan;
}

void kn_cudnn_plan_text(const kn_cudnn_plan *plan, char *text, size_t size) {
    snprintf(text, size, "%s", plan->text);
}

size_t kn_cudnn_workspace(const kn_cudnn_plan *plan) {
    return plan->workspace;
}

void kn_cudnn_plan_free(kn_cudnn_plan *plan) {
    if (plan == NULL)
        return;
    cudnnBackendDestroyDescriptor(plan->plan);
    free(plan);
}

/* ---- running ---- */

kn_status kn_cudnn_execute(kn_device *d, cudaStream_t stream, const kn_cudnn_run *run) {
    static const char *const name[] = {"forward", "gradient of the data",
                                       "gradient of the weights"};
    const kn_cudnn_plan *plan = run->plan;
    const int64_t ids[3] = {FIRST, SECOND, RESULT};
    const void *pointers[3] = {run->a, run->b, run->out};
    builder b = {};
    descriptor pack = make(&b, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids, "tensors");
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers,
        "pointers");
    set(&b, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &run->workspace,
        "a workspace");
    finish(&b, pack, "the pointers");
    if (good(&b))
        note(&b, cudnnSetStream(run->cudnn->handle, stream), "the stream");
    if (good(&b))
        note(&b, cudnnBackendExecute(run->cudnn->handle, plan->plan, pack), "running");
    drop(&b);
    if (good(&b))
        return KN_OK;
    return kn_cuda_fail(d, KN_ERR_DEVICE, "device cuda:%d: cuDNN's convolution, %s: %s: %s",
                        d->ordinal, name[plan->pass], b.failed, cudnnGetErrorString(b.status));
}

/* ---- the library's handle ---- */

kn_cudnn *kn_cudnn_new(kn_device *d) {
    kn_cudnn *c = static_cast<kn_cudnn *>(calloc(1, sizeof *c));
    if (c == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: cuDNN for device cuda:%d", d->ordinal);
        return NULL;
    }
    cudnnStatus_t status = cudnnCreate(&c->handle);
    if (status == CUDNN_STATUS_SUCCESS)
        return c;
    kn_cuda_fail(d, KN_ERR_DEVICE, "device cuda:%d: cuDNN %zu does not start: %s", d->ordinal,
                 cudnnGetVersion(), cudnnGetErrorString(status));
    free(c);
    return NULL;
}

void kn_cudnn_free(kn_cudnn *c) {
    if (c == NULL)
        return;
    cudnnDestroy(c->handle);
    free(c);
}
