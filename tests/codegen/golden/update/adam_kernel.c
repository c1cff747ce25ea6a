/* SPDX-License-Identifier: Apache-2.0 */
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

#include "lanes.h"

#include "net_kernels.h"

void net_adam_g_f32_w_f32(const struct odl_flat_shape *s, odl_f32 *w, const odl_f32 *g, float *exp_avg,
                          float *exp_avg_sq, float learning_rate, float gradient_factor, float rate1,
                          float rate2, float eps, float bias_correction1, float bias_correction2,
                          uint32_t core, uint32_t cores) {
    const uint32_t vectors = (s->count + ODL_LANES_f32 - 1u) / ODL_LANES_f32;
    const uint32_t begin = odl_share_begin(vectors, core, cores) * ODL_LANES_f32;
    const uint32_t end = odl_share_begin(vectors, core + 1u, cores) * ODL_LANES_f32;
    uint32_t left = begin < s->count ? (end < s->count ? end : s->count) - begin : 0u;
    w += left > 0u ? begin : 0u;
    g += left > 0u ? begin : 0u;
    exp_avg += left > 0u ? begin : 0u;
    exp_avg_sq += left > 0u ? begin : 0u;
    const odl_wide_f32 factor = odl_wide_dup_f32(gradient_factor), wide_eps = odl_wide_dup_f32(eps);
    const odl_wide_f32 wide_rate1 = odl_wide_dup_f32(rate1), wide_rate2 = odl_wide_dup_f32(rate2);
    const odl_wide_f32 step = odl_wide_dup_f32(-(learning_rate / bias_correction1));
    const odl_wide_f32 correction = odl_wide_dup_f32(1.0f / __builtin_sqrtf(bias_correction2));
    for (; left >= ODL_LANES_f32; left -= ODL_LANES_f32) {
        const odl_wide_f32 before_0 = odl_get_f32_f32(w);
        const odl_wide_f32 gradient_0 = odl_get_f32_f32(g);
        const odl_wide_f32 old_mean_0 = odl_get_f32_f32(exp_avg);
        const odl_wide_f32 old_square_0 = odl_get_f32_f32(exp_avg_sq);
        odl_wide_f32 d_0 = odl_wide_times_f32(gradient_0, factor);
        const odl_wide_f32 distance_0 = odl_wide_minus_f32(d_0, old_mean_0);
        const odl_wide_f32 mean_0 = odl_wide_fma_f32(wide_rate1, distance_0, old_mean_0);
        d_0 = odl_wide_minus_f32(odl_wide_times_f32(d_0, d_0), old_square_0);
        const odl_wide_f32 square_0 = odl_wide_fma_f32(wide_rate2, d_0, old_square_0);
        odl_put_f32_f32(exp_avg, mean_0);
        odl_put_f32_f32(exp_avg_sq, square_0);
        d_0 = odl_wide_fma_f32(odl_wide_root_f32(square_0), correction, wide_eps);
        d_0 = odl_wide_fma_f32(step, odl_wide_over_f32(mean_0, d_0), before_0);
        odl_put_f32_f32(w, d_0);
        w += ODL_LANES_f32;
        g += ODL_LANES_f32;
        exp_avg += ODL_LANES_f32;
        exp_avg_sq += ODL_LANES_f32;
    }
    if (left > 0u) {
        const odl_wide_f32 before_0 = odl_get_tail_f32_f32(w, left);
        const odl_wide_f32 gradient_0 = odl_get_tail_f32_f32(g, left);
        const odl_wide_f32 old_mean_0 = odl_get_tail_f32_f32(exp_avg, left);
        const odl_wide_f32 old_square_0 = odl_get_tail_f32_f32(exp_avg_sq, left);
        odl_wide_f32 d_0 = odl_wide_times_f32(gradient_0, factor);
        const odl_wide_f32 distance_0 = odl_wide_minus_f32(d_0, old_mean_0);
        const odl_wide_f32 mean_0 = odl_wide_fma_f32(wide_rate1, distance_0, old_mean_0);
        d_0 = odl_wide_minus_f32(odl_wide_times_f32(d_0, d_0), old_square_0);
        const odl_wide_f32 square_0 = odl_wide_fma_f32(wide_rate2, d_0, old_square_0);
        odl_put_tail_f32_f32(exp_avg, mean_0, left);
        odl_put_tail_f32_f32(exp_avg_sq, square_0, left);
        d_0 = odl_wide_fma_f32(odl_wide_root_f32(square_0), correction, wide_eps);
        d_0 = odl_wide_fma_f32(step, odl_wide_over_f32(mean_0, d_0), before_0);
        odl_put_tail_f32_f32(w, d_0, left);
    }
}
