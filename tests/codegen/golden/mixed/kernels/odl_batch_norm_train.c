/* Batch normalisation with the batch's statistics (Ioffe and Szegedy, arXiv 1502.03167, algorithm 1):
 * y = clamp((x - mean) * gamma * invstd + beta, low, high), invstd = 1 / sqrt(var + eps).
 *
 * x and y [pixels][channels], the rest [channels]; y may be x. mean and invstd are kept for the gradient. As
 * in PyTorch, var is the biased variance, and running_var moves by `momentum` towards the unbiased one.
 *
 * One pass sums d = x - x of the first pixel and its squares in fp32, pixels in order: mean = pivot + sum / n
 * and var = (squares - sum * sum / n) / n lose nothing to a mean far from 0 (Chan, Golub and LeVeque,
 * Algorithms for Computing the Sample Variance, The American Statistician 37, 1983, section 3). d and y are
 * rounded as fp16.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "kernels.h"

#ifdef ODL_LANES_ASM
/* clang-format off */
#define MOMENTS_OF_TWO \
    do { \
        uint32_t a, b, c; \
        const size_t bytes = step * 2; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 14) \
            ODL_ASM_LW_BY("%[a]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[b]", "%[x]", "%[bytes]") \
            ODL_ASM_VFSUB_H("%[a]", "%[a]", "%[pivot]") \
            ODL_ASM_VFSUB_H("%[b]", "%[b]", "%[pivot]") \
            ODL_ASM_FMACEX_S_H("%[sum_low]", "%[a]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[square_low]", "%[a]", "%[a]") \
            ODL_ASM_HIGH("%[a]", "%[a]") \
            ODL_ASM_FMACEX_S_H("%[sum_high]", "%[a]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[square_high]", "%[a]", "%[a]") \
            ODL_ASM_HIGH("%[c]", "%[b]") \
            ODL_ASM_FMACEX_S_H("%[sum_low]", "%[b]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[square_low]", "%[b]", "%[b]") \
            ODL_ASM_FMACEX_S_H("%[sum_high]", "%[c]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[square_high]", "%[c]", "%[c]") \
            ODL_ASM_END \
            : \
              [sum_low] "+r"(sum.low), \
              [sum_high] "+r"(sum.high), \
              [square_low] "+r"(square.low), \
              [square_high] "+r"(square.high), \
              [x] "+r"(x), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [c] "=&r"(c) \
            : \
              [pivot] "r"(pivot), \
              [one] "r"(0x3c00), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* Sums of d = x - pivot and of its squares over `count` pixels, `step` elements apart */
static ODL_APART void moments(const odl_f16 *x, uint32_t count, size_t step, uint32_t lanes,
                              odl_vec_f16 pivot, float *sums, float *squares) {
    odl_wide_f16 sum = odl_wide_zero_f16(), square = odl_wide_zero_f16();
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0; count--) {
            const odl_wide_f16 d_0 = odl_widen_f16(odl_vsub_f16(odl_vload_tail_f16(x, left), pivot));
            x += step;
            sum = odl_wide_plus_f16(sum, d_0);
            square = odl_wide_fma_f16(d_0, d_0, square);
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2;
    if (iterations > 0) {
        MOMENTS_OF_TWO;
        count -= 2 * iterations;
    }
#endif
    for (; count >= 4; count -= 4) {
        const odl_wide_f16 d_0 = odl_widen_f16(odl_vsub_f16(odl_vload_f16(x), pivot));
        x += step;
        const odl_wide_f16 d_1 = odl_widen_f16(odl_vsub_f16(odl_vload_f16(x), pivot));
        x += step;
        const odl_wide_f16 d_2 = odl_widen_f16(odl_vsub_f16(odl_vload_f16(x), pivot));
        x += step;
        const odl_wide_f16 d_3 = odl_widen_f16(odl_vsub_f16(odl_vload_f16(x), pivot));
        x += step;
        sum = odl_wide_plus_f16(sum, d_0);
        square = odl_wide_fma_f16(d_0, d_0, square);
        sum = odl_wide_plus_f16(sum, d_1);
        square = odl_wide_fma_f16(d_1, d_1, square);
        sum = odl_wide_plus_f16(sum, d_2);
        square = odl_wide_fma_f16(d_2, d_2, square);
        sum = odl_wide_plus_f16(sum, d_3);
        square = odl_wide_fma_f16(d_3, d_3, square);
    }
    for (; count > 0; count--) {
        const odl_wide_f16 d_0 = odl_widen_f16(odl_vsub_f16(odl_vload_f16(x), pivot));
        x += step;
        sum = odl_wide_plus_f16(sum, d_0);
        square = odl_wide_fma_f16(d_0, d_0, square);
    }
    odl_wide_store_f16(sums, sum);
    odl_wide_store_f16(squares, square);
}

#ifdef ODL_LANES_ASM
/* clang-format off */
#define NORMALISE_FOUR \
    do { \
        uint32_t a, b, c, d, p; \
        const size_t bytes = step * 2; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 24) \
            ODL_ASM_LW_BY("%[a]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[b]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[c]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[d]", "%[x]", "%[bytes]") \
            ODL_ASM_VFSUB_H("%[a]", "%[a]", "%[centre]") \
            ODL_ASM_VFSUB_H("%[b]", "%[b]", "%[centre]") \
            ODL_ASM_VFSUB_H("%[c]", "%[c]", "%[centre]") \
            ODL_ASM_VFSUB_H("%[d]", "%[d]", "%[centre]") \
            ODL_ASM_MOVE("%[p]", "%[shift]") \
            ODL_ASM_VFMAC_H("%[p]", "%[a]", "%[scale]") \
            ODL_ASM_MOVE("%[a]", "%[shift]") \
            ODL_ASM_VFMAC_H("%[a]", "%[b]", "%[scale]") \
            ODL_ASM_MOVE("%[b]", "%[shift]") \
            ODL_ASM_VFMAC_H("%[b]", "%[c]", "%[scale]") \
            ODL_ASM_MOVE("%[c]", "%[shift]") \
            ODL_ASM_VFMAC_H("%[c]", "%[d]", "%[scale]") \
            ODL_ASM_LIMIT_f16("%[p]", "%[p]", "%[floor]") \
            ODL_ASM_LIMIT_f16("%[a]", "%[a]", "%[floor]") \
            ODL_ASM_LIMIT_f16("%[b]", "%[b]", "%[floor]") \
            ODL_ASM_LIMIT_f16("%[c]", "%[c]", "%[floor]") \
            ODL_ASM_SW_BY("%[p]", "%[y]", "%[bytes]") \
            ODL_ASM_SW_BY("%[a]", "%[y]", "%[bytes]") \
            ODL_ASM_SW_BY("%[b]", "%[y]", "%[bytes]") \
            ODL_ASM_SW_BY("%[c]", "%[y]", "%[bytes]") \
            ODL_ASM_END \
            : \
              [x] "+r"(x), \
              [y] "+r"(y), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [c] "=&r"(c), \
              [d] "=&r"(d), \
              [p] "=&r"(p) \
            : \
              [centre] "r"(centre), \
              [scale] "r"(scale), \
              [shift] "r"(shift), \
              [floor] "r"(limits.floor), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* y = clamp((x - centre) * scale + shift) at `count` pixels, `step` elements apart */
static ODL_APART void normalise(const odl_f16 *x, odl_f16 *y, uint32_t count, size_t step, uint32_t lanes,
                                odl_vec_f16 centre, odl_vec_f16 scale, odl_vec_f16 shift,
                                const struct odl_limits *bounds) {
    const struct odl_limits limits = *bounds;
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0; count--) {
            const odl_vec_f16 d_0 = odl_vsub_f16(odl_vload_tail_f16(x, left), centre);
            x += step;
            odl_vstore_tail_f16(y, odl_vlimit_f16(odl_vmac_f16(shift, d_0, scale), &limits), left);
            y += step;
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 4;
    if (iterations > 0 && limits.plain) {
        NORMALISE_FOUR;
        count -= 4 * iterations;
    }
#endif
    for (; count >= 4; count -= 4) {
        const odl_vec_f16 d_0 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        const odl_vec_f16 d_1 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        const odl_vec_f16 d_2 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        const odl_vec_f16 d_3 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_vmac_f16(shift, d_0, scale), &limits));
        y += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_vmac_f16(shift, d_1, scale), &limits));
        y += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_vmac_f16(shift, d_2, scale), &limits));
        y += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_vmac_f16(shift, d_3, scale), &limits));
        y += step;
    }
    for (; count > 0; count--) {
        const odl_vec_f16 d_0 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        odl_vstore_f16(y, odl_vlimit_f16(odl_vmac_f16(shift, d_0, scale), &limits));
        y += step;
    }
}

void odl_batch_norm_train(const struct odl_channel_shape *s, const odl_f16 *x, const odl_f32 *gamma,
                          const odl_f32 *beta, float *running_mean, float *running_var, odl_f16 *y,
                          float *mean, float *invstd, float momentum, float eps, float low, float high,
                          uint32_t core, uint32_t cores) {
    const float share = 1.0f / (float)s->pixels;
    const float unbiased = s->pixels > 1 ? 1.0f / (float)(s->pixels - 1) : 1.0f;
    const struct odl_limits limits = odl_limits(low, high);
    /* Vectors are dealt one by one: neighbours lie in different banks of memory. */
    for (uint32_t c = core * ODL_LANES_f16; c < s->channels; c += cores * ODL_LANES_f16) {
        const uint32_t lanes = s->channels - c < ODL_LANES_f16 ? s->channels - c : ODL_LANES_f16;
        float sums[ODL_LANES_f16], squares[ODL_LANES_f16], pivots[ODL_LANES_f16];
        float centres[ODL_LANES_f16] = {0.0f}, scales[ODL_LANES_f16] = {0.0f}, shifts[ODL_LANES_f16] = {0.0f};
        odl_vec_f16 pivot = lanes < ODL_LANES_f16 ? odl_vload_tail_f16(x + c, lanes) : odl_vload_f16(x + c);
        odl_wide_store_f16(pivots, odl_widen_f16(pivot));
        moments(x + c, s->pixels, s->channels, lanes, pivot, sums, squares);
        for (uint32_t i = 0; i < lanes; i++) {
            const float away = sums[i] * share;
            const float distances = __builtin_fmaf(-away, sums[i], squares[i]);
            squares[i] = distances < 0.0f ? 0.0f : distances; /* NaN stays */
            centres[i] = pivots[i] + away;
        }
        const odl_vec_f16 centre = odl_narrow_f16(odl_wide_load_f16(centres));
        odl_wide_store_f16(pivots, odl_widen_f16(centre));
        for (uint32_t i = 0; i < lanes; i++) {
            const float normal = 1.0f / __builtin_sqrtf(__builtin_fmaf(squares[i], share, eps));
            mean[c + i] = centres[i];
            invstd[c + i] = normal;
            /* They outlive the step, so a batch that overflowed leaves them alone. */
            if (__builtin_isfinite(squares[i])) {
                float *average = running_mean + c + i, *variance = running_var + c + i;
                *average = __builtin_fmaf(momentum, centres[i], (1.0f - momentum) * *average);
                *variance = __builtin_fmaf(momentum, squares[i] * unbiased, (1.0f - momentum) * *variance);
            }
            scales[i] = odl_load_f32(gamma + c + i) * normal;
            /* The centre was rounded; what it lost is in the shift. */
            shifts[i] = __builtin_fmaf(pivots[i] - centres[i], scales[i], odl_load_f32(beta + c + i));
        }
        normalise(x + c, y + c, s->pixels, s->channels, lanes, centre,
                  odl_narrow_f16(odl_wide_load_f16(scales)), odl_narrow_f16(odl_wide_load_f16(shifts)),
                  &limits);
    }
}
