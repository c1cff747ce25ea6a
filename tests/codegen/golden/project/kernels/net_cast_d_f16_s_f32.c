/* SPDX-License-Identifier: Apache-2.0 */
/* y = x in another storage type, rounded to nearest even. */
#include "odl_isa.h"

#include "lanes.h"

#include "net_kernels.h"

void net_cast_d_f16_s_f32(const struct odl_flat_shape *s, const odl_f32 *x, odl_f16 *y, uint32_t core,
                          uint32_t cores) {
    const uint32_t vectors = (s->count + ODL_LANES_f16 - 1u) / ODL_LANES_f16;
    const uint32_t begin = odl_share_begin(vectors, core, cores) * ODL_LANES_f16;
    const uint32_t end = odl_share_begin(vectors, core + 1u, cores) * ODL_LANES_f16;
    uint32_t left = begin < s->count ? (end < s->count ? end : s->count) - begin : 0u;
    x += left > 0u ? begin : 0u;
    y += left > 0u ? begin : 0u;
    for (; left >= 4u * ODL_LANES_f16; left -= 4u * ODL_LANES_f16) {
        const odl_wide_f16 x_0 = odl_get_f16_f32(x);
        const odl_wide_f16 x_1 = odl_get_f16_f32(x + ODL_LANES_f16);
        const odl_wide_f16 x_2 = odl_get_f16_f32(x + 2u * ODL_LANES_f16);
        const odl_wide_f16 x_3 = odl_get_f16_f32(x + 3u * ODL_LANES_f16);
        odl_put_f16_f16(y, x_0);
        odl_put_f16_f16(y + ODL_LANES_f16, x_1);
        odl_put_f16_f16(y + 2u * ODL_LANES_f16, x_2);
        odl_put_f16_f16(y + 3u * ODL_LANES_f16, x_3);
        x += 4u * ODL_LANES_f16;
        y += 4u * ODL_LANES_f16;
    }
    for (; left >= ODL_LANES_f16; left -= ODL_LANES_f16) {
        const odl_wide_f16 x_0 = odl_get_f16_f32(x);
        odl_put_f16_f16(y, x_0);
        x += ODL_LANES_f16;
        y += ODL_LANES_f16;
    }
    if (left > 0u) {
        const odl_wide_f16 x_0 = odl_get_tail_f16_f32(x, left);
        odl_put_tail_f16_f16(y, x_0, left);
    }
}
