/* SPDX-License-Identifier: Apache-2.0 */
/* Stochastic gradient descent as torch.optim.SGD does it, one parameter tensor:
 *
 *   d = g * gradient_factor
 *   w = w - learning_rate * d
 *
 * in fp32, rounded once at each store. gradient_factor takes back the loss scale and averages accumulated
 * steps.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "net_kernels.h"

void net_sgd_g_f32_w_f32(const struct odl_flat_shape *s, odl_f32 *w, const odl_f32 *g, float learning_rate,
                         float gradient_factor, uint32_t core, uint32_t cores) {
    const uint32_t vectors = (s->count + ODL_LANES_f32 - 1u) / ODL_LANES_f32;
    const uint32_t begin = odl_share_begin(vectors, core, cores) * ODL_LANES_f32;
    const uint32_t end = odl_share_begin(vectors, core + 1u, cores) * ODL_LANES_f32;
    uint32_t left = begin < s->count ? (end < s->count ? end : s->count) - begin : 0u;
    w += left > 0u ? begin : 0u;
    g += left > 0u ? begin : 0u;
    const odl_wide_f32 factor = odl_wide_dup_f32(gradient_factor);
    const odl_wide_f32 rate = odl_wide_dup_f32(-learning_rate);
    for (; left >= 4u * ODL_LANES_f32; left -= 4u * ODL_LANES_f32) {
        const odl_wide_f32 g_0 = odl_get_f32_f32(g);
        const odl_wide_f32 w_0 = odl_get_f32_f32(w);
        const odl_wide_f32 g_1 = odl_get_f32_f32(g + ODL_LANES_f32);
        const odl_wide_f32 w_1 = odl_get_f32_f32(w + ODL_LANES_f32);
        const odl_wide_f32 g_2 = odl_get_f32_f32(g + 2u * ODL_LANES_f32);
        const odl_wide_f32 w_2 = odl_get_f32_f32(w + 2u * ODL_LANES_f32);
        const odl_wide_f32 g_3 = odl_get_f32_f32(g + 3u * ODL_LANES_f32);
        const odl_wide_f32 w_3 = odl_get_f32_f32(w + 3u * ODL_LANES_f32);
        odl_wide_f32 d_0 = odl_wide_times_f32(g_0, factor);
        odl_wide_f32 d_1 = odl_wide_times_f32(g_1, factor);
        odl_wide_f32 d_2 = odl_wide_times_f32(g_2, factor);
        odl_wide_f32 d_3 = odl_wide_times_f32(g_3, factor);
        d_0 = odl_wide_fma_f32(rate, d_0, w_0);
        d_1 = odl_wide_fma_f32(rate, d_1, w_1);
        d_2 = odl_wide_fma_f32(rate, d_2, w_2);
        d_3 = odl_wide_fma_f32(rate, d_3, w_3);
        odl_put_f32_f32(w, d_0);
        odl_put_f32_f32(w + ODL_LANES_f32, d_1);
        odl_put_f32_f32(w + 2u * ODL_LANES_f32, d_2);
        odl_put_f32_f32(w + 3u * ODL_LANES_f32, d_3);
        w += 4u * ODL_LANES_f32;
        g += 4u * ODL_LANES_f32;
    }
    for (; left >= ODL_LANES_f32; left -= ODL_LANES_f32) {
        const odl_wide_f32 g_0 = odl_get_f32_f32(g);
        const odl_wide_f32 w_0 = odl_get_f32_f32(w);
        odl_wide_f32 d_0 = odl_wide_times_f32(g_0, factor);
        d_0 = odl_wide_fma_f32(rate, d_0, w_0);
        odl_put_f32_f32(w, d_0);
        w += ODL_LANES_f32;
        g += ODL_LANES_f32;
    }
    if (left > 0u) {
        const odl_wide_f32 g_0 = odl_get_tail_f32_f32(g, left);
        const odl_wide_f32 w_0 = odl_get_tail_f32_f32(w, left);
        odl_wide_f32 d_0 = odl_wide_times_f32(g_0, factor);
        d_0 = odl_wide_fma_f32(rate, d_0, w_0);
        odl_put_tail_f32_f32(w, d_0, left);
    }
}
