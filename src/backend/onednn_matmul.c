/* onednn_matmul.c - products of matrices by oneDNN. */
#include "backend/onednn.h"
#include "backend/onednn_team.h"

#include <oneapi/dnnl/dnnl.h>
#include <string.h>

static kn_status products(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                          const float *bias, float *c) {
    if (m->m == 0 || m->n == 0)
        return KN_OK;
    if (m->k == 0 && bias == NULL)
        memset(c, 0, (size_t)(m->batch * m->m * m->n) * sizeof *c);
    for (int64_t i = 0; i < m->m && bias != NULL; i++)
        memcpy(c + i * m->n, bias, (size_t)m->n * sizeof *c);
    for (int64_t batch = 0; batch < m->batch && m->k > 0; batch++) {
        dnnl_status_t code =
            dnnl_sgemm(m->trans_a ? 'T' : 'N', m->trans_b ? 'T' : 'N', m->m, m->n, m->k, 1.0f, a,
                       m->trans_a ? m->m : m->k, b, m->trans_b ? m->k : m->n,
                       bias != NULL ? 1.0f : 0.0f, c, m->n);
        if (code != dnnl_success)
            return kn_error_set(
                d->error, code == dnnl_out_of_memory ? KN_ERR_MEMORY : KN_ERR_DEVICE,
                "oneDNN: a product [%lld,%lld] x [%lld,%lld] failed with status %d",
                (long long)m->m, (long long)m->k, (long long)m->k, (long long)m->n, (int)code);
        a += m->m * m->k;
        b += m->k * m->n;
        c += m->m * m->n;
    }
    return KN_OK;
}

kn_status kn_onednn_matmul(kn_device *d, const kn_matmul_dims *m, const float *a, const float *b,
                           const float *bias, float *c) {
    team t = enter(d);
    kn_status status = products(d, m, a, b, bias, c);
    leave(t);
    return status;
}
