/* Gradient of a convolution by its weights: dw[co][ky][kx][ci] = the sum over output pixels of dy * x.
 *
 * x[batch][in_h][in_w][in_c], dy[batch][out_h][out_w][out_c], dw[out_c][kernel_h][kernel_w][in_c].
 *
 * Outer products: lanes run along in_c, one value of dy is broadcast over them, so neither operand is
 * transposed. Order of each sum: pixels of the batch in raster order, those in the padding left out.
 */
#include "odl_isa.h"

#include "kernels.h"

#ifdef ODL_PACKED_ASM
/* 4 output channels x 2 vectors of input channels: `runs` rows of `count` products */
#define OUTER_4x2 \
    do { \
        uint32_t h_0 = runs, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 17) \
            ODL_ASM_REPEAT(0, "%[count]", 14) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar]", 4) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar]", 4) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_1]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f32("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_BY_f32(ODL_ASM_SPARE_1, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_1_2]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f32("%[acc_1_3]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_ADD("%[vector]", "%[vector]", "%[vector_bytes]") \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", "%[scalar_bytes]") \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_0_2] "+r"(acc_0_2), [acc_0_3] "+r"(acc_0_3), [acc_1_0] "+r"(acc_1_0), [acc_1_1] "+r"(acc_1_1), [acc_1_2] "+r"(acc_1_2), [acc_1_3] "+r"(acc_1_3),  \
[vector] "+r"(vector), [scalar] "+r"(scalar), [h_0] "+r"(h_0), [h_1] "=&r"(h_1) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [scalar_back] "r"(scalar_back), [vector_bytes] "r"(vector_bytes), [scalar_bytes] "r"(scalar_bytes)); \
    } while (0)

/* 4 output channels x 1 vector of input channels: `runs` rows of `count` products */
#define OUTER_4x1 \
    do { \
        uint32_t h_0 = runs; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 12) \
            ODL_ASM_REPEAT(0, "%[count]", 9) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar]", 4) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_1, "%[scalar]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f32(ODL_ASM_SPARE_0, "%[scalar]", 4) \
            ODL_ASM_OUTER_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_BY_f32(ODL_ASM_SPARE_1, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_ADD("%[vector]", "%[vector]", "%[vector_bytes]") \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", "%[scalar_bytes]") \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_0_2] "+r"(acc_0_2), [acc_0_3] "+r"(acc_0_3),  \
[vector] "+r"(vector), [scalar] "+r"(scalar), [h_0] "+r"(h_0) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [scalar_back] "r"(scalar_back), [vector_bytes] "r"(vector_bytes), [scalar_bytes] "r"(scalar_bytes)); \
    } while (0)

/* 1 output channel x 2 vectors of input channels: `runs` rows of `count` products */
#define OUTER_1x2 \
    do { \
        uint32_t h_0 = runs, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 8) \
            ODL_ASM_REPEAT(0, "%[count]", 5) \
            ODL_ASM_ONE_BY_f32(ODL_ASM_SPARE_0, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_1]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[vector]", "%[vector]", "%[vector_bytes]") \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", "%[scalar_bytes]") \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_1_0] "+r"(acc_1_0),  \
[vector] "+r"(vector), [scalar] "+r"(scalar), [h_0] "+r"(h_0), [h_1] "=&r"(h_1) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [scalar_back] "r"(scalar_back), [vector_bytes] "r"(vector_bytes), [scalar_bytes] "r"(scalar_bytes)); \
    } while (0)

/* 1 output channel x 1 vector of input channels: `runs` rows of `count` products */
#define OUTER_1x1 \
    do { \
        uint32_t h_0 = runs; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(1, "%[h_0]", 6) \
            ODL_ASM_REPEAT(0, "%[count]", 3) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_BY_f32(ODL_ASM_SPARE_0, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[vector]", "%[vector]", "%[vector_bytes]") \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", "%[scalar_bytes]") \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0),  \
[vector] "+r"(vector), [scalar] "+r"(scalar), [h_0] "+r"(h_0) \
            : [count] "r"(count), [vector_back] "r"(vector_back), [scalar_back] "r"(scalar_back), [vector_bytes] "r"(vector_bytes), [scalar_bytes] "r"(scalar_bytes)); \
    } while (0)

#endif

/* The outputs of one dimension whose tap k lies inside the input: `count` from `first`. */
struct valid {
    uint32_t first, count;
};

static struct valid valid_outputs(uint32_t k, uint32_t pad, uint32_t size, uint32_t stride,
                                  uint32_t outputs) {
    struct valid valid = {0, 0};
    const uint32_t first = k < pad ? (pad - k + stride - 1) / stride : 0;
    uint32_t end = size + pad > k ? (size + pad - k - 1) / stride + 1 : 0;
    end = end < outputs ? end : outputs;
    if (first < end) {
        valid.first = first;
        valid.count = end - first;
    }
    return valid;
}

/* One tap at some channels of both sides. */
struct region {
    const odl_f32 *x, *dy; /* at its first pixel in the first image */
    odl_f32 *dw;
    uint32_t images, rows, run;         /* rows of pixels in each image, pixels in a row */
    size_t vector_step, scalar_step;    /* from pixel to pixel in x and in dy */
    ptrdiff_t vector_jump, scalar_jump; /* from behind a row to the next one */
    size_t x_image, dy_image;
    size_t filter;  /* from output channel to output channel in dw */
    uint32_t lanes; /* of a vector that may be partial */
};

/* What follows the sums of one vector. */
static inline void store(odl_f32 *dw, odl_vec_f32 sum) {
    odl_vstore_f32(dw, sum);
}

/* The same for one that may be partial. */
static inline void store_lanes(odl_f32 *dw, uint32_t lanes, odl_vec_f32 sum) {
    if (lanes == ODL_LANES_f32) {
        store(dw, sum);
        return;
    }
    float lane[ODL_MAX_LANES];
    odl_wide_store_f32(lane, odl_widen_f32(sum));
    for (uint32_t i = 0; i < lanes; i++) {
        odl_store_f32(dw + i, lane[i]);
    }
}

/* 4 output channels x 2 vectors of input channels */
static void tile_4x2(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32) - 4;
    const size_t scalar_back = scalar_step * sizeof(odl_f32) - 3 * sizeof(odl_f32);
#endif
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_0_1 = odl_vzero_f32();
    odl_vec_f32 acc_0_2 = odl_vzero_f32();
    odl_vec_f32 acc_0_3 = odl_vzero_f32();
    odl_vec_f32 acc_1_0 = odl_vzero_f32();
    odl_vec_f32 acc_1_1 = odl_vzero_f32();
    odl_vec_f32 acc_1_2 = odl_vzero_f32();
    odl_vec_f32 acc_1_3 = odl_vzero_f32();
    for (uint32_t image = 0; image < r->images; image++) {
        const odl_f32 *scalar = r->dy + image * r->dy_image;
        const odl_f32 *vector = r->x + image * r->x_image;
        const uint32_t runs = r->rows, count = run;
        const ptrdiff_t vector_jump = r->vector_jump;
        const ptrdiff_t scalar_jump = r->scalar_jump;
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *scalar;
        if (runs > 0) {
            OUTER_4x2;
        }
#else
        for (uint32_t i = 0; i < runs; i++) {
            for (uint32_t j = 0; j < count; j++) {
                const odl_vec_f32 b_0 = odl_vload_f32(vector);
                const odl_vec_f32 b_1 = odl_vload_f32(vector + ODL_LANES_f32);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar);
                const odl_vec_f32 a_1 = odl_vdup_f32(scalar + 1);
                const odl_vec_f32 a_2 = odl_vdup_f32(scalar + 2);
                const odl_vec_f32 a_3 = odl_vdup_f32(scalar + 3);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, b_1, a_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, b_0, a_1);
                acc_1_1 = odl_vmac_f32(acc_1_1, b_1, a_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, b_0, a_2);
                acc_1_2 = odl_vmac_f32(acc_1_2, b_1, a_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, b_0, a_3);
                acc_1_3 = odl_vmac_f32(acc_1_3, b_1, a_3);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
    }
    store(r->dw, acc_0_0);
    store(r->dw + ODL_LANES_f32, acc_1_0);
    store(r->dw + r->filter, acc_0_1);
    store(r->dw + r->filter + ODL_LANES_f32, acc_1_1);
    store(r->dw + 2 * r->filter, acc_0_2);
    store(r->dw + 2 * r->filter + ODL_LANES_f32, acc_1_2);
    store(r->dw + 3 * r->filter, acc_0_3);
    store(r->dw + 3 * r->filter + ODL_LANES_f32, acc_1_3);
}

/* 4 output channels x 1 whole or partial vector of input channels */
static void tile_4xpartial(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32);
    const size_t scalar_back = scalar_step * sizeof(odl_f32) - 3 * sizeof(odl_f32);
#endif
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_0_1 = odl_vzero_f32();
    odl_vec_f32 acc_0_2 = odl_vzero_f32();
    odl_vec_f32 acc_0_3 = odl_vzero_f32();
    for (uint32_t image = 0; image < r->images; image++) {
        const odl_f32 *scalar = r->dy + image * r->dy_image;
        const odl_f32 *vector = r->x + image * r->x_image;
        const uint32_t runs = r->rows, count = run;
        const ptrdiff_t vector_jump = r->vector_jump;
        const ptrdiff_t scalar_jump = r->scalar_jump;
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *scalar;
        if (runs > 0) {
            OUTER_4x1;
        }
#else
        for (uint32_t i = 0; i < runs; i++) {
            for (uint32_t j = 0; j < count; j++) {
                const odl_vec_f32 b_0 =
                    r->lanes < ODL_LANES_f32 ? odl_vload_tail_f32(vector, r->lanes) : odl_vload_f32(vector);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar);
                const odl_vec_f32 a_1 = odl_vdup_f32(scalar + 1);
                const odl_vec_f32 a_2 = odl_vdup_f32(scalar + 2);
                const odl_vec_f32 a_3 = odl_vdup_f32(scalar + 3);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, b_0, a_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, b_0, a_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, b_0, a_3);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
    }
    store_lanes(r->dw, r->lanes, acc_0_0);
    store_lanes(r->dw + r->filter, r->lanes, acc_0_1);
    store_lanes(r->dw + 2 * r->filter, r->lanes, acc_0_2);
    store_lanes(r->dw + 3 * r->filter, r->lanes, acc_0_3);
}

/* 1 output channel x 2 vectors of input channels */
static void tile_1x2(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32) - 4;
    const size_t scalar_back = scalar_step * sizeof(odl_f32);
#endif
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_1_0 = odl_vzero_f32();
    for (uint32_t image = 0; image < r->images; image++) {
        const odl_f32 *scalar = r->dy + image * r->dy_image;
        const odl_f32 *vector = r->x + image * r->x_image;
        const uint32_t runs = r->rows, count = run;
        const ptrdiff_t vector_jump = r->vector_jump;
        const ptrdiff_t scalar_jump = r->scalar_jump;
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *scalar;
        if (runs > 0) {
            OUTER_1x2;
        }
#else
        for (uint32_t i = 0; i < runs; i++) {
            for (uint32_t j = 0; j < count; j++) {
                const odl_vec_f32 b_0 = odl_vload_f32(vector);
                const odl_vec_f32 b_1 = odl_vload_f32(vector + ODL_LANES_f32);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, b_1, a_0);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
    }
    store(r->dw, acc_0_0);
    store(r->dw + ODL_LANES_f32, acc_1_0);
}

/* 1 output channel x 1 whole or partial vector of input channels */
static void tile_1xpartial(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f32);
    const size_t scalar_back = scalar_step * sizeof(odl_f32);
#endif
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    for (uint32_t image = 0; image < r->images; image++) {
        const odl_f32 *scalar = r->dy + image * r->dy_image;
        const odl_f32 *vector = r->x + image * r->x_image;
        const uint32_t runs = r->rows, count = run;
        const ptrdiff_t vector_jump = r->vector_jump;
        const ptrdiff_t scalar_jump = r->scalar_jump;
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *scalar;
        if (runs > 0) {
            OUTER_1x1;
        }
#else
        for (uint32_t i = 0; i < runs; i++) {
            for (uint32_t j = 0; j < count; j++) {
                const odl_vec_f32 b_0 =
                    r->lanes < ODL_LANES_f32 ? odl_vload_tail_f32(vector, r->lanes) : odl_vload_f32(vector);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
    }
    store_lanes(r->dw, r->lanes, acc_0_0);
}

/* Blocks of one dimension: as many whole ones of `size` as there are, then ones of `rest` (at most). */
static uint32_t blocks_of(uint32_t items, uint32_t size, uint32_t rest) {
    return items / size + (items % size + rest - 1) / rest;
}

static uint32_t block_begin(uint32_t block, uint32_t items, uint32_t size, uint32_t rest) {
    const uint32_t whole = items / size;
    return block < whole ? block * size : whole * size + (block - whole) * rest;
}

/* The tap of one tile, at the first of its channels. */
static void tile(const struct odl_conv2d_shape *s, struct region *r, uint32_t co, uint32_t ci) {
    const bool whole = s->in_c - ci >= 2 * ODL_LANES_f32;
    r->lanes = s->in_c - ci < ODL_LANES_f32 ? s->in_c - ci : ODL_LANES_f32;
    if (s->out_c - co >= 4) {
        if (whole) {
            tile_4x2(r);
        } else {
            tile_4xpartial(r);
        }
        return;
    }
    if (whole) {
        tile_1x2(r);
    } else {
        tile_1xpartial(r);
    }
}

void odl_conv2d_weight_gradient(const struct odl_conv2d_shape *s, const odl_f32 *x, const odl_f32 *dy,
                                odl_f32 *dw, uint32_t core, uint32_t cores) {
    /* Tiles of output channels, input channels and taps are dealt in order. */
    const uint32_t out_blocks = blocks_of(s->out_c, 4, 1);
    const uint32_t in_blocks = blocks_of(s->in_c, 2 * ODL_LANES_f32, ODL_LANES_f32);
    const uint32_t taps = s->kernel_h * s->kernel_w;
    const uint32_t begin = odl_share_begin(out_blocks * in_blocks * taps, core, cores);
    const uint32_t end = odl_share_begin(out_blocks * in_blocks * taps, core + 1, cores);
    struct region r = {.images = s->batch, .filter = (size_t)taps * s->in_c};
    r.vector_step = (size_t)s->stride_w * s->in_c;
    r.scalar_step = s->out_c;
    r.x_image = (size_t)s->in_h * s->in_w * s->in_c;
    r.dy_image = (size_t)s->out_h * s->out_w * s->out_c;
    for (uint32_t i = begin; i < end; i++) {
        const uint32_t block = i / taps, ky = i % taps / s->kernel_w, kx = i % taps % s->kernel_w;
        const uint32_t co = block_begin(block / in_blocks, s->out_c, 4, 1);
        const uint32_t ci = block_begin(block % in_blocks, s->in_c, 2 * ODL_LANES_f32, ODL_LANES_f32);
        const struct valid rows = valid_outputs(ky, s->pad_top, s->in_h, s->stride_h, s->out_h);
        const struct valid columns = valid_outputs(kx, s->pad_left, s->in_w, s->stride_w, s->out_w);
        r.x = x + ci;
        r.dy = dy + co;
        r.dw = dw + co * r.filter + ((size_t)ky * s->kernel_w + kx) * s->in_c + ci;
        r.run = columns.count;
        r.rows = columns.count > 0 ? rows.count : 0;
        if (r.rows > 0) {
            const uint32_t iy = rows.first * s->stride_h + ky - s->pad_top;
            const uint32_t ix = columns.first * s->stride_w + kx - s->pad_left;
            r.x += ((size_t)iy * s->in_w + ix) * s->in_c;
            r.dy += ((size_t)rows.first * s->out_w + columns.first) * s->out_c;
        }
        r.vector_jump =
            (ptrdiff_t)((size_t)s->stride_h * s->in_w * s->in_c) - (ptrdiff_t)(r.run * r.vector_step);
        r.scalar_jump = (ptrdiff_t)((s->out_w - r.run) * r.scalar_step);
        tile(s, &r, co, ci);
    }
}
