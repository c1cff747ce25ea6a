/* Gradient of a convolution by its weights: dw[co][ky][kx][ci] = the sum over output pixels of dy * x.
 *
 * x[batch][in_h][in_w][in_c], dy[batch][out_h][out_w][out_c], dw[out_c][kernel_h][kernel_w][in_c].
 *
 * Outer products: lanes run along in_c, one value of dy is broadcast over them, so neither operand is
 * transposed. Order of each sum: pixels of the batch in raster order, those in the padding left out.
 */
#include "odl_isa.h"

#include "kernels.h"

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

/* A tile of one tap: x and dy at the channels of the tile. */
struct tile {
    const odl_f32 *x, *dy;
    uint32_t ky, kx;
    struct valid rows, columns;
    uint32_t lanes; /* of a vector that may be partial */
};

/* What follows the sums of one vector. */
static void finish(odl_f32 *dw, uint32_t lanes, odl_wide_f32 sum) {
    float lane[ODL_MAX_LANES];
    odl_wide_store_f32(lane, sum);
    for (uint32_t i = 0; i < lanes; i++) {
        odl_store_f32(dw + i, lane[i]);
    }
}

/* 4 output channels x 2 vectors of input channels; dw at the first */
static void tile_4x2(const struct odl_conv2d_shape *s, const struct tile *tile, odl_f32 *dw) {
    const size_t scalar_step = s->out_c, vector_step = (size_t)s->stride_w * s->in_c;
    const size_t filter = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const size_t scalar_gap = 1;
    const uint32_t run = tile->columns.count;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_0_1 = odl_vzero_f32();
    odl_vec_f32 acc_1_0 = odl_vzero_f32();
    odl_vec_f32 acc_1_1 = odl_vzero_f32();
    odl_vec_f32 acc_2_0 = odl_vzero_f32();
    odl_vec_f32 acc_2_1 = odl_vzero_f32();
    odl_vec_f32 acc_3_0 = odl_vzero_f32();
    odl_vec_f32 acc_3_1 = odl_vzero_f32();
    for (uint32_t image = 0; image < s->batch && run > 0; image++) {
        for (uint32_t row = 0; row < tile->rows.count; row++) {
            const size_t oy = (size_t)image * s->out_h + tile->rows.first + row;
            const size_t iy =
                (size_t)image * s->in_h + (tile->rows.first + row) * s->stride_h + tile->ky - s->pad_top;
            const size_t ix = tile->columns.first * s->stride_w + tile->kx - s->pad_left;
            const odl_f32 *scalar = tile->dy + (oy * s->out_w + tile->columns.first) * s->out_c;
            const odl_f32 *vector = tile->x + (iy * s->in_w + ix) * s->in_c;
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
    finish(dw, ODL_LANES_f32, odl_widen_f32(acc_0_0));
    finish(dw + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_0_1));
    finish(dw + 1 * filter, ODL_LANES_f32, odl_widen_f32(acc_1_0));
    finish(dw + 1 * filter + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_1_1));
    finish(dw + 2 * filter, ODL_LANES_f32, odl_widen_f32(acc_2_0));
    finish(dw + 2 * filter + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_2_1));
    finish(dw + 3 * filter, ODL_LANES_f32, odl_widen_f32(acc_3_0));
    finish(dw + 3 * filter + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_3_1));
}

/* 4 output channels x 1 whole or partial vector of input channels; dw at the first */
static void tile_4xpartial(const struct odl_conv2d_shape *s, const struct tile *tile, odl_f32 *dw) {
    const size_t scalar_step = s->out_c, vector_step = (size_t)s->stride_w * s->in_c;
    const size_t filter = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const size_t scalar_gap = 1;
    const uint32_t run = tile->columns.count;
    const uint32_t lanes = tile->lanes;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_1_0 = odl_vzero_f32();
    odl_vec_f32 acc_2_0 = odl_vzero_f32();
    odl_vec_f32 acc_3_0 = odl_vzero_f32();
    for (uint32_t image = 0; image < s->batch && run > 0; image++) {
        for (uint32_t row = 0; row < tile->rows.count; row++) {
            const size_t oy = (size_t)image * s->out_h + tile->rows.first + row;
            const size_t iy =
                (size_t)image * s->in_h + (tile->rows.first + row) * s->stride_h + tile->ky - s->pad_top;
            const size_t ix = tile->columns.first * s->stride_w + tile->kx - s->pad_left;
            const odl_f32 *scalar = tile->dy + (oy * s->out_w + tile->columns.first) * s->out_c;
            const odl_f32 *vector = tile->x + (iy * s->in_w + ix) * s->in_c;
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
    finish(dw, lanes, odl_widen_f32(acc_0_0));
    finish(dw + 1 * filter, lanes, odl_widen_f32(acc_1_0));
    finish(dw + 2 * filter, lanes, odl_widen_f32(acc_2_0));
    finish(dw + 3 * filter, lanes, odl_widen_f32(acc_3_0));
}

/* 1 output channel x 2 vectors of input channels; dw at the first */
static void tile_1x2(const struct odl_conv2d_shape *s, const struct tile *tile, odl_f32 *dw) {
    const size_t scalar_step = s->out_c, vector_step = (size_t)s->stride_w * s->in_c;
    const uint32_t run = tile->columns.count;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    odl_vec_f32 acc_0_1 = odl_vzero_f32();
    for (uint32_t image = 0; image < s->batch && run > 0; image++) {
        for (uint32_t row = 0; row < tile->rows.count; row++) {
            const size_t oy = (size_t)image * s->out_h + tile->rows.first + row;
            const size_t iy =
                (size_t)image * s->in_h + (tile->rows.first + row) * s->stride_h + tile->ky - s->pad_top;
            const size_t ix = tile->columns.first * s->stride_w + tile->kx - s->pad_left;
            const odl_f32 *scalar = tile->dy + (oy * s->out_w + tile->columns.first) * s->out_c;
            const odl_f32 *vector = tile->x + (iy * s->in_w + ix) * s->in_c;
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
    finish(dw, ODL_LANES_f32, odl_widen_f32(acc_0_0));
    finish(dw + 1 * ODL_LANES_f32, ODL_LANES_f32, odl_widen_f32(acc_0_1));
}

/* 1 output channel x 1 whole or partial vector of input channels; dw at the first */
static void tile_1xpartial(const struct odl_conv2d_shape *s, const struct tile *tile, odl_f32 *dw) {
    const size_t scalar_step = s->out_c, vector_step = (size_t)s->stride_w * s->in_c;
    const uint32_t run = tile->columns.count;
    const uint32_t lanes = tile->lanes;
    odl_vec_f32 acc_0_0 = odl_vzero_f32();
    for (uint32_t image = 0; image < s->batch && run > 0; image++) {
        for (uint32_t row = 0; row < tile->rows.count; row++) {
            const size_t oy = (size_t)image * s->out_h + tile->rows.first + row;
            const size_t iy =
                (size_t)image * s->in_h + (tile->rows.first + row) * s->stride_h + tile->ky - s->pad_top;
            const size_t ix = tile->columns.first * s->stride_w + tile->kx - s->pad_left;
            const odl_f32 *scalar = tile->dy + (oy * s->out_w + tile->columns.first) * s->out_c;
            const odl_f32 *vector = tile->x + (iy * s->in_w + ix) * s->in_c;
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
    finish(dw, lanes, odl_widen_f32(acc_0_0));
}

/* One tap, input channels [begin, end), 4 output channels or one; x at channel 0, dw and dy at the first of
   both. */
static void tap(const struct odl_conv2d_shape *s, const odl_f32 *x, struct tile tile, odl_f32 *dw,
                uint32_t begin, uint32_t end, uint32_t out_channels) {
    uint32_t channels;
    for (uint32_t c = begin; c < end; c += channels) {
        const bool whole = end - c >= 2 * ODL_LANES_f32;
        tile.lanes = end - c < ODL_LANES_f32 ? end - c : ODL_LANES_f32;
        channels = whole ? 2 * ODL_LANES_f32 : tile.lanes;
        tile.x = x + c;
        if (whole && out_channels == 4) {
            tile_4x2(s, &tile, dw + c);
        } else if (whole) {
            tile_1x2(s, &tile, dw + c);
        } else if (out_channels == 4) {
            tile_4xpartial(s, &tile, dw + c);
        } else {
            tile_1xpartial(s, &tile, dw + c);
        }
    }
}

void odl_conv2d_weight_gradient(const struct odl_conv2d_shape *s, const odl_f32 *x, const odl_f32 *dy,
                                odl_f32 *dw, uint32_t core, uint32_t cores) {
    /* Rows of the plane are output channels in tiles, columns are input channels. */
    const uint32_t tiles = (s->out_c + 3) / 4;
    const struct odl_share share = odl_share_plane(tiles, s->in_c, 2 * ODL_LANES_f32, core, cores);
    const size_t filter = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const uint32_t last = share.row_end * 4 < s->out_c ? share.row_end * 4 : s->out_c;
    uint32_t channels;
    for (uint32_t c = share.row_begin * 4; c < last; c += channels) {
        channels = last - c >= 4 ? 4 : 1;
        for (uint32_t ky = 0; ky < s->kernel_h; ky++) {
            struct tile tile = {.dy = dy + c, .ky = ky};
            tile.rows = valid_outputs(ky, s->pad_top, s->in_h, s->stride_h, s->out_h);
            for (uint32_t kx = 0; kx < s->kernel_w; kx++) {
                tile.kx = kx;
                tile.columns = valid_outputs(kx, s->pad_left, s->in_w, s->stride_w, s->out_w);
                tap(s, x, tile, dw + c * filter + ((size_t)ky * s->kernel_w + kx) * s->in_c,
                    share.column_begin, share.column_end, channels);
            }
        }
    }
}
