/* Batch normalisation with fixed statistics (Ioffe and Szegedy, arXiv 1502.03167, algorithm 2):
 * y = clamp((x - mean) * gamma / sqrt(var + eps) + beta, low, high).
 *
 * x and y [pixels][channels], the rest [channels]; y may be x. In fp32, rounded once at the store.
 */
#include "odl_isa.h"
#include "odl_math.h"

#include "kernels.h"

void odl_batch_norm_frozen(const struct odl_channel_shape *s, const odl_f16 *x, const odl_f32 *gamma,
                           const odl_f32 *beta, const float *mean, const float *var, odl_f16 *y, float eps,
                           float low, float high, uint32_t core, uint32_t cores) {
    /* Channel by channel, so that scale and shift stay in registers; a core may begin and end within one. */
    const uint32_t begin = odl_share_begin(s->pixels * s->channels, core, cores);
    const uint32_t end = odl_share_begin(s->pixels * s->channels, core + 1, cores);
    uint32_t pixel = begin % s->pixels, count;
    for (uint32_t i = begin; i < end; i += count, pixel = 0) {
        const uint32_t c = i / s->pixels;
        count = end - i < s->pixels - pixel ? end - i : s->pixels - pixel;
        const float centre = mean[c];
        const float scale = odl_load_f32(gamma + c) / __builtin_sqrtf(var[c] + eps);
        const float shift = odl_load_f32(beta + c);
        size_t at = (size_t)pixel * s->channels + c;
        for (uint32_t p = 0; p < count; p++, at += s->channels) {
            const float v = __builtin_fmaf(odl_load_f16(x + at) - centre, scale, shift);
            odl_store_f16(y + at, odl_clamp(v, low, high));
        }
    }
}
