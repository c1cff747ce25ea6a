/* Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) as torch.optim.Adam does it, one parameter tensor:
 *
 *   d = g * gradient_factor
 *   exp_avg = exp_avg + rate1 * (d - exp_avg)
 *   exp_avg_sq = exp_avg_sq + rate2 * (d * d - exp_avg_sq)
 *   w = w - learning_rate / bias_correction1 * exp_avg / (sqrt(exp_avg_sq / bias_correction2) + eps)
 *
 * in fp32, rounded once at each store; rate = 1 - beta (which fp32 holds more exactly than beta near 1), and
 * bias_correction = 1 - beta^t in step t = 1, 2, ...
 */
#include "odl_isa.h"

#include "kernels.h"

void odl_adam(const struct odl_flat_shape *s, odl_f32 *w, const odl_f32 *g, float *exp_avg, float *exp_avg_sq,
              float learning_rate, float gradient_factor, float rate1, float rate2, float eps,
              float bias_correction1, float bias_correction2, uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(s->count, core + 1, cores);
    const float step = learning_rate / bias_correction1;
    const float correction = 1.0f / __builtin_sqrtf(bias_correction2);
    for (uint32_t i = odl_share_begin(s->count, core, cores); i < end; i++) {
        const float before = odl_load_f32(w + i);
        float d = odl_load_f32(g + i) * gradient_factor;
        const float mean = __builtin_fmaf(rate1, d - exp_avg[i], exp_avg[i]);
        const float square = __builtin_fmaf(rate2, d * d - exp_avg_sq[i], exp_avg_sq[i]);
        exp_avg[i] = mean;
        exp_avg_sq[i] = square;
        const float spread = __builtin_fmaf(__builtin_sqrtf(square), correction, eps);
        const float after = __builtin_fmaf(-step, mean / spread, before);
        odl_store_f32(w + i, after);
    }
}
