/* Gradient of batch normalisation with the batch's statistics (Ioffe and Szegedy, arXiv 1502.03167, section
 * 3); with z = (x - mean) * invstd and sums over pixels in order:
 *
 *   dgamma = sum of dy * z,   dbeta = sum of dy
 *   dx = gamma * invstd * (dy - (sum of dy) / pixels - z * (sum of dy * z) / pixels)
 *
 * dy, x and dx [pixels][channels], the rest [channels]. Each of dx, dgamma and dbeta may be NULL; dx may be
 * dy. gamma is read only for dx.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "kernels.h"

#ifdef ODL_LANES_ASM
/* clang-format off */
#define REDUCE_TWO \
    do { \
        uint32_t a, b, c, d, e, f; \
        const size_t bytes = step * 2; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 28) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[dy]", "%[bytes]") \
            ODL_ASM_LW_BY("%[e]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[dy]", "%[bytes]") \
            ODL_ASM_LW_BY("%[f]", "%[x]", "%[bytes]") \
            ODL_ASM_FMACEX_S_H("%[low]", ODL_ASM_SPARE_0, "%[one]") \
            ODL_ASM_WIDEN("%[a]", ODL_ASM_SPARE_0) \
            ODL_ASM_HIGH(ODL_ASM_SPARE_0, ODL_ASM_SPARE_0) \
            ODL_ASM_WIDEN("%[b]", "%[e]") \
            ODL_ASM_HIGH("%[e]", "%[e]") \
            ODL_ASM_FMACEX_S_H("%[high]", ODL_ASM_SPARE_0, "%[one]") \
            ODL_ASM_WIDEN("%[c]", ODL_ASM_SPARE_0) \
            ODL_ASM_WIDEN("%[d]", "%[e]") \
            ODL_ASM_SUB_f32("%[b]", "%[b]", "%[centre_low]") \
            ODL_ASM_SUB_f32("%[d]", "%[d]", "%[centre_high]") \
            ODL_ASM_FMA_f32("%[p_low]", "%[a]", "%[b]", "%[p_low]") \
            ODL_ASM_FMA_f32("%[p_high]", "%[c]", "%[d]", "%[p_high]") \
            ODL_ASM_FMACEX_S_H("%[low]", ODL_ASM_SPARE_1, "%[one]") \
            ODL_ASM_WIDEN("%[a]", ODL_ASM_SPARE_1) \
            ODL_ASM_HIGH(ODL_ASM_SPARE_1, ODL_ASM_SPARE_1) \
            ODL_ASM_WIDEN("%[b]", "%[f]") \
            ODL_ASM_HIGH("%[f]", "%[f]") \
            ODL_ASM_FMACEX_S_H("%[high]", ODL_ASM_SPARE_1, "%[one]") \
            ODL_ASM_WIDEN("%[c]", ODL_ASM_SPARE_1) \
            ODL_ASM_WIDEN("%[d]", "%[f]") \
            ODL_ASM_SUB_f32("%[b]", "%[b]", "%[centre_low]") \
            ODL_ASM_SUB_f32("%[d]", "%[d]", "%[centre_high]") \
            ODL_ASM_FMA_f32("%[p_low]", "%[a]", "%[b]", "%[p_low]") \
            ODL_ASM_FMA_f32("%[p_high]", "%[c]", "%[d]", "%[p_high]") \
            ODL_ASM_END \
            : \
              [low] "+r"(sum.low), \
              [high] "+r"(sum.high), \
              [p_low] "+r"(product.low), \
              [p_high] "+r"(product.high), \
              [dy] "+r"(dy), \
              [x] "+r"(x), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [c] "=&r"(c), \
              [d] "=&r"(d), \
              [e] "=&r"(e), \
              [f] "=&r"(f) \
            : \
              [centre_low] "r"(centre.low), \
              [centre_high] "r"(centre.high), \
              [one] "r"(0x3c00), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* Sums of dy and of dy * (x - centre) over `count` pixels, `step` elements apart */
static ODL_APART void reduce(const odl_f16 *dy, const odl_f16 *x, uint32_t count, size_t step, uint32_t lanes,
                             odl_wide_f16 centre, float *sums, float *products) {
    odl_wide_f16 sum = odl_wide_zero_f16(), product = odl_wide_zero_f16();
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0; count--) {
            const odl_vec_f16 dy_0 = odl_vload_tail_f16(dy, left);
            dy += step;
            const odl_wide_f16 distance_0 =
                odl_wide_minus_f16(odl_widen_f16(odl_vload_tail_f16(x, left)), centre);
            x += step;
            sum = odl_wide_accumulate_f16(sum, dy_0);
            product = odl_wide_fma_f16(odl_widen_f16(dy_0), distance_0, product);
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2;
    if (iterations > 0) {
        REDUCE_TWO;
        count -= 2 * iterations;
    }
#endif
    for (; count >= 4; count -= 4) {
        const odl_vec_f16 dy_0 = odl_vload_f16(dy);
        dy += step;
        const odl_wide_f16 distance_0 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        const odl_vec_f16 dy_1 = odl_vload_f16(dy);
        dy += step;
        const odl_wide_f16 distance_1 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        const odl_vec_f16 dy_2 = odl_vload_f16(dy);
        dy += step;
        const odl_wide_f16 distance_2 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        const odl_vec_f16 dy_3 = odl_vload_f16(dy);
        dy += step;
        const odl_wide_f16 distance_3 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        sum = odl_wide_accumulate_f16(sum, dy_0);
        product = odl_wide_fma_f16(odl_widen_f16(dy_0), distance_0, product);
        sum = odl_wide_accumulate_f16(sum, dy_1);
        product = odl_wide_fma_f16(odl_widen_f16(dy_1), distance_1, product);
        sum = odl_wide_accumulate_f16(sum, dy_2);
        product = odl_wide_fma_f16(odl_widen_f16(dy_2), distance_2, product);
        sum = odl_wide_accumulate_f16(sum, dy_3);
        product = odl_wide_fma_f16(odl_widen_f16(dy_3), distance_3, product);
    }
    for (; count > 0; count--) {
        const odl_vec_f16 dy_0 = odl_vload_f16(dy);
        dy += step;
        const odl_wide_f16 distance_0 = odl_wide_minus_f16(odl_widen_f16(odl_vload_f16(x)), centre);
        x += step;
        sum = odl_wide_accumulate_f16(sum, dy_0);
        product = odl_wide_fma_f16(odl_widen_f16(dy_0), distance_0, product);
    }
    odl_wide_store_f16(sums, sum);
    odl_wide_store_f16(products, product);
}

#ifdef ODL_LANES_ASM
/* clang-format off */
#define SPREAD_ONE \
    do { \
        uint32_t a, b, c, d; \
        const size_t bytes = step * 2; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 18) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[dy]", "%[bytes]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[x]", "%[bytes]") \
            ODL_ASM_WIDEN("%[a]", ODL_ASM_SPARE_0) \
            ODL_ASM_HIGH(ODL_ASM_SPARE_0, ODL_ASM_SPARE_0) \
            ODL_ASM_WIDEN("%[b]", ODL_ASM_SPARE_1) \
            ODL_ASM_HIGH(ODL_ASM_SPARE_1, ODL_ASM_SPARE_1) \
            ODL_ASM_WIDEN("%[c]", ODL_ASM_SPARE_0) \
            ODL_ASM_WIDEN("%[d]", ODL_ASM_SPARE_1) \
            ODL_ASM_SUB_f32("%[a]", "%[a]", "%[average_low]") \
            ODL_ASM_SUB_f32("%[b]", "%[b]", "%[centre_low]") \
            ODL_ASM_SUB_f32("%[c]", "%[c]", "%[average_high]") \
            ODL_ASM_SUB_f32("%[d]", "%[d]", "%[centre_high]") \
            ODL_ASM_FMA_f32("%[a]", "%[b]", "%[slope_low]", "%[a]") \
            ODL_ASM_FMA_f32("%[c]", "%[d]", "%[slope_high]", "%[c]") \
            ODL_ASM_MUL_f32("%[a]", "%[a]", "%[scale_low]") \
            ODL_ASM_MUL_f32("%[c]", "%[c]", "%[scale_high]") \
            ODL_ASM_NARROW(ODL_ASM_SPARE_0, "%[a]", "%[c]") \
            ODL_ASM_SW_BY(ODL_ASM_SPARE_0, "%[dx]", "%[bytes]") \
            ODL_ASM_END \
            : \
              [dy] "+r"(dy), \
              [x] "+r"(x), \
              [dx] "+r"(dx), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [c] "=&r"(c), \
              [d] "=&r"(d) \
            : \
              [centre_low] "r"(centre.low), \
              [centre_high] "r"(centre.high), \
              [average_low] "r"(average.low), \
              [average_high] "r"(average.high), \
              [slope_low] "r"(slope.low), \
              [slope_high] "r"(slope.high), \
              [scale_low] "r"(scale.low), \
              [scale_high] "r"(scale.high), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* dx = (dy - average + (x - centre) * slope) * scale */
static ODL_APART void spread(const odl_f16 *dy, const odl_f16 *x, odl_f16 *dx, uint32_t count, size_t step,
                             uint32_t lanes, odl_wide_f16 centre, odl_wide_f16 average, odl_wide_f16 slope,
                             odl_wide_f16 scale) {
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0; count--) {
            odl_wide_f16 d_0 = odl_widen_f16(odl_vload_tail_f16(dy, left));
            dy += step;
            const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_tail_f16(x, left));
            x += step;
            d_0 = odl_wide_minus_f16(d_0, average);
            d_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), slope, d_0);
            odl_vstore_tail_f16(dx, odl_narrow_f16(odl_wide_times_f16(d_0, scale)), left);
            dx += step;
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 1;
    if (iterations > 0) {
        SPREAD_ONE;
        count -= 1 * iterations;
    }
#endif
    for (; count >= 2; count -= 2) {
        odl_wide_f16 d_0 = odl_widen_f16(odl_vload_f16(dy));
        dy += step;
        const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        odl_wide_f16 d_1 = odl_widen_f16(odl_vload_f16(dy));
        dy += step;
        const odl_wide_f16 x_1 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        d_0 = odl_wide_minus_f16(d_0, average);
        d_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), slope, d_0);
        d_1 = odl_wide_minus_f16(d_1, average);
        d_1 = odl_wide_fma_f16(odl_wide_minus_f16(x_1, centre), slope, d_1);
        odl_vstore_f16(dx, odl_narrow_f16(odl_wide_times_f16(d_0, scale)));
        dx += step;
        odl_vstore_f16(dx, odl_narrow_f16(odl_wide_times_f16(d_1, scale)));
        dx += step;
    }
    for (; count > 0; count--) {
        odl_wide_f16 d_0 = odl_widen_f16(odl_vload_f16(dy));
        dy += step;
        const odl_wide_f16 x_0 = odl_widen_f16(odl_vload_f16(x));
        x += step;
        d_0 = odl_wide_minus_f16(d_0, average);
        d_0 = odl_wide_fma_f16(odl_wide_minus_f16(x_0, centre), slope, d_0);
        odl_vstore_f16(dx, odl_narrow_f16(odl_wide_times_f16(d_0, scale)));
        dx += step;
    }
}

void odl_batch_norm_train_gradient(const struct odl_channel_shape *s, const odl_f16 *dy, const odl_f16 *x,
                                   const odl_f32 *gamma, const float *mean, const float *invstd, odl_f16 *dx,
                                   odl_f32 *dgamma, odl_f32 *dbeta, uint32_t core, uint32_t cores) {
    /* Vectors are dealt one by one: neighbours lie in different banks of memory. */
    for (uint32_t c = core * ODL_LANES_f16; c < s->channels; c += cores * ODL_LANES_f16) {
        const uint32_t lanes = s->channels - c < ODL_LANES_f16 ? s->channels - c : ODL_LANES_f16;
        const odl_wide_f16 centre = odl_get_lanes_f16_f32(mean + c, lanes);
        float sums[ODL_MAX_LANES], products[ODL_MAX_LANES];
        float slopes[ODL_MAX_LANES] = {0.0f}, scales[ODL_MAX_LANES] = {0.0f};
        reduce(dy + c, x + c, s->pixels, s->channels, lanes, centre, sums, products);
        for (uint32_t i = 0; i < lanes; i++) {
            const float normal = invstd[c + i], product = products[i] * normal;
            if (dgamma != NULL) {
                odl_f32 *to = dgamma + c + i;
                odl_store_f32(to, product);
            }
            if (dbeta != NULL) {
                odl_f32 *to = dbeta + c + i;
                odl_store_f32(to, sums[i]);
            }
            if (dx != NULL) {
                sums[i] /= (float)s->pixels;
                slopes[i] = -(product / (float)s->pixels * normal);
                scales[i] = odl_load_f32(gamma + c + i) * normal;
            }
        }
        if (dx != NULL) {
            spread(dy + c, x + c, dx + c, s->pixels, s->channels, lanes, centre, odl_wide_load_f16(sums),
                   odl_wide_load_f16(slopes), odl_wide_load_f16(scales));
        }
    }
}
