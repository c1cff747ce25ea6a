/* Convolution (a linear layer is the 1x1 case): y = clamp(bias + x * w + addend, low, high).
 *
 * x[batch][in_h][in_w][in_c], w[out_c][kernel_h][kernel_w][in_c], y and addend (may be NULL, may be y)
 * [batch][out_h][out_w][out_c], bias[out_c] (may be NULL).
 *
 * Implicit GEMM (Chetlur et al., "cuDNN: Efficient primitives for deep learning", arXiv 1410.0759, section
 * 3.3): in this layout a row of a window is one contiguous run of x and of w, so nothing is copied; at the
 * borders the run is clipped. Tiles are made of pixels whose windows are clipped alike.
 * Order of each sum: window rows from the top, the run in steps of a vector, then the lanes. A lane takes
 * 64 terms at most: then, before a row that would bring more, or within a longer row, the lanes are added to
 * the fp32 sum, which begins with the bias. The addend is added in fp32; the result is rounded once.
 */
#include "odl_isa.h"

#include "kernels.h"

#ifdef ODL_PACKED_ASM
/* 4 x 2: the products of `count` vectors, and the end of a chunk */
#define DOT_4x2 \
    do { \
        uint32_t h_0 = count, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[h_0]", 14) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_back]") \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_LW("%[h_2]", "%[x_2]", 4) \
            ODL_ASM_LW("%[h_3]", "%[x_3]", 4) \
            ODL_ASM_DOT_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f16("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f16("%[acc_2_1]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f16("%[acc_3_1]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_1_0] "+r"(acc_1_0), [acc_1_1] "+r"(acc_1_1), [acc_2_0] "+r"(acc_2_0), [acc_2_1] "+r"(acc_2_1), [acc_3_0] "+r"(acc_3_0), [acc_3_1] "+r"(acc_3_1),  \
[w] "+r"(w), [x_0] "+r"(x_0), [x_1] "+r"(x_1), [x_2] "+r"(x_2), [x_3] "+r"(x_3), [h_0] "+r"(h_0), [h_1] "=&r"(h_1), [h_2] "=&r"(h_2), [h_3] "=&r"(h_3) \
            : [w_step] "r"(w_step), [w_back] "r"(w_back)); \
    } while (0)

#define CARRY_4x2 \
    do { \
        const uint32_t one = ODL_ONE_F16; \
        uint32_t other; \
        __asm__ volatile( \
            ODL_ASM_CARRY_SUMS("%[acc_0_0]", "%[acc_0_1]", "%[sum]", 0, "%[one]", "%[other]") \
            ODL_ASM_CARRY_SUMS("%[acc_1_0]", "%[acc_1_1]", "%[sum]", 8, "%[one]", "%[other]") \
            ODL_ASM_CARRY_SUMS("%[acc_2_0]", "%[acc_2_1]", "%[sum]", 16, "%[one]", "%[other]") \
            ODL_ASM_CARRY_SUMS("%[acc_3_0]", "%[acc_3_1]", "%[sum]", 24, "%[one]", "%[other]") \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_1_0] "+r"(acc_1_0), [acc_1_1] "+r"(acc_1_1), [acc_2_0] "+r"(acc_2_0), [acc_2_1] "+r"(acc_2_1), [acc_3_0] "+r"(acc_3_0), [acc_3_1] "+r"(acc_3_1), [other] "=&r"(other) \
            : [sum] "r"(sum), [one] "r"(one) \
            : "memory"); \
    } while (0)

/* 4 x 1: the products of `count` vectors, and the end of a chunk */
#define DOT_4x1 \
    do { \
        uint32_t h_0 = count, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[h_0]", 9) \
            ODL_ASM_LW(ODL_ASM_SPARE_0, "%[w]", 4) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_LW("%[h_2]", "%[x_2]", 4) \
            ODL_ASM_LW("%[h_3]", "%[x_3]", 4) \
            ODL_ASM_DOT_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_1_0] "+r"(acc_1_0), [acc_2_0] "+r"(acc_2_0), [acc_3_0] "+r"(acc_3_0),  \
[w] "+r"(w), [x_0] "+r"(x_0), [x_1] "+r"(x_1), [x_2] "+r"(x_2), [x_3] "+r"(x_3), [h_0] "+r"(h_0), [h_1] "=&r"(h_1), [h_2] "=&r"(h_2), [h_3] "=&r"(h_3) \
            : ); \
    } while (0)

#define CARRY_4x1 \
    do { \
        const uint32_t one = ODL_ONE_F16; \
        uint32_t other; \
        __asm__ volatile( \
            ODL_ASM_CARRY_SUMS("%[acc_0_0]", "%[acc_1_0]", "%[sum]", 0, "%[one]", "%[other]") \
            ODL_ASM_CARRY_SUMS("%[acc_2_0]", "%[acc_3_0]", "%[sum]", 8, "%[one]", "%[other]") \
            : [acc_0_0] "+r"(acc_0_0), [acc_1_0] "+r"(acc_1_0), [acc_2_0] "+r"(acc_2_0), [acc_3_0] "+r"(acc_3_0), [other] "=&r"(other) \
            : [sum] "r"(sum), [one] "r"(one) \
            : "memory"); \
    } while (0)

/* 2 x 2: the products of `count` vectors, and the end of a chunk */
#define DOT_2x2 \
    do { \
        uint32_t h_0 = count, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[h_0]", 8) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_back]") \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_DOT_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_DOT_f16("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_1_0] "+r"(acc_1_0), [acc_1_1] "+r"(acc_1_1),  \
[w] "+r"(w), [x_0] "+r"(x_0), [x_1] "+r"(x_1), [h_0] "+r"(h_0), [h_1] "=&r"(h_1) \
            : [w_step] "r"(w_step), [w_back] "r"(w_back)); \
    } while (0)

#define CARRY_2x2 \
    do { \
        const uint32_t one = ODL_ONE_F16; \
        uint32_t other; \
        __asm__ volatile( \
            ODL_ASM_CARRY_SUMS("%[acc_0_0]", "%[acc_0_1]", "%[sum]", 0, "%[one]", "%[other]") \
            ODL_ASM_CARRY_SUMS("%[acc_1_0]", "%[acc_1_1]", "%[sum]", 8, "%[one]", "%[other]") \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [acc_1_0] "+r"(acc_1_0), [acc_1_1] "+r"(acc_1_1), [other] "=&r"(other) \
            : [sum] "r"(sum), [one] "r"(one) \
            : "memory"); \
    } while (0)

/* 2 x 1: the products of `count` vectors, and the end of a chunk */
#define DOT_2x1 \
    do { \
        uint32_t h_0 = count, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[h_0]", 5) \
            ODL_ASM_LW(ODL_ASM_SPARE_0, "%[w]", 4) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW("%[h_1]", "%[x_1]", 4) \
            ODL_ASM_DOT_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_1_0] "+r"(acc_1_0),  \
[w] "+r"(w), [x_0] "+r"(x_0), [x_1] "+r"(x_1), [h_0] "+r"(h_0), [h_1] "=&r"(h_1) \
            : ); \
    } while (0)

#define CARRY_2x1 \
    do { \
        const uint32_t one = ODL_ONE_F16; \
        uint32_t other; \
        __asm__ volatile( \
            ODL_ASM_CARRY_SUMS("%[acc_0_0]", "%[acc_1_0]", "%[sum]", 0, "%[one]", "%[other]") \
            : [acc_0_0] "+r"(acc_0_0), [acc_1_0] "+r"(acc_1_0), [other] "=&r"(other) \
            : [sum] "r"(sum), [one] "r"(one) \
            : "memory"); \
    } while (0)

/* 1 x 2: the products of `count` vectors, and the end of a chunk */
#define DOT_1x2 \
    do { \
        uint32_t h_0 = count; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[h_0]", 5) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_0, "%[w]", "%[w_step]") \
            ODL_ASM_LW_BY(ODL_ASM_SPARE_1, "%[w]", "%[w_back]") \
            ODL_ASM_DOT_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_DOT_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1),  \
[w] "+r"(w), [x_0] "+r"(x_0), [h_0] "+r"(h_0) \
            : [w_step] "r"(w_step), [w_back] "r"(w_back)); \
    } while (0)

#define CARRY_1x2 \
    do { \
        const uint32_t one = ODL_ONE_F16; \
        uint32_t other; \
        __asm__ volatile( \
            ODL_ASM_CARRY_SUMS("%[acc_0_0]", "%[acc_0_1]", "%[sum]", 0, "%[one]", "%[other]") \
            : [acc_0_0] "+r"(acc_0_0), [acc_0_1] "+r"(acc_0_1), [other] "=&r"(other) \
            : [sum] "r"(sum), [one] "r"(one) \
            : "memory"); \
    } while (0)

/* 1 x 1: the products of `count` vectors, and the end of a chunk */
#define DOT_1x1 \
    do { \
        uint32_t h_0 = count; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_REPEAT(0, "%[h_0]", 3) \
            ODL_ASM_LW("%[h_0]", "%[x_0]", 4) \
            ODL_ASM_LW(ODL_ASM_SPARE_0, "%[w]", 4) \
            ODL_ASM_DOT_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : [acc_0_0] "+r"(acc_0_0),  \
[w] "+r"(w), [x_0] "+r"(x_0), [h_0] "+r"(h_0) \
            : ); \
    } while (0)

#define CARRY_1x1 \
    do { \
        const uint32_t one = ODL_ONE_F16; \
        uint32_t other; \
        __asm__ volatile( \
            ODL_ASM_CARRY_SUM("%[acc_0_0]", "%[sum]", 0, "%[one]", "%[other]") \
            : [acc_0_0] "+r"(acc_0_0), [other] "=&r"(other) \
            : [sum] "r"(sum), [one] "r"(one) \
            : "memory"); \
    } while (0)

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
    const odl_f16 *x, *w; /* first elements inside the window */
    const odl_f32 *bias;
    const odl_f16 *addend;
    odl_f16 *y;
    size_t at;                /* of the pixel in addend and y */
    uint32_t pixels;          /* still to do */
    uint32_t column, columns; /* of the pixel, and of the region */
    size_t x_step, at_step;   /* to the next pixel in the row */
    size_t x_wrap, at_wrap;   /* to the first one in the next row */
    uint32_t rows;            /* of the window */
    uint32_t vectors, tail;   /* whole vectors and further elements in a row of it */
    uint32_t terms;           /* of a lane in such a row */
    size_t x_jump, w_jump;    /* from behind the vectors of a row to the next row */
    size_t channel_step;      /* in w */
    struct odl_limits limits;
};

static inline void next_pixel(struct region *r) {
    if (++r->column < r->columns) {
        r->x += r->x_step;
        r->at += r->at_step;
    } else {
        r->column = 0;
        r->x += r->x_wrap;
        r->at += r->at_wrap;
    }
}

/* What follows the sums of a pixel's channels. */
static inline void store_pair(const struct region *r, size_t at, float a, float b) {
    if (r->addend != NULL) {
        a += odl_load_f16(r->addend + at);
        b += odl_load_f16(r->addend + at + 1);
    }
    odl_pair_store_f16(r->y + at, odl_pair_limit_f16(odl_pair_of_f16(a, b), &r->limits));
}

static inline void store_one(const struct region *r, size_t at, float sum) {
    if (r->addend != NULL) {
        sum += odl_load_f16(r->addend + at);
    }
    odl_store_f16(r->y + at, odl_limited(sum, &r->limits));
}

/* 4 pixels x 2 channels at a time, as long as there are as many pixels. */
static void tiles_4x2(struct region *r) {
    const size_t channel_step = r->channel_step;
#ifdef ODL_PACKED_ASM
    const size_t w_step = channel_step * sizeof *r->w, w_back = 4 - 1 * w_step;
#endif
    for (; r->pixels >= 4; r->pixels -= 4) {
        const odl_f16 *x_0 = r->x;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f16 *x_1 = r->x;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f16 *x_2 = r->x;
        const size_t at_2 = r->at;
        next_pixel(r);
        const odl_f16 *x_3 = r->x;
        const size_t at_3 = r->at;
        next_pixel(r);
        const odl_f16 *w = r->w;
        const float bias_0 = r->bias != NULL ? odl_load_f32(r->bias) : 0.0f;
        const float bias_1 = r->bias != NULL ? odl_load_f32(r->bias + 1) : 0.0f;
        odl_vec_f16 acc_0_0 = odl_vzero_f16();
        odl_vec_f16 acc_0_1 = odl_vzero_f16();
        odl_vec_f16 acc_1_0 = odl_vzero_f16();
        odl_vec_f16 acc_1_1 = odl_vzero_f16();
        odl_vec_f16 acc_2_0 = odl_vzero_f16();
        odl_vec_f16 acc_2_1 = odl_vzero_f16();
        odl_vec_f16 acc_3_0 = odl_vzero_f16();
        odl_vec_f16 acc_3_1 = odl_vzero_f16();
        float sum[8] = {bias_0, bias_1, bias_0, bias_1, bias_0, bias_1, bias_0, bias_1};
        uint32_t room = 64;
        for (uint32_t row = r->rows; row > 0; row--) {
            for (uint32_t left = r->terms; left > 0;) {
                const uint32_t terms = left < 64 ? left : 64;
                if (terms > room) {
#ifdef ODL_PACKED_ASM
                    CARRY_4x2;
#else
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
#endif
                    room = 64;
                }
                room -= terms;
                left -= terms;
                const bool ends = left == 0 && r->tail > 0;
                const uint32_t count = terms - (ends ? 1 : 0);
#ifdef ODL_PACKED_ASM
                if (count > 0) {
                    DOT_4x2;
                }
#else
                for (uint32_t i = 0; i < count; i++) {
                    const odl_vec_f16 a_0 = odl_vload_f16(x_0);
                    const odl_vec_f16 a_1 = odl_vload_f16(x_1);
                    const odl_vec_f16 a_2 = odl_vload_f16(x_2);
                    const odl_vec_f16 a_3 = odl_vload_f16(x_3);
                    const odl_vec_f16 b_0 = odl_vload_f16(w);
                    const odl_vec_f16 b_1 = odl_vload_f16(w + channel_step);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                    acc_1_1 = odl_vmac_f16(acc_1_1, a_1, b_1);
                    acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                    acc_2_1 = odl_vmac_f16(acc_2_1, a_2, b_1);
                    acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
                    acc_3_1 = odl_vmac_f16(acc_3_1, a_3, b_1);
                    x_0 += ODL_LANES_f16;
                    x_1 += ODL_LANES_f16;
                    x_2 += ODL_LANES_f16;
                    x_3 += ODL_LANES_f16;
                    w += ODL_LANES_f16;
                }
#endif
                if (ends) {
                    const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0, r->tail);
                    const odl_vec_f16 a_1 = odl_vload_tail_f16(x_1, r->tail);
                    const odl_vec_f16 a_2 = odl_vload_tail_f16(x_2, r->tail);
                    const odl_vec_f16 a_3 = odl_vload_tail_f16(x_3, r->tail);
                    const odl_vec_f16 b_0 = odl_vload_tail_f16(w, r->tail);
                    const odl_vec_f16 b_1 = odl_vload_tail_f16(w + channel_step, r->tail);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                    acc_1_1 = odl_vmac_f16(acc_1_1, a_1, b_1);
                    acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                    acc_2_1 = odl_vmac_f16(acc_2_1, a_2, b_1);
                    acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
                    acc_3_1 = odl_vmac_f16(acc_3_1, a_3, b_1);
                }
            }
            x_0 += r->x_jump;
            x_1 += r->x_jump;
            x_2 += r->x_jump;
            x_3 += r->x_jump;
            w += r->w_jump;
        }
#ifdef ODL_PACKED_ASM
        CARRY_4x2;
#else
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
#endif
        store_pair(r, at_0, sum[0], sum[1]);
        store_pair(r, at_1, sum[2], sum[3]);
        store_pair(r, at_2, sum[4], sum[5]);
        store_pair(r, at_3, sum[6], sum[7]);
    }
}

/* 2 pixels x 2 channels at a time, as long as there are as many pixels. */
static void tiles_2x2(struct region *r) {
    const size_t channel_step = r->channel_step;
#ifdef ODL_PACKED_ASM
    const size_t w_step = channel_step * sizeof *r->w, w_back = 4 - 1 * w_step;
#endif
    for (; r->pixels >= 2; r->pixels -= 2) {
        const odl_f16 *x_0 = r->x;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f16 *x_1 = r->x;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f16 *w = r->w;
        const float bias_0 = r->bias != NULL ? odl_load_f32(r->bias) : 0.0f;
        const float bias_1 = r->bias != NULL ? odl_load_f32(r->bias + 1) : 0.0f;
        odl_vec_f16 acc_0_0 = odl_vzero_f16();
        odl_vec_f16 acc_0_1 = odl_vzero_f16();
        odl_vec_f16 acc_1_0 = odl_vzero_f16();
        odl_vec_f16 acc_1_1 = odl_vzero_f16();
        float sum[4] = {bias_0, bias_1, bias_0, bias_1};
        uint32_t room = 64;
        for (uint32_t row = r->rows; row > 0; row--) {
            for (uint32_t left = r->terms; left > 0;) {
                const uint32_t terms = left < 64 ? left : 64;
                if (terms > room) {
#ifdef ODL_PACKED_ASM
                    CARRY_2x2;
#else
                    sum[0] += odl_vsum_f16(acc_0_0);
                    acc_0_0 = odl_vzero_f16();
                    sum[1] += odl_vsum_f16(acc_0_1);
                    acc_0_1 = odl_vzero_f16();
                    sum[2] += odl_vsum_f16(acc_1_0);
                    acc_1_0 = odl_vzero_f16();
                    sum[3] += odl_vsum_f16(acc_1_1);
                    acc_1_1 = odl_vzero_f16();
#endif
                    room = 64;
                }
                room -= terms;
                left -= terms;
                const bool ends = left == 0 && r->tail > 0;
                const uint32_t count = terms - (ends ? 1 : 0);
#ifdef ODL_PACKED_ASM
                if (count > 0) {
                    DOT_2x2;
                }
#else
                for (uint32_t i = 0; i < count; i++) {
                    const odl_vec_f16 a_0 = odl_vload_f16(x_0);
                    const odl_vec_f16 a_1 = odl_vload_f16(x_1);
                    const odl_vec_f16 b_0 = odl_vload_f16(w);
                    const odl_vec_f16 b_1 = odl_vload_f16(w + channel_step);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                    acc_1_1 = odl_vmac_f16(acc_1_1, a_1, b_1);
                    x_0 += ODL_LANES_f16;
                    x_1 += ODL_LANES_f16;
                    w += ODL_LANES_f16;
                }
#endif
                if (ends) {
                    const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0, r->tail);
                    const odl_vec_f16 a_1 = odl_vload_tail_f16(x_1, r->tail);
                    const odl_vec_f16 b_0 = odl_vload_tail_f16(w, r->tail);
                    const odl_vec_f16 b_1 = odl_vload_tail_f16(w + channel_step, r->tail);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                    acc_1_1 = odl_vmac_f16(acc_1_1, a_1, b_1);
                }
            }
            x_0 += r->x_jump;
            x_1 += r->x_jump;
            w += r->w_jump;
        }
#ifdef ODL_PACKED_ASM
        CARRY_2x2;
#else
        sum[0] += odl_vsum_f16(acc_0_0);
        acc_0_0 = odl_vzero_f16();
        sum[1] += odl_vsum_f16(acc_0_1);
        acc_0_1 = odl_vzero_f16();
        sum[2] += odl_vsum_f16(acc_1_0);
        acc_1_0 = odl_vzero_f16();
        sum[3] += odl_vsum_f16(acc_1_1);
        acc_1_1 = odl_vzero_f16();
#endif
        store_pair(r, at_0, sum[0], sum[1]);
        store_pair(r, at_1, sum[2], sum[3]);
    }
}

/* 1 pixel x 2 channels at a time, as long as there are as many pixels. */
static void tiles_1x2(struct region *r) {
    const size_t channel_step = r->channel_step;
#ifdef ODL_PACKED_ASM
    const size_t w_step = channel_step * sizeof *r->w, w_back = 4 - 1 * w_step;
#endif
    for (; r->pixels >= 1; r->pixels -= 1) {
        const odl_f16 *x_0 = r->x;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f16 *w = r->w;
        const float bias_0 = r->bias != NULL ? odl_load_f32(r->bias) : 0.0f;
        const float bias_1 = r->bias != NULL ? odl_load_f32(r->bias + 1) : 0.0f;
        odl_vec_f16 acc_0_0 = odl_vzero_f16();
        odl_vec_f16 acc_0_1 = odl_vzero_f16();
        float sum[2] = {bias_0, bias_1};
        uint32_t room = 64;
        for (uint32_t row = r->rows; row > 0; row--) {
            for (uint32_t left = r->terms; left > 0;) {
                const uint32_t terms = left < 64 ? left : 64;
                if (terms > room) {
#ifdef ODL_PACKED_ASM
                    CARRY_1x2;
#else
                    sum[0] += odl_vsum_f16(acc_0_0);
                    acc_0_0 = odl_vzero_f16();
                    sum[1] += odl_vsum_f16(acc_0_1);
                    acc_0_1 = odl_vzero_f16();
#endif
                    room = 64;
                }
                room -= terms;
                left -= terms;
                const bool ends = left == 0 && r->tail > 0;
                const uint32_t count = terms - (ends ? 1 : 0);
#ifdef ODL_PACKED_ASM
                if (count > 0) {
                    DOT_1x2;
                }
#else
                for (uint32_t i = 0; i < count; i++) {
                    const odl_vec_f16 a_0 = odl_vload_f16(x_0);
                    const odl_vec_f16 b_0 = odl_vload_f16(w);
                    const odl_vec_f16 b_1 = odl_vload_f16(w + channel_step);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                    x_0 += ODL_LANES_f16;
                    w += ODL_LANES_f16;
                }
#endif
                if (ends) {
                    const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0, r->tail);
                    const odl_vec_f16 b_0 = odl_vload_tail_f16(w, r->tail);
                    const odl_vec_f16 b_1 = odl_vload_tail_f16(w + channel_step, r->tail);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, a_0, b_1);
                }
            }
            x_0 += r->x_jump;
            w += r->w_jump;
        }
#ifdef ODL_PACKED_ASM
        CARRY_1x2;
#else
        sum[0] += odl_vsum_f16(acc_0_0);
        acc_0_0 = odl_vzero_f16();
        sum[1] += odl_vsum_f16(acc_0_1);
        acc_0_1 = odl_vzero_f16();
#endif
        store_pair(r, at_0, sum[0], sum[1]);
    }
}

/* 4 pixels x 1 channel at a time, as long as there are as many pixels. */
static void tiles_4x1(struct region *r) {
    for (; r->pixels >= 4; r->pixels -= 4) {
        const odl_f16 *x_0 = r->x;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f16 *x_1 = r->x;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f16 *x_2 = r->x;
        const size_t at_2 = r->at;
        next_pixel(r);
        const odl_f16 *x_3 = r->x;
        const size_t at_3 = r->at;
        next_pixel(r);
        const odl_f16 *w = r->w;
        const float bias_0 = r->bias != NULL ? odl_load_f32(r->bias) : 0.0f;
        odl_vec_f16 acc_0_0 = odl_vzero_f16();
        odl_vec_f16 acc_1_0 = odl_vzero_f16();
        odl_vec_f16 acc_2_0 = odl_vzero_f16();
        odl_vec_f16 acc_3_0 = odl_vzero_f16();
        float sum[4] = {bias_0, bias_0, bias_0, bias_0};
        uint32_t room = 64;
        for (uint32_t row = r->rows; row > 0; row--) {
            for (uint32_t left = r->terms; left > 0;) {
                const uint32_t terms = left < 64 ? left : 64;
                if (terms > room) {
#ifdef ODL_PACKED_ASM
                    CARRY_4x1;
#else
                    sum[0] += odl_vsum_f16(acc_0_0);
                    acc_0_0 = odl_vzero_f16();
                    sum[1] += odl_vsum_f16(acc_1_0);
                    acc_1_0 = odl_vzero_f16();
                    sum[2] += odl_vsum_f16(acc_2_0);
                    acc_2_0 = odl_vzero_f16();
                    sum[3] += odl_vsum_f16(acc_3_0);
                    acc_3_0 = odl_vzero_f16();
#endif
                    room = 64;
                }
                room -= terms;
                left -= terms;
                const bool ends = left == 0 && r->tail > 0;
                const uint32_t count = terms - (ends ? 1 : 0);
#ifdef ODL_PACKED_ASM
                if (count > 0) {
                    DOT_4x1;
                }
#else
                for (uint32_t i = 0; i < count; i++) {
                    const odl_vec_f16 a_0 = odl_vload_f16(x_0);
                    const odl_vec_f16 a_1 = odl_vload_f16(x_1);
                    const odl_vec_f16 a_2 = odl_vload_f16(x_2);
                    const odl_vec_f16 a_3 = odl_vload_f16(x_3);
                    const odl_vec_f16 b_0 = odl_vload_f16(w);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                    acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                    acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
                    x_0 += ODL_LANES_f16;
                    x_1 += ODL_LANES_f16;
                    x_2 += ODL_LANES_f16;
                    x_3 += ODL_LANES_f16;
                    w += ODL_LANES_f16;
                }
#endif
                if (ends) {
                    const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0, r->tail);
                    const odl_vec_f16 a_1 = odl_vload_tail_f16(x_1, r->tail);
                    const odl_vec_f16 a_2 = odl_vload_tail_f16(x_2, r->tail);
                    const odl_vec_f16 a_3 = odl_vload_tail_f16(x_3, r->tail);
                    const odl_vec_f16 b_0 = odl_vload_tail_f16(w, r->tail);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                    acc_2_0 = odl_vmac_f16(acc_2_0, a_2, b_0);
                    acc_3_0 = odl_vmac_f16(acc_3_0, a_3, b_0);
                }
            }
            x_0 += r->x_jump;
            x_1 += r->x_jump;
            x_2 += r->x_jump;
            x_3 += r->x_jump;
            w += r->w_jump;
        }
#ifdef ODL_PACKED_ASM
        CARRY_4x1;
#else
        sum[0] += odl_vsum_f16(acc_0_0);
        acc_0_0 = odl_vzero_f16();
        sum[1] += odl_vsum_f16(acc_1_0);
        acc_1_0 = odl_vzero_f16();
        sum[2] += odl_vsum_f16(acc_2_0);
        acc_2_0 = odl_vzero_f16();
        sum[3] += odl_vsum_f16(acc_3_0);
        acc_3_0 = odl_vzero_f16();
#endif
        store_one(r, at_0, sum[0]);
        store_one(r, at_1, sum[1]);
        store_one(r, at_2, sum[2]);
        store_one(r, at_3, sum[3]);
    }
}

/* 2 pixels x 1 channel at a time, as long as there are as many pixels. */
static void tiles_2x1(struct region *r) {
    for (; r->pixels >= 2; r->pixels -= 2) {
        const odl_f16 *x_0 = r->x;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f16 *x_1 = r->x;
        const size_t at_1 = r->at;
        next_pixel(r);
        const odl_f16 *w = r->w;
        const float bias_0 = r->bias != NULL ? odl_load_f32(r->bias) : 0.0f;
        odl_vec_f16 acc_0_0 = odl_vzero_f16();
        odl_vec_f16 acc_1_0 = odl_vzero_f16();
        float sum[2] = {bias_0, bias_0};
        uint32_t room = 64;
        for (uint32_t row = r->rows; row > 0; row--) {
            for (uint32_t left = r->terms; left > 0;) {
                const uint32_t terms = left < 64 ? left : 64;
                if (terms > room) {
#ifdef ODL_PACKED_ASM
                    CARRY_2x1;
#else
                    sum[0] += odl_vsum_f16(acc_0_0);
                    acc_0_0 = odl_vzero_f16();
                    sum[1] += odl_vsum_f16(acc_1_0);
                    acc_1_0 = odl_vzero_f16();
#endif
                    room = 64;
                }
                room -= terms;
                left -= terms;
                const bool ends = left == 0 && r->tail > 0;
                const uint32_t count = terms - (ends ? 1 : 0);
#ifdef ODL_PACKED_ASM
                if (count > 0) {
                    DOT_2x1;
                }
#else
                for (uint32_t i = 0; i < count; i++) {
                    const odl_vec_f16 a_0 = odl_vload_f16(x_0);
                    const odl_vec_f16 a_1 = odl_vload_f16(x_1);
                    const odl_vec_f16 b_0 = odl_vload_f16(w);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                    x_0 += ODL_LANES_f16;
                    x_1 += ODL_LANES_f16;
                    w += ODL_LANES_f16;
                }
#endif
                if (ends) {
                    const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0, r->tail);
                    const odl_vec_f16 a_1 = odl_vload_tail_f16(x_1, r->tail);
                    const odl_vec_f16 b_0 = odl_vload_tail_f16(w, r->tail);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    acc_1_0 = odl_vmac_f16(acc_1_0, a_1, b_0);
                }
            }
            x_0 += r->x_jump;
            x_1 += r->x_jump;
            w += r->w_jump;
        }
#ifdef ODL_PACKED_ASM
        CARRY_2x1;
#else
        sum[0] += odl_vsum_f16(acc_0_0);
        acc_0_0 = odl_vzero_f16();
        sum[1] += odl_vsum_f16(acc_1_0);
        acc_1_0 = odl_vzero_f16();
#endif
        store_one(r, at_0, sum[0]);
        store_one(r, at_1, sum[1]);
    }
}

/* 1 pixel x 1 channel at a time, as long as there are as many pixels. */
static void tiles_1x1(struct region *r) {
    for (; r->pixels >= 1; r->pixels -= 1) {
        const odl_f16 *x_0 = r->x;
        const size_t at_0 = r->at;
        next_pixel(r);
        const odl_f16 *w = r->w;
        const float bias_0 = r->bias != NULL ? odl_load_f32(r->bias) : 0.0f;
        odl_vec_f16 acc_0_0 = odl_vzero_f16();
        float sum[1] = {bias_0};
        uint32_t room = 64;
        for (uint32_t row = r->rows; row > 0; row--) {
            for (uint32_t left = r->terms; left > 0;) {
                const uint32_t terms = left < 64 ? left : 64;
                if (terms > room) {
#ifdef ODL_PACKED_ASM
                    CARRY_1x1;
#else
                    sum[0] += odl_vsum_f16(acc_0_0);
                    acc_0_0 = odl_vzero_f16();
#endif
                    room = 64;
                }
                room -= terms;
                left -= terms;
                const bool ends = left == 0 && r->tail > 0;
                const uint32_t count = terms - (ends ? 1 : 0);
#ifdef ODL_PACKED_ASM
                if (count > 0) {
                    DOT_1x1;
                }
#else
                for (uint32_t i = 0; i < count; i++) {
                    const odl_vec_f16 a_0 = odl_vload_f16(x_0);
                    const odl_vec_f16 b_0 = odl_vload_f16(w);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                    x_0 += ODL_LANES_f16;
                    w += ODL_LANES_f16;
                }
#endif
                if (ends) {
                    const odl_vec_f16 a_0 = odl_vload_tail_f16(x_0, r->tail);
                    const odl_vec_f16 b_0 = odl_vload_tail_f16(w, r->tail);
                    acc_0_0 = odl_vmac_f16(acc_0_0, a_0, b_0);
                }
            }
            x_0 += r->x_jump;
            w += r->w_jump;
        }
#ifdef ODL_PACKED_ASM
        CARRY_1x1;
#else
        sum[0] += odl_vsum_f16(acc_0_0);
        acc_0_0 = odl_vzero_f16();
#endif
        store_one(r, at_0, sum[0]);
    }
}

/* All pixels of a region, channels [begin, end); w, bias, addend and y at channel 0. */
static void channels_of(const struct region *region, size_t filter, uint32_t begin, uint32_t end) {
    uint32_t channels;
    for (uint32_t c = begin; c < end; c += channels) {
        struct region r = *region;
        r.w += c * filter;
        r.bias = r.bias != NULL ? r.bias + c : NULL;
        r.addend = r.addend != NULL ? r.addend + c : NULL;
        r.y += c;
        if (end - c >= 2) {
            channels = 2;
            tiles_4x2(&r);
            tiles_2x2(&r);
            tiles_1x2(&r);
            continue;
        }
        channels = 1;
        tiles_4x1(&r);
        tiles_2x1(&r);
        tiles_1x1(&r);
    }
}

void odl_conv2d_forward(const struct odl_conv2d_shape *s, const odl_f16 *x, const odl_f16 *w,
                        const odl_f32 *bias, const odl_f16 *addend, odl_f16 *y, float low, float high,
                        uint32_t core, uint32_t cores) {
    const struct odl_share share = odl_share_grid(s->batch * s->out_h, s->out_c, 2, core, cores);
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
            region.vectors = run / ODL_LANES_f16;
            region.tail = run % ODL_LANES_f16;
            region.terms = region.vectors + (region.tail > 0 ? 1 : 0);
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
            channels_of(&region, region.channel_step, share.column_begin, share.column_end);
        }
    }
}
