/* matmul.cu - products of matrices by cuBLASLt, the only file that calls it.
 *
 * It thinks in columns: row-major c = op(a) op(b) is column-major c' = op(b)' op(a)'. So the
 * operands change places, and a bias along a row of c is one along a column of c'. */
#include "backend/cuda/device_math.cuh"

#include <cublasLt.h>

#include <cstdlib>
#include <cstring>

enum { THREADS = 256, BUCKETS = 64, SMALL = 1 << 20, SHALLOW = 1024 };
static const size_t most_workspace = 32 << 20; /* bytes */

/* A product that came before. */
struct product {
    kn_matmul_dims dims;
    bool bias, aligned;
    bool plain; /* cuBLASLt has no algorithm */
    cublasLtMatmulDesc_t how;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace; /* that it needs */
    product *next;    /* in its bucket */
};

struct kn_cuda_products {
    cublasLtHandle_t handle;
    product *bucket[BUCKETS];
};

/* ---- the plain kernel ---- */

/* A thread a number of c. */
static __global__ void plain_kernel(int64_t count, kn_matmul_dims m, const float *a, const float *b,
                                    const float *bias, float *c) {
    int64_t i = kn_thread();
    if (i >= count)
        return;
    int64_t column = i % m.n, row = i / m.n % m.m, batch = i / (m.n * m.m);
    const float *p = a + batch * m.m * m.k + (m.trans_a ? row : row * m.k);
    const float *q = b + batch * m.k * m.n + (m.trans_b ? column * m.k : column);
    int64_t p_step = m.trans_a ? m.m : 1, q_step = m.trans_b ? 1 : m.n;
    float sum = 0;
#pragma unroll 8
    for (int64_t k = 0; k < m.k; k++)
        sum = fmaf(p[k * p_step], q[k * q_step], sum);
    c[i] = bias != NULL ? sum + bias[column] : sum;
}

/* What the product touches, for the next command: weights are pieces of a flat buffer. */
static void tell_extents(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                         const float *bias, const float *c) {
    kn_cuda_extent(d, a, static_cast<size_t>(m->batch * m->m * m->k) * sizeof *a);
    kn_cuda_extent(d, b, static_cast<size_t>(m->batch * m->k * m->n) * sizeof *b);
    kn_cuda_extent(d, bias, static_cast<size_t>(m->n) * sizeof *bias);
    kn_cuda_extent(d, c, static_cast<size_t>(m->batch * m->m * m->n) * sizeof *c);
}

static kn_status plain(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                       const float *bias, float *c) {
    int64_t count = m->batch * m->m * m->n;
    tell_extents(d, m, a, b, bias, c);
    return kn_cuda_launch(d, "plain matmul", plain_kernel, kn_cuda_blocks(count, THREADS), THREADS,
                          0, count, *m, a, b, bias, c);
}

/* ---- cuBLASLt ---- */

static kn_status complain(kn_device *d, const kn_matmul_dims *m, cublasStatus_t status) {
    if (status == CUBLAS_STATUS_SUCCESS)
        return KN_OK;
    return kn_cuda_fail(
        d, KN_ERR_DEVICE,
        "device cuda:%d: cuBLAS, a product of [%lld,%lld,%lld] with [%lld,%lld]: %s", d->ordinal,
        static_cast<long long>(m->batch), static_cast<long long>(m->m),
        static_cast<long long>(m->k), static_cast<long long>(m->k), static_cast<long long>(m->n),
        cublasLtGetStatusString(status));
}

static kn_cuda_products *opened(kn_device *d) {
    kn_cuda *cuda = kn_cuda_of(d);
    if (cuda->products != NULL)
        return cuda->products;
    kn_cuda_products *p = static_cast<kn_cuda_products *>(calloc(1, sizeof *p));
    if (p == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: products on device cuda:%d", d->ordinal);
        return NULL;
    }
    cuda->products = p;
    cublasStatus_t status = cublasLtCreate(&p->handle);
    if (status == CUBLAS_STATUS_SUCCESS)
        return p;
    kn_cuda_fail(d, KN_ERR_DEVICE, "device cuda:%d: cuBLAS does not start: %s", d->ordinal,
                 cublasLtGetStatusString(status));
    kn_cuda_products_free(d);
    return NULL;
}

static void drop(product *p) {
    if (p->how != NULL)
        cublasLtMatmulDescDestroy(p->how);
    for (cublasLtMatrixLayout_t layout : {p->a, p->b, p->c})
        if (layout != NULL)
            cublasLtMatrixLayoutDestroy(layout);
    free(p);
}

void kn_cuda_products_free(kn_device *d) {
    kn_cuda_products *p = kn_cuda_of(d)->products;
    if (p == NULL)
        return;
    for (product *&first : p->bucket)
        while (first != NULL) {
            product *gone = first;
            first = gone->next;
            drop(gone);
        }
    if (p->handle != NULL)
        cublasLtDestroy(p->handle);
    free(p);
    kn_cuda_of(d)->products = NULL;
}

/* A row-major matrix [rows,cols] of each batch, as columns see it. */
static cublasStatus_t layout(cublasLtMatrixLayout_t *out, const kn_matmul_dims *m, int64_t rows,
                             int64_t cols) {
    int32_t batch = static_cast<int32_t>(m->batch);
    int64_t step = rows * cols;
    cublasStatus_t status = cublasLtMatrixLayoutCreate(out, CUDA_R_32F, static_cast<uint64_t>(cols),
                                                       static_cast<uint64_t>(rows), cols);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                                  sizeof batch);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                  &step, sizeof step);
    return status;
}

static cublasStatus_t describe(product *p) {
    const char *tf32 = getenv("KILN_CUDA_TF32");
    bool fast = tf32 != NULL && strcmp(tf32, "1") == 0;
    const kn_matmul_dims *m = &p->dims;
    /* Columns' first operand is b, transposed when it is stored [n,k]. */
    cublasOperation_t first = m->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t second = m->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cublasStatus_t status = cublasLtMatmulDescCreate(
        &p->how, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulDescSetAttribute(p->how, CUBLASLT_MATMUL_DESC_TRANSA, &first,
                                                sizeof first);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulDescSetAttribute(p->how, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                                                sizeof second);
    if (status == CUBLAS_STATUS_SUCCESS && p->bias)
        status = cublasLtMatmulDescSetAttribute(p->how, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                                sizeof epilogue);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = layout(&p->b, m, m->trans_b ? m->n : m->k, m->trans_b ? m->k : m->n);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = layout(&p->a, m, m->trans_a ? m->k : m->m, m->trans_a ? m->m : m->k);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = layout(&p->c, m, m->m, m->n);
    return status;
}

/* The heuristic's first algorithm; plain when there is none. Operands that lie at odd addresses say
 * so.
 */
static cublasStatus_t choose(kn_cuda_products *all, product *p) {
    cublasLtMatmulPreference_t wish;
    cublasLtMatmulHeuristicResult_t found = {};
    int count = 0;
    uint32_t alignment = p->aligned ? 16 : 4;
    cublasStatus_t status = cublasLtMatmulPreferenceCreate(&wish);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    status = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &most_workspace, sizeof most_workspace);
    for (cublasLtMatmulPreferenceAttributes_t name :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
        if (status == CUBLAS_STATUS_SUCCESS)
            status = cublasLtMatmulPreferenceSetAttribute(wish, name, &alignment, sizeof alignment);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatmulAlgoGetHeuristic(all->handle, p->how, p->b, p->a, p->c, p->c, wish,
                                                1, &found, &count);
    cublasLtMatmulPreferenceDestroy(wish);
    p->plain = status != CUBLAS_STATUS_SUCCESS || count == 0;
    p->algorithm = found.algo;
    p->workspace = found.workspaceSize;
    return CUBLAS_STATUS_SUCCESS;
}

static product *product_for(kn_device *d, kn_cuda_products *all, const kn_matmul_dims *m, bool bias,
                            bool aligned) {
    size_t bucket = static_cast<size_t>(m->batch * 7 + m->m * 31 + m->n * 13 + m->k) % BUCKETS;
    product *p = all->bucket[bucket];
    while (p != NULL &&
           !(p->dims.batch == m->batch && p->dims.m == m->m && p->dims.n == m->n &&
             p->dims.k == m->k && p->dims.trans_a == m->trans_a && p->dims.trans_b == m->trans_b &&
             p->bias == bias && p->aligned == aligned))
        p = p->next;
    if (p != NULL)
        return p;
    p = static_cast<product *>(calloc(1, sizeof *p));
    if (p == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: a product on device cuda:%d", d->ordinal);
        return NULL;
    }
    p->dims = *m;
    p->bias = bias;
    p->aligned = aligned;
    cublasStatus_t status = describe(p);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = choose(all, p);
    if (complain(d, m, status) != KN_OK) {
        drop(p);
        return NULL;
    }
    p->next = all->bucket[bucket];
    all->bucket[bucket] = p;
    return p;
}

struct call {
    const product *p;
    const float *a, *b, *bias;
    float *c;
    void *workspace;
};

static kn_status run(kn_device *d, cudaStream_t stream, const void *args) {
    const call *k = static_cast<const call *>(args);
    kn_cuda_products *all = kn_cuda_of(d)->products;
    const product *p = k->p;
    const float one = 1, zero = 0;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (p->bias)
        status = cublasLtMatmulDescSetAttribute(p->how, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &k->bias,
                                                sizeof k->bias);
    if (status == CUBLAS_STATUS_SUCCESS)
        status =
            cublasLtMatmul(all->handle, p->how, &one, k->b, p->b, k->a, p->a, &zero, k->c, p->c,
                           k->c, p->c, &p->algorithm, k->workspace, p->workspace, stream);
    return complain(d, &p->dims, status);
}

extern "C" kn_status kn_cuda_matmul(kn_device *d, const kn_matmul_dims *m, const float *a,
                                    const float *b, const float *bias, float *c) {
    if (m->batch * m->m * m->n == 0 || m->k == 0 ||
        (m->m * m->n * m->k <= SMALL && m->k <= SHALLOW))
        return plain(d, m, a, b, bias, c);
    kn_cuda_products *all = opened(d);
    if (all == NULL)
        return d->error->status;
    bool aligned = kn_aligned(a, b, bias, c);
    product *p = product_for(d, all, m, bias != NULL, aligned);
    if (p == NULL)
        return d->error->status;
    if (p->plain)
        return plain(d, m, a, b, bias, c);
    call k = {p, a, b, bias, c, NULL};
    if (p->workspace > 0 && (k.workspace = kn_cuda_scratch(d, p->workspace)) == NULL)
        return KN_ERR_MEMORY;
    kn_touches touches = {};
    for (const float *read : {a, b, bias})
        kn_touches_add(&touches, read, false);
    kn_touches_add(&touches, c, true);
    kn_touches_add(&touches, k.workspace, true);
    tell_extents(d, m, a, b, bias, c);
    return kn_cuda_submit(d, "matmul", run, &k, sizeof k, &touches);
}
