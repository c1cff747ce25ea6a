/* Gradient of batch normalisation with the batch's statistics (Ioffe and Szegedy, arXiv 1502.03167, section
 * 3); with z = (x - mean) * invstd and sums over pixels in order:
 *
 *   dgamma = sum of dy * z,   dbeta = sum of dy
 *   dx = gamma * invstd * (dy - (sum of dy) / pixels - z * (sum of dy * z) / pixels)
 *
 * dy, x and dx [pixels][channels], the rest [channels]. Each of dx, dgamma and dbeta may be NULL; dx may be
 * dy. gamma is read only for dx.
 */
#include "odl_isa.h"

#include "kernels.h"

void odl_batch_norm_train_gradient(const struct odl_channel_shape *s, const odl_f16 *dy, const odl_f16 *x,
                                   const odl_f32 *gamma, const float *mean, const float *invstd, odl_f16 *dx,
                                   odl_f32 *dgamma, odl_f32 *dbeta, uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(s->channels, core + 1, cores);
    for (uint32_t c = odl_share_begin(s->channels, core, cores); c < end; c++) {
        const float centre = mean[c], normal = invstd[c];
        float sum = 0.0f, product = 0.0f;
        size_t at = c;
        for (uint32_t p = 0; p < s->pixels; p++, at += s->channels) {
            const float d = odl_load_f16(dy + at);
            sum += d;
            product = __builtin_fmaf(d, odl_load_f16(x + at) - centre, product);
        }
        product *= normal;
        if (dgamma != NULL) {
            odl_store_f32(dgamma + c, product);
        }
        if (dbeta != NULL) {
            odl_store_f32(dbeta + c, sum);
        }
        if (dx != NULL) {
            const float average = sum / (float)s->pixels;
            const float slope = product / (float)s->pixels * normal;
            const float scale = odl_load_f32(gamma + c) * normal;
            at = c;
            for (uint32_t p = 0; p < s->pixels; p++, at += s->channels) {
                const float d = odl_load_f16(dy + at) - average;
                const float distance = odl_load_f16(x + at) - centre;
                odl_store_f16(dx + at, __builtin_fmaf(-distance, slope, d) * scale);
            }
        }
    }
}
