/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient of a bias: db[c] = the sum over pixels of dy[pixel][c].
 *
 * Lanes run along the channels. Every sum is made in fp32, in the order of the pixels.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "net_kernels.h"

/* sum + the lanes of `count` pixels, `step` elements apart, one after the other */
static ODL_APART odl_wide_f32 add_pixels(odl_wide_f32 sum, const odl_f32 *p, uint32_t count, size_t step,
                                         uint32_t lanes) {
    if (lanes < ODL_LANES_f32) {
        for (; count > 0u; count--, p += step) {
            sum = odl_wide_accumulate_f32(sum, odl_vload_tail_f32(p, lanes));
        }
        return sum;
    }
    for (; count >= 8u; count -= 8u) {
        const odl_vec_f32 v_0 = odl_vload_f32(p);
        p += step;
        const odl_vec_f32 v_1 = odl_vload_f32(p);
        p += step;
        const odl_vec_f32 v_2 = odl_vload_f32(p);
        p += step;
        const odl_vec_f32 v_3 = odl_vload_f32(p);
        p += step;
        const odl_vec_f32 v_4 = odl_vload_f32(p);
        p += step;
        const odl_vec_f32 v_5 = odl_vload_f32(p);
        p += step;
        const odl_vec_f32 v_6 = odl_vload_f32(p);
        p += step;
        const odl_vec_f32 v_7 = odl_vload_f32(p);
        p += step;
        sum = odl_wide_accumulate_f32(sum, v_0);
        sum = odl_wide_accumulate_f32(sum, v_1);
        sum = odl_wide_accumulate_f32(sum, v_2);
        sum = odl_wide_accumulate_f32(sum, v_3);
        sum = odl_wide_accumulate_f32(sum, v_4);
        sum = odl_wide_accumulate_f32(sum, v_5);
        sum = odl_wide_accumulate_f32(sum, v_6);
        sum = odl_wide_accumulate_f32(sum, v_7);
    }
    for (; count > 0u; count--, p += step) {
        sum = odl_wide_accumulate_f32(sum, odl_vload_f32(p));
    }
    return sum;
}

void net_channel_sum_g_f32_t_f32(const struct odl_channel_shape *s, const odl_f32 *dy, odl_f32 *db,
                                 uint32_t core, uint32_t cores) {
    /* Vectors are dealt one by one: neighbours lie in different banks of memory. */
    for (uint32_t c = core * ODL_LANES_f32; c < s->channels; c += cores * ODL_LANES_f32) {
        const uint32_t lanes = s->channels - c < ODL_LANES_f32 ? s->channels - c : ODL_LANES_f32;
        odl_wide_f32 sum = add_pixels(odl_wide_zero_f32(), dy + c, s->pixels, s->channels, lanes);
        odl_put_lanes_f32_f32(db + c, sum, lanes);
    }
}
