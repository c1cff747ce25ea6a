/* Batch normalisation with the batch's statistics (Ioffe and Szegedy, arXiv 1502.03167, algorithm 1):
 * y = clamp((x - mean) * gamma * invstd + beta, low, high), invstd = 1 / sqrt(var + eps).
 *
 * x and y [pixels][channels], the rest [channels]; y may be x. mean and invstd are kept for the gradient. As
 * in PyTorch, var is the biased variance, and running_var moves by `momentum` towards the unbiased one. Two
 * passes in fp32, pixels in order, each result rounded once at its store.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "kernels.h"

#ifdef ODL_LANES_ASM
/* clang-format off */
#define ADD_TWO_PIXELS \
    do { \
        const size_t bytes = step * 2; \
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
        for (; count > 0; count--, p += step) {
            sum = odl_wide_accumulate_f16(sum, odl_vload_tail_f16(p, lanes));
        }
        return sum;
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2;
    if (iterations > 0) {
        ADD_TWO_PIXELS;
        count -= 2 * iterations;
    }
#endif
    for (; count >= 8; count -= 8) {
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
    for (; count > 0; count--, p += step) {
        sum = odl_wide_accumulate_f16(sum, odl_vload_f16(p));
    }
    return sum;
}

#ifdef ODL_LANES_ASM
/* clang-format off */
#define SQUARES_OF_TWO \
    do { \
        uint32_t a, b, c, d; \
        const size_t bytes = step * 2; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 16) \
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
            ODL_ASM_FMA_f32("%[low]", "%[a]", "%[a]", "%[low]") \
            ODL_ASM_FMA_f32("%[high]", "%[c]", "%[c]", "%[high]") \
            ODL_ASM_FMA_f32("%[low]", "%[b]", "%[b]", "%[low]") \
            ODL_ASM_FMA_f32("%[high]", "%[d]", "%[d]", "%[high]") \
            ODL_ASM_END \
            : \
              [low] "+r"(sum.low), \
              [high] "+r"(sum.high), \
              [x] "+r"(x), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [c] "=&r"(c), \
              [d] "=&r"(d) \
            : \
              [centre_low] "r"(centre.low), \
              [centre_high] "r"(centre.high), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* Sums of the squared distances from `centre` */
static ODL_APART odl_wide_f16 squares_of(const odl_f16 *x, uint32_t count, size_t step, uint32_t lanes,
                                         odl_wide_f16 centre) {
    odl_wide_f16 sum = odl_wide_zero_f16();
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0; count--) {
            const odl_wide_f16 distance_0 =
                odl_wide_minus_f16(odl_widen_f16(odl_vload_tail_f16(x, left)), centre);
            x += step;
            sum = odl_wide_fma_f16(distance_0, distance_0, sum);
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2;
    if (iterations > 0) {
        SQUARES_OF_TWO;
        count -= 2 * iterations;
    }
#endif
    for (; count >= 4; count -= 4) {
        const odl_wide_f16 distance_0 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        const odl_wide_f16 distance_1 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        const odl_wide_f16 distance_2 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        const odl_wide_f16 distance_3 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        sum = odl_wide_fma_f16(distance_0, distance_0, sum);
        sum = odl_wide_fma_f16(distance_1, distance_1, sum);
        sum = odl_wide_fma_f16(distance_2, distance_2, sum);
        sum = odl_wide_fma_f16(distance_3, distance_3, sum);
    }
    for (; count > 0; count--) {
        const odl_wide_f16 distance_0 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        sum = odl_wide_fma_f16(distance_0, distance_0, sum);
    }
    return sum;
}

#ifdef ODL_LANES_ASM
/* clang-format off */
#define NORMALISE_TWO \
    do { \
        uint32_t a, b, c, d; \
        const size_t bytes = step * 2; \
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
        for (; count > 0; count--) {
            const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_tail_f16(x, left));
            x += step;
            const odl_wide_f16 v_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), scale, shift);
            odl_vstore_tail_f16(y, odl_vlimit_f16(odl_narrow_f16(v_0), &limits), left);
            y += step;
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2;
    if (iterations > 0 && limits.plain) {
        NORMALISE_TWO;
        count -= 2 * iterations;
    }
#endif
    for (; count >= 4; count -= 4) {
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
    for (; count > 0; count--) {
        const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        const odl_wide_f16 v_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), scale, shift);
        odl_vstore_f16(y, odl_vlimit_f16(odl_narrow_f16(v_0), &limits));
        y += step;
    }
}

void odl_batch_norm_train(const struct odl_channel_shape *s, const odl_f16 *x, const odl_f32 *gamma,
                          const odl_f32 *beta, float *running_mean, float *running_var, odl_f16 *y,
                          float *mean, float *invstd, float momentum, float eps, float low, float high,
                          uint32_t core, uint32_t cores) {
    const float others = s->pixels > 1 ? (float)(s->pixels - 1) : 1.0f;
    const odl_wide_f16 pixels = odl_wide_dup_f16((float)s->pixels);
    const struct odl_limits limits = odl_limits(low, high);
    /* Vectors are dealt one by one: neighbours lie in different banks of memory. */
    for (uint32_t c = core * ODL_LANES_f16; c < s->channels; c += cores * ODL_LANES_f16) {
        const uint32_t lanes = s->channels - c < ODL_LANES_f16 ? s->channels - c : ODL_LANES_f16;
        const odl_wide_f16 sum = add_pixels(odl_wide_zero_f16(), x + c, s->pixels, s->channels, lanes);
        const odl_wide_f16 centre = odl_wide_over_f16(sum, pixels);
        float centres[ODL_MAX_LANES], squares[ODL_MAX_LANES];
        float scales[ODL_MAX_LANES] = {0.0f}, shifts[ODL_MAX_LANES] = {0.0f};
        odl_wide_store_f16(centres, centre);
        odl_wide_store_f16(squares, squares_of(x + c, s->pixels, s->channels, lanes, centre));
        for (uint32_t i = 0; i < lanes; i++) {
            const float normal = 1.0f / __builtin_sqrtf(squares[i] / (float)s->pixels + eps);
            mean[c + i] = centres[i];
            invstd[c + i] = normal;
            /* They outlive the step, so a batch that overflowed leaves them alone. */
            if (__builtin_isfinite(squares[i])) {
                float *average = running_mean + c + i, *variance = running_var + c + i;
                *average = __builtin_fmaf(momentum, centres[i], (1.0f - momentum) * *average);
                *variance = __builtin_fmaf(momentum, squares[i] / others, (1.0f - momentum) * *variance);
            }
            scales[i] = odl_load_f32(gamma + c + i) * normal;
            shifts[i] = odl_load_f32(beta + c + i);
        }
        normalise(x + c, y + c, s->pixels, s->channels, lanes, centre, odl_wide_load_f16(scales),
                  odl_wide_load_f16(shifts), &limits);
    }
}
