/* Every operation of the abstract vector on given numbers, for a comparison of two dialects in every bit.
 *
 * `halves` and `floats` hold groups of three vectors (a, b, c) of 8 lanes, `results` what came out of each
 * group, and the last word of a result whether an exception flag was raised. Vectors of fewer lanes take a
 * group in parts. */
#include "odl_isa.h"
#include "odl_runtime.h"

#define WIDTH 8
#define RESULT_HALVES (9 * WIDTH)
#define RESULT_FLOATS (12 * WIDTH)

odl_f16 halves[GROUPS][3][WIDTH];
odl_f32 floats[GROUPS][3][WIDTH];
struct result {
    odl_f16 h[RESULT_HALVES];
    odl_f32 f[RESULT_FLOATS];
    uint32_t flags;
} results[GROUPS];
float limits_low, limits_high;
static float wide_lanes[ODL_MAX_LANES];

#define PART(T)                                                                                              \
    static void part_##T(const odl_##T *a, const odl_##T *b, const odl_##T *c, odl_##T *r, float *sums,      \
                         const struct odl_limits *limits) {                                                  \
        const uint32_t tail = (ODL_LANES_##T + 1) / 2 - (ODL_LANES_##T == 1);                                \
        const odl_vec_##T va = odl_vload_##T(a), vb = odl_vload_##T(b), vc = odl_vload_##T(c);               \
        odl_vstore_##T(r, odl_vmac_##T(va, vb, vc));                                                         \
        odl_vstore_##T(r + WIDTH, odl_vadd_##T(va, vb));                                                     \
        odl_vstore_##T(r + 2 * WIDTH, odl_vmul_##T(va, vb));                                                 \
        odl_vstore_##T(r + 3 * WIDTH, odl_vmask_##T(va, vb, limits));                                        \
        odl_vstore_##T(r + 4 * WIDTH, odl_vload_tail_##T(a, tail));                                          \
        odl_vstore_tail_##T(r + 5 * WIDTH, va, tail);                                                        \
        odl_vstore_##T(r + 6 * WIDTH, odl_vadd_##T(odl_vfirst_##T(a), odl_vdup_##T(b)));                     \
        odl_wide_##T w = odl_wide_add_##T(odl_widen_##T(va), vb);                                            \
        odl_vstore_##T(r + 7 * WIDTH, odl_narrow_##T(w));                                                    \
        const odl_pair_##T pair = odl_pair_add_##T(odl_pair_sums_##T(va, vb), odl_pair_of_##T(sums[0], 1));  \
        if (ODL_LANES_##T > 1) {                                                                             \
            odl_pair_store_##T(r + 8 * WIDTH, odl_pair_limit_##T(pair, limits));                             \
        }                                                                                                    \
        sums[0] = odl_vsum_##T(va);                                                                          \
        odl_wide_store_##T(wide_lanes, w);                                                                   \
    }

PART(f16)
PART(f32)

static void run_group(uint32_t g, const struct odl_limits *limits) {
    struct result *const r = &results[g];
    odl_overflow_clear();
    for (uint32_t i = 0; i < WIDTH; i += ODL_LANES_f16) {
        float sum[1] = {0.5f};
        part_f16(halves[g][0] + i, halves[g][1] + i, halves[g][2] + i, r->h + i, sum, limits);
        r->f[i] = sum[0];
        for (uint32_t k = 0; k < ODL_LANES_f16; k++) {
            r->f[WIDTH + i + k] = wide_lanes[k];
        }
    }
    odl_f32 *const out = r->f + 2 * WIDTH;
    for (uint32_t i = 0; i + ODL_LANES_f32 <= WIDTH; i += ODL_LANES_f32) {
        float sum[1] = {0.5f};
        part_f32(floats[g][0] + i, floats[g][1] + i, floats[g][2] + i, out + i, sum, limits);
        out[9 * WIDTH + i] = sum[0];
    }
    r->flags = odl_overflow_seen() ? 1 : 0;
}

#if defined(__riscv)
int main(void)
#else
int run_dialect(void);
int run_dialect(void)
#endif
{
    const struct odl_limits limits = odl_limits(limits_low, limits_high);
    for (uint32_t g = 0; g < GROUPS; g++) {
        run_group(g, &limits);
    }
    return 0;
}
