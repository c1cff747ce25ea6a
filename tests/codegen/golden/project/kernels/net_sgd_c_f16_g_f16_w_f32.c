/* SPDX-License-Identifier: Apache-2.0 */
/* Stochastic gradient descent as torch.optim.SGD does it, one parameter tensor:
 *
 *   d = g * gradient_factor
 *   w = w - learning_rate * d
 *
 * in fp32, rounded once at each store. gradient_factor takes back the loss scale and averages accumulated
 * steps.
 * copy receives w in f16 for the kernels to compute with; g may be copy.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "net_kernels.h"

void net_sgd_c_f16_g_f16_w_f32(const struct odl_flat_shape *s, odl_f32 *w, odl_f16 *copy, const odl_f16 *g,
                               float learning_rate, float gradient_factor, uint32_t core, uint32_t cores) {
    const uint32_t vectors = (s->count + ODL_LANES_f16 - 1u) / ODL_LANES_f16;
    const uint32_t begin = odl_share_begin(vectors, core, cores) * ODL_LANES_f16;
    const uint32_t end = odl_share_begin(vectors, core + 1u, cores) * ODL_LANES_f16;
    uint32_t left = begin < s->count ? (end < s->count ? end : s->count) - begin : 0u;
    w += left > 0u ? begin : 0u;
    g += left > 0u ? begin : 0u;
    copy += left > 0u ? begin : 0u;
    const odl_wide_f16 factor = odl_wide_dup_f16(gradient_factor);
    const odl_wide_f16 rate = odl_wide_dup_f16(-learning_rate);
    for (; left >= 4u * ODL_LANES_f16; left -= 4u * ODL_LANES_f16) {
        const odl_wide_f16 g_0 = odl_get_f16_f16(g);
        const odl_wide_f16 w_0 = odl_get_f16_f32(w);
        const odl_wide_f16 g_1 = odl_get_f16_f16(g + ODL_LANES_f16);
        const odl_wide_f16 w_1 = odl_get_f16_f32(w + ODL_LANES_f16);
        const odl_wide_f16 g_2 = odl_get_f16_f16(g + 2u * ODL_LANES_f16);
        const odl_wide_f16 w_2 = odl_get_f16_f32(w + 2u * ODL_LANES_f16);
        const odl_wide_f16 g_3 = odl_get_f16_f16(g + 3u * ODL_LANES_f16);
        const odl_wide_f16 w_3 = odl_get_f16_f32(w + 3u * ODL_LANES_f16);
        odl_wide_f16 d_0 = odl_wide_times_f16(g_0, factor);
        odl_wide_f16 d_1 = odl_wide_times_f16(g_1, factor);
        odl_wide_f16 d_2 = odl_wide_times_f16(g_2, factor);
        odl_wide_f16 d_3 = odl_wide_times_f16(g_3, factor);
        d_0 = odl_wide_fma_f16(rate, d_0, w_0);
        d_1 = odl_wide_fma_f16(rate, d_1, w_1);
        d_2 = odl_wide_fma_f16(rate, d_2, w_2);
        d_3 = odl_wide_fma_f16(rate, d_3, w_3);
        odl_put_f16_f32(w, d_0);
        odl_put_f16_f16(copy, d_0);
        odl_put_f16_f32(w + ODL_LANES_f16, d_1);
        odl_put_f16_f16(copy + ODL_LANES_f16, d_1);
        odl_put_f16_f32(w + 2u * ODL_LANES_f16, d_2);
        odl_put_f16_f16(copy + 2u * ODL_LANES_f16, d_2);
        odl_put_f16_f32(w + 3u * ODL_LANES_f16, d_3);
        odl_put_f16_f16(copy + 3u * ODL_LANES_f16, d_3);
        w += 4u * ODL_LANES_f16;
        g += 4u * ODL_LANES_f16;
        copy += 4u * ODL_LANES_f16;
    }
    for (; left >= ODL_LANES_f16; left -= ODL_LANES_f16) {
        const odl_wide_f16 g_0 = odl_get_f16_f16(g);
        const odl_wide_f16 w_0 = odl_get_f16_f32(w);
        odl_wide_f16 d_0 = odl_wide_times_f16(g_0, factor);
        d_0 = odl_wide_fma_f16(rate, d_0, w_0);
        odl_put_f16_f32(w, d_0);
        odl_put_f16_f16(copy, d_0);
        w += ODL_LANES_f16;
        g += ODL_LANES_f16;
        copy += ODL_LANES_f16;
    }
    if (left > 0u) {
        const odl_wide_f16 g_0 = odl_get_tail_f16_f16(g, left);
        const odl_wide_f16 w_0 = odl_get_tail_f16_f32(w, left);
        odl_wide_f16 d_0 = odl_wide_times_f16(g_0, factor);
        d_0 = odl_wide_fma_f16(rate, d_0, w_0);
        odl_put_tail_f16_f32(w, d_0, left);
        odl_put_tail_f16_f16(copy, d_0, left);
    }
}
