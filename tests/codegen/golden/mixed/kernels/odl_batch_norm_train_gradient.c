/* Gradient of batch normalisation with the batch's statistics (Ioffe and Szegedy, arXiv 1502.03167, section
 * 3); with z = (x - mean) * invstd and sums over pixels in order:
 *
 *   dgamma = sum of dy * z,   dbeta = sum of dy
 *   dx = gamma * invstd * (dy - (sum of dy) / pixels - z * (sum of dy * z) / pixels)
 *
 * dy, x and dx [pixels][channels], the rest [channels]. Each of dx, dgamma and dbeta may be NULL; dx may be
 * dy. gamma is read only for dx. Sums are fp32; x - mean and the terms of dx are rounded as fp16.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "kernels.h"

#ifdef ODL_LANES_ASM
/* clang-format off */
#define REDUCE_TWO \
    do { \
        uint32_t a, b, p, q; \
        const size_t bytes = step * 2; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 18) \
            ODL_ASM_LW_BY("%[a]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[b]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[p]", "%[dy]", "%[bytes]") \
            ODL_ASM_LW_BY("%[q]", "%[dy]", "%[bytes]") \
            ODL_ASM_VFSUB_H("%[a]", "%[a]", "%[centre]") \
            ODL_ASM_VFSUB_H("%[b]", "%[b]", "%[centre]") \
            ODL_ASM_FMACEX_S_H("%[sum_low]", "%[p]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[product_low]", "%[p]", "%[a]") \
            ODL_ASM_HIGH("%[p]", "%[p]") \
            ODL_ASM_HIGH("%[a]", "%[a]") \
            ODL_ASM_FMACEX_S_H("%[sum_high]", "%[p]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[product_high]", "%[p]", "%[a]") \
            ODL_ASM_FMACEX_S_H("%[sum_low]", "%[q]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[product_low]", "%[q]", "%[b]") \
            ODL_ASM_HIGH("%[q]", "%[q]") \
            ODL_ASM_HIGH("%[b]", "%[b]") \
            ODL_ASM_FMACEX_S_H("%[sum_high]", "%[q]", "%[one]") \
            ODL_ASM_FMACEX_S_H("%[product_high]", "%[q]", "%[b]") \
            ODL_ASM_END \
            : \
              [sum_low] "+r"(sum.low), \
              [sum_high] "+r"(sum.high), \
              [product_low] "+r"(product.low), \
              [product_high] "+r"(product.high), \
              [dy] "+r"(dy), \
              [x] "+r"(x), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [p] "=&r"(p), \
              [q] "=&r"(q) \
            : \
              [centre] "r"(centre), \
              [one] "r"(0x3c00), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* Sums of dy and of dy * (x - centre) over `count` pixels, `step` elements apart */
static ODL_APART void reduce(const odl_f16 *dy, const odl_f16 *x, uint32_t count, size_t step, uint32_t lanes,
                             odl_vec_f16 centre, float *sums, float *products) {
    odl_wide_f16 sum = odl_wide_zero_f16(), product = odl_wide_zero_f16();
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0; count--) {
            const odl_vec_f16 dy_0 = odl_vload_tail_f16(dy, left);
            dy += step;
            const odl_vec_f16 d_0 = odl_vsub_f16(odl_vload_tail_f16(x, left), centre);
            x += step;
            sum = odl_wide_accumulate_f16(sum, dy_0);
            product = odl_wide_fma_f16(odl_widen_f16(dy_0), odl_widen_f16(d_0), product);
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
        const odl_vec_f16 d_0 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        const odl_vec_f16 dy_1 = odl_vload_f16(dy);
        dy += step;
        const odl_vec_f16 d_1 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        const odl_vec_f16 dy_2 = odl_vload_f16(dy);
        dy += step;
        const odl_vec_f16 d_2 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        const odl_vec_f16 dy_3 = odl_vload_f16(dy);
        dy += step;
        const odl_vec_f16 d_3 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        sum = odl_wide_accumulate_f16(sum, dy_0);
        product = odl_wide_fma_f16(odl_widen_f16(dy_0), odl_widen_f16(d_0), product);
        sum = odl_wide_accumulate_f16(sum, dy_1);
        product = odl_wide_fma_f16(odl_widen_f16(dy_1), odl_widen_f16(d_1), product);
        sum = odl_wide_accumulate_f16(sum, dy_2);
        product = odl_wide_fma_f16(odl_widen_f16(dy_2), odl_widen_f16(d_2), product);
        sum = odl_wide_accumulate_f16(sum, dy_3);
        product = odl_wide_fma_f16(odl_widen_f16(dy_3), odl_widen_f16(d_3), product);
    }
    for (; count > 0; count--) {
        const odl_vec_f16 dy_0 = odl_vload_f16(dy);
        dy += step;
        const odl_vec_f16 d_0 = odl_vsub_f16(odl_vload_f16(x), centre);
        x += step;
        sum = odl_wide_accumulate_f16(sum, dy_0);
        product = odl_wide_fma_f16(odl_widen_f16(dy_0), odl_widen_f16(d_0), product);
    }
    odl_wide_store_f16(sums, sum);
    odl_wide_store_f16(products, product);
}

#ifdef ODL_LANES_ASM
/* clang-format off */
#define SPREAD_TWO \
    do { \
        uint32_t a, b, c, d, p, q; \
        const size_t bytes = step * 2; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[iterations]", 16) \
            ODL_ASM_LW_BY("%[a]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[b]", "%[x]", "%[bytes]") \
            ODL_ASM_LW_BY("%[p]", "%[dy]", "%[bytes]") \
            ODL_ASM_LW_BY("%[q]", "%[dy]", "%[bytes]") \
            ODL_ASM_VFSUB_H("%[a]", "%[a]", "%[centre]") \
            ODL_ASM_VFSUB_H("%[b]", "%[b]", "%[centre]") \
            ODL_ASM_MOVE("%[c]", "%[offset]") \
            ODL_ASM_VFMUL_H("%[a]", "%[a]", "%[normal]") \
            ODL_ASM_VFMUL_H("%[b]", "%[b]", "%[normal]") \
            ODL_ASM_MOVE("%[d]", "%[offset]") \
            ODL_ASM_VFMAC_H("%[c]", "%[a]", "%[slope]") \
            ODL_ASM_VFMAC_H("%[d]", "%[b]", "%[slope]") \
            ODL_ASM_VFMAC_H("%[c]", "%[p]", "%[scale]") \
            ODL_ASM_VFMAC_H("%[d]", "%[q]", "%[scale]") \
            ODL_ASM_SW_BY("%[c]", "%[dx]", "%[bytes]") \
            ODL_ASM_SW_BY("%[d]", "%[dx]", "%[bytes]") \
            ODL_ASM_END \
            : \
              [dy] "+r"(dy), \
              [x] "+r"(x), \
              [dx] "+r"(dx), \
              [a] "=&r"(a), \
              [b] "=&r"(b), \
              [c] "=&r"(c), \
              [d] "=&r"(d), \
              [p] "=&r"(p), \
              [q] "=&r"(q) \
            : \
              [centre] "r"(centre), \
              [normal] "r"(normal), \
              [scale] "r"(scale), \
              [slope] "r"(slope), \
              [offset] "r"(offset), \
              [bytes] "r"(bytes), [iterations] "r"(iterations) \
            : "memory"); \
    } while (0)
/* clang-format on */
#endif

/* dx = offset + (x - centre) * normal * slope + dy * scale */
static ODL_APART void spread(const odl_f16 *dy, const odl_f16 *x, odl_f16 *dx, uint32_t count, size_t step,
                             uint32_t lanes, odl_vec_f16 centre, odl_vec_f16 normal, odl_vec_f16 scale,
                             odl_vec_f16 slope, odl_vec_f16 offset) {
    if (lanes < ODL_LANES_f16) {
        const uint32_t left = lanes;
        for (; count > 0; count--) {
            const odl_vec_f16 dy_0 = odl_vload_tail_f16(dy, left);
            dy += step;
            const odl_vec_f16 z_0 = odl_vmul_f16(odl_vsub_f16(odl_vload_tail_f16(x, left), centre), normal);
            x += step;
            odl_vstore_tail_f16(dx, odl_vmac_f16(odl_vmac_f16(offset, z_0, slope), dy_0, scale), left);
            dx += step;
        }
    }
#ifdef ODL_LANES_ASM
    const uint32_t iterations = count / 2;
    if (iterations > 0) {
        SPREAD_TWO;
        count -= 2 * iterations;
    }
#endif
    for (; count >= 2; count -= 2) {
        const odl_vec_f16 dy_0 = odl_vload_f16(dy);
        dy += step;
        const odl_vec_f16 z_0 = odl_vmul_f16(odl_vsub_f16(odl_vload_f16(x), centre), normal);
        x += step;
        const odl_vec_f16 dy_1 = odl_vload_f16(dy);
        dy += step;
        const odl_vec_f16 z_1 = odl_vmul_f16(odl_vsub_f16(odl_vload_f16(x), centre), normal);
        x += step;
        odl_vstore_f16(dx, odl_vmac_f16(odl_vmac_f16(offset, z_0, slope), dy_0, scale));
        dx += step;
        odl_vstore_f16(dx, odl_vmac_f16(odl_vmac_f16(offset, z_1, slope), dy_1, scale));
        dx += step;
    }
    for (; count > 0; count--) {
        const odl_vec_f16 dy_0 = odl_vload_f16(dy);
        dy += step;
        const odl_vec_f16 z_0 = odl_vmul_f16(odl_vsub_f16(odl_vload_f16(x), centre), normal);
        x += step;
        odl_vstore_f16(dx, odl_vmac_f16(odl_vmac_f16(offset, z_0, slope), dy_0, scale));
        dx += step;
    }
}

void odl_batch_norm_train_gradient(const struct odl_channel_shape *s, const odl_f16 *dy, const odl_f16 *x,
                                   const odl_f32 *gamma, const float *mean, const float *invstd, odl_f16 *dx,
                                   odl_f32 *dgamma, odl_f32 *dbeta, uint32_t core, uint32_t cores) {
    const float share = 1.0f / (float)s->pixels;
    /* Vectors are dealt one by one: neighbours lie in different banks of memory. */
    for (uint32_t c = core * ODL_LANES_f16; c < s->channels; c += cores * ODL_LANES_f16) {
        const uint32_t lanes = s->channels - c < ODL_LANES_f16 ? s->channels - c : ODL_LANES_f16;
        const odl_vec_f16 centre = odl_narrow_f16(odl_get_lanes_f16_f32(mean + c, lanes));
        float centres[ODL_LANES_f16], sums[ODL_LANES_f16], products[ODL_LANES_f16];
        float scales[ODL_LANES_f16] = {0.0f}, slopes[ODL_LANES_f16] = {0.0f}, offsets[ODL_LANES_f16] = {0.0f};
        odl_wide_store_f16(centres, odl_widen_f16(centre));
        reduce(dy + c, x + c, s->pixels, s->channels, lanes, centre, sums, products);
        for (uint32_t i = 0; i < lanes; i++) {
            /* The centre was rounded: what it lost comes back here and, for dx, in the offset. */
            const float normal = invstd[c + i], lost = centres[i] - mean[c + i];
            const float product = __builtin_fmaf(lost, sums[i], products[i]) * normal;
            if (dgamma != NULL) {
                odl_f32 *to = dgamma + c + i;
                odl_store_f32(to, product);
            }
            if (dbeta != NULL) {
                odl_f32 *to = dbeta + c + i;
                odl_store_f32(to, sums[i]);
            }
            if (dx != NULL) {
                scales[i] = odl_load_f32(gamma + c + i) * normal;
                slopes[i] = -(product * share * scales[i]);
                offsets[i] = __builtin_fmaf(lost * normal, slopes[i], -(sums[i] * share * scales[i]));
            }
        }
        if (dx != NULL) {
            spread(dy + c, x + c, dx + c, s->pixels, s->channels, lanes, centre,
                   odl_narrow_f16(odl_get_lanes_f16_f32(invstd + c, lanes)),
                   odl_narrow_f16(odl_wide_load_f16(scales)), odl_narrow_f16(odl_wide_load_f16(slopes)),
                   odl_narrow_f16(odl_wide_load_f16(offsets)));
        }
    }
}
