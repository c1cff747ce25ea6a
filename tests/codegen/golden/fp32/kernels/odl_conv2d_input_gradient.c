/* Gradient of a convolution by its input: dx = dy * transposed w + addend, zero where mask <= low or mask >=
 * high.
 *
 * dx, addend (may be NULL, may be dx) and mask (may be NULL) are [batch][in_h][in_w][in_c], dy
 * [batch][out_h][out_w][out_c], w[out_c][kernel_h][kernel_w][in_c]. mask is the output of the clamping
 * activation that made x (ReLU: low 0, high infinity), whose gradient is applied here. An infinite limit is
 * none.
 *
 * A transposed convolution (Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv
 * 1603.07285, chapter 4) as outer products: lanes run along in_c, one value of dy is broadcast over them, so
 * w is used as it lies, without a transposed copy. Pixels of dx that are a stride apart meet the same taps
 * and make tiles. Order of each sum: rows of dy from the top, columns from the left, then out_c, then the
 * addend.
 */
#include "odl_isa.h"

#include "kernels.h"

#ifdef ODL_PACKED_ASM
/* 4 pixels x 2 vectors: `runs` taps of `count` products */
#define OUTER_4x2 \
    do { \
        uint32_t h_0 = runs, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 17) \
            ODL_ASM_REPEAT(0, "%[count]", 14) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_0]", 4) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar_1]", 4) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_1]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_2]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f32("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar_3]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_1_2]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f32("%[acc_1_3]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_0_2] "+r"(acc_0_2), [acc_0_3] "+r"(acc_0_3), [acc_1_0] "+r"(acc_1_0), [acc_1_1] "+r"(acc_1_1), [acc_1_2] "+r"(acc_1_2), [acc_1_3] "+r"(acc_1_3),  \
[vector] "+r"(vector), [scalar_0] "+r"(scalar_0), [scalar_1] "+r"(scalar_1), [scalar_2] "+r"(scalar_2), [scalar_3] "+r"(scalar_3), [h_0] "+r"(h_0), [h_1] "=&r"(h_1) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [vector_bytes] "m"(vector_bytes)); \
    } while (0)

/* 4 pixels x 1 vector: `runs` taps of `count` products */
#define OUTER_4x1 \
    do { \
        uint32_t h_0 = runs; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 12) \
            ODL_ASM_REPEAT(0, "%[count]", 9) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_0]", 4) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar_1]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_2]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar_3]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_0_2] "+r"(acc_0_2), [acc_0_3] "+r"(acc_0_3),  \
[vector] "+r"(vector), [scalar_0] "+r"(scalar_0), [scalar_1] "+r"(scalar_1), [scalar_2] "+r"(scalar_2), [scalar_3] "+r"(scalar_3), [h_0] "+r"(h_0) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [vector_bytes] "m"(vector_bytes)); \
    } while (0)

/* 2 pixels x 2 vectors: `runs` taps of `count` products */
#define OUTER_2x2 \
    do { \
        uint32_t h_0 = runs, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 11) \
            ODL_ASM_REPEAT(0, "%[count]", 8) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_0]", 4) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar_1]", 4) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_1]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f32("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_1_0] "+r"(acc_1_0), [acc_1_1] "+r"(acc_1_1),  \
[vector] "+r"(vector), [scalar_0] "+r"(scalar_0), [scalar_1] "+r"(scalar_1), [h_0] "+r"(h_0), [h_1] "=&r"(h_1) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [vector_bytes] "m"(vector_bytes)); \
    } while (0)

/* 2 pixels x 1 vector: `runs` taps of `count` products */
#define OUTER_2x1 \
    do { \
        uint32_t h_0 = runs; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 8) \
            ODL_ASM_REPEAT(0, "%[count]", 5) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_0]", 4) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar_1]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1),  \
[vector] "+r"(vector), [scalar_0] "+r"(scalar_0), [scalar_1] "+r"(scalar_1), [h_0] "+r"(h_0) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [vector_bytes] "m"(vector_bytes)); \
    } while (0)

/* 1 pixel x 2 vectors: `runs` taps of `count` products */
#define OUTER_1x2 \
    do { \
        uint32_t h_0 = runs, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 8) \
            ODL_ASM_REPEAT(0, "%[count]", 5) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_0]", 4) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_1]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_1_0] "+r"(acc_1_0),  \
[vector] "+r"(vector), [scalar_0] "+r"(scalar_0), [h_0] "+r"(h_0), [h_1] "=&r"(h_1) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [vector_bytes] "m"(vector_bytes)); \
    } while (0)

/* 1 pixel x 1 vector: `runs` taps of `count` products */
#define OUTER_1x1 \
    do { \
        uint32_t h_0 = runs; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 6) \
            ODL_ASM_REPEAT(0, "%[count]", 3) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar_0]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0),  \
[vector] "+r"(vector), [scalar_0] "+r"(scalar_0), [h_0] "+r"(h_0) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [vector_bytes] "m"(vector_bytes)); \
    } while (0)

#endif

/* The taps of one dimension that reach an input position: k_first, k_first - stride, .. (`count` of them)
 * from the outputs o_first, o_first + 1, .. */
struct taps {
    uint32_t o_first, k_first, count;
};

static struct taps taps_of(uint32_t position, uint32_t pad, uint32_t kernel, uint32_t stride,
                           uint32_t outputs) {
    const uint32_t at = position + pad; /* in the padded input: tap k of output o lies at o * stride + k */
    struct taps taps = {0, 0, 0};
    const uint32_t first = at >= kernel ? (at - kernel) / stride + 1 : 0;
    const uint32_t last = at / stride < outputs ? at / stride : outputs - 1;
    if (first <= last) {
        taps.o_first = first;
        taps.k_first = at - first * stride;
        taps.count = last - first + 1;
    }
    return taps;
}

/* How many positions from this one on, each `stride` further, meet the same taps. */
static uint32_t alike(uint32_t position, uint32_t positions, uint32_t pad, uint32_t kernel, uint32_t stride,
                      uint32_t outputs) {
    const uint32_t at = position + pad, end = outputs * stride; /* beyond `end` the last output limits the taps */
    if (at + stride < kernel || at >= end) {
        return 1;
    }
    const uint32_t here = (positions - position - 1) / stride + 1, inside = (end - at - 1) / stride + 1;
    return here < inside ? here : inside;
}

/* Pixels of dx that meet the same taps, at some channels: the next one to compute, and the way on. */
struct region {
    const odl_f32 *dy, *w; /* at the first tap */
    const odl_f32 *addend, *mask;
    odl_f32 *dx;
    size_t at;                /* of the pixel in addend, mask and dx */
    uint32_t pixels;          /* still to do */
    uint32_t column, columns; /* of the pixel, and of the region */
    size_t dy_step, at_step;  /* to the next pixel in the row */
    size_t dy_wrap, at_wrap;  /* to the first one in the next row */
    uint32_t rows, taps, run; /* rows of taps, taps in a row, terms of a tap */
    size_t filter;            /* from term to term in w */
    ptrdiff_t vector_jump;    /* in w from behind a tap to the next one */
    ptrdiff_t w_jump;         /* ... and from there, after the last tap of a row, to the next row */
    size_t dy_jump;           /* in dy from behind a row of taps to the next row */
    uint32_t lanes;           /* of a vector that may be partial */
    struct odl_limits limits;
};

static inline void next_pixel(struct region *r) {
    if (++r->column < r->columns) {
        r->dy += r->dy_step;
        r->at += r->at_step;
    } else {
        r->column = 0;
        r->dy += r->dy_wrap;
        r->at += r->at_wrap;
    }
}

/* What follows the sums of one vector. */
static inline void store(const struct region *r, size_t at, odl_vec_f32 sum) {
    if (r->addend != NULL) {
        sum = odl_vadd_f32(sum, odl_vload_f32(r->addend + at));
    }
    odl_vec_f32 v = sum;
    if (r->mask != NULL) {
        v = odl_vmask_f32(v, odl_vload_f32(r->mask + at), &r->limits);
    }
    odl_vstore_f32(r->dx + at, v);
}

/* The same for one that may be partial. */
static inline void store_lanes(const struct region *r, size_t at, odl_vec_f32 sum) {
    if (r->lanes == ODL_LANES_f32) {
        store(r, at, sum);
        return;
    }
    if (r->addend != NULL) {
        sum = odl_vadd_f32(sum, odl_vload_tail_f32(r->addend + at, r->lanes));
    }
    odl_vec_f32 v = sum;
    if (r->mask != NULL) {
        v = odl_vmask_f32(v, odl_vload_tail_f32(r->mask + at, r->lanes), &r->limits);
    }
    odl_vstore_tail_f32(r->dx + at, v, r->lanes);
}

/* 4 pixels x 2 vectors at a time, as long as there are as many pixels. */
static void tiles_4x2(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32) - 4;
#endif
    for (; r->pixels >= 4; r->pixels -= 4) {
        const odl_f32 *scalar_0 = r->dy;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_1 = r->dy;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_2 = r->dy;
        const size_t at_2 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_3 = r->dy;
        const size_t at_3 = r->at;
        next_pixel(r);
        const odl_f32 *vector = r->w;
        odl_vec_f32 acc_0_0 = odl_vzero_f32();
        odl_vec_f32 acc_0_1 = odl_vzero_f32();
        odl_vec_f32 acc_0_2 = odl_vzero_f32();
        odl_vec_f32 acc_0_3 = odl_vzero_f32();
        odl_vec_f32 acc_1_0 = odl_vzero_f32();
        odl_vec_f32 acc_1_1 = odl_vzero_f32();
        odl_vec_f32 acc_1_2 = odl_vzero_f32();
        odl_vec_f32 acc_1_3 = odl_vzero_f32();
        for (uint32_t row = r->rows; row > 0; row--) {
            const uint32_t runs = r->taps, count = run;
            const ptrdiff_t vector_jump = r->vector_jump;
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (runs > 0) {
                OUTER_4x2;
            }
#else
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f32 b_0 = odl_vload_f32(vector);
                    const odl_vec_f32 b_1 = odl_vload_f32(vector + ODL_LANES_f32);
                    const odl_vec_f32 a_0 = odl_vdup_f32(scalar_0);
                    const odl_vec_f32 a_1 = odl_vdup_f32(scalar_1);
                    const odl_vec_f32 a_2 = odl_vdup_f32(scalar_2);
                    const odl_vec_f32 a_3 = odl_vdup_f32(scalar_3);
                    acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                    acc_1_0 = odl_vmac_f32(acc_1_0, b_1, a_0);
                    acc_0_1 = odl_vmac_f32(acc_0_1, b_0, a_1);
                    acc_1_1 = odl_vmac_f32(acc_1_1, b_1, a_1);
                    acc_0_2 = odl_vmac_f32(acc_0_2, b_0, a_2);
                    acc_1_2 = odl_vmac_f32(acc_1_2, b_1, a_2);
                    acc_0_3 = odl_vmac_f32(acc_0_3, b_0, a_3);
                    acc_1_3 = odl_vmac_f32(acc_1_3, b_1, a_3);
                    scalar_0++;
                    scalar_1++;
                    scalar_2++;
                    scalar_3++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            scalar_0 += r->dy_jump;
            scalar_1 += r->dy_jump;
            scalar_2 += r->dy_jump;
            scalar_3 += r->dy_jump;
            vector += r->w_jump;
        }
        store(r, at_0, acc_0_0);
        store(r, at_0 + ODL_LANES_f32, acc_1_0);
        store(r, at_1, acc_0_1);
        store(r, at_1 + ODL_LANES_f32, acc_1_1);
        store(r, at_2, acc_0_2);
        store(r, at_2 + ODL_LANES_f32, acc_1_2);
        store(r, at_3, acc_0_3);
        store(r, at_3 + ODL_LANES_f32, acc_1_3);
    }
}

/* 2 pixels x 2 vectors at a time, as long as there are as many pixels. */
static void tiles_2x2(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32) - 4;
#endif
    for (; r->pixels >= 2; r->pixels -= 2) {
        const odl_f32 *scalar_0 = r->dy;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_1 = r->dy;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f32 *vector = r->w;
        odl_vec_f32 acc_0_0 = odl_vzero_f32();
        odl_vec_f32 acc_0_1 = odl_vzero_f32();
        odl_vec_f32 acc_1_0 = odl_vzero_f32();
        odl_vec_f32 acc_1_1 = odl_vzero_f32();
        for (uint32_t row = r->rows; row > 0; row--) {
            const uint32_t runs = r->taps, count = run;
            const ptrdiff_t vector_jump = r->vector_jump;
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (runs > 0) {
                OUTER_2x2;
            }
#else
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f32 b_0 = odl_vload_f32(vector);
                    const odl_vec_f32 b_1 = odl_vload_f32(vector + ODL_LANES_f32);
                    const odl_vec_f32 a_0 = odl_vdup_f32(scalar_0);
                    const odl_vec_f32 a_1 = odl_vdup_f32(scalar_1);
                    acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                    acc_1_0 = odl_vmac_f32(acc_1_0, b_1, a_0);
                    acc_0_1 = odl_vmac_f32(acc_0_1, b_0, a_1);
                    acc_1_1 = odl_vmac_f32(acc_1_1, b_1, a_1);
                    scalar_0++;
                    scalar_1++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            scalar_0 += r->dy_jump;
            scalar_1 += r->dy_jump;
            vector += r->w_jump;
        }
        store(r, at_0, acc_0_0);
        store(r, at_0 + ODL_LANES_f32, acc_1_0);
        store(r, at_1, acc_0_1);
        store(r, at_1 + ODL_LANES_f32, acc_1_1);
    }
}

/* 1 pixel x 2 vectors at a time, as long as there are as many pixels. */
static void tiles_1x2(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32) - 4;
#endif
    for (; r->pixels >= 1; r->pixels -= 1) {
        const odl_f32 *scalar_0 = r->dy;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f32 *vector = r->w;
        odl_vec_f32 acc_0_0 = odl_vzero_f32();
        odl_vec_f32 acc_1_0 = odl_vzero_f32();
        for (uint32_t row = r->rows; row > 0; row--) {
            const uint32_t runs = r->taps, count = run;
            const ptrdiff_t vector_jump = r->vector_jump;
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (runs > 0) {
                OUTER_1x2;
            }
#else
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f32 b_0 = odl_vload_f32(vector);
                    const odl_vec_f32 b_1 = odl_vload_f32(vector + ODL_LANES_f32);
                    const odl_vec_f32 a_0 = odl_vdup_f32(scalar_0);
                    acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                    acc_1_0 = odl_vmac_f32(acc_1_0, b_1, a_0);
                    scalar_0++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            scalar_0 += r->dy_jump;
            vector += r->w_jump;
        }
        store(r, at_0, acc_0_0);
        store(r, at_0 + ODL_LANES_f32, acc_1_0);
    }
}

/* 4 pixels x 1 whole or partial vector at a time, as long as there are as many pixels. */
static void tiles_4xpartial(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32);
#endif
    for (; r->pixels >= 4; r->pixels -= 4) {
        const odl_f32 *scalar_0 = r->dy;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_1 = r->dy;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_2 = r->dy;
        const size_t at_2 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_3 = r->dy;
        const size_t at_3 = r->at;
        next_pixel(r);
        const odl_f32 *vector = r->w;
        odl_vec_f32 acc_0_0 = odl_vzero_f32();
        odl_vec_f32 acc_0_1 = odl_vzero_f32();
        odl_vec_f32 acc_0_2 = odl_vzero_f32();
        odl_vec_f32 acc_0_3 = odl_vzero_f32();
        for (uint32_t row = r->rows; row > 0; row--) {
            const uint32_t runs = r->taps, count = run;
            const ptrdiff_t vector_jump = r->vector_jump;
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (runs > 0) {
                OUTER_4x1;
            }
#else
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f32 b_0 = r->lanes < ODL_LANES_f32 ? odl_vload_tail_f32(vector, r->lanes)
                                            : odl_vload_f32(vector);
                    const odl_vec_f32 a_0 = odl_vdup_f32(scalar_0);
                    const odl_vec_f32 a_1 = odl_vdup_f32(scalar_1);
                    const odl_vec_f32 a_2 = odl_vdup_f32(scalar_2);
                    const odl_vec_f32 a_3 = odl_vdup_f32(scalar_3);
                    acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                    acc_0_1 = odl_vmac_f32(acc_0_1, b_0, a_1);
                    acc_0_2 = odl_vmac_f32(acc_0_2, b_0, a_2);
                    acc_0_3 = odl_vmac_f32(acc_0_3, b_0, a_3);
                    scalar_0++;
                    scalar_1++;
                    scalar_2++;
                    scalar_3++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            scalar_0 += r->dy_jump;
            scalar_1 += r->dy_jump;
            scalar_2 += r->dy_jump;
            scalar_3 += r->dy_jump;
            vector += r->w_jump;
        }
        store_lanes(r, at_0, acc_0_0);
        store_lanes(r, at_1, acc_0_1);
        store_lanes(r, at_2, acc_0_2);
        store_lanes(r, at_3, acc_0_3);
    }
}

/* 2 pixels x 1 whole or partial vector at a time, as long as there are as many pixels. */
static void tiles_2xpartial(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32);
#endif
    for (; r->pixels >= 2; r->pixels -= 2) {
        const odl_f32 *scalar_0 = r->dy;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f32 *scalar_1 = r->dy;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f32 *vector = r->w;
        odl_vec_f32 acc_0_0 = odl_vzero_f32();
        odl_vec_f32 acc_0_1 = odl_vzero_f32();
        for (uint32_t row = r->rows; row > 0; row--) {
            const uint32_t runs = r->taps, count = run;
            const ptrdiff_t vector_jump = r->vector_jump;
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (runs > 0) {
                OUTER_2x1;
            }
#else
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f32 b_0 = r->lanes < ODL_LANES_f32 ? odl_vload_tail_f32(vector, r->lanes)
                                            : odl_vload_f32(vector);
                    const odl_vec_f32 a_0 = odl_vdup_f32(scalar_0);
                    const odl_vec_f32 a_1 = odl_vdup_f32(scalar_1);
                    acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                    acc_0_1 = odl_vmac_f32(acc_0_1, b_0, a_1);
                    scalar_0++;
                    scalar_1++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            scalar_0 += r->dy_jump;
            scalar_1 += r->dy_jump;
            vector += r->w_jump;
        }
        store_lanes(r, at_0, acc_0_0);
        store_lanes(r, at_1, acc_0_1);
    }
}

/* 1 pixel x 1 whole or partial vector at a time, as long as there are as many pixels. */
static void tiles_1xpartial(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32);
#endif
    for (; r->pixels >= 1; r->pixels -= 1) {
        const odl_f32 *scalar_0 = r->dy;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f32 *vector = r->w;
        odl_vec_f32 acc_0_0 = odl_vzero_f32();
        for (uint32_t row = r->rows; row > 0; row--) {
            const uint32_t runs = r->taps, count = run;
            const ptrdiff_t vector_jump = r->vector_jump;
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (runs > 0) {
                OUTER_1x1;
            }
#else
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f32 b_0 = r->lanes < ODL_LANES_f32 ? odl_vload_tail_f32(vector, r->lanes)
                                            : odl_vload_f32(vector);
                    const odl_vec_f32 a_0 = odl_vdup_f32(scalar_0);
                    acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                    scalar_0++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            scalar_0 += r->dy_jump;
            vector += r->w_jump;
        }
        store_lanes(r, at_0, acc_0_0);
    }
}

/* All pixels of a region, channels [begin, end); w, addend, mask and dx at channel 0. */
static void channels_of(const struct region *region, uint32_t begin, uint32_t end) {
    uint32_t channels;
    for (uint32_t c = begin; c < end; c += channels) {
        struct region r = *region;
        r.w += c;
        r.at += c;
        if (end - c >= 2 * ODL_LANES_f32) {
            channels = 2 * ODL_LANES_f32;
            tiles_4x2(&r);
            tiles_2x2(&r);
            tiles_1x2(&r);
        } else {
            r.lanes = end - c < ODL_LANES_f32 ? end - c : ODL_LANES_f32;
            channels = r.lanes;
            tiles_4xpartial(&r);
            tiles_2xpartial(&r);
            tiles_1xpartial(&r);
        }
    }
}

/* Pixels of one image row and of those `stride_h` further that meet the same taps, `count` rows; channels
 * [begin, end). */
static void rows_of(const struct odl_conv2d_shape *s, struct region *r, const struct taps *rows,
                    uint32_t count, const odl_f32 *dy, const odl_f32 *w, size_t row_at, uint32_t begin,
                    uint32_t end) {
    for (uint32_t phase = 0; phase < s->stride_w; phase++) {
        for (uint32_t ix = phase; ix < s->in_w; ix += r->columns * s->stride_w) {
            const struct taps columns = taps_of(ix, s->pad_left, s->kernel_w, s->stride_w, s->out_w);
            r->column = 0;
            r->columns = alike(ix, s->in_w, s->pad_left, s->kernel_w, s->stride_w, s->out_w);
            r->pixels = count * r->columns;
            r->at = row_at + (size_t)ix * s->in_c;
            r->at_wrap = (size_t)s->stride_h * s->in_w * s->in_c - (r->columns - 1) * r->at_step;
            r->rows = columns.count > 0 ? rows->count : 0;
            r->taps = columns.count;
            r->dy = dy;
            r->w = w;
            if (r->rows > 0) {
                r->dy += ((size_t)rows->o_first * s->out_w + columns.o_first) * s->out_c;
                r->w += ((size_t)rows->k_first * s->kernel_w + columns.k_first) * s->in_c;
            }
            r->dy_wrap = (s->out_w - (r->columns - 1)) * r->dy_step;
            r->dy_jump = (s->out_w - r->taps) * r->dy_step;
            r->w_jump = (ptrdiff_t)(r->taps * s->stride_w * s->in_c) -
                        (ptrdiff_t)(s->stride_h * s->kernel_w * s->in_c);
            channels_of(r, begin, end);
        }
    }
}

void odl_conv2d_input_gradient(const struct odl_conv2d_shape *s, const odl_f32 *dy, const odl_f32 *w,
                               const odl_f32 *addend, const odl_f32 *mask, odl_f32 *dx, float low, float high,
                               uint32_t core, uint32_t cores) {
    const struct odl_share share =
        odl_share_grid(s->batch * s->in_h, s->in_c, 2 * ODL_LANES_f32, core, cores);
    struct region region = {.addend = addend, .mask = mask, .dx = dx, .limits = odl_limits(low, high)};
    region.dy_step = s->out_c;
    region.at_step = (size_t)s->stride_w * s->in_c;
    region.run = s->out_c;
    region.filter = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    region.vector_jump = -(ptrdiff_t)(s->out_c * region.filter) - (ptrdiff_t)(s->stride_w * s->in_c);
    uint32_t image_end;
    for (uint32_t row = share.row_begin; row < share.row_end; row = image_end) {
        const uint32_t image = row / s->in_h;
        image_end = (image + 1) * s->in_h < share.row_end ? (image + 1) * s->in_h : share.row_end;
        for (uint32_t phase = 0; phase < s->stride_h; phase++) {
            uint32_t count;
            for (uint32_t at = row + phase; at < image_end; at += count * s->stride_h) {
                const uint32_t iy = at - image * s->in_h, iy_end = image_end - image * s->in_h;
                const struct taps rows = taps_of(iy, s->pad_top, s->kernel_h, s->stride_h, s->out_h);
                count = alike(iy, iy_end, s->pad_top, s->kernel_h, s->stride_h, s->out_h);
                rows_of(s, &region, &rows, count, dy + (size_t)image * s->out_h * s->out_w * s->out_c, w,
                        (size_t)at * s->in_w * s->in_c, share.column_begin, share.column_end);
            }
        }
    }
}
