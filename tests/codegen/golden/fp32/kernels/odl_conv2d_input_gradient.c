/* Gradient of a convolution by its input: dx = (dy * transposed w + addend), zero where mask <= low or mask
 * >= high.
 *
 * dx, addend (may be NULL, may be dx) and mask (may be NULL) are [batch][in_h][in_w][in_c], dy
 * [batch][out_h][out_w][out_c], w[out_c][kernel_h][kernel_w][in_c]. mask is the output of the clamping
 * activation that made x (ReLU: low 0, high infinity), whose gradient is applied here.
 *
 * A transposed convolution (Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv
 * 1603.07285, chapter 4) as outer products: lanes run along in_c, one value of dy is broadcast over them, so
 * w is used as it lies, without a transposed copy. Pixels of dx that are stride_w apart meet the same taps
 * and make a tile. Order of each sum: rows of dy from the top, columns from the left, then out_c.
 */
#include "odl_isa.h"

#include "kernels.h"

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

/* A tile: the first pixel's taps, and its elements of w (channel 0 of the tile) and dx. */
struct tile {
    const odl_f32 *dy, *w; /* dy: the image's */
    struct taps rows, columns;
    uint32_t lanes; /* of a vector that may be partial */
    size_t at;      /* the tile's first element in dx, addend and mask */
};

struct outputs {
    const odl_f32 *addend, *mask;
    odl_f32 *dx;
    float low, high;
};

/* What follows the sums of one vector, in fp32 with one rounding at the store. */
static void finish(const struct outputs *out, size_t at, uint32_t lanes, odl_wide_f32 sum) {
    float lane[ODL_MAX_LANES];
    odl_wide_store_f32(lane, sum);
    for (uint32_t i = 0; i < lanes; i++) {
        float v = lane[i];
        if (out->addend != NULL) {
            v += odl_load_f32(out->addend + at + i);
        }
        if (out->mask != NULL) {
            const float m = odl_load_f32(out->mask + at + i);
            v = m <= out->low || m >= out->high ? 0.0f : v;
        }
        odl_store_f32(out->dx + at + i, v);
    }
}

/* 4 pixels x 2 vectors of input channels */
static void tile_4x2(const struct odl_conv2d_shape *s, const struct tile *tile, const struct outputs *out) {
    const size_t scalar_step = 1, vector_step = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const size_t scalar_gap = s->out_c;
    const uint32_t run = s->out_c;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_0_1 = odl_vzero_f32();
    odl_vec_f32 acc_1_0 = odl_vzero_f32();
    odl_vec_f32 acc_1_1 = odl_vzero_f32();
    odl_vec_f32 acc_2_0 = odl_vzero_f32();
    odl_vec_f32 acc_2_1 = odl_vzero_f32();
    odl_vec_f32 acc_3_0 = odl_vzero_f32();
    odl_vec_f32 acc_3_1 = odl_vzero_f32();
    for (uint32_t row = 0; row < tile->rows.count; row++) {
        const uint32_t ky = tile->rows.k_first - row * s->stride_h;
        const odl_f32 *dy_row =
            tile->dy + ((size_t)(tile->rows.o_first + row) * s->out_w + tile->columns.o_first) * s->out_c;
        for (uint32_t column = 0; column < tile->columns.count; column++) {
            const uint32_t kx = tile->columns.k_first - column * s->stride_w;
            const odl_f32 *scalar = dy_row + (size_t)column * s->out_c;
            const odl_f32 *vector = tile->w + ((size_t)ky * s->kernel_w + kx) * s->in_c;
            size_t a = 0, b = 0;
            for (uint32_t i = 0; i < run; i++, a += scalar_step, b += vector_step) {
                const odl_f32 *scalar_i = scalar + a, *vector_i = vector + b;
                const odl_vec_f32 b_0 = odl_vload_f32(vector_i);
                const odl_vec_f32 b_1 = odl_vload_f32(vector_i + ODL_LANES_f32);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar_i);
                const odl_vec_f32 a_1 = odl_vdup_f32(scalar_i + scalar_gap);
                const odl_vec_f32 a_2 = odl_vdup_f32(scalar_i + 2 * scalar_gap);
                const odl_vec_f32 a_3 = odl_vdup_f32(scalar_i + 3 * scalar_gap);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, b_1, a_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, b_0, a_1);
                acc_1_1 = odl_vmac_f32(acc_1_1, b_1, a_1);
                acc_2_0 = odl_vmac_f32(acc_2_0, b_0, a_2);
                acc_2_1 = odl_vmac_f32(acc_2_1, b_1, a_2);
                acc_3_0 = odl_vmac_f32(acc_3_0, b_0, a_3);
                acc_3_1 = odl_vmac_f32(acc_3_1, b_1, a_3);
            }
        }
    }
    const size_t pixel = (size_t)s->stride_w * s->in_c;
    finish(out, tile->at, ODL_LANES_f32, odl_widen_f32(acc_0_0));
    finish(out, tile->at + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_0_1));
    finish(out, tile->at + 1 * pixel, ODL_LANES_f32, odl_widen_f32(acc_1_0));
    finish(out, tile->at + 1 * pixel + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_1_1));
    finish(out, tile->at + 2 * pixel, ODL_LANES_f32, odl_widen_f32(acc_2_0));
    finish(out, tile->at + 2 * pixel + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_2_1));
    finish(out, tile->at + 3 * pixel, ODL_LANES_f32, odl_widen_f32(acc_3_0));
    finish(out, tile->at + 3 * pixel + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_3_1));
}

/* 4 pixels x 1 whole or partial vector of input channels */
static void tile_4xpartial(const struct odl_conv2d_shape *s, const struct tile *tile,
                           const struct outputs *out) {
    const size_t scalar_step = 1, vector_step = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const size_t scalar_gap = s->out_c;
    const uint32_t run = s->out_c;
    const uint32_t lanes = tile->lanes;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_1_0 = odl_vzero_f32();
    odl_vec_f32 acc_2_0 = odl_vzero_f32();
    odl_vec_f32 acc_3_0 = odl_vzero_f32();
    for (uint32_t row = 0; row < tile->rows.count; row++) {
        const uint32_t ky = tile->rows.k_first - row * s->stride_h;
        const odl_f32 *dy_row =
            tile->dy + ((size_t)(tile->rows.o_first + row) * s->out_w + tile->columns.o_first) * s->out_c;
        for (uint32_t column = 0; column < tile->columns.count; column++) {
            const uint32_t kx = tile->columns.k_first - column * s->stride_w;
            const odl_f32 *scalar = dy_row + (size_t)column * s->out_c;
            const odl_f32 *vector = tile->w + ((size_t)ky * s->kernel_w + kx) * s->in_c;
            size_t a = 0, b = 0;
            for (uint32_t i = 0; i < run; i++, a += scalar_step, b += vector_step) {
                const odl_f32 *scalar_i = scalar + a, *vector_i = vector + b;
                const odl_vec_f32 b_0 =
                    lanes < ODL_LANES_f32 ? odl_vload_tail_f32(vector_i, lanes) : odl_vload_f32(vector_i);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar_i);
                const odl_vec_f32 a_1 = odl_vdup_f32(scalar_i + scalar_gap);
                const odl_vec_f32 a_2 = odl_vdup_f32(scalar_i + 2 * scalar_gap);
                const odl_vec_f32 a_3 = odl_vdup_f32(scalar_i + 3 * scalar_gap);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, b_0, a_1);
                acc_2_0 = odl_vmac_f32(acc_2_0, b_0, a_2);
                acc_3_0 = odl_vmac_f32(acc_3_0, b_0, a_3);
            }
        }
    }
    const size_t pixel = (size_t)s->stride_w * s->in_c;
    finish(out, tile->at, lanes, odl_widen_f32(acc_0_0));
    finish(out, tile->at + 1 * pixel, lanes, odl_widen_f32(acc_1_0));
    finish(out, tile->at + 2 * pixel, lanes, odl_widen_f32(acc_2_0));
    finish(out, tile->at + 3 * pixel, lanes, odl_widen_f32(acc_3_0));
}

/* 1 pixel x 2 vectors of input channels */
static void tile_1x2(const struct odl_conv2d_shape *s, const struct tile *tile, const struct outputs *out) {
    const size_t scalar_step = 1, vector_step = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const uint32_t run = s->out_c;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_0_1 = odl_vzero_f32();
    for (uint32_t row = 0; row < tile->rows.count; row++) {
        const uint32_t ky = tile->rows.k_first - row * s->stride_h;
        const odl_f32 *dy_row =
            tile->dy + ((size_t)(tile->rows.o_first + row) * s->out_w + tile->columns.o_first) * s->out_c;
        for (uint32_t column = 0; column < tile->columns.count; column++) {
            const uint32_t kx = tile->columns.k_first - column * s->stride_w;
            const odl_f32 *scalar = dy_row + (size_t)column * s->out_c;
            const odl_f32 *vector = tile->w + ((size_t)ky * s->kernel_w + kx) * s->in_c;
            size_t a = 0, b = 0;
            for (uint32_t i = 0; i < run; i++, a += scalar_step, b += vector_step) {
                const odl_f32 *scalar_i = scalar + a, *vector_i = vector + b;
                const odl_vec_f32 b_0 = odl_vload_f32(vector_i);
                const odl_vec_f32 b_1 = odl_vload_f32(vector_i + ODL_LANES_f32);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar_i);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, b_1, a_0);
            }
        }
    }
    finish(out, tile->at, ODL_LANES_f32, odl_widen_f32(acc_0_0));
    finish(out, tile->at + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_0_1));
}

/* 1 pixel x 1 whole or partial vector of input channels */
static void tile_1xpartial(const struct odl_conv2d_shape *s, const struct tile *tile,
                           const struct outputs *out) {
    const size_t scalar_step = 1, vector_step = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const uint32_t run = s->out_c;
    const uint32_t lanes = tile->lanes;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    for (uint32_t row = 0; row < tile->rows.count; row++) {
        const uint32_t ky = tile->rows.k_first - row * s->stride_h;
        const odl_f32 *dy_row =
            tile->dy + ((size_t)(tile->rows.o_first + row) * s->out_w + tile->columns.o_first) * s->out_c;
        for (uint32_t column = 0; column < tile->columns.count; column++) {
            const uint32_t kx = tile->columns.k_first - column * s->stride_w;
            const odl_f32 *scalar = dy_row + (size_t)column * s->out_c;
            const odl_f32 *vector = tile->w + ((size_t)ky * s->kernel_w + kx) * s->in_c;
            size_t a = 0, b = 0;
            for (uint32_t i = 0; i < run; i++, a += scalar_step, b += vector_step) {
                const odl_f32 *scalar_i = scalar + a, *vector_i = vector + b;
                const odl_vec_f32 b_0 =
                    lanes < ODL_LANES_f32 ? odl_vload_tail_f32(vector_i, lanes) : odl_vload_f32(vector_i);
                const odl_vec_f32 a_0 = odl_vdup_f32(scalar_i);
                acc_0_0 = odl_vmac_f32(acc_0_0, b_0, a_0);
            }
        }
    }
    finish(out, tile->at, lanes, odl_widen_f32(acc_0_0));
}

/* One row of dx, input channels [begin, end): tile.dy and tile.rows are set. */
static void row_of_pixels(const struct odl_conv2d_shape *s, const odl_f32 *w, struct tile tile,
                          const struct outputs *out, size_t row, uint32_t begin, uint32_t end) {
    uint32_t channels;
    for (uint32_t c = begin; c < end; c += channels) {
        const bool whole = end - c >= 2 * ODL_LANES_f32;
        tile.lanes = end - c < ODL_LANES_f32 ? end - c : ODL_LANES_f32;
        channels = whole ? 2 * ODL_LANES_f32 : tile.lanes;
        tile.w = w + c;
        for (uint32_t phase = 0; phase < s->stride_w && phase < s->in_w; phase++) {
            for (uint32_t ix = phase; ix < s->in_w;) {
                tile.columns = taps_of(ix, s->pad_left, s->kernel_w, s->stride_w, s->out_w);
                tile.at = (row * s->in_w + ix) * s->in_c + c;
                const uint32_t ix_last = ix + 3 * s->stride_w;
                if (ix_last < s->in_w) {
                    /* Each pixel of a tile has the same taps, of outputs that move with it. */
                    const struct taps last =
                        taps_of(ix_last, s->pad_left, s->kernel_w, s->stride_w, s->out_w);
                    if (last.count == tile.columns.count && last.k_first == tile.columns.k_first) {
                        if (whole) {
                            tile_4x2(s, &tile, out);
                        } else {
                            tile_4xpartial(s, &tile, out);
                        }
                        ix = ix_last + s->stride_w;
                        continue;
                    }
                }
                if (whole) {
                    tile_1x2(s, &tile, out);
                } else {
                    tile_1xpartial(s, &tile, out);
                }
                ix += s->stride_w;
            }
        }
    }
}

void odl_conv2d_input_gradient(const struct odl_conv2d_shape *s, const odl_f32 *dy, const odl_f32 *w,
                               const odl_f32 *addend, const odl_f32 *mask, odl_f32 *dx, float low, float high,
                               uint32_t core, uint32_t cores) {
    const struct odl_share share =
        odl_share_plane(s->batch * s->in_h, s->in_c, 2 * ODL_LANES_f32, core, cores);
    const struct outputs out = {addend, mask, dx, low, high};
    for (uint32_t row = share.row_begin; row < share.row_end; row++) {
        struct tile tile = {.dy = dy + (size_t)(row / s->in_h) * s->out_h * s->out_w * s->out_c};
        tile.rows = taps_of(row % s->in_h, s->pad_top, s->kernel_h, s->stride_h, s->out_h);
        row_of_pixels(s, w, tile, &out, row, share.column_begin, share.column_end);
    }
}
