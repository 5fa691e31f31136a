/* cublas.cpp - products of matrices, each attribute kept and each shape checked. */
#include "host.h"

#include "cublasLt.h"

struct cuda_host_product {
    cublasOperation_t trans_a, trans_b;
    cublasLtEpilogue_t epilogue;
    const float *bias;
};

struct cuda_host_matrix {
    int64_t rows, cols, step; /* from column to column */
    int32_t batch;
    int64_t batch_step;
};

struct cuda_host_wish {
    uint64_t workspace;
    uint32_t alignment[4];
};

struct cuda_host_blas {
    int open;
};

static cublasStatus_t fits(bool good) {
    return good ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

/* Copies an attribute of that type. */
template <typename T> static cublasStatus_t put(T *to, const void *value, size_t bytes) {
    if (bytes == sizeof *to)
        memcpy(to, value, bytes);
    return fits(bytes == sizeof *to);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    *handle = new cuda_host_blas();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "invalid value";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *how, cublasComputeType_t,
                                        cudaDataType_t) {
    *how = new cuda_host_product();
    (*how)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t how) {
    delete how;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t how,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t bytes) {
    switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return put(&how->trans_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return put(&how->trans_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return put(&how->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return put(&how->bias, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matrix, cudaDataType_t,
                                          uint64_t rows, uint64_t cols, int64_t step) {
    *matrix = new cuda_host_matrix();
    (*matrix)->rows = static_cast<int64_t>(rows);
    (*matrix)->cols = static_cast<int64_t>(cols);
    (*matrix)->step = step;
    (*matrix)->batch = 1;
    return fits(step >= (*matrix)->rows);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matrix) {
    delete matrix;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matrix,
                                                cublasLtMatrixLayoutAttribute_t name,
                                                const void *value, size_t bytes) {
    return name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? put(&matrix->batch, value, bytes)
                                                      : put(&matrix->batch_step, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *wish) {
    *wish = new cuda_host_wish();
    for (uint32_t &alignment : (*wish)->alignment)
        alignment = 256;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t wish) {
    delete wish;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t wish,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t bytes) {
    return name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
               ? put(&wish->workspace, value, bytes)
               : put(&wish->alignment[name - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value,
                     bytes);
}

static const size_t WORKSPACE = 64 << 10; /* bytes, overwritten when it runs */

/* One algorithm, for operands that lie as the least aligned is said to. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t wish, int most,
                                              cublasLtMatmulHeuristicResult_t *found, int *count) {
    *count = most > 0;
    found->algo.alignment = 256;
    found->workspaceSize = WORKSPACE < wish->workspace ? WORKSPACE : wish->workspace;
    for (uint32_t alignment : wish->alignment)
        if (alignment < found->algo.alignment)
            found->algo.alignment = alignment;
    return CUBLAS_STATUS_SUCCESS;
}

static void multiply(const cuda_host_product &how, const cuda_host_matrix &am, const float *a,
                     const cuda_host_matrix &bm, const float *b, const cuda_host_matrix &dm,
                     float *d) {
    bool ta = how.trans_a == CUBLAS_OP_T, tb = how.trans_b == CUBLAS_OP_T;
    int64_t depth = ta ? am.rows : am.cols;
    for (int64_t col = 0; col < dm.cols; col++)
        for (int64_t row = 0; row < dm.rows; row++) {
            double sum = 0;
            for (int64_t k = 0; k < depth; k++)
                sum += static_cast<double>(a[ta ? k + row * am.step : row + k * am.step]) *
                       static_cast<double>(b[tb ? col + k * bm.step : k + col * bm.step]);
            if (how.epilogue == CUBLASLT_EPILOGUE_BIAS)
                sum += static_cast<double>(how.bias[row]);
            d[row + col * dm.step] = static_cast<float>(sum);
        }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t how, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t am, const void *b,
                              cublasLtMatrixLayout_t bm, const void *beta, const void *c,
                              cublasLtMatrixLayout_t cm, void *d, cublasLtMatrixLayout_t dm,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
    bool ta = how->trans_a == CUBLAS_OP_T, tb = how->trans_b == CUBLAS_OP_T;
    uintptr_t places = reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) |
                       reinterpret_cast<uintptr_t>(c) | reinterpret_cast<uintptr_t>(d);
    bool good = handle != nullptr && c == d && cm == dm && places % algorithm->alignment == 0 &&
                *static_cast<const float *>(alpha) == 1 && *static_cast<const float *>(beta) == 0 &&
                (ta ? am->rows : am->cols) == (tb ? bm->cols : bm->rows) &&
                (ta ? am->cols : am->rows) == dm->rows && (tb ? bm->rows : bm->cols) == dm->cols &&
                am->batch == dm->batch && bm->batch == dm->batch;
    if (!good)
        return CUBLAS_STATUS_INVALID_VALUE;
    cuda_host_product how_now = *how; /* the bias may be another's before a graph runs */
    cuda_host_matrix x = *am, y = *bm, z = *dm;
    const float *from_a = static_cast<const float *>(a), *from_b = static_cast<const float *>(b);
    float *to = static_cast<float *>(d);
    cuda_host_submit(stream, 1, [=] {
        static unsigned char other;
        memset(workspace, ++other, workspace_bytes);
        for (int64_t i = 0; i < z.batch; i++)
            multiply(how_now, x, from_a + i * x.batch_step, y, from_b + i * y.batch_step, z,
                     to + i * z.batch_step);
    });
    return CUBLAS_STATUS_SUCCESS;
}
