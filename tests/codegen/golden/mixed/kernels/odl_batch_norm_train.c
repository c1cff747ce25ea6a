/* Batch normalisation with the batch's statistics (Ioffe and Szegedy, arXiv 1502.03167, algorithm 1):
 * y = clamp((x - mean) * gamma * invstd + beta, low, high), invstd = 1 / sqrt(var + eps).
 *
 * x and y [pixels][channels], the rest [channels]; y may be x. mean and invstd are kept for the gradient. As
 * in PyTorch, var is the biased variance, and running_var moves by `momentum` towards the unbiased one. Two
 * passes in fp32, pixels in order, each result rounded once at its store.
 */
#include "odl_isa.h"
#include "odl_math.h"

#include "kernels.h"

/* Mean, and sum of the squared distances from it, of channel c. */
static void statistics(const struct odl_channel_shape *s, const odl_f16 *x, uint32_t c, float *mean,
                       float *squares) {
    float sum = 0.0f;
    size_t at = c;
    for (uint32_t p = 0; p < s->pixels; p++, at += s->channels) {
        sum += odl_load_f16(x + at);
    }
    *mean = sum / (float)s->pixels;
    sum = 0.0f;
    at = c;
    for (uint32_t p = 0; p < s->pixels; p++, at += s->channels) {
        const float distance = odl_load_f16(x + at) - *mean;
        sum = __builtin_fmaf(distance, distance, sum);
    }
    *squares = sum;
}

void odl_batch_norm_train(const struct odl_channel_shape *s, const odl_f16 *x, const odl_f32 *gamma,
                          const odl_f32 *beta, float *running_mean, float *running_var, odl_f16 *y,
                          float *mean, float *invstd, float momentum, float eps, float low, float high,
                          uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(s->channels, core + 1, cores);
    const float others = s->pixels > 1 ? (float)(s->pixels - 1) : 1.0f;
    for (uint32_t c = odl_share_begin(s->channels, core, cores); c < end; c++) {
        float centre, squares;
        statistics(s, x, c, &centre, &squares);
        const float normal = 1.0f / __builtin_sqrtf(squares / (float)s->pixels + eps);
        mean[c] = centre;
        invstd[c] = normal;
        /* They outlive the step, so a batch that overflowed leaves them alone. */
        if (__builtin_isfinite(squares)) {
            running_mean[c] = __builtin_fmaf(momentum, centre, (1.0f - momentum) * running_mean[c]);
            running_var[c] = __builtin_fmaf(momentum, squares / others, (1.0f - momentum) * running_var[c]);
        }
        const float scale = odl_load_f32(gamma + c) * normal;
        const float shift = odl_load_f32(beta + c);
        size_t at = c;
        for (uint32_t p = 0; p < s->pixels; p++, at += s->channels) {
            const float v = __builtin_fmaf(odl_load_f16(x + at) - centre, scale, shift);
            odl_store_f16(y + at, odl_clamp(v, low, high));
        }
    }
}
