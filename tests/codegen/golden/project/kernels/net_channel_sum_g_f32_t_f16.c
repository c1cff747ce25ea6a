/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient of a bias: db[c] = the sum over pixels of dy[pixel][c].
 *
 * Lanes run along the channels. Every sum is made in fp32, in the order of the pixels.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "net_kernels.h"

#ifdef ODL_LANES_ASM
/* clang-format off */
#define ADD_TWO_PIXELS \
    do { \
        const size_t bytes = step * 2u; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 8) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[p]", "%[bytes]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[p]", "%[bytes]") \
            ODL_ASM_FMACEX_S_H("%[low]", ODL_ASM_SPARE_0, "%[one]") \
            ODL_ASM_HIGH(ODL_ASM_SPARE_0, ODL_ASM_SPARE_0) \
            ODL_ASM_FMACEX_S_H("%[high]", ODL_ASM_SPARE_0, "%[one]") \
            ODL_ASM_FMACEX_S_H("%[low]", ODL_ASM_SPARE_1, "%[one]") \
            ODL_ASM_HIGH(ODL_ASM_SPARE_1, ODL_ASM_SPARE_1) \
            ODL_ASM_FMACEX_S_H("%[high]", ODL_ASM_SPARE_1, "%[one]") \
            ODL_ASM_END \
            : \
              [low] "+r"(sum.low), \
              [high] "+r"(sum.high), \
              [p] "+r"(p) \
            : \
              [one] "r"(0x3c00), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* sum + the lanes of `count` pixels, `step` elements apart, one after the other */
static ODL_APART odl_wide_f16 add_pixels(odl_wide_f16 sum, const odl_f16 *p, uint32_t count, size_t step,
                                         uint32_t lanes) {
    if (lanes < ODL_LANES_f16) {
        for (; count > 0u; count--, p += step) {
            sum = odl_wide_accumulate_f16(sum, odl_vload_tail_f16(p, lanes));
        }
        return sum;
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2u;
    if (iterations > 0u) {
        ADD_TWO_PIXELS;
        count -= 2u * iterations;
    }
#endif
    for (; count >= 8u; count -= 8u) {
        const odl_vec_f16 v_0 = odl_vload_f16(p);
        p += step;
        const odl_vec_f16 v_1 = odl_vload_f16(p);
        p += step;
        const odl_vec_f16 v_2 = odl_vload_f16(p);
        p += step;
        const odl_vec_f16 v_3 = odl_vload_f16(p);
        p += step;
        const odl_vec_f16 v_4 = odl_vload_f16(p);
        p += step;
        const odl_vec_f16 v_5 = odl_vload_f16(p);
        p += step;
        const odl_vec_f16 v_6 = odl_vload_f16(p);
        p += step;
        const odl_vec_f16 v_7 = odl_vload_f16(p);
        p += step;
        sum = odl_wide_accumulate_f16(sum, v_0);
        sum = odl_wide_accumulate_f16(sum, v_1);
        sum = odl_wide_accumulate_f16(sum, v_2);
        sum = odl_wide_accumulate_f16(sum, v_3);
        sum = odl_wide_accumulate_f16(sum, v_4);
        sum = odl_wide_accumulate_f16(sum, v_5);
        sum = odl_wide_accumulate_f16(sum, v_6);
        sum = odl_wide_accumulate_f16(sum, v_7);
    }
    for (; count > 0u; count--, p += step) {
        sum = odl_wide_accumulate_f16(sum, odl_vload_f16(p));
    }
    return sum;
}

void net_channel_sum_g_f32_t_f16(const struct odl_channel_shape *s, const odl_f16 *dy, odl_f32 *db,
                                 uint32_t core, uint32_t cores) {
    /* Vectors are dealt one by one: neighbours lie in different banks of memory. */
    for (uint32_t c = core * ODL_LANES_f16; c < s->channels; c += cores * ODL_LANES_f16) {
        const uint32_t lanes = s->channels - c < ODL_LANES_f16 ? s->channels - c : ODL_LANES_f16;
        odl_wide_f16 sum = add_pixels(odl_wide_zero_f16(), dy + c, s->pixels, s->channels, lanes);
        odl_put_lanes_f16_f32(db + c, sum, lanes);
    }
}
