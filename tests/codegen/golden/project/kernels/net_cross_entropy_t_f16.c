/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax cross-entropy with soft labels and sample weights, and its gradient (Goodfellow, Bengio and
 * Courville, "Deep Learning", 2016, section 6.2.2.3):
 *
 *   loss = 1 / batch * sum over n of weight[n] * sum over c of -target[n][c] * log softmax(logits[n])[c]
 *   dlogits[n][c] = loss_scale * weight[n] / batch * (softmax(logits[n])[c] * sum(target[n]) - target[n][c])
 *
 * The largest logit is taken off first, so no exponential overflows. In fp32, rounded once at the store.
 * dlogits must not be logits: core 0 adds up the loss of the samples whose gradient other cores write.
 */
#include "odl_isa.h"
#include "odl_math.h"

#include "net_kernels.h"

/* max(logits), NaN if one is, and the sum of exp(logits - max). */
static void normaliser(const odl_f16 *logits, uint32_t classes, float *largest, float *sum) {
    float top = odl_load_f16(logits);
    for (uint32_t c = 1; c < classes; c++) {
        const float v = odl_load_f16(logits + c);
        top = v > top || v != v ? v : top;
    }
    float total = 0.0f;
    for (uint32_t c = 0; c < classes; c++) {
        total += odl_expf(odl_load_f16(logits + c) - top);
    }
    *largest = top;
    *sum = total;
}

/* -sum of target * log softmax(logits) */
static float sample_loss(const odl_f16 *logits, const float *target, uint32_t classes) {
    float largest, sum, loss = 0.0f;
    normaliser(logits, classes, &largest, &sum);
    const float logarithm = odl_logf(sum);
    for (uint32_t c = 0; c < classes; c++) {
        loss = __builtin_fmaf(target[c], logarithm - (odl_load_f16(logits + c) - largest), loss);
    }
    return loss;
}

void net_cross_entropy_t_f16(const struct odl_classes_shape *s, const odl_f16 *logits, const float *target,
                             const float *weight, float *loss, odl_f16 *dlogits, float loss_scale,
                             uint32_t core, uint32_t cores) {
    if (core == 0u) {
        float sum = 0.0f;
        for (uint32_t n = 0; n < s->batch; n++) {
            const size_t row = (size_t)n * s->classes;
            sum = __builtin_fmaf(weight[n], sample_loss(logits + row, target + row, s->classes), sum);
        }
        *loss = sum / (float)s->batch;
        if (cores > 1u) {
            return; /* the others share the gradient */
        }
    }
    const uint32_t others = cores > 1u ? cores - 1u : 1u, other = cores > 1u ? core - 1u : 0u;
    const uint32_t end = odl_share_begin(s->batch, other + 1u, others);
    for (uint32_t n = odl_share_begin(s->batch, other, others); n < end; n++) {
        const size_t row = (size_t)n * s->classes;
        float largest, sum, mass = 0.0f;
        normaliser(logits + row, s->classes, &largest, &sum);
        for (uint32_t c = 0; c < s->classes; c++) {
            mass += target[row + c];
        }
        const float factor = weight[n] / (float)s->batch * loss_scale;
        const float share = mass / sum;
        for (uint32_t c = 0; c < s->classes; c++) {
            const float exponential = odl_expf(odl_load_f16(logits + row + c) - largest);
            odl_store_f16(dlogits + row + c, __builtin_fmaf(exponential, share, -target[row + c]) * factor);
        }
    }
}
