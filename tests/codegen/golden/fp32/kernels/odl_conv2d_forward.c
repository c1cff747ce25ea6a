/* Convolution (a linear layer is the 1x1 case): y = clamp(bias + x * w + addend, low, high).
 *
 * x[batch][in_h][in_w][in_c], w[out_c][kernel_h][kernel_w][in_c], y and addend (may be NULL, may be y)
 * [batch][out_h][out_w][out_c], bias[out_c] (may be NULL).
 *
 * Implicit GEMM (Chetlur et al., "cuDNN: Efficient primitives for deep learning", arXiv 1410.0759, section
 * 3.3): in this layout a row of a window is one contiguous run of x and of w, so nothing is copied; at the
 * borders the run is clipped. Tiles are made of pixels whose windows are clipped alike.
 * Order of each sum: the bias, in the first lane, then window rows from the top, the run in steps of a
 * vector, then the lanes, then the addend.
 */
#include "odl_isa.h"

#include "kernels.h"

#ifdef ODL_PACKED_ASM
/* clang-format off */
#define DOT_4x4 \
    do { \
        uint32_t h_0, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 33) \
            ODL_ASM_REPEAT(0, "%[h_1]", 24) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_step]") \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_LW("%[h_2]", "%[x_2]", 4) \
            ODL_ASM_LW("%[h_3]", "%[x_3]", 4) \
            ODL_ASM_DOT_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_DOT_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_2_1]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_3_1]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_back]") \
            ODL_ASM_DOT_f32("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_1_2]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_2_2]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_3_2]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_1_3]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_2_3]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_3_3]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[x_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[w_bytes]") \
            ODL_ASM_ADD("%[x_0]", "%[x_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_1]", "%[x_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_2]", "%[x_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_3]", "%[x_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[w]", "%[w]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), ODL_ASM_RW(acc_1_3), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), ODL_ASM_RW(acc_2_2), ODL_ASM_RW(acc_2_3), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), ODL_ASM_RW(acc_3_2), ODL_ASM_RW(acc_3_3), \
ODL_ASM_RW(w), ODL_ASM_RW(x_0), ODL_ASM_RW(x_1), ODL_ASM_RW(x_2), ODL_ASM_RW(x_3), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : ODL_ASM_R(w_step), ODL_ASM_R(w_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(x_bytes), ODL_ASM_R_MEMORY(w_bytes) \
            ); \
    } while (0)

#define DOT_4x1 \
    do { \
        uint32_t h_0, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 18) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_LW(ODL_ASM_SPARE_0, "%[w]", 4) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_LW("%[h_2]", "%[x_2]", 4) \
            ODL_ASM_LW("%[h_3]", "%[x_3]", 4) \
            ODL_ASM_DOT_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[x_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[w_bytes]") \
            ODL_ASM_ADD("%[x_0]", "%[x_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_1]", "%[x_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_2]", "%[x_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_3]", "%[x_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[w]", "%[w]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_RW(acc_0_0), \
ODL_ASM_RW(acc_1_0), \
ODL_ASM_RW(acc_2_0), \
ODL_ASM_RW(acc_3_0), \
ODL_ASM_RW(w), ODL_ASM_RW(x_0), ODL_ASM_RW(x_1), ODL_ASM_RW(x_2), ODL_ASM_RW(x_3), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(x_bytes), ODL_ASM_R_MEMORY(w_bytes) \
            ); \
    } while (0)

#define DOT_2x4 \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 21) \
            ODL_ASM_REPEAT(0, "%[h_1]", 14) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_step]") \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_DOT_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_DOT_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_back]") \
            ODL_ASM_DOT_f32("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_1_2]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f32("%[acc_1_3]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[x_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[w_bytes]") \
            ODL_ASM_ADD("%[x_0]", "%[x_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_1]", "%[x_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[w]", "%[w]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), ODL_ASM_RW(acc_1_3), \
ODL_ASM_RW(w), ODL_ASM_RW(x_0), ODL_ASM_RW(x_1), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(w_step), ODL_ASM_R(w_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(x_bytes), ODL_ASM_R_MEMORY(w_bytes) \
            ); \
    } while (0)

#define DOT_2x1 \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 12) \
            ODL_ASM_REPEAT(0, "%[h_1]", 5) \
            ODL_ASM_LW(ODL_ASM_SPARE_0, "%[w]", 4) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_DOT_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[x_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[w_bytes]") \
            ODL_ASM_ADD("%[x_0]", "%[x_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[x_1]", "%[x_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[w]", "%[w]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_RW(acc_0_0), \
ODL_ASM_RW(acc_1_0), \
ODL_ASM_RW(w), ODL_ASM_RW(x_0), ODL_ASM_RW(x_1), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(x_bytes), ODL_ASM_R_MEMORY(w_bytes) \
            ); \
    } while (0)

#define DOT_1x4 \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 15) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_step]") \
            ODL_ASM_DOT_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_DOT_f32("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_back]") \
            ODL_ASM_DOT_f32("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f32("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[x_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[w_bytes]") \
            ODL_ASM_ADD("%[x_0]", "%[x_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[w]", "%[w]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
ODL_ASM_RW(w), ODL_ASM_RW(x_0), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(w_step), ODL_ASM_R(w_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(x_bytes), ODL_ASM_R_MEMORY(w_bytes) \
            ); \
    } while (0)

#define DOT_1x1 \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 9) \
            ODL_ASM_REPEAT(0, "%[h_1]", 3) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW(ODL_ASM_SPARE_0, "%[w]", 4) \
            ODL_ASM_DOT_f32("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[x_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[w_bytes]") \
            ODL_ASM_ADD("%[x_0]", "%[x_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[w]", "%[w]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_RW(acc_0_0), \
ODL_ASM_RW(w), ODL_ASM_RW(x_0), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(x_bytes), ODL_ASM_R_MEMORY(w_bytes) \
            ); \
    } while (0)

/* clang-format on */
#endif

/* Outputs of one dimension whose windows are clipped alike: `count` from a given one, with the taps [first,
 * end) inside the input. */
struct span {
    uint32_t count, first, end;
};

static struct span span_of(uint32_t output, uint32_t outputs, uint32_t stride, uint32_t pad, uint32_t size,
                           uint32_t kernel) {
    struct span span = {.count = 1};
    const uint32_t origin = output * stride; /* in the padded input */
    const uint32_t inside = size + pad > origin ? size + pad - origin : 0;
    span.end = inside < kernel ? inside : kernel;
    span.first = origin < pad ? pad - origin : 0;
    if (span.first >= span.end) {
        span.first = span.end = 0;
    } else if (span.first == 0 && span.end == kernel) {
        const uint32_t whole = (inside - kernel) / stride + 1;
        span.count = whole < outputs - output ? whole : outputs - output;
    }
    return span;
}

/* Pixels of y whose windows are clipped alike, at some channels: the next one to compute, and the way on. */
struct region {
    const odl_f32 *x, *w; /* first elements inside the window */
    const odl_f32 *bias;
    const odl_f32 *addend;
    odl_f32 *y;
    size_t at;                /* of the pixel in addend and y */
    uint32_t pixels;          /* still to do */
    uint32_t column, columns; /* of the pixel, and of the region */
    size_t x_step, at_step;   /* to the next pixel in the row */
    size_t x_wrap, at_wrap;   /* to the first one in the next row */
    uint32_t rows;            /* of the window */
    uint32_t vectors, tail;   /* whole vectors and further elements in a row of it */
    size_t x_jump, w_jump;    /* from behind the vectors of a row to the next row */
    size_t channel_step;      /* in w */
    struct odl_limits limits;
};

/* One step along the pixels of a region. */
static inline void next_pixel(const struct region *r, uint32_t *column, const odl_f32 **x, odl_f32 **y) {
    if (ODL_LIKELY(++*column < r->columns)) {
        *x += r->x_step;
        *y += r->at_step;
    } else {
        *column = 0;
        *x += r->x_wrap;
        *y += r->at_wrap;
    }
}

/* What follows the sums of 4 channels of a pixel, two by two. */
static inline void store_4(const odl_f32 *addend, odl_f32 *y, const struct odl_limits *limits,
                           odl_pair_f32 v_0, odl_pair_f32 v_2) {
    if (addend != NULL) {
        v_0 = odl_pair_add_f32(v_0, odl_pair_load_f32(addend));
        v_2 = odl_pair_add_f32(v_2, odl_pair_load_f32(addend + 2));
    }
    odl_pair_store_f32(y, odl_pair_limit_f32(v_0, limits));
    odl_pair_store_f32(y + 2, odl_pair_limit_f32(v_2, limits));
}

/* What follows the sums of 1 channel of a pixel. */
static inline void store_1(const odl_f32 *addend, odl_f32 *y, const struct odl_limits *limits,
                           odl_vec_f32 sum_0) {
    float v_0 = odl_vsum_f32(sum_0);
    if (addend != NULL) {
        v_0 += odl_load_f32(addend);
    }
    odl_store_f32(y, odl_limited(v_0, limits));
}

/* 4 pixels x 4 channels at a time, as long as there are as many pixels. */
ODL_TILE tiles_4x4(struct region *r) {
    const size_t channel_step = r->channel_step;
#ifdef ODL_PACKED_ASM
    const size_t w_step = channel_step * sizeof *r->w, w_back = 4 - 3 * w_step;
#endif
    const struct odl_limits limits = r->limits;
    const odl_f32 *bias = r->bias;
    const odl_f32 *addend = r->addend, *x = r->x;
    odl_f32 *y = r->y + r->at;
    uint32_t column = r->column, pixels = r->pixels;
    const uint32_t runs = r->rows, count = r->vectors;
    const size_t x_jump = r->x_jump, w_jump = r->w_jump;
    const bool has_tail = r->tail > 0;
#ifdef ODL_PACKED_ASM
    (void)has_tail; /* a vector of one lane leaves none */
    const size_t x_bytes = x_jump * sizeof *r->x;
    const size_t w_bytes = w_jump * sizeof *r->w;
#endif
    for (; pixels >= 4; pixels -= 4) {
        const odl_f32 *x_0 = x;
        odl_f32 *y_0 = y;
        const odl_f32 *x_1, *x_2, *x_3;
        odl_f32 *y_1, *y_2, *y_3;
        if (ODL_LIKELY(r->columns - column > 4)) { /* in one row, and so is the next one */
            x_1 = x_0 + r->x_step;
            y_1 = y_0 + r->at_step;
            x_2 = x_1 + r->x_step;
            y_2 = y_1 + r->at_step;
            x_3 = x_2 + r->x_step;
            y_3 = y_2 + r->at_step;
            x = x_3 + r->x_step;
            y = y_3 + r->at_step;
            column += 4;
        } else {
            next_pixel(r, &column, &x, &y);
            x_1 = x;
            y_1 = y;
            next_pixel(r, &column, &x, &y);
            x_2 = x;
            y_2 = y;
            next_pixel(r, &column, &x, &y);
            x_3 = x;
            y_3 = y;
            next_pixel(r, &column, &x, &y);
        }
        const odl_f32 *w = r->w;
        const odl_vec_f32 bias_0 = bias != NULL ? odl_vfirst_f32(bias) : odl_vzero_f32();
        const odl_vec_f32 bias_1 = bias != NULL ? odl_vfirst_f32(bias + 1) : odl_vzero_f32();
        const odl_vec_f32 bias_2 = bias != NULL ? odl_vfirst_f32(bias + 2) : odl_vzero_f32();
        const odl_vec_f32 bias_3 = bias != NULL ? odl_vfirst_f32(bias + 3) : odl_vzero_f32();
        odl_vec_f32 acc_0_0 = bias_0, acc_0_1 = bias_1, acc_0_2 = bias_2, acc_0_3 = bias_3;
        odl_vec_f32 acc_1_0 = bias_0, acc_1_1 = bias_1, acc_1_2 = bias_2, acc_1_3 = bias_3;
        odl_vec_f32 acc_2_0 = bias_0, acc_2_1 = bias_1, acc_2_2 = bias_2, acc_2_3 = bias_3;
        odl_vec_f32 acc_3_0 = bias_0, acc_3_1 = bias_1, acc_3_2 = bias_2, acc_3_3 = bias_3;
#ifdef ODL_PACKED_ASM
        DOT_4x4;
#else
        for (uint32_t row = 0; row < runs; row++) {
            for (uint32_t i = 0; i < count; i++) {
                const odl_vec_f32 a_0 = odl_vload_f32(x_0);
                const odl_vec_f32 a_1 = odl_vload_f32(x_1);
                const odl_vec_f32 a_2 = odl_vload_f32(x_2);
                const odl_vec_f32 a_3 = odl_vload_f32(x_3);
                const odl_vec_f32 b_0 = odl_vload_f32(w);
                const odl_vec_f32 b_1 = odl_vload_f32(w + channel_step);
                const odl_vec_f32 b_2 = odl_vload_f32(w + 2 * channel_step);
                const odl_vec_f32 b_3 = odl_vload_f32(w + 3 * channel_step);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, a_0, b_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, a_0, b_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, a_0, b_3);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
                acc_1_1 = odl_vmac_f32(acc_1_1, a_1, b_1);
                acc_1_2 = odl_vmac_f32(acc_1_2, a_1, b_2);
                acc_1_3 = odl_vmac_f32(acc_1_3, a_1, b_3);
                acc_2_0 = odl_vmac_f32(acc_2_0, a_2, b_0);
                acc_2_1 = odl_vmac_f32(acc_2_1, a_2, b_1);
                acc_2_2 = odl_vmac_f32(acc_2_2, a_2, b_2);
                acc_2_3 = odl_vmac_f32(acc_2_3, a_2, b_3);
                acc_3_0 = odl_vmac_f32(acc_3_0, a_3, b_0);
                acc_3_1 = odl_vmac_f32(acc_3_1, a_3, b_1);
                acc_3_2 = odl_vmac_f32(acc_3_2, a_3, b_2);
                acc_3_3 = odl_vmac_f32(acc_3_3, a_3, b_3);
                x_0 += ODL_LANES_f32;
                x_1 += ODL_LANES_f32;
                x_2 += ODL_LANES_f32;
                x_3 += ODL_LANES_f32;
                w += ODL_LANES_f32;
            }
            if (has_tail) {
                const odl_vec_f32 a_0 = odl_vload_tail_f32(x_0, r->tail);
                const odl_vec_f32 a_1 = odl_vload_tail_f32(x_1, r->tail);
                const odl_vec_f32 a_2 = odl_vload_tail_f32(x_2, r->tail);
                const odl_vec_f32 a_3 = odl_vload_tail_f32(x_3, r->tail);
                const odl_vec_f32 b_0 = odl_vload_tail_f32(w, r->tail);
                const odl_vec_f32 b_1 = odl_vload_tail_f32(w + channel_step, r->tail);
                const odl_vec_f32 b_2 = odl_vload_tail_f32(w + 2 * channel_step, r->tail);
                const odl_vec_f32 b_3 = odl_vload_tail_f32(w + 3 * channel_step, r->tail);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, a_0, b_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, a_0, b_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, a_0, b_3);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
                acc_1_1 = odl_vmac_f32(acc_1_1, a_1, b_1);
                acc_1_2 = odl_vmac_f32(acc_1_2, a_1, b_2);
                acc_1_3 = odl_vmac_f32(acc_1_3, a_1, b_3);
                acc_2_0 = odl_vmac_f32(acc_2_0, a_2, b_0);
                acc_2_1 = odl_vmac_f32(acc_2_1, a_2, b_1);
                acc_2_2 = odl_vmac_f32(acc_2_2, a_2, b_2);
                acc_2_3 = odl_vmac_f32(acc_2_3, a_2, b_3);
                acc_3_0 = odl_vmac_f32(acc_3_0, a_3, b_0);
                acc_3_1 = odl_vmac_f32(acc_3_1, a_3, b_1);
                acc_3_2 = odl_vmac_f32(acc_3_2, a_3, b_2);
                acc_3_3 = odl_vmac_f32(acc_3_3, a_3, b_3);
            }
            x_0 += x_jump;
            x_1 += x_jump;
            x_2 += x_jump;
            x_3 += x_jump;
            w += w_jump;
        }
#endif
        const odl_pair_f32 v_0_0 = odl_pair_sums_f32(acc_0_0, acc_0_1);
        const odl_pair_f32 v_0_2 = odl_pair_sums_f32(acc_0_2, acc_0_3);
        const odl_pair_f32 v_1_0 = odl_pair_sums_f32(acc_1_0, acc_1_1);
        const odl_pair_f32 v_1_2 = odl_pair_sums_f32(acc_1_2, acc_1_3);
        const odl_pair_f32 v_2_0 = odl_pair_sums_f32(acc_2_0, acc_2_1);
        const odl_pair_f32 v_2_2 = odl_pair_sums_f32(acc_2_2, acc_2_3);
        const odl_pair_f32 v_3_0 = odl_pair_sums_f32(acc_3_0, acc_3_1);
        const odl_pair_f32 v_3_2 = odl_pair_sums_f32(acc_3_2, acc_3_3);
        store_4(addend != NULL ? addend + (y_0 - r->y) : NULL, y_0, &limits, v_0_0, v_0_2);
        store_4(addend != NULL ? addend + (y_1 - r->y) : NULL, y_1, &limits, v_1_0, v_1_2);
        store_4(addend != NULL ? addend + (y_2 - r->y) : NULL, y_2, &limits, v_2_0, v_2_2);
        store_4(addend != NULL ? addend + (y_3 - r->y) : NULL, y_3, &limits, v_3_0, v_3_2);
    }
    r->x = x;
    r->at = (size_t)(y - r->y);
    r->column = column;
    r->pixels = pixels;
}

/* 2 pixels x 4 channels at a time, as long as there are as many pixels. */
ODL_TILE tiles_2x4(struct region *r) {
    const size_t channel_step = r->channel_step;
#ifdef ODL_PACKED_ASM
    const size_t w_step = channel_step * sizeof *r->w, w_back = 4 - 3 * w_step;
#endif
    const struct odl_limits limits = r->limits;
    const odl_f32 *bias = r->bias;
    const odl_f32 *addend = r->addend, *x = r->x;
    odl_f32 *y = r->y + r->at;
    uint32_t column = r->column, pixels = r->pixels;
    const uint32_t runs = r->rows, count = r->vectors;
    const size_t x_jump = r->x_jump, w_jump = r->w_jump;
    const bool has_tail = r->tail > 0;
#ifdef ODL_PACKED_ASM
    (void)has_tail; /* a vector of one lane leaves none */
    const size_t x_bytes = x_jump * sizeof *r->x;
    const size_t w_bytes = w_jump * sizeof *r->w;
#endif
    for (; pixels >= 2; pixels -= 2) {
        const odl_f32 *x_0 = x;
        odl_f32 *y_0 = y;
        const odl_f32 *x_1;
        odl_f32 *y_1;
        if (ODL_LIKELY(r->columns - column > 2)) { /* in one row, and so is the next one */
            x_1 = x_0 + r->x_step;
            y_1 = y_0 + r->at_step;
            x = x_1 + r->x_step;
            y = y_1 + r->at_step;
            column += 2;
        } else {
            next_pixel(r, &column, &x, &y);
            x_1 = x;
            y_1 = y;
            next_pixel(r, &column, &x, &y);
        }
        const odl_f32 *w = r->w;
        const odl_vec_f32 bias_0 = bias != NULL ? odl_vfirst_f32(bias) : odl_vzero_f32();
        const odl_vec_f32 bias_1 = bias != NULL ? odl_vfirst_f32(bias + 1) : odl_vzero_f32();
        const odl_vec_f32 bias_2 = bias != NULL ? odl_vfirst_f32(bias + 2) : odl_vzero_f32();
        const odl_vec_f32 bias_3 = bias != NULL ? odl_vfirst_f32(bias + 3) : odl_vzero_f32();
        odl_vec_f32 acc_0_0 = bias_0, acc_0_1 = bias_1, acc_0_2 = bias_2, acc_0_3 = bias_3;
        odl_vec_f32 acc_1_0 = bias_0, acc_1_1 = bias_1, acc_1_2 = bias_2, acc_1_3 = bias_3;
#ifdef ODL_PACKED_ASM
        DOT_2x4;
#else
        for (uint32_t row = 0; row < runs; row++) {
            for (uint32_t i = 0; i < count; i++) {
                const odl_vec_f32 a_0 = odl_vload_f32(x_0);
                const odl_vec_f32 a_1 = odl_vload_f32(x_1);
                const odl_vec_f32 b_0 = odl_vload_f32(w);
                const odl_vec_f32 b_1 = odl_vload_f32(w + channel_step);
                const odl_vec_f32 b_2 = odl_vload_f32(w + 2 * channel_step);
                const odl_vec_f32 b_3 = odl_vload_f32(w + 3 * channel_step);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, a_0, b_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, a_0, b_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, a_0, b_3);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
                acc_1_1 = odl_vmac_f32(acc_1_1, a_1, b_1);
                acc_1_2 = odl_vmac_f32(acc_1_2, a_1, b_2);
                acc_1_3 = odl_vmac_f32(acc_1_3, a_1, b_3);
                x_0 += ODL_LANES_f32;
                x_1 += ODL_LANES_f32;
                w += ODL_LANES_f32;
            }
            if (has_tail) {
                const odl_vec_f32 a_0 = odl_vload_tail_f32(x_0, r->tail);
                const odl_vec_f32 a_1 = odl_vload_tail_f32(x_1, r->tail);
                const odl_vec_f32 b_0 = odl_vload_tail_f32(w, r->tail);
                const odl_vec_f32 b_1 = odl_vload_tail_f32(w + channel_step, r->tail);
                const odl_vec_f32 b_2 = odl_vload_tail_f32(w + 2 * channel_step, r->tail);
                const odl_vec_f32 b_3 = odl_vload_tail_f32(w + 3 * channel_step, r->tail);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, a_0, b_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, a_0, b_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, a_0, b_3);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
                acc_1_1 = odl_vmac_f32(acc_1_1, a_1, b_1);
                acc_1_2 = odl_vmac_f32(acc_1_2, a_1, b_2);
                acc_1_3 = odl_vmac_f32(acc_1_3, a_1, b_3);
            }
            x_0 += x_jump;
            x_1 += x_jump;
            w += w_jump;
        }
#endif
        const odl_pair_f32 v_0_0 = odl_pair_sums_f32(acc_0_0, acc_0_1);
        const odl_pair_f32 v_0_2 = odl_pair_sums_f32(acc_0_2, acc_0_3);
        const odl_pair_f32 v_1_0 = odl_pair_sums_f32(acc_1_0, acc_1_1);
        const odl_pair_f32 v_1_2 = odl_pair_sums_f32(acc_1_2, acc_1_3);
        store_4(addend != NULL ? addend + (y_0 - r->y) : NULL, y_0, &limits, v_0_0, v_0_2);
        store_4(addend != NULL ? addend + (y_1 - r->y) : NULL, y_1, &limits, v_1_0, v_1_2);
    }
    r->x = x;
    r->at = (size_t)(y - r->y);
    r->column = column;
    r->pixels = pixels;
}

/* 1 pixel x 4 channels at a time, as long as there are as many pixels. */
ODL_TILE tiles_1x4(struct region *r) {
    const size_t channel_step = r->channel_step;
#ifdef ODL_PACKED_ASM
    const size_t w_step = channel_step * sizeof *r->w, w_back = 4 - 3 * w_step;
#endif
    const struct odl_limits limits = r->limits;
    const odl_f32 *bias = r->bias;
    const odl_f32 *addend = r->addend, *x = r->x;
    odl_f32 *y = r->y + r->at;
    uint32_t column = r->column, pixels = r->pixels;
    const uint32_t runs = r->rows, count = r->vectors;
    const size_t x_jump = r->x_jump, w_jump = r->w_jump;
    const bool has_tail = r->tail > 0;
#ifdef ODL_PACKED_ASM
    (void)has_tail; /* a vector of one lane leaves none */
    const size_t x_bytes = x_jump * sizeof *r->x;
    const size_t w_bytes = w_jump * sizeof *r->w;
#endif
    for (; pixels >= 1; pixels -= 1) {
        const odl_f32 *x_0 = x;
        odl_f32 *y_0 = y;
        next_pixel(r, &column, &x, &y);
        const odl_f32 *w = r->w;
        const odl_vec_f32 bias_0 = bias != NULL ? odl_vfirst_f32(bias) : odl_vzero_f32();
        const odl_vec_f32 bias_1 = bias != NULL ? odl_vfirst_f32(bias + 1) : odl_vzero_f32();
        const odl_vec_f32 bias_2 = bias != NULL ? odl_vfirst_f32(bias + 2) : odl_vzero_f32();
        const odl_vec_f32 bias_3 = bias != NULL ? odl_vfirst_f32(bias + 3) : odl_vzero_f32();
        odl_vec_f32 acc_0_0 = bias_0, acc_0_1 = bias_1, acc_0_2 = bias_2, acc_0_3 = bias_3;
#ifdef ODL_PACKED_ASM
        DOT_1x4;
#else
        for (uint32_t row = 0; row < runs; row++) {
            for (uint32_t i = 0; i < count; i++) {
                const odl_vec_f32 a_0 = odl_vload_f32(x_0);
                const odl_vec_f32 b_0 = odl_vload_f32(w);
                const odl_vec_f32 b_1 = odl_vload_f32(w + channel_step);
                const odl_vec_f32 b_2 = odl_vload_f32(w + 2 * channel_step);
                const odl_vec_f32 b_3 = odl_vload_f32(w + 3 * channel_step);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, a_0, b_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, a_0, b_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, a_0, b_3);
                x_0 += ODL_LANES_f32;
                w += ODL_LANES_f32;
            }
            if (has_tail) {
                const odl_vec_f32 a_0 = odl_vload_tail_f32(x_0, r->tail);
                const odl_vec_f32 b_0 = odl_vload_tail_f32(w, r->tail);
                const odl_vec_f32 b_1 = odl_vload_tail_f32(w + channel_step, r->tail);
                const odl_vec_f32 b_2 = odl_vload_tail_f32(w + 2 * channel_step, r->tail);
                const odl_vec_f32 b_3 = odl_vload_tail_f32(w + 3 * channel_step, r->tail);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_0_1 = odl_vmac_f32(acc_0_1, a_0, b_1);
                acc_0_2 = odl_vmac_f32(acc_0_2, a_0, b_2);
                acc_0_3 = odl_vmac_f32(acc_0_3, a_0, b_3);
            }
            x_0 += x_jump;
            w += w_jump;
        }
#endif
        const odl_pair_f32 v_0_0 = odl_pair_sums_f32(acc_0_0, acc_0_1);
        const odl_pair_f32 v_0_2 = odl_pair_sums_f32(acc_0_2, acc_0_3);
        store_4(addend != NULL ? addend + (y_0 - r->y) : NULL, y_0, &limits, v_0_0, v_0_2);
    }
    r->x = x;
    r->at = (size_t)(y - r->y);
    r->column = column;
    r->pixels = pixels;
}

/* 4 pixels x 1 channel at a time, as long as there are as many pixels. */
ODL_TILE tiles_4x1(struct region *r) {
    const struct odl_limits limits = r->limits;
    const odl_f32 *bias = r->bias;
    const odl_f32 *addend = r->addend, *x = r->x;
    odl_f32 *y = r->y + r->at;
    uint32_t column = r->column, pixels = r->pixels;
    const uint32_t runs = r->rows, count = r->vectors;
    const size_t x_jump = r->x_jump, w_jump = r->w_jump;
    const bool has_tail = r->tail > 0;
#ifdef ODL_PACKED_ASM
    (void)has_tail; /* a vector of one lane leaves none */
    const size_t x_bytes = x_jump * sizeof *r->x;
    const size_t w_bytes = w_jump * sizeof *r->w;
#endif
    for (; pixels >= 4; pixels -= 4) {
        const odl_f32 *x_0 = x;
        odl_f32 *y_0 = y;
        const odl_f32 *x_1, *x_2, *x_3;
        odl_f32 *y_1, *y_2, *y_3;
        if (ODL_LIKELY(r->columns - column > 4)) { /* in one row, and so is the next one */
            x_1 = x_0 + r->x_step;
            y_1 = y_0 + r->at_step;
            x_2 = x_1 + r->x_step;
            y_2 = y_1 + r->at_step;
            x_3 = x_2 + r->x_step;
            y_3 = y_2 + r->at_step;
            x = x_3 + r->x_step;
            y = y_3 + r->at_step;
            column += 4;
        } else {
            next_pixel(r, &column, &x, &y);
            x_1 = x;
            y_1 = y;
            next_pixel(r, &column, &x, &y);
            x_2 = x;
            y_2 = y;
            next_pixel(r, &column, &x, &y);
            x_3 = x;
            y_3 = y;
            next_pixel(r, &column, &x, &y);
        }
        const odl_f32 *w = r->w;
        const odl_vec_f32 bias_0 = bias != NULL ? odl_vfirst_f32(bias) : odl_vzero_f32();
        odl_vec_f32 acc_0_0 = bias_0;
        odl_vec_f32 acc_1_0 = bias_0;
        odl_vec_f32 acc_2_0 = bias_0;
        odl_vec_f32 acc_3_0 = bias_0;
#ifdef ODL_PACKED_ASM
        DOT_4x1;
#else
        for (uint32_t row = 0; row < runs; row++) {
            for (uint32_t i = 0; i < count; i++) {
                const odl_vec_f32 a_0 = odl_vload_f32(x_0);
                const odl_vec_f32 a_1 = odl_vload_f32(x_1);
                const odl_vec_f32 a_2 = odl_vload_f32(x_2);
                const odl_vec_f32 a_3 = odl_vload_f32(x_3);
                const odl_vec_f32 b_0 = odl_vload_f32(w);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
                acc_2_0 = odl_vmac_f32(acc_2_0, a_2, b_0);
                acc_3_0 = odl_vmac_f32(acc_3_0, a_3, b_0);
                x_0 += ODL_LANES_f32;
                x_1 += ODL_LANES_f32;
                x_2 += ODL_LANES_f32;
                x_3 += ODL_LANES_f32;
                w += ODL_LANES_f32;
            }
            if (has_tail) {
                const odl_vec_f32 a_0 = odl_vload_tail_f32(x_0, r->tail);
                const odl_vec_f32 a_1 = odl_vload_tail_f32(x_1, r->tail);
                const odl_vec_f32 a_2 = odl_vload_tail_f32(x_2, r->tail);
                const odl_vec_f32 a_3 = odl_vload_tail_f32(x_3, r->tail);
                const odl_vec_f32 b_0 = odl_vload_tail_f32(w, r->tail);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
                acc_2_0 = odl_vmac_f32(acc_2_0, a_2, b_0);
                acc_3_0 = odl_vmac_f32(acc_3_0, a_3, b_0);
            }
            x_0 += x_jump;
            x_1 += x_jump;
            x_2 += x_jump;
            x_3 += x_jump;
            w += w_jump;
        }
#endif
        store_1(addend != NULL ? addend + (y_0 - r->y) : NULL, y_0, &limits, acc_0_0);
        store_1(addend != NULL ? addend + (y_1 - r->y) : NULL, y_1, &limits, acc_1_0);
        store_1(addend != NULL ? addend + (y_2 - r->y) : NULL, y_2, &limits, acc_2_0);
        store_1(addend != NULL ? addend + (y_3 - r->y) : NULL, y_3, &limits, acc_3_0);
    }
    r->x = x;
    r->at = (size_t)(y - r->y);
    r->column = column;
    r->pixels = pixels;
}

/* 2 pixels x 1 channel at a time, as long as there are as many pixels. */
ODL_TILE tiles_2x1(struct region *r) {
    const struct odl_limits limits = r->limits;
    const odl_f32 *bias = r->bias;
    const odl_f32 *addend = r->addend, *x = r->x;
    odl_f32 *y = r->y + r->at;
    uint32_t column = r->column, pixels = r->pixels;
    const uint32_t runs = r->rows, count = r->vectors;
    const size_t x_jump = r->x_jump, w_jump = r->w_jump;
    const bool has_tail = r->tail > 0;
#ifdef ODL_PACKED_ASM
    (void)has_tail; /* a vector of one lane leaves none */
    const size_t x_bytes = x_jump * sizeof *r->x;
    const size_t w_bytes = w_jump * sizeof *r->w;
#endif
    for (; pixels >= 2; pixels -= 2) {
        const odl_f32 *x_0 = x;
        odl_f32 *y_0 = y;
        const odl_f32 *x_1;
        odl_f32 *y_1;
        if (ODL_LIKELY(r->columns - column > 2)) { /* in one row, and so is the next one */
            x_1 = x_0 + r->x_step;
            y_1 = y_0 + r->at_step;
            x = x_1 + r->x_step;
            y = y_1 + r->at_step;
            column += 2;
        } else {
            next_pixel(r, &column, &x, &y);
            x_1 = x;
            y_1 = y;
            next_pixel(r, &column, &x, &y);
        }
        const odl_f32 *w = r->w;
        const odl_vec_f32 bias_0 = bias != NULL ? odl_vfirst_f32(bias) : odl_vzero_f32();
        odl_vec_f32 acc_0_0 = bias_0;
        odl_vec_f32 acc_1_0 = bias_0;
#ifdef ODL_PACKED_ASM
        DOT_2x1;
#else
        for (uint32_t row = 0; row < runs; row++) {
            for (uint32_t i = 0; i < count; i++) {
                const odl_vec_f32 a_0 = odl_vload_f32(x_0);
                const odl_vec_f32 a_1 = odl_vload_f32(x_1);
                const odl_vec_f32 b_0 = odl_vload_f32(w);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
                x_0 += ODL_LANES_f32;
                x_1 += ODL_LANES_f32;
                w += ODL_LANES_f32;
            }
            if (has_tail) {
                const odl_vec_f32 a_0 = odl_vload_tail_f32(x_0, r->tail);
                const odl_vec_f32 a_1 = odl_vload_tail_f32(x_1, r->tail);
                const odl_vec_f32 b_0 = odl_vload_tail_f32(w, r->tail);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                acc_1_0 = odl_vmac_f32(acc_1_0, a_1, b_0);
            }
            x_0 += x_jump;
            x_1 += x_jump;
            w += w_jump;
        }
#endif
        store_1(addend != NULL ? addend + (y_0 - r->y) : NULL, y_0, &limits, acc_0_0);
        store_1(addend != NULL ? addend + (y_1 - r->y) : NULL, y_1, &limits, acc_1_0);
    }
    r->x = x;
    r->at = (size_t)(y - r->y);
    r->column = column;
    r->pixels = pixels;
}

/* 1 pixel x 1 channel at a time, as long as there are as many pixels. */
ODL_TILE tiles_1x1(struct region *r) {
    const struct odl_limits limits = r->limits;
    const odl_f32 *bias = r->bias;
    const odl_f32 *addend = r->addend, *x = r->x;
    odl_f32 *y = r->y + r->at;
    uint32_t column = r->column, pixels = r->pixels;
    const uint32_t runs = r->rows, count = r->vectors;
    const size_t x_jump = r->x_jump, w_jump = r->w_jump;
    const bool has_tail = r->tail > 0;
#ifdef ODL_PACKED_ASM
    (void)has_tail; /* a vector of one lane leaves none */
    const size_t x_bytes = x_jump * sizeof *r->x;
    const size_t w_bytes = w_jump * sizeof *r->w;
#endif
    for (; pixels >= 1; pixels -= 1) {
        const odl_f32 *x_0 = x;
        odl_f32 *y_0 = y;
        next_pixel(r, &column, &x, &y);
        const odl_f32 *w = r->w;
        const odl_vec_f32 bias_0 = bias != NULL ? odl_vfirst_f32(bias) : odl_vzero_f32();
        odl_vec_f32 acc_0_0 = bias_0;
#ifdef ODL_PACKED_ASM
        DOT_1x1;
#else
        for (uint32_t row = 0; row < runs; row++) {
            for (uint32_t i = 0; i < count; i++) {
                const odl_vec_f32 a_0 = odl_vload_f32(x_0);
                const odl_vec_f32 b_0 = odl_vload_f32(w);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                x_0 += ODL_LANES_f32;
                w += ODL_LANES_f32;
            }
            if (has_tail) {
                const odl_vec_f32 a_0 = odl_vload_tail_f32(x_0, r->tail);
                const odl_vec_f32 b_0 = odl_vload_tail_f32(w, r->tail);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
            }
            x_0 += x_jump;
            w += w_jump;
        }
#endif
        store_1(addend != NULL ? addend + (y_0 - r->y) : NULL, y_0, &limits, acc_0_0);
    }
    r->x = x;
    r->at = (size_t)(y - r->y);
    r->column = column;
    r->pixels = pixels;
}

#ifdef ODL_PACKED_ASM
/* 1 pixel x 1 channel at a time, as long as there are as many pixels. */
ODL_TILE tiles_plain(struct region *r) {
    const struct odl_limits limits = r->limits;
    const odl_f32 *bias = r->bias;
    const odl_f32 *addend = r->addend, *x = r->x;
    odl_f32 *y = r->y + r->at;
    uint32_t column = r->column, pixels = r->pixels;
    const uint32_t runs = r->rows, count = r->vectors;
    const size_t x_jump = r->x_jump, w_jump = r->w_jump;
    const bool has_tail = r->tail > 0;
    for (; pixels >= 1; pixels -= 1) {
        const odl_f32 *x_0 = x;
        odl_f32 *y_0 = y;
        next_pixel(r, &column, &x, &y);
        const odl_f32 *w = r->w;
        const odl_vec_f32 bias_0 = bias != NULL ? odl_vfirst_f32(bias) : odl_vzero_f32();
        odl_vec_f32 acc_0_0 = bias_0;
        for (uint32_t row = 0; row < runs; row++) {
            for (uint32_t i = 0; i < count; i++) {
                const odl_vec_f32 a_0 = odl_vload_f32(x_0);
                const odl_vec_f32 b_0 = odl_vload_f32(w);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
                x_0 += ODL_LANES_f32;
                w += ODL_LANES_f32;
            }
            if (has_tail) {
                const odl_vec_f32 a_0 = odl_vload_tail_f32(x_0, r->tail);
                const odl_vec_f32 b_0 = odl_vload_tail_f32(w, r->tail);
                acc_0_0 = odl_vmac_f32(acc_0_0, a_0, b_0);
            }
            x_0 += x_jump;
            w += w_jump;
        }
        store_1(addend != NULL ? addend + (y_0 - r->y) : NULL, y_0, &limits, acc_0_0);
    }
    r->x = x;
    r->at = (size_t)(y - r->y);
    r->column = column;
    r->pixels = pixels;
}

#endif

/* All pixels of a region, channels [begin, end); w, bias, addend and y at channel 0. */
static void channels_of(const struct region *region, size_t filter, uint32_t begin, uint32_t end) {
    uint32_t channels;
    for (uint32_t c = begin; c < end; c += channels) {
        struct region r = *region;
        r.w += c * filter;
        r.bias = r.bias != NULL ? r.bias + c : NULL;
        r.addend = r.addend != NULL ? r.addend + c : NULL;
        r.y += c;
#ifdef ODL_PACKED_ASM
        if (r.rows == 0 || r.vectors == 0) { /* no loop at all, or none of vectors */
            channels = 1;
            tiles_plain(&r);
            continue;
        }
#endif
        if (end - c >= 4) {
            channels = 4;
            tiles_4x4(&r);
            tiles_2x4(&r);
            tiles_1x4(&r);
            continue;
        }
        channels = 1;
        tiles_4x1(&r);
        tiles_2x1(&r);
        tiles_1x1(&r);
    }
}

void odl_conv2d_forward(const struct odl_conv2d_shape *s, const odl_f32 *x, const odl_f32 *w,
                        const odl_f32 *bias, const odl_f32 *addend, odl_f32 *y, float low, float high,
                        uint32_t core, uint32_t cores) {
    const struct odl_share share = odl_share_grid(s->batch * s->out_h, s->out_c, 4, core, cores);
    const size_t x_row = (size_t)s->in_w * s->in_c, w_row = (size_t)s->kernel_w * s->in_c;
    const size_t y_row = (size_t)s->out_w * s->out_c;
    struct region region = {.bias = bias, .addend = addend, .y = y, .limits = odl_limits(low, high)};
    region.x_step = (size_t)s->stride_w * s->in_c;
    region.at_step = s->out_c;
    region.channel_step = s->kernel_h * w_row;
    struct span rows, columns;
    for (uint32_t row = share.row_begin; row < share.row_end; row += rows.count) {
        const uint32_t image = row / s->out_h, oy = row % s->out_h;
        rows = span_of(oy, s->out_h, s->stride_h, s->pad_top, s->in_h, s->kernel_h);
        rows.count = rows.count < share.row_end - row ? rows.count : share.row_end - row;
        for (uint32_t ox = 0; ox < s->out_w; ox += columns.count) {
            columns = span_of(ox, s->out_w, s->stride_w, s->pad_left, s->in_w, s->kernel_w);
            const uint32_t run = (columns.end - columns.first) * s->in_c;
            region.rows = run > 0 ? rows.end - rows.first : 0;
            region.vectors = run / ODL_LANES_f32;
            region.tail = run % ODL_LANES_f32;
            region.x_jump = x_row - (run - region.tail);
            region.w_jump = w_row - (run - region.tail);
            region.x = x;
            region.w = w;
            if (region.rows > 0) {
                const uint32_t iy = oy * s->stride_h + rows.first - s->pad_top;
                const uint32_t ix = ox * s->stride_w + columns.first - s->pad_left;
                region.x += (size_t)image * s->in_h * x_row + iy * x_row + (size_t)ix * s->in_c;
                region.w += rows.first * w_row + (size_t)columns.first * s->in_c;
            }
            region.at = row * y_row + (size_t)ox * s->out_c;
            region.columns = columns.count;
            region.pixels = rows.count * columns.count;
            region.x_wrap = s->stride_h * x_row - (columns.count - 1) * region.x_step;
            region.at_wrap = y_row - (columns.count - 1) * region.at_step;
            if (region.x_wrap == region.x_step && region.at_wrap == region.at_step) {
                region.columns = region.pixels; /* rows without gaps are one row */
            }
            channels_of(&region, region.channel_step, share.column_begin, share.column_end);
        }
    }
}
