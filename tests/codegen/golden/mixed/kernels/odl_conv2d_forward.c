/* Convolution (a linear layer is the 1x1 case): y = clamp(x * w + bias + addend, low, high).
 *
 * x[batch][in_h][in_w][in_c], w[out_c][kernel_h][kernel_w][in_c], y and addend (may be NULL, may be y)
 * [batch][out_h][out_w][out_c], bias[out_c] (may be NULL).
 *
 * Implicit GEMM (Chetlur et al., "cuDNN: Efficient primitives for deep learning", arXiv 1410.0759, section
 * 3.3): in this layout a row of a window is one contiguous run of x and of w, so nothing is copied; at the
 * borders the run is clipped. Order of each sum: window rows from the top, the run in steps of a vector, then
 * the lanes. Every 64 terms at most, the fp16 sum is carried to fp32.
 */
#include "odl_isa.h"

#include "kernels.h"

/* Operands of a tile of dot products: `rows` rows of one window per pixel, each a contiguous run. */
struct window {
    const odl_f16 *x, *w;
    size_t pixel_step, x_row_step;   /* from pixel to pixel of the tile, from window row to window row */
    size_t channel_step, w_row_step; /* from channel to channel of the tile, from kernel row to kernel row */
    uint32_t rows, run;
};

/* Taps [first, end) of a window that starts at `origin` of the padded input and lie inside the input; none:
 * first = end. */
static void clip(uint32_t origin, uint32_t pad, uint32_t size, uint32_t kernel, uint32_t *first,
                 uint32_t *end) {
    const uint32_t inside = size + pad > origin ? size + pad - origin : 0;
    *end = inside < kernel ? inside : kernel;
    *first = origin < pad ? pad - origin : 0;
    if (*first > *end) {
        *first = *end;
    }
}

/* Outputs [first, end) of a row whose windows lie wholly inside the input. */
static void interior(uint32_t pad, uint32_t size, uint32_t kernel, uint32_t stride, uint32_t outputs,
                     uint32_t *first, uint32_t *end) {
    *first = (pad + stride - 1) / stride;
    *end = size + pad >= kernel ? (size + pad - kernel) / stride + 1 : 0;
    if (*end > outputs) {
        *end = outputs;
    }
    if (*first >= *end) {
        *first = *end = outputs;
    }
}

/* 4 pixels x 2 channels: sum[pixel * 2 + channel] */
static void dot_4x2(const struct window *window, float *sum) {
    odl_vec_f16 acc_0_0 = odl_vzero_f16();
    odl_vec_f16 acc_0_1 = odl_vzero_f16();
    odl_vec_f16 acc_1_0 = odl_vzero_f16();
    odl_vec_f16 acc_1_1 = odl_vzero_f16();
    odl_vec_f16 acc_2_0 = odl_vzero_f16();
    odl_vec_f16 acc_2_1 = odl_vzero_f16();
    odl_vec_f16 acc_3_0 = odl_vzero_f16();
    odl_vec_f16 acc_3_1 = odl_vzero_f16();
    uint32_t pending = 0;
    for (int i = 0; i < 8; i++) {
        sum[i] = 0.0f;
    }
    for (uint32_t row = 0; row < window->rows; row++) {
        const odl_f16 *x_0 = window->x + row * window->x_row_step;
        const odl_f16 *x_1 = x_0 + window->pixel_step;
        const odl_f16 *x_2 = x_1 + window->pixel_step;
        const odl_f16 *x_3 = x_2 + window->pixel_step;
        const odl_f16 *w_0 = window->w + row * window->w_row_step;
        const odl_f16 *w_1 = w_0 + window->channel_step;
        for (uint32_t left = window->run; left > 0;) {
            const uint32_t length = left < 64 ? left : 64;
            if (pending + length > 64) {
                sum[0] += odl_vsum_f16(acc_0_0);
                acc_0_0 = odl_vzero_f16();
                sum[1] += odl_vsum_f16(acc_0_1);
                acc_0_1 = odl_vzero_f16();
                sum[2] += odl_vsum_f16(acc_1_0);
                acc_1_0 = odl_vzero_f16();
                sum[3] += odl_vsum_f16(acc_1_1);
                acc_1_1 = odl_vzero_f16();
                sum[4] += odl_vsum_f16(acc_2_0);
                acc_2_0 = odl_vzero_f16();
                sum[5] += odl_vsum_f16(acc_2_1);
                acc_2_1 = odl_vzero_f16();
                sum[6] += odl_vsum_f16(acc_3_0);
                acc_3_0 = odl_vzero_f16();
                sum[7] += odl_vsum_f16(acc_3_1);
                acc_3_1 = odl_vzero_f16();
                pending = 0;
            }
            uint32_t i = 0;
            for (; i + ODL_LANES_f16 <= length; i += ODL_LANES_f16) {
                const odl_vec_f16 a_0 = odl_vload_f16(x_0 + i);
                const odl_vec_f16 a_1 = odl_vload_f16(x_1 + i);
                const odl_vec_f16 a_2 = odl_vload_f16(x_2 + i);
                const odl_vec_f16 a_3 = odl_vload_f16(x_3 + i);
                const odl_vec_f16 b_0 = odl_vload_f16(w_0 + i);
                const odl_vec_f16 b_1 = odl_vload_f16(w_1 + i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                acc_1_1 = odl_vmac_f16(acc_1_1, a_1, b_1);
                acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                acc_2_1 = odl_vmac_f16(acc_2_1, a_2, b_1);
                acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
                acc_3_1 = odl_vmac_f16(acc_3_1, a_3, b_1);
            }
            if (i < length) {
                const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0 + i, length - i);
                const odl_vec_f16 a_1 = odl_vload_tail_f16(x_1 + i, length - i);
                const odl_vec_f16 a_2 = odl_vload_tail_f16(x_2 + i, length - i);
                const odl_vec_f16 a_3 = odl_vload_tail_f16(x_3 + i, length - i);
                const odl_vec_f16 b_0 = odl_vload_tail_f16(w_0 + i, length - i);
                const odl_vec_f16 b_1 = odl_vload_tail_f16(w_1 + i, length - i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                acc_1_1 = odl_vmac_f16(acc_1_1, a_1, b_1);
                acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                acc_2_1 = odl_vmac_f16(acc_2_1, a_2, b_1);
                acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
                acc_3_1 = odl_vmac_f16(acc_3_1, a_3, b_1);
            }
            pending += length;
            left -= length;
            x_0 += length;
            x_1 += length;
            x_2 += length;
            x_3 += length;
            w_0 += length;
            w_1 += length;
        }
    }
    sum[0] += odl_vsum_f16(acc_0_0);
    sum[1] += odl_vsum_f16(acc_0_1);
    sum[2] += odl_vsum_f16(acc_1_0);
    sum[3] += odl_vsum_f16(acc_1_1);
    sum[4] += odl_vsum_f16(acc_2_0);
    sum[5] += odl_vsum_f16(acc_2_1);
    sum[6] += odl_vsum_f16(acc_3_0);
    sum[7] += odl_vsum_f16(acc_3_1);
}

/* 4 pixels x 1 channel: sum[pixel * 1 + channel] */
static void dot_4x1(const struct window *window, float *sum) {
    odl_vec_f16 acc_0_0 = odl_vzero_f16();
    odl_vec_f16 acc_1_0 = odl_vzero_f16();
    odl_vec_f16 acc_2_0 = odl_vzero_f16();
    odl_vec_f16 acc_3_0 = odl_vzero_f16();
    uint32_t pending = 0;
    for (int i = 0; i < 4; i++) {
        sum[i] = 0.0f;
    }
    for (uint32_t row = 0; row < window->rows; row++) {
        const odl_f16 *x_0 = window->x + row * window->x_row_step;
        const odl_f16 *x_1 = x_0 + window->pixel_step;
        const odl_f16 *x_2 = x_1 + window->pixel_step;
        const odl_f16 *x_3 = x_2 + window->pixel_step;
        const odl_f16 *w_0 = window->w + row * window->w_row_step;
        for (uint32_t left = window->run; left > 0;) {
            const uint32_t length = left < 64 ? left : 64;
            if (pending + length > 64) {
                sum[0] += odl_vsum_f16(acc_0_0);
                acc_0_0 = odl_vzero_f16();
                sum[1] += odl_vsum_f16(acc_1_0);
                acc_1_0 = odl_vzero_f16();
                sum[2] += odl_vsum_f16(acc_2_0);
                acc_2_0 = odl_vzero_f16();
                sum[3] += odl_vsum_f16(acc_3_0);
                acc_3_0 = odl_vzero_f16();
                pending = 0;
            }
            uint32_t i = 0;
            for (; i + ODL_LANES_f16 <= length; i += ODL_LANES_f16) {
                const odl_vec_f16 a_0 = odl_vload_f16(x_0 + i);
                const odl_vec_f16 a_1 = odl_vload_f16(x_1 + i);
                const odl_vec_f16 a_2 = odl_vload_f16(x_2 + i);
                const odl_vec_f16 a_3 = odl_vload_f16(x_3 + i);
                const odl_vec_f16 b_0 = odl_vload_f16(w_0 + i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
            }
            if (i < length) {
                const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0 + i, length - i);
                const odl_vec_f16 a_1 = odl_vload_tail_f16(x_1 + i, length - i);
                const odl_vec_f16 a_2 = odl_vload_tail_f16(x_2 + i, length - i);
                const odl_vec_f16 a_3 = odl_vload_tail_f16(x_3 + i, length - i);
                const odl_vec_f16 b_0 = odl_vload_tail_f16(w_0 + i, length - i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
            }
            pending += length;
            left -= length;
            x_0 += length;
            x_1 += length;
            x_2 += length;
            x_3 += length;
            w_0 += length;
        }
    }
    sum[0] += odl_vsum_f16(acc_0_0);
    sum[1] += odl_vsum_f16(acc_1_0);
    sum[2] += odl_vsum_f16(acc_2_0);
    sum[3] += odl_vsum_f16(acc_3_0);
}

/* 1 pixel x 2 channels: sum[pixel * 2 + channel] */
static void dot_1x2(const struct window *window, float *sum) {
    odl_vec_f16 acc_0_0 = odl_vzero_f16();
    odl_vec_f16 acc_0_1 = odl_vzero_f16();
    uint32_t pending = 0;
    for (int i = 0; i < 2; i++) {
        sum[i] = 0.0f;
    }
    for (uint32_t row = 0; row < window->rows; row++) {
        const odl_f16 *x_0 = window->x + row * window->x_row_step;
        const odl_f16 *w_0 = window->w + row * window->w_row_step;
        const odl_f16 *w_1 = w_0 + window->channel_step;
        for (uint32_t left = window->run; left > 0;) {
            const uint32_t length = left < 64 ? left : 64;
            if (pending + length > 64) {
                sum[0] += odl_vsum_f16(acc_0_0);
                acc_0_0 = odl_vzero_f16();
                sum[1] += odl_vsum_f16(acc_0_1);
                acc_0_1 = odl_vzero_f16();
                pending = 0;
            }
            uint32_t i = 0;
            for (; i + ODL_LANES_f16 <= length; i += ODL_LANES_f16) {
                const odl_vec_f16 a_0 = odl_vload_f16(x_0 + i);
                const odl_vec_f16 b_0 = odl_vload_f16(w_0 + i);
                const odl_vec_f16 b_1 = odl_vload_f16(w_1 + i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
            }
            if (i < length) {
                const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0 + i, length - i);
                const odl_vec_f16 b_0 = odl_vload_tail_f16(w_0 + i, length - i);
                const odl_vec_f16 b_1 = odl_vload_tail_f16(w_1 + i, length - i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
            }
            pending += length;
            left -= length;
            x_0 += length;
            w_0 += length;
            w_1 += length;
        }
    }
    sum[0] += odl_vsum_f16(acc_0_0);
    sum[1] += odl_vsum_f16(acc_0_1);
}

/* 1 pixel x 1 channel: sum[pixel * 1 + channel] */
static void dot_1x1(const struct window *window, float *sum) {
    odl_vec_f16 acc_0_0 = odl_vzero_f16();
    uint32_t pending = 0;
    for (int i = 0; i < 1; i++) {
        sum[i] = 0.0f;
    }
    for (uint32_t row = 0; row < window->rows; row++) {
        const odl_f16 *x_0 = window->x + row * window->x_row_step;
        const odl_f16 *w_0 = window->w + row * window->w_row_step;
        for (uint32_t left = window->run; left > 0;) {
            const uint32_t length = left < 64 ? left : 64;
            if (pending + length > 64) {
                sum[0] += odl_vsum_f16(acc_0_0);
                acc_0_0 = odl_vzero_f16();
                pending = 0;
            }
            uint32_t i = 0;
            for (; i + ODL_LANES_f16 <= length; i += ODL_LANES_f16) {
                const odl_vec_f16 a_0 = odl_vload_f16(x_0 + i);
                const odl_vec_f16 b_0 = odl_vload_f16(w_0 + i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
            }
            if (i < length) {
                const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0 + i, length - i);
                const odl_vec_f16 b_0 = odl_vload_tail_f16(w_0 + i, length - i);
                acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
            }
            pending += length;
            left -= length;
            x_0 += length;
            w_0 += length;
        }
    }
    sum[0] += odl_vsum_f16(acc_0_0);
}

/* What follows the sums of a tile, in fp32 with one rounding at the store; `output` is its first element of
   y. */
static void finish(const struct odl_conv2d_shape *s, const float *sum, uint32_t pixels, uint32_t channels,
                   const odl_f32 *bias, const odl_f16 *addend, odl_f16 *y, float low, float high) {
    for (uint32_t p = 0; p < pixels; p++) {
        for (uint32_t c = 0; c < channels; c++) {
            const size_t at = (size_t)p * s->out_c + c;
            float v = sum[p * channels + c];
            if (bias != NULL) {
                v += odl_load_f32(bias + c);
            }
            if (addend != NULL) {
                v += odl_load_f16(addend + at);
            }
            odl_store_f16(y + at, v < low ? low : v > high ? high : v);
        }
    }
}

/* One row of outputs and `channels` of its channels; w, bias, addend and y already point to the first of
   them. */
static void row_x2(const struct odl_conv2d_shape *s, const odl_f16 *x, const odl_f16 *w, const odl_f32 *bias,
                   const odl_f16 *addend, odl_f16 *y, float low, float high, uint32_t oy) {
    const size_t w_row = (size_t)s->kernel_w * s->in_c;
    struct window window = {
        .pixel_step = (size_t)s->stride_w * s->in_c,
        .x_row_step = (size_t)s->in_w * s->in_c,
        .channel_step = s->kernel_h * w_row,
        .w_row_step = w_row,
    };
    uint32_t ky, ky_end, inner, inner_end, pixels;
    clip(oy * s->stride_h, s->pad_top, s->in_h, s->kernel_h, &ky, &ky_end);
    interior(s->pad_left, s->in_w, s->kernel_w, s->stride_w, s->out_w, &inner, &inner_end);
    for (uint32_t ox = 0; ox < s->out_w; ox += pixels) {
        float sum[8];
        uint32_t kx, kx_end;
        clip(ox * s->stride_w, s->pad_left, s->in_w, s->kernel_w, &kx, &kx_end);
        window.rows = kx < kx_end ? ky_end - ky : 0;
        window.run = (kx_end - kx) * s->in_c;
        window.x = x;
        window.w = w;
        if (window.rows > 0) {
            window.x += (oy * s->stride_h + ky - s->pad_top) * window.x_row_step +
                        (size_t)(ox * s->stride_w + kx - s->pad_left) * s->in_c;
            window.w += ky * w_row + (size_t)kx * s->in_c;
        }
        if (ox >= inner && ox + 4 <= inner_end) {
            pixels = 4;
            dot_4x2(&window, sum);
        } else {
            pixels = 1;
            dot_1x2(&window, sum);
        }
        const size_t at = (size_t)ox * s->out_c;
        finish(s, sum, pixels, 2, bias, addend != NULL ? addend + at : NULL, y + at, low, high);
    }
}

static void row_x1(const struct odl_conv2d_shape *s, const odl_f16 *x, const odl_f16 *w, const odl_f32 *bias,
                   const odl_f16 *addend, odl_f16 *y, float low, float high, uint32_t oy) {
    const size_t w_row = (size_t)s->kernel_w * s->in_c;
    struct window window = {
        .pixel_step = (size_t)s->stride_w * s->in_c,
        .x_row_step = (size_t)s->in_w * s->in_c,
        .channel_step = s->kernel_h * w_row,
        .w_row_step = w_row,
    };
    uint32_t ky, ky_end, inner, inner_end, pixels;
    clip(oy * s->stride_h, s->pad_top, s->in_h, s->kernel_h, &ky, &ky_end);
    interior(s->pad_left, s->in_w, s->kernel_w, s->stride_w, s->out_w, &inner, &inner_end);
    for (uint32_t ox = 0; ox < s->out_w; ox += pixels) {
        float sum[4];
        uint32_t kx, kx_end;
        clip(ox * s->stride_w, s->pad_left, s->in_w, s->kernel_w, &kx, &kx_end);
        window.rows = kx < kx_end ? ky_end - ky : 0;
        window.run = (kx_end - kx) * s->in_c;
        window.x = x;
        window.w = w;
        if (window.rows > 0) {
            window.x += (oy * s->stride_h + ky - s->pad_top) * window.x_row_step +
                        (size_t)(ox * s->stride_w + kx - s->pad_left) * s->in_c;
            window.w += ky * w_row + (size_t)kx * s->in_c;
        }
        if (ox >= inner && ox + 4 <= inner_end) {
            pixels = 4;
            dot_4x1(&window, sum);
        } else {
            pixels = 1;
            dot_1x1(&window, sum);
        }
        const size_t at = (size_t)ox * s->out_c;
        finish(s, sum, pixels, 1, bias, addend != NULL ? addend + at : NULL, y + at, low, high);
    }
}

void odl_conv2d_forward(const struct odl_conv2d_shape *s, const odl_f16 *x, const odl_f16 *w,
                        const odl_f32 *bias, const odl_f16 *addend, odl_f16 *y, float low, float high,
                        uint32_t core, uint32_t cores) {
    const struct odl_share share = odl_share_plane(s->batch * s->out_h, s->out_c, 2, core, cores);
    const size_t image = (size_t)s->in_h * s->in_w * s->in_c;
    const size_t filter = (size_t)s->kernel_h * s->kernel_w * s->in_c;
    const size_t y_row = (size_t)s->out_w * s->out_c;
    uint32_t channels;
    for (uint32_t c = share.column_begin; c < share.column_end; c += channels) {
        channels = share.column_end - c >= 2 ? 2 : 1;
        const odl_f32 *bias_c = bias != NULL ? bias + c : NULL;
        for (uint32_t row = share.row_begin; row < share.row_end; row++) {
            const odl_f16 *x_image = x + row / s->out_h * image;
            const size_t at = row * y_row + c;
            const odl_f16 *addend_row = addend != NULL ? addend + at : NULL;
            if (channels == 2) {
                row_x2(s, x_image, w + c * filter, bias_c, addend_row, y + at, low, high, row % s->out_h);
            } else {
                row_x1(s, x_image, w + c * filter, bias_c, addend_row, y + at, low, high, row % s->out_h);
            }
        }
    }
}
