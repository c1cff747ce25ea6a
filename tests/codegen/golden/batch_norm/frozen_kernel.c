/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalisation with fixed statistics (Ioffe and Szegedy, arXiv 1502.03167, algorithm 2):
 * y = clamp((x - mean) * gamma / sqrt(var + eps) + beta, low, high).
 *
 * x and y [pixels][channels], the rest [channels]; y may be x. In fp32, rounded once at the store.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "net_kernels.h"

#ifdef ODL_LANES_ASM
/* clang-format off */
#define NORMALISE_TWO \
    do { \
        uint32_t a, b, c, d; \
        const size_t bytes = step * 2u; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 22) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[x]", "%[bytes]") \
            ODL_ASM_WIDEN("%[a]", ODL_ASM_SPARE_0) \
            ODL_ASM_HIGH(ODL_ASM_SPARE_0, ODL_ASM_SPARE_0) \
            ODL_ASM_WIDEN("%[b]", ODL_ASM_SPARE_1) \
            ODL_ASM_HIGH(ODL_ASM_SPARE_1, ODL_ASM_SPARE_1) \
            ODL_ASM_WIDEN("%[c]", ODL_ASM_SPARE_0) \
            ODL_ASM_WIDEN("%[d]", ODL_ASM_SPARE_1) \
            ODL_ASM_SUB_f32("%[a]", "%[a]", "%[centre_low]") \
            ODL_ASM_SUB_f32("%[b]", "%[b]", "%[centre_low]") \
            ODL_ASM_SUB_f32("%[c]", "%[c]", "%[centre_high]") \
            ODL_ASM_SUB_f32("%[d]", "%[d]", "%[centre_high]") \
            ODL_ASM_FMA_f32("%[a]", "%[a]", "%[scale_low]", "%[shift_low]") \
            ODL_ASM_FMA_f32("%[b]", "%[b]", "%[scale_low]", "%[shift_low]") \
            ODL_ASM_FMA_f32("%[c]", "%[c]", "%[scale_high]", "%[shift_high]") \
            ODL_ASM_FMA_f32("%[d]", "%[d]", "%[scale_high]", "%[shift_high]") \
            ODL_ASM_NARROW(ODL_ASM_SPARE_0, "%[a]", "%[c]") \
            ODL_ASM_NARROW(ODL_ASM_SPARE_1, "%[b]", "%[d]") \
            ODL_ASM_LIMIT_f16(ODL_ASM_SPARE_0, ODL_ASM_SPARE_0, "%[floor]") \
            ODL_ASM_LIMIT_f16(ODL_ASM_SPARE_1, ODL_ASM_SPARE_1, "%[floor]") \
            ODL_ASM_SW_BY(ODL_ASM_SPARE_0, "%[y]", "%[bytes]") \
            ODL_ASM_SW_BY(ODL_ASM_SPARE_1, "%[y]", "%[bytes]") \
            ODL_ASM_END \
            : \
              [x] "+r"(x), \
              [y] "+r"(y), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [c] "=&r"(c), \
              [d] "=&r"(d) \
            : \
              [centre_low] "r"(centre.low), \
              [centre_high] "r"(centre.high), \
              [scale_low] "r"(scale.low), \
              [scale_high] "r"(scale.high), \
              [shift_low] "r"(shift.low), \
              [shift_high] "r"(shift.high), \
              [floor] "r"(limits.floor), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* y = clamp((x - centre) * scale + shift) at `count` pixels, `step` elements apart */
static ODL_APART void normalise(const odl_f16 *x, odl_f16 *y, uint32_t count, size_t step, uint32_t lanes,
                                odl_wide_f16 centre, odl_wide_f16 scale, odl_wide_f16 shift,
                                const struct odl_limits *bounds) {
    const struct odl_limits limits = *bounds;
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0u; count--) {
            const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_tail_f16(x, left));
            x += step;
            const odl_wide_f16 v_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), scale, shift);
            odl_vstore_tail_f16(y, odl_vlimit_f16(odl_narrow_f16(v_0), &limits), left);
            y += step;
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2u;
    if (iterations > 0u && limits.plain) {
        NORMALISE_TWO;
        count -= 2u * iterations;
    }
#endif
    for (; count >= 4u; count -= 4u) {
        const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        const odl_wide_f16 x_1 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        const odl_wide_f16 x_2 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        const odl_wide_f16 x_3 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        const odl_wide_f16 v_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), scale, shift);
        const odl_wide_f16 v_1 = odl_wide_fma_f16(odl_wide_minus_f16(x_1, centre), scale, shift);
        const odl_wide_f16 v_2 = odl_wide_fma_f16(odl_wide_minus_f16(x_2, centre), scale, shift);
        const odl_wide_f16 v_3 = odl_wide_fma_f16(odl_wide_minus_f16(x_3, centre), scale, shift);
        odl_vstore_f16(y, odl_vlimit_f16(odl_narrow_f16(v_0), &limits));
        y += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_narrow_f16(v_1), &limits));
        y += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_narrow_f16(v_2), &limits));
        y += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_narrow_f16(v_3), &limits));
        y += step;
    }
    for (; count > 0u; count--) {
        const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        const odl_wide_f16 v_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), scale, shift);
        odl_vstore_f16(y, odl_vlimit_f16(odl_narrow_f16(v_0), &limits));
        y += step;
    }
}

void net_batch_norm_frozen_p_f32_t_f16(const struct odl_channel_shape *s, const odl_f16 *x,
                                       const odl_f32 *gamma, const odl_f32 *beta, const float *mean,
                                       const float *var, odl_f16 *y, float eps, float low, float high,
                                       uint32_t core, uint32_t cores) {
    /* Vectors of channels are dealt one by one; where there are fewer than cores, each is divided into runs
       of pixels. */
    const uint32_t vectors = (s->channels + ODL_LANES_f16 - 1u) / ODL_LANES_f16;
    const uint32_t parts = vectors < cores ? cores / vectors : 1u, part = parts > 1u ? core / vectors : 0u;
    const struct odl_limits limits = odl_limits(low, high);
    if (part >= parts) {
        return;
    }
    const uint32_t begin = odl_share_begin(s->pixels, part, parts);
    const uint32_t count = odl_share_begin(s->pixels, part + 1u, parts) - begin;
    for (uint32_t v = core - part * vectors; v < vectors; v += parts > 1u ? vectors : cores) {
        const uint32_t c = v * ODL_LANES_f16;
        const uint32_t lanes = s->channels - c < ODL_LANES_f16 ? s->channels - c : ODL_LANES_f16;
        float centres[ODL_MAX_LANES] = {0.0f}, scales[ODL_MAX_LANES] = {0.0f}, shifts[ODL_MAX_LANES] = {0.0f};
        for (uint32_t i = 0; i < lanes; i++) {
            centres[i] = mean[c + i];
            scales[i] = odl_load_f32(gamma + c + i) / __builtin_sqrtf(var[c + i] + eps);
            shifts[i] = odl_load_f32(beta + c + i);
        }
        const size_t at = (size_t)begin * s->channels + c;
        normalise(x + at, y + at, count, s->channels, lanes, odl_wide_load_f16(centres),
                  odl_wide_load_f16(scales), odl_wide_load_f16(shifts), &limits);
    }
}
