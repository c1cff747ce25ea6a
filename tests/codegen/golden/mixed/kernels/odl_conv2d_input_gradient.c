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
 * addend. The sum of a chunk is added to an fp32 sum, which is rounded before the addend: as many whole taps
 * of a row as bring 64 terms at most, or such a piece of a longer tap.
 */
#include "odl_isa.h"

#include "kernels.h"

#ifdef ODL_PACKED_ASM
/* clang-format off */
#define OUTER_4x4 \
    do { \
        uint32_t h_0, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_0_1]") \
            ODL_ASM_CLEAR("%[acc_0_2]") \
            ODL_ASM_CLEAR("%[acc_0_3]") \
            ODL_ASM_CLEAR("%[acc_1_0]") \
            ODL_ASM_CLEAR("%[acc_1_1]") \
            ODL_ASM_CLEAR("%[acc_1_2]") \
            ODL_ASM_CLEAR("%[acc_1_3]") \
            ODL_ASM_CLEAR("%[acc_2_0]") \
            ODL_ASM_CLEAR("%[acc_2_1]") \
            ODL_ASM_CLEAR("%[acc_2_2]") \
            ODL_ASM_CLEAR("%[acc_2_3]") \
            ODL_ASM_CLEAR("%[acc_3_0]") \
            ODL_ASM_CLEAR("%[acc_3_1]") \
            ODL_ASM_CLEAR("%[acc_3_2]") \
            ODL_ASM_CLEAR("%[acc_3_3]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 28) \
            ODL_ASM_REPEAT(0, "%[h_1]", 24) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_1]", 2) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_1]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_2]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_3]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_2]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_2_1]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_3_1]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_3]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_1_2]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_2_2]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_3_2]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_1_3]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_2_3]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_3_3]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), ODL_ASM_W(acc_0_2), ODL_ASM_W(acc_0_3), \
ODL_ASM_W(acc_1_0), ODL_ASM_W(acc_1_1), ODL_ASM_W(acc_1_2), ODL_ASM_W(acc_1_3), \
ODL_ASM_W(acc_2_0), ODL_ASM_W(acc_2_1), ODL_ASM_W(acc_2_2), ODL_ASM_W(acc_2_3), \
ODL_ASM_W(acc_3_0), ODL_ASM_W(acc_3_1), ODL_ASM_W(acc_3_2), ODL_ASM_W(acc_3_3), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), ODL_ASM_RW(scalar_1), ODL_ASM_RW(scalar_2), ODL_ASM_RW(scalar_3), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define SET_4x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_3]", "%[sum]", 24, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_0]", "%[sum]", 32, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_1]", "%[sum]", 40, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_2]", "%[sum]", 48, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_3]", "%[sum]", 56, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_0]", "%[sum]", 64, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_1]", "%[sum]", 72, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_2]", "%[sum]", 80, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_3]", "%[sum]", 88, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_0]", "%[sum]", 96, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_1]", "%[sum]", 104, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_2]", "%[sum]", 112, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_3]", "%[sum]", 120, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), ODL_ASM_RW(acc_1_3), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), ODL_ASM_RW(acc_2_2), ODL_ASM_RW(acc_2_3), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), ODL_ASM_RW(acc_3_2), ODL_ASM_RW(acc_3_3), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define ADD_4x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_3]", "%[sum]", 24, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_0]", "%[sum]", 32, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_1]", "%[sum]", 40, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_2]", "%[sum]", 48, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_3]", "%[sum]", 56, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_0]", "%[sum]", 64, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_1]", "%[sum]", 72, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_2]", "%[sum]", 80, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_3]", "%[sum]", 88, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_0]", "%[sum]", 96, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_1]", "%[sum]", 104, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_2]", "%[sum]", 112, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_3]", "%[sum]", 120, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), ODL_ASM_RW(acc_1_3), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), ODL_ASM_RW(acc_2_2), ODL_ASM_RW(acc_2_3), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), ODL_ASM_RW(acc_3_2), ODL_ASM_RW(acc_3_3), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define FINISH_4x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_3]", "%[sum]", 24, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_0]", "%[sum]", 32, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_1]", "%[sum]", 40, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_2]", "%[sum]", 48, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_3]", "%[sum]", 56, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_0]", "%[sum]", 64, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_1]", "%[sum]", 72, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_2]", "%[sum]", 80, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_3]", "%[sum]", 88, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_0]", "%[sum]", 96, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_1]", "%[sum]", 104, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_2]", "%[sum]", 112, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_3]", "%[sum]", 120, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), ODL_ASM_RW(acc_1_3), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), ODL_ASM_RW(acc_2_2), ODL_ASM_RW(acc_2_3), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), ODL_ASM_RW(acc_3_2), ODL_ASM_RW(acc_3_3), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)

#define OUTER_4x1 \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_0_1]") \
            ODL_ASM_CLEAR("%[acc_0_2]") \
            ODL_ASM_CLEAR("%[acc_0_3]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 13) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_1]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_2]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_3]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), ODL_ASM_W(acc_0_2), ODL_ASM_W(acc_0_3), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), ODL_ASM_RW(scalar_1), ODL_ASM_RW(scalar_2), ODL_ASM_RW(scalar_3), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define SET_4x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_3]", "%[sum]", 24, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define ADD_4x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_3]", "%[sum]", 24, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define FINISH_4x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_3]", "%[sum]", 24, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), ODL_ASM_RW(acc_0_3), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)

#define OUTER_4xhalf \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_0_1]") \
            ODL_ASM_CLEAR("%[acc_0_2]") \
            ODL_ASM_CLEAR("%[acc_0_3]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 13) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_LHU_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_1]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_2]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_3]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), ODL_ASM_W(acc_0_2), ODL_ASM_W(acc_0_3), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), ODL_ASM_RW(scalar_1), ODL_ASM_RW(scalar_2), ODL_ASM_RW(scalar_3), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define OUTER_2x4 \
    do { \
        uint32_t h_0, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_0_1]") \
            ODL_ASM_CLEAR("%[acc_1_0]") \
            ODL_ASM_CLEAR("%[acc_1_1]") \
            ODL_ASM_CLEAR("%[acc_2_0]") \
            ODL_ASM_CLEAR("%[acc_2_1]") \
            ODL_ASM_CLEAR("%[acc_3_0]") \
            ODL_ASM_CLEAR("%[acc_3_1]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 18) \
            ODL_ASM_REPEAT(0, "%[h_1]", 14) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_1]", 2) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_1]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_2]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_3]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_2_1]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_3_1]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), \
ODL_ASM_W(acc_1_0), ODL_ASM_W(acc_1_1), \
ODL_ASM_W(acc_2_0), ODL_ASM_W(acc_2_1), \
ODL_ASM_W(acc_3_0), ODL_ASM_W(acc_3_1), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), ODL_ASM_RW(scalar_1), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define SET_2x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_0]", "%[sum]", 16, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_1]", "%[sum]", 24, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_0]", "%[sum]", 32, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_1]", "%[sum]", 40, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_0]", "%[sum]", 48, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_1]", "%[sum]", 56, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define ADD_2x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_0]", "%[sum]", 16, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_1]", "%[sum]", 24, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_0]", "%[sum]", 32, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_1]", "%[sum]", 40, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_0]", "%[sum]", 48, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_1]", "%[sum]", 56, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define FINISH_2x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_0]", "%[sum]", 16, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_1]", "%[sum]", 24, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_0]", "%[sum]", 32, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_1]", "%[sum]", 40, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_0]", "%[sum]", 48, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_1]", "%[sum]", 56, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)

#define OUTER_2x1 \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_0_1]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 9) \
            ODL_ASM_REPEAT(0, "%[h_1]", 5) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_1]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), ODL_ASM_RW(scalar_1), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define SET_2x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define ADD_2x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define FINISH_2x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)

#define OUTER_2xhalf \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_0_1]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 9) \
            ODL_ASM_REPEAT(0, "%[h_1]", 5) \
            ODL_ASM_LHU_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar_1]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), ODL_ASM_RW(scalar_1), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define OUTER_1x4 \
    do { \
        uint32_t h_0, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_1_0]") \
            ODL_ASM_CLEAR("%[acc_2_0]") \
            ODL_ASM_CLEAR("%[acc_3_0]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 13) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_1]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_2]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_3]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), \
ODL_ASM_W(acc_1_0), \
ODL_ASM_W(acc_2_0), \
ODL_ASM_W(acc_3_0), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define SET_1x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_0]", "%[sum]", 8, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_0]", "%[sum]", 16, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_0]", "%[sum]", 24, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), \
ODL_ASM_RW(acc_1_0), \
ODL_ASM_RW(acc_2_0), \
ODL_ASM_RW(acc_3_0), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define ADD_1x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_0]", "%[sum]", 8, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_0]", "%[sum]", 16, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_0]", "%[sum]", 24, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), \
ODL_ASM_RW(acc_1_0), \
ODL_ASM_RW(acc_2_0), \
ODL_ASM_RW(acc_3_0), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define FINISH_1x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_0]", "%[sum]", 8, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_0]", "%[sum]", 16, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_0]", "%[sum]", 24, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), \
ODL_ASM_RW(acc_1_0), \
ODL_ASM_RW(acc_2_0), \
ODL_ASM_RW(acc_3_0), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)

#define OUTER_1x1 \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 7) \
            ODL_ASM_REPEAT(0, "%[h_1]", 3) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

#define SET_1x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define ADD_1x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define FINISH_1x1 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)

#define OUTER_1xhalf \
    do { \
        uint32_t h_0, h_1; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 7) \
            ODL_ASM_REPEAT(0, "%[h_1]", 3) \
            ODL_ASM_LHU_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar_0]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar_0), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes) \
            ); \
    } while (0)

/* clang-format on */
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
    const uint32_t at = position + pad;
    const uint32_t end = outputs * stride; /* from there on the last output limits the taps */
    if (at + stride < kernel || at >= end) {
        return 1;
    }
    const uint32_t here = (positions - position - 1) / stride + 1;
    const uint32_t inside = (end - at - 1) / stride + 1;
    return here < inside ? here : inside;
}

#ifndef ODL_PACKED_ASM
static inline odl_vec_f16 load_lanes(const odl_f16 *p, uint32_t lanes) {
    return lanes < ODL_LANES_f16 ? odl_vload_tail_f16(p, lanes) : odl_vload_f16(p);
}
#endif

/* Pixels of dx that meet the same taps, at some channels: the next one to compute, and the way on. */
struct region {
    const odl_f16 *dy, *w; /* at the first tap */
    const odl_f16 *addend, *mask;
    odl_f16 *dx;
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
    uint32_t runs_per_chunk;
    uint32_t lanes; /* of a vector that may be partial */
    struct odl_limits limits;
};

/* One step along the pixels of a region; `dy` belongs to pixel `at`. */
static inline void next_pixel(const struct region *r, uint32_t *column, const odl_f16 **dy, size_t *at) {
    if (++*column < r->columns) {
        *dy += r->dy_step;
        *at += r->at_step;
    } else {
        *column = 0;
        *dy += r->dy_wrap;
        *at += r->at_wrap;
    }
}

/* What follows the sums of 4 vectors of a pixel. */
static inline void store_4(const odl_f16 *addend, const odl_f16 *mask, odl_f16 *dx,
                           const struct odl_limits *limits, odl_vec_f16 sum_0, odl_vec_f16 sum_1,
                           odl_vec_f16 sum_2, odl_vec_f16 sum_3) {
    if (addend != NULL) {
        sum_0 = odl_vadd_f16(sum_0, odl_vload_f16(addend));
        sum_1 = odl_vadd_f16(sum_1, odl_vload_f16(addend + ODL_LANES_f16));
        sum_2 = odl_vadd_f16(sum_2, odl_vload_f16(addend + 2 * ODL_LANES_f16));
        sum_3 = odl_vadd_f16(sum_3, odl_vload_f16(addend + 3 * ODL_LANES_f16));
    }
    odl_vec_f16 v_0 = sum_0;
    odl_vec_f16 v_1 = sum_1;
    odl_vec_f16 v_2 = sum_2;
    odl_vec_f16 v_3 = sum_3;
    if (mask != NULL) {
        const odl_vec_f16 m_0 = odl_vload_f16(mask);
        const odl_vec_f16 m_1 = odl_vload_f16(mask + ODL_LANES_f16);
        const odl_vec_f16 m_2 = odl_vload_f16(mask + 2 * ODL_LANES_f16);
        const odl_vec_f16 m_3 = odl_vload_f16(mask + 3 * ODL_LANES_f16);
        v_0 = odl_vmask_f16(v_0, m_0, limits);
        v_1 = odl_vmask_f16(v_1, m_1, limits);
        v_2 = odl_vmask_f16(v_2, m_2, limits);
        v_3 = odl_vmask_f16(v_3, m_3, limits);
    }
    odl_vstore_f16(dx, v_0);
    odl_vstore_f16(dx + ODL_LANES_f16, v_1);
    odl_vstore_f16(dx + 2 * ODL_LANES_f16, v_2);
    odl_vstore_f16(dx + 3 * ODL_LANES_f16, v_3);
}

/* What follows the sums of 1 vector of a pixel. */
static inline void store_1(const odl_f16 *addend, const odl_f16 *mask, odl_f16 *dx,
                           const struct odl_limits *limits, odl_vec_f16 sum_0) {
    if (addend != NULL) {
        sum_0 = odl_vadd_f16(sum_0, odl_vload_f16(addend));
    }
    odl_vec_f16 v_0 = sum_0;
    if (mask != NULL) {
        const odl_vec_f16 m_0 = odl_vload_f16(mask);
        v_0 = odl_vmask_f16(v_0, m_0, limits);
    }
    odl_vstore_f16(dx, v_0);
}

/* The same for one vector that may be partial. */
static inline void store_lanes(const struct region *r, size_t at, odl_vec_f16 sum) {
    if (r->lanes == ODL_LANES_f16) {
        store_1(r->addend != NULL ? r->addend + at : NULL, r->mask != NULL ? r->mask + at : NULL, r->dx + at,
                &r->limits, sum);
        return;
    }
    if (r->addend != NULL) {
        sum = odl_vadd_f16(sum, odl_vload_tail_f16(r->addend + at, r->lanes));
    }
    odl_vec_f16 v = sum;
    if (r->mask != NULL) {
        v = odl_vmask_f16(v, odl_vload_tail_f16(r->mask + at, r->lanes), &r->limits);
    }
    odl_vstore_tail_f16(r->dx + at, v, r->lanes);
}

/* 4 pixels x 4 vectors at a time, as long as there are as many pixels. */
ODL_TILE tiles_4x4(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16) - 12;
#endif
    const odl_f16 *dy = r->dy;
    const struct odl_limits limits = r->limits;
    const odl_f16 *addend = r->addend, *mask = r->mask;
    odl_f16 *dx = r->dx;
    uint32_t column = r->column, pixels = r->pixels;
    size_t at = r->at;
    for (; pixels >= 4; pixels -= 4) {
        const odl_f16 *scalar_0 = dy;
        const size_t at_0 = at;
        const odl_f16 *scalar_1, *scalar_2, *scalar_3;
        size_t at_1, at_2, at_3;
        if (ODL_LIKELY(r->columns - column >= 4)) { /* in one row */
            scalar_1 = scalar_0 + r->dy_step;
            at_1 = at_0 + r->at_step;
            scalar_2 = scalar_1 + r->dy_step;
            at_2 = at_1 + r->at_step;
            scalar_3 = scalar_2 + r->dy_step;
            at_3 = at_2 + r->at_step;
            column += 3;
        } else {
            next_pixel(r, &column, &dy, &at);
            scalar_1 = dy;
            at_1 = at;
            next_pixel(r, &column, &dy, &at);
            scalar_2 = dy;
            at_2 = at;
            next_pixel(r, &column, &dy, &at);
            scalar_3 = dy;
            at_3 = at;
        }
        dy = scalar_3;
        at = at_3;
        next_pixel(r, &column, &dy, &at);
        const odl_f16 *vector = r->w;
        odl_wide_f16 sum[16];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
        sum[0] = odl_wide_zero_f16();
        sum[1] = odl_wide_zero_f16();
        sum[2] = odl_wide_zero_f16();
        sum[3] = odl_wide_zero_f16();
        sum[4] = odl_wide_zero_f16();
        sum[5] = odl_wide_zero_f16();
        sum[6] = odl_wide_zero_f16();
        sum[7] = odl_wide_zero_f16();
        sum[8] = odl_wide_zero_f16();
        sum[9] = odl_wide_zero_f16();
        sum[10] = odl_wide_zero_f16();
        sum[11] = odl_wide_zero_f16();
        sum[12] = odl_wide_zero_f16();
        sum[13] = odl_wide_zero_f16();
        sum[14] = odl_wide_zero_f16();
        sum[15] = odl_wide_zero_f16();
#endif
        odl_vec_f16 acc_0_0, acc_0_1, acc_0_2, acc_0_3;
        odl_vec_f16 acc_1_0, acc_1_1, acc_1_2, acc_1_3;
        odl_vec_f16 acc_2_0, acc_2_1, acc_2_2, acc_2_3;
        odl_vec_f16 acc_3_0, acc_3_1, acc_3_2, acc_3_3;
        uint32_t units = r->rows, left = r->taps, begin = 0;
        bool first = true;
        for (;;) {
            uint32_t runs = 1, count = run;
            ptrdiff_t vector_jump = r->vector_jump;
            if (run <= 64) {
                runs = r->runs_per_chunk < left ? r->runs_per_chunk : left;
                left -= runs;
            } else if (run - begin <= 64) {
                count -= begin;
                begin = 0;
                left--;
            } else {
                count = 64;
                begin += 64;
                vector_jump = 0;
            }
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            OUTER_4x4;
#else
            acc_0_0 = acc_0_1 = acc_0_2 = acc_0_3 = odl_vzero_f16();
            acc_1_0 = acc_1_1 = acc_1_2 = acc_1_3 = odl_vzero_f16();
            acc_2_0 = acc_2_1 = acc_2_2 = acc_2_3 = odl_vzero_f16();
            acc_3_0 = acc_3_1 = acc_3_2 = acc_3_3 = odl_vzero_f16();
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f16 b_0 = odl_vload_f16(vector);
                    const odl_vec_f16 b_1 = odl_vload_f16(vector + ODL_LANES_f16);
                    const odl_vec_f16 b_2 = odl_vload_f16(vector + 2 * ODL_LANES_f16);
                    const odl_vec_f16 b_3 = odl_vload_f16(vector + 3 * ODL_LANES_f16);
                    const odl_vec_f16 a_0 = odl_vdup_f16(scalar_0);
                    const odl_vec_f16 a_1 = odl_vdup_f16(scalar_1);
                    const odl_vec_f16 a_2 = odl_vdup_f16(scalar_2);
                    const odl_vec_f16 a_3 = odl_vdup_f16(scalar_3);
                    acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                    acc_1_0 = odl_vmac_f16(acc_1_0, b_1, a_0);
                    acc_2_0 = odl_vmac_f16(acc_2_0, b_2, a_0);
                    acc_3_0 = odl_vmac_f16(acc_3_0, b_3, a_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, b_0, a_1);
                    acc_1_1 = odl_vmac_f16(acc_1_1, b_1, a_1);
                    acc_2_1 = odl_vmac_f16(acc_2_1, b_2, a_1);
                    acc_3_1 = odl_vmac_f16(acc_3_1, b_3, a_1);
                    acc_0_2 = odl_vmac_f16(acc_0_2, b_0, a_2);
                    acc_1_2 = odl_vmac_f16(acc_1_2, b_1, a_2);
                    acc_2_2 = odl_vmac_f16(acc_2_2, b_2, a_2);
                    acc_3_2 = odl_vmac_f16(acc_3_2, b_3, a_2);
                    acc_0_3 = odl_vmac_f16(acc_0_3, b_0, a_3);
                    acc_1_3 = odl_vmac_f16(acc_1_3, b_1, a_3);
                    acc_2_3 = odl_vmac_f16(acc_2_3, b_2, a_3);
                    acc_3_3 = odl_vmac_f16(acc_3_3, b_3, a_3);
                    scalar_0++;
                    scalar_1++;
                    scalar_2++;
                    scalar_3++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            if (left == 0) {
                if (--units == 0) {
                    break;
                }
                left = r->taps;
                scalar_0 += r->dy_jump;
                scalar_1 += r->dy_jump;
                scalar_2 += r->dy_jump;
                scalar_3 += r->dy_jump;
                vector += r->w_jump;
            }
            if (first) {
#ifdef ODL_PACKED_ASM
                SET_4x4;
#else
                sum[0] = odl_widen_f16(acc_0_0);
                sum[1] = odl_widen_f16(acc_0_1);
                sum[2] = odl_widen_f16(acc_0_2);
                sum[3] = odl_widen_f16(acc_0_3);
                sum[4] = odl_widen_f16(acc_1_0);
                sum[5] = odl_widen_f16(acc_1_1);
                sum[6] = odl_widen_f16(acc_1_2);
                sum[7] = odl_widen_f16(acc_1_3);
                sum[8] = odl_widen_f16(acc_2_0);
                sum[9] = odl_widen_f16(acc_2_1);
                sum[10] = odl_widen_f16(acc_2_2);
                sum[11] = odl_widen_f16(acc_2_3);
                sum[12] = odl_widen_f16(acc_3_0);
                sum[13] = odl_widen_f16(acc_3_1);
                sum[14] = odl_widen_f16(acc_3_2);
                sum[15] = odl_widen_f16(acc_3_3);
#endif
            } else {
#ifdef ODL_PACKED_ASM
                ADD_4x4;
#else
                sum[0] = odl_wide_add_f16(sum[0], acc_0_0);
                sum[1] = odl_wide_add_f16(sum[1], acc_0_1);
                sum[2] = odl_wide_add_f16(sum[2], acc_0_2);
                sum[3] = odl_wide_add_f16(sum[3], acc_0_3);
                sum[4] = odl_wide_add_f16(sum[4], acc_1_0);
                sum[5] = odl_wide_add_f16(sum[5], acc_1_1);
                sum[6] = odl_wide_add_f16(sum[6], acc_1_2);
                sum[7] = odl_wide_add_f16(sum[7], acc_1_3);
                sum[8] = odl_wide_add_f16(sum[8], acc_2_0);
                sum[9] = odl_wide_add_f16(sum[9], acc_2_1);
                sum[10] = odl_wide_add_f16(sum[10], acc_2_2);
                sum[11] = odl_wide_add_f16(sum[11], acc_2_3);
                sum[12] = odl_wide_add_f16(sum[12], acc_3_0);
                sum[13] = odl_wide_add_f16(sum[13], acc_3_1);
                sum[14] = odl_wide_add_f16(sum[14], acc_3_2);
                sum[15] = odl_wide_add_f16(sum[15], acc_3_3);
#endif
            }
            first = false;
        }
        if (!first) {
#ifdef ODL_PACKED_ASM
            FINISH_4x4;
#else
            acc_0_0 = odl_narrow_f16(odl_wide_add_f16(sum[0], acc_0_0));
            acc_0_1 = odl_narrow_f16(odl_wide_add_f16(sum[1], acc_0_1));
            acc_0_2 = odl_narrow_f16(odl_wide_add_f16(sum[2], acc_0_2));
            acc_0_3 = odl_narrow_f16(odl_wide_add_f16(sum[3], acc_0_3));
            acc_1_0 = odl_narrow_f16(odl_wide_add_f16(sum[4], acc_1_0));
            acc_1_1 = odl_narrow_f16(odl_wide_add_f16(sum[5], acc_1_1));
            acc_1_2 = odl_narrow_f16(odl_wide_add_f16(sum[6], acc_1_2));
            acc_1_3 = odl_narrow_f16(odl_wide_add_f16(sum[7], acc_1_3));
            acc_2_0 = odl_narrow_f16(odl_wide_add_f16(sum[8], acc_2_0));
            acc_2_1 = odl_narrow_f16(odl_wide_add_f16(sum[9], acc_2_1));
            acc_2_2 = odl_narrow_f16(odl_wide_add_f16(sum[10], acc_2_2));
            acc_2_3 = odl_narrow_f16(odl_wide_add_f16(sum[11], acc_2_3));
            acc_3_0 = odl_narrow_f16(odl_wide_add_f16(sum[12], acc_3_0));
            acc_3_1 = odl_narrow_f16(odl_wide_add_f16(sum[13], acc_3_1));
            acc_3_2 = odl_narrow_f16(odl_wide_add_f16(sum[14], acc_3_2));
            acc_3_3 = odl_narrow_f16(odl_wide_add_f16(sum[15], acc_3_3));
#endif
        }
        if (ODL_LIKELY(addend == NULL && mask != NULL && limits.plain)) { /* all at once */
            const odl_f16 *mask_0 = mask + at_0;
            odl_f16 *dx_0 = dx + at_0;
            const odl_vec_f16 m_0_0 = odl_vload_f16(mask_0);
            const odl_vec_f16 m_0_1 = odl_vload_f16(mask_0 + ODL_LANES_f16);
            const odl_vec_f16 m_0_2 = odl_vload_f16(mask_0 + 2 * ODL_LANES_f16);
            const odl_vec_f16 m_0_3 = odl_vload_f16(mask_0 + 3 * ODL_LANES_f16);
            odl_vstore_f16(dx_0, odl_vmask_f16(acc_0_0, m_0_0, &limits));
            odl_vstore_f16(dx_0 + ODL_LANES_f16, odl_vmask_f16(acc_1_0, m_0_1, &limits));
            odl_vstore_f16(dx_0 + 2 * ODL_LANES_f16, odl_vmask_f16(acc_2_0, m_0_2, &limits));
            odl_vstore_f16(dx_0 + 3 * ODL_LANES_f16, odl_vmask_f16(acc_3_0, m_0_3, &limits));
            const odl_f16 *mask_1 = mask + at_1;
            odl_f16 *dx_1 = dx + at_1;
            const odl_vec_f16 m_1_0 = odl_vload_f16(mask_1);
            const odl_vec_f16 m_1_1 = odl_vload_f16(mask_1 + ODL_LANES_f16);
            const odl_vec_f16 m_1_2 = odl_vload_f16(mask_1 + 2 * ODL_LANES_f16);
            const odl_vec_f16 m_1_3 = odl_vload_f16(mask_1 + 3 * ODL_LANES_f16);
            odl_vstore_f16(dx_1, odl_vmask_f16(acc_0_1, m_1_0, &limits));
            odl_vstore_f16(dx_1 + ODL_LANES_f16, odl_vmask_f16(acc_1_1, m_1_1, &limits));
            odl_vstore_f16(dx_1 + 2 * ODL_LANES_f16, odl_vmask_f16(acc_2_1, m_1_2, &limits));
            odl_vstore_f16(dx_1 + 3 * ODL_LANES_f16, odl_vmask_f16(acc_3_1, m_1_3, &limits));
            const odl_f16 *mask_2 = mask + at_2;
            odl_f16 *dx_2 = dx + at_2;
            const odl_vec_f16 m_2_0 = odl_vload_f16(mask_2);
            const odl_vec_f16 m_2_1 = odl_vload_f16(mask_2 + ODL_LANES_f16);
            const odl_vec_f16 m_2_2 = odl_vload_f16(mask_2 + 2 * ODL_LANES_f16);
            const odl_vec_f16 m_2_3 = odl_vload_f16(mask_2 + 3 * ODL_LANES_f16);
            odl_vstore_f16(dx_2, odl_vmask_f16(acc_0_2, m_2_0, &limits));
            odl_vstore_f16(dx_2 + ODL_LANES_f16, odl_vmask_f16(acc_1_2, m_2_1, &limits));
            odl_vstore_f16(dx_2 + 2 * ODL_LANES_f16, odl_vmask_f16(acc_2_2, m_2_2, &limits));
            odl_vstore_f16(dx_2 + 3 * ODL_LANES_f16, odl_vmask_f16(acc_3_2, m_2_3, &limits));
            const odl_f16 *mask_3 = mask + at_3;
            odl_f16 *dx_3 = dx + at_3;
            const odl_vec_f16 m_3_0 = odl_vload_f16(mask_3);
            const odl_vec_f16 m_3_1 = odl_vload_f16(mask_3 + ODL_LANES_f16);
            const odl_vec_f16 m_3_2 = odl_vload_f16(mask_3 + 2 * ODL_LANES_f16);
            const odl_vec_f16 m_3_3 = odl_vload_f16(mask_3 + 3 * ODL_LANES_f16);
            odl_vstore_f16(dx_3, odl_vmask_f16(acc_0_3, m_3_0, &limits));
            odl_vstore_f16(dx_3 + ODL_LANES_f16, odl_vmask_f16(acc_1_3, m_3_1, &limits));
            odl_vstore_f16(dx_3 + 2 * ODL_LANES_f16, odl_vmask_f16(acc_2_3, m_3_2, &limits));
            odl_vstore_f16(dx_3 + 3 * ODL_LANES_f16, odl_vmask_f16(acc_3_3, m_3_3, &limits));
            continue;
        }
        store_4(addend != NULL ? addend + at_0 : NULL, mask != NULL ? mask + at_0 : NULL, dx + at_0, &limits,
                acc_0_0, acc_1_0, acc_2_0, acc_3_0);
        store_4(addend != NULL ? addend + at_1 : NULL, mask != NULL ? mask + at_1 : NULL, dx + at_1, &limits,
                acc_0_1, acc_1_1, acc_2_1, acc_3_1);
        store_4(addend != NULL ? addend + at_2 : NULL, mask != NULL ? mask + at_2 : NULL, dx + at_2, &limits,
                acc_0_2, acc_1_2, acc_2_2, acc_3_2);
        store_4(addend != NULL ? addend + at_3 : NULL, mask != NULL ? mask + at_3 : NULL, dx + at_3, &limits,
                acc_0_3, acc_1_3, acc_2_3, acc_3_3);
    }
    r->dy = dy;
    r->at = at;
    r->column = column;
    r->pixels = pixels;
}

/* 2 pixels x 4 vectors at a time, as long as there are as many pixels. */
ODL_TILE tiles_2x4(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16) - 12;
#endif
    const odl_f16 *dy = r->dy;
    const struct odl_limits limits = r->limits;
    const odl_f16 *addend = r->addend, *mask = r->mask;
    odl_f16 *dx = r->dx;
    uint32_t column = r->column, pixels = r->pixels;
    size_t at = r->at;
    for (; pixels >= 2; pixels -= 2) {
        const odl_f16 *scalar_0 = dy;
        const size_t at_0 = at;
        const odl_f16 *scalar_1;
        size_t at_1;
        if (ODL_LIKELY(r->columns - column >= 2)) { /* in one row */
            scalar_1 = scalar_0 + r->dy_step;
            at_1 = at_0 + r->at_step;
            column += 1;
        } else {
            next_pixel(r, &column, &dy, &at);
            scalar_1 = dy;
            at_1 = at;
        }
        dy = scalar_1;
        at = at_1;
        next_pixel(r, &column, &dy, &at);
        const odl_f16 *vector = r->w;
        odl_wide_f16 sum[8];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
        sum[0] = odl_wide_zero_f16();
        sum[1] = odl_wide_zero_f16();
        sum[2] = odl_wide_zero_f16();
        sum[3] = odl_wide_zero_f16();
        sum[4] = odl_wide_zero_f16();
        sum[5] = odl_wide_zero_f16();
        sum[6] = odl_wide_zero_f16();
        sum[7] = odl_wide_zero_f16();
#endif
        odl_vec_f16 acc_0_0, acc_0_1;
        odl_vec_f16 acc_1_0, acc_1_1;
        odl_vec_f16 acc_2_0, acc_2_1;
        odl_vec_f16 acc_3_0, acc_3_1;
        uint32_t units = r->rows, left = r->taps, begin = 0;
        bool first = true;
        for (;;) {
            uint32_t runs = 1, count = run;
            ptrdiff_t vector_jump = r->vector_jump;
            if (run <= 64) {
                runs = r->runs_per_chunk < left ? r->runs_per_chunk : left;
                left -= runs;
            } else if (run - begin <= 64) {
                count -= begin;
                begin = 0;
                left--;
            } else {
                count = 64;
                begin += 64;
                vector_jump = 0;
            }
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            OUTER_2x4;
#else
            acc_0_0 = acc_0_1 = odl_vzero_f16();
            acc_1_0 = acc_1_1 = odl_vzero_f16();
            acc_2_0 = acc_2_1 = odl_vzero_f16();
            acc_3_0 = acc_3_1 = odl_vzero_f16();
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f16 b_0 = odl_vload_f16(vector);
                    const odl_vec_f16 b_1 = odl_vload_f16(vector + ODL_LANES_f16);
                    const odl_vec_f16 b_2 = odl_vload_f16(vector + 2 * ODL_LANES_f16);
                    const odl_vec_f16 b_3 = odl_vload_f16(vector + 3 * ODL_LANES_f16);
                    const odl_vec_f16 a_0 = odl_vdup_f16(scalar_0);
                    const odl_vec_f16 a_1 = odl_vdup_f16(scalar_1);
                    acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                    acc_1_0 = odl_vmac_f16(acc_1_0, b_1, a_0);
                    acc_2_0 = odl_vmac_f16(acc_2_0, b_2, a_0);
                    acc_3_0 = odl_vmac_f16(acc_3_0, b_3, a_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, b_0, a_1);
                    acc_1_1 = odl_vmac_f16(acc_1_1, b_1, a_1);
                    acc_2_1 = odl_vmac_f16(acc_2_1, b_2, a_1);
                    acc_3_1 = odl_vmac_f16(acc_3_1, b_3, a_1);
                    scalar_0++;
                    scalar_1++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            if (left == 0) {
                if (--units == 0) {
                    break;
                }
                left = r->taps;
                scalar_0 += r->dy_jump;
                scalar_1 += r->dy_jump;
                vector += r->w_jump;
            }
            if (first) {
#ifdef ODL_PACKED_ASM
                SET_2x4;
#else
                sum[0] = odl_widen_f16(acc_0_0);
                sum[1] = odl_widen_f16(acc_0_1);
                sum[2] = odl_widen_f16(acc_1_0);
                sum[3] = odl_widen_f16(acc_1_1);
                sum[4] = odl_widen_f16(acc_2_0);
                sum[5] = odl_widen_f16(acc_2_1);
                sum[6] = odl_widen_f16(acc_3_0);
                sum[7] = odl_widen_f16(acc_3_1);
#endif
            } else {
#ifdef ODL_PACKED_ASM
                ADD_2x4;
#else
                sum[0] = odl_wide_add_f16(sum[0], acc_0_0);
                sum[1] = odl_wide_add_f16(sum[1], acc_0_1);
                sum[2] = odl_wide_add_f16(sum[2], acc_1_0);
                sum[3] = odl_wide_add_f16(sum[3], acc_1_1);
                sum[4] = odl_wide_add_f16(sum[4], acc_2_0);
                sum[5] = odl_wide_add_f16(sum[5], acc_2_1);
                sum[6] = odl_wide_add_f16(sum[6], acc_3_0);
                sum[7] = odl_wide_add_f16(sum[7], acc_3_1);
#endif
            }
            first = false;
        }
        if (!first) {
#ifdef ODL_PACKED_ASM
            FINISH_2x4;
#else
            acc_0_0 = odl_narrow_f16(odl_wide_add_f16(sum[0], acc_0_0));
            acc_0_1 = odl_narrow_f16(odl_wide_add_f16(sum[1], acc_0_1));
            acc_1_0 = odl_narrow_f16(odl_wide_add_f16(sum[2], acc_1_0));
            acc_1_1 = odl_narrow_f16(odl_wide_add_f16(sum[3], acc_1_1));
            acc_2_0 = odl_narrow_f16(odl_wide_add_f16(sum[4], acc_2_0));
            acc_2_1 = odl_narrow_f16(odl_wide_add_f16(sum[5], acc_2_1));
            acc_3_0 = odl_narrow_f16(odl_wide_add_f16(sum[6], acc_3_0));
            acc_3_1 = odl_narrow_f16(odl_wide_add_f16(sum[7], acc_3_1));
#endif
        }
        if (ODL_LIKELY(addend == NULL && mask != NULL && limits.plain)) { /* all at once */
            const odl_f16 *mask_0 = mask + at_0;
            odl_f16 *dx_0 = dx + at_0;
            const odl_vec_f16 m_0_0 = odl_vload_f16(mask_0);
            const odl_vec_f16 m_0_1 = odl_vload_f16(mask_0 + ODL_LANES_f16);
            const odl_vec_f16 m_0_2 = odl_vload_f16(mask_0 + 2 * ODL_LANES_f16);
            const odl_vec_f16 m_0_3 = odl_vload_f16(mask_0 + 3 * ODL_LANES_f16);
            odl_vstore_f16(dx_0, odl_vmask_f16(acc_0_0, m_0_0, &limits));
            odl_vstore_f16(dx_0 + ODL_LANES_f16, odl_vmask_f16(acc_1_0, m_0_1, &limits));
            odl_vstore_f16(dx_0 + 2 * ODL_LANES_f16, odl_vmask_f16(acc_2_0, m_0_2, &limits));
            odl_vstore_f16(dx_0 + 3 * ODL_LANES_f16, odl_vmask_f16(acc_3_0, m_0_3, &limits));
            const odl_f16 *mask_1 = mask + at_1;
            odl_f16 *dx_1 = dx + at_1;
            const odl_vec_f16 m_1_0 = odl_vload_f16(mask_1);
            const odl_vec_f16 m_1_1 = odl_vload_f16(mask_1 + ODL_LANES_f16);
            const odl_vec_f16 m_1_2 = odl_vload_f16(mask_1 + 2 * ODL_LANES_f16);
            const odl_vec_f16 m_1_3 = odl_vload_f16(mask_1 + 3 * ODL_LANES_f16);
            odl_vstore_f16(dx_1, odl_vmask_f16(acc_0_1, m_1_0, &limits));
            odl_vstore_f16(dx_1 + ODL_LANES_f16, odl_vmask_f16(acc_1_1, m_1_1, &limits));
            odl_vstore_f16(dx_1 + 2 * ODL_LANES_f16, odl_vmask_f16(acc_2_1, m_1_2, &limits));
            odl_vstore_f16(dx_1 + 3 * ODL_LANES_f16, odl_vmask_f16(acc_3_1, m_1_3, &limits));
            continue;
        }
        store_4(addend != NULL ? addend + at_0 : NULL, mask != NULL ? mask + at_0 : NULL, dx + at_0, &limits,
                acc_0_0, acc_1_0, acc_2_0, acc_3_0);
        store_4(addend != NULL ? addend + at_1 : NULL, mask != NULL ? mask + at_1 : NULL, dx + at_1, &limits,
                acc_0_1, acc_1_1, acc_2_1, acc_3_1);
    }
    r->dy = dy;
    r->at = at;
    r->column = column;
    r->pixels = pixels;
}

/* 1 pixel x 4 vectors at a time, as long as there are as many pixels. */
ODL_TILE tiles_1x4(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16) - 12;
#endif
    const odl_f16 *dy = r->dy;
    const struct odl_limits limits = r->limits;
    const odl_f16 *addend = r->addend, *mask = r->mask;
    odl_f16 *dx = r->dx;
    uint32_t column = r->column, pixels = r->pixels;
    size_t at = r->at;
    for (; pixels >= 1; pixels -= 1) {
        const odl_f16 *scalar_0 = dy;
        const size_t at_0 = at;
        next_pixel(r, &column, &dy, &at);
        const odl_f16 *vector = r->w;
        odl_wide_f16 sum[4];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
        sum[0] = odl_wide_zero_f16();
        sum[1] = odl_wide_zero_f16();
        sum[2] = odl_wide_zero_f16();
        sum[3] = odl_wide_zero_f16();
#endif
        odl_vec_f16 acc_0_0;
        odl_vec_f16 acc_1_0;
        odl_vec_f16 acc_2_0;
        odl_vec_f16 acc_3_0;
        uint32_t units = r->rows, left = r->taps, begin = 0;
        bool first = true;
        for (;;) {
            uint32_t runs = 1, count = run;
            ptrdiff_t vector_jump = r->vector_jump;
            if (run <= 64) {
                runs = r->runs_per_chunk < left ? r->runs_per_chunk : left;
                left -= runs;
            } else if (run - begin <= 64) {
                count -= begin;
                begin = 0;
                left--;
            } else {
                count = 64;
                begin += 64;
                vector_jump = 0;
            }
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            OUTER_1x4;
#else
            acc_0_0 = odl_vzero_f16();
            acc_1_0 = odl_vzero_f16();
            acc_2_0 = odl_vzero_f16();
            acc_3_0 = odl_vzero_f16();
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f16 b_0 = odl_vload_f16(vector);
                    const odl_vec_f16 b_1 = odl_vload_f16(vector + ODL_LANES_f16);
                    const odl_vec_f16 b_2 = odl_vload_f16(vector + 2 * ODL_LANES_f16);
                    const odl_vec_f16 b_3 = odl_vload_f16(vector + 3 * ODL_LANES_f16);
                    const odl_vec_f16 a_0 = odl_vdup_f16(scalar_0);
                    acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                    acc_1_0 = odl_vmac_f16(acc_1_0, b_1, a_0);
                    acc_2_0 = odl_vmac_f16(acc_2_0, b_2, a_0);
                    acc_3_0 = odl_vmac_f16(acc_3_0, b_3, a_0);
                    scalar_0++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            if (left == 0) {
                if (--units == 0) {
                    break;
                }
                left = r->taps;
                scalar_0 += r->dy_jump;
                vector += r->w_jump;
            }
            if (first) {
#ifdef ODL_PACKED_ASM
                SET_1x4;
#else
                sum[0] = odl_widen_f16(acc_0_0);
                sum[1] = odl_widen_f16(acc_1_0);
                sum[2] = odl_widen_f16(acc_2_0);
                sum[3] = odl_widen_f16(acc_3_0);
#endif
            } else {
#ifdef ODL_PACKED_ASM
                ADD_1x4;
#else
                sum[0] = odl_wide_add_f16(sum[0], acc_0_0);
                sum[1] = odl_wide_add_f16(sum[1], acc_1_0);
                sum[2] = odl_wide_add_f16(sum[2], acc_2_0);
                sum[3] = odl_wide_add_f16(sum[3], acc_3_0);
#endif
            }
            first = false;
        }
        if (!first) {
#ifdef ODL_PACKED_ASM
            FINISH_1x4;
#else
            acc_0_0 = odl_narrow_f16(odl_wide_add_f16(sum[0], acc_0_0));
            acc_1_0 = odl_narrow_f16(odl_wide_add_f16(sum[1], acc_1_0));
            acc_2_0 = odl_narrow_f16(odl_wide_add_f16(sum[2], acc_2_0));
            acc_3_0 = odl_narrow_f16(odl_wide_add_f16(sum[3], acc_3_0));
#endif
        }
        store_4(addend != NULL ? addend + at_0 : NULL, mask != NULL ? mask + at_0 : NULL, dx + at_0, &limits,
                acc_0_0, acc_1_0, acc_2_0, acc_3_0);
    }
    r->dy = dy;
    r->at = at;
    r->column = column;
    r->pixels = pixels;
}

/* 4 pixels x 1 whole or partial vector at a time, as long as there are as many pixels. */
ODL_TILE tiles_4xpartial(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16);
#endif
    const odl_f16 *dy = r->dy;
    uint32_t column = r->column, pixels = r->pixels;
    size_t at = r->at;
    for (; pixels >= 4; pixels -= 4) {
        const odl_f16 *scalar_0 = dy;
        const size_t at_0 = at;
        const odl_f16 *scalar_1, *scalar_2, *scalar_3;
        size_t at_1, at_2, at_3;
        if (ODL_LIKELY(r->columns - column >= 4)) { /* in one row */
            scalar_1 = scalar_0 + r->dy_step;
            at_1 = at_0 + r->at_step;
            scalar_2 = scalar_1 + r->dy_step;
            at_2 = at_1 + r->at_step;
            scalar_3 = scalar_2 + r->dy_step;
            at_3 = at_2 + r->at_step;
            column += 3;
        } else {
            next_pixel(r, &column, &dy, &at);
            scalar_1 = dy;
            at_1 = at;
            next_pixel(r, &column, &dy, &at);
            scalar_2 = dy;
            at_2 = at;
            next_pixel(r, &column, &dy, &at);
            scalar_3 = dy;
            at_3 = at;
        }
        dy = scalar_3;
        at = at_3;
        next_pixel(r, &column, &dy, &at);
        const odl_f16 *vector = r->w;
        odl_wide_f16 sum[4];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
        sum[0] = odl_wide_zero_f16();
        sum[1] = odl_wide_zero_f16();
        sum[2] = odl_wide_zero_f16();
        sum[3] = odl_wide_zero_f16();
#endif
        odl_vec_f16 acc_0_0, acc_0_1, acc_0_2, acc_0_3;
        uint32_t units = r->rows, left = r->taps, begin = 0;
        bool first = true;
        for (;;) {
            uint32_t runs = 1, count = run;
            ptrdiff_t vector_jump = r->vector_jump;
            if (run <= 64) {
                runs = r->runs_per_chunk < left ? r->runs_per_chunk : left;
                left -= runs;
            } else if (run - begin <= 64) {
                count -= begin;
                begin = 0;
                left--;
            } else {
                count = 64;
                begin += 64;
                vector_jump = 0;
            }
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (r->lanes < ODL_LANES_f16) {
                OUTER_4xhalf;
            } else {
                OUTER_4x1;
            }
#else
            acc_0_0 = acc_0_1 = acc_0_2 = acc_0_3 = odl_vzero_f16();
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f16 b_0 = load_lanes(vector, r->lanes);
                    const odl_vec_f16 a_0 = odl_vdup_f16(scalar_0);
                    const odl_vec_f16 a_1 = odl_vdup_f16(scalar_1);
                    const odl_vec_f16 a_2 = odl_vdup_f16(scalar_2);
                    const odl_vec_f16 a_3 = odl_vdup_f16(scalar_3);
                    acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, b_0, a_1);
                    acc_0_2 = odl_vmac_f16(acc_0_2, b_0, a_2);
                    acc_0_3 = odl_vmac_f16(acc_0_3, b_0, a_3);
                    scalar_0++;
                    scalar_1++;
                    scalar_2++;
                    scalar_3++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            if (left == 0) {
                if (--units == 0) {
                    break;
                }
                left = r->taps;
                scalar_0 += r->dy_jump;
                scalar_1 += r->dy_jump;
                scalar_2 += r->dy_jump;
                scalar_3 += r->dy_jump;
                vector += r->w_jump;
            }
            if (first) {
#ifdef ODL_PACKED_ASM
                SET_4x1;
#else
                sum[0] = odl_widen_f16(acc_0_0);
                sum[1] = odl_widen_f16(acc_0_1);
                sum[2] = odl_widen_f16(acc_0_2);
                sum[3] = odl_widen_f16(acc_0_3);
#endif
            } else {
#ifdef ODL_PACKED_ASM
                ADD_4x1;
#else
                sum[0] = odl_wide_add_f16(sum[0], acc_0_0);
                sum[1] = odl_wide_add_f16(sum[1], acc_0_1);
                sum[2] = odl_wide_add_f16(sum[2], acc_0_2);
                sum[3] = odl_wide_add_f16(sum[3], acc_0_3);
#endif
            }
            first = false;
        }
        if (!first) {
#ifdef ODL_PACKED_ASM
            FINISH_4x1;
#else
            acc_0_0 = odl_narrow_f16(odl_wide_add_f16(sum[0], acc_0_0));
            acc_0_1 = odl_narrow_f16(odl_wide_add_f16(sum[1], acc_0_1));
            acc_0_2 = odl_narrow_f16(odl_wide_add_f16(sum[2], acc_0_2));
            acc_0_3 = odl_narrow_f16(odl_wide_add_f16(sum[3], acc_0_3));
#endif
        }
        store_lanes(r, at_0, acc_0_0);
        store_lanes(r, at_1, acc_0_1);
        store_lanes(r, at_2, acc_0_2);
        store_lanes(r, at_3, acc_0_3);
    }
    r->dy = dy;
    r->at = at;
    r->column = column;
    r->pixels = pixels;
}

/* 2 pixels x 1 whole or partial vector at a time, as long as there are as many pixels. */
ODL_TILE tiles_2xpartial(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16);
#endif
    const odl_f16 *dy = r->dy;
    uint32_t column = r->column, pixels = r->pixels;
    size_t at = r->at;
    for (; pixels >= 2; pixels -= 2) {
        const odl_f16 *scalar_0 = dy;
        const size_t at_0 = at;
        const odl_f16 *scalar_1;
        size_t at_1;
        if (ODL_LIKELY(r->columns - column >= 2)) { /* in one row */
            scalar_1 = scalar_0 + r->dy_step;
            at_1 = at_0 + r->at_step;
            column += 1;
        } else {
            next_pixel(r, &column, &dy, &at);
            scalar_1 = dy;
            at_1 = at;
        }
        dy = scalar_1;
        at = at_1;
        next_pixel(r, &column, &dy, &at);
        const odl_f16 *vector = r->w;
        odl_wide_f16 sum[2];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
        sum[0] = odl_wide_zero_f16();
        sum[1] = odl_wide_zero_f16();
#endif
        odl_vec_f16 acc_0_0, acc_0_1;
        uint32_t units = r->rows, left = r->taps, begin = 0;
        bool first = true;
        for (;;) {
            uint32_t runs = 1, count = run;
            ptrdiff_t vector_jump = r->vector_jump;
            if (run <= 64) {
                runs = r->runs_per_chunk < left ? r->runs_per_chunk : left;
                left -= runs;
            } else if (run - begin <= 64) {
                count -= begin;
                begin = 0;
                left--;
            } else {
                count = 64;
                begin += 64;
                vector_jump = 0;
            }
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (r->lanes < ODL_LANES_f16) {
                OUTER_2xhalf;
            } else {
                OUTER_2x1;
            }
#else
            acc_0_0 = acc_0_1 = odl_vzero_f16();
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f16 b_0 = load_lanes(vector, r->lanes);
                    const odl_vec_f16 a_0 = odl_vdup_f16(scalar_0);
                    const odl_vec_f16 a_1 = odl_vdup_f16(scalar_1);
                    acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                    acc_0_1 = odl_vmac_f16(acc_0_1, b_0, a_1);
                    scalar_0++;
                    scalar_1++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            if (left == 0) {
                if (--units == 0) {
                    break;
                }
                left = r->taps;
                scalar_0 += r->dy_jump;
                scalar_1 += r->dy_jump;
                vector += r->w_jump;
            }
            if (first) {
#ifdef ODL_PACKED_ASM
                SET_2x1;
#else
                sum[0] = odl_widen_f16(acc_0_0);
                sum[1] = odl_widen_f16(acc_0_1);
#endif
            } else {
#ifdef ODL_PACKED_ASM
                ADD_2x1;
#else
                sum[0] = odl_wide_add_f16(sum[0], acc_0_0);
                sum[1] = odl_wide_add_f16(sum[1], acc_0_1);
#endif
            }
            first = false;
        }
        if (!first) {
#ifdef ODL_PACKED_ASM
            FINISH_2x1;
#else
            acc_0_0 = odl_narrow_f16(odl_wide_add_f16(sum[0], acc_0_0));
            acc_0_1 = odl_narrow_f16(odl_wide_add_f16(sum[1], acc_0_1));
#endif
        }
        store_lanes(r, at_0, acc_0_0);
        store_lanes(r, at_1, acc_0_1);
    }
    r->dy = dy;
    r->at = at;
    r->column = column;
    r->pixels = pixels;
}

/* 1 pixel x 1 whole or partial vector at a time, as long as there are as many pixels. */
ODL_TILE tiles_1xpartial(struct region *r) {
    const uint32_t run = r->run;
    const size_t vector_step = r->filter;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16);
#endif
    const odl_f16 *dy = r->dy;
    uint32_t column = r->column, pixels = r->pixels;
    size_t at = r->at;
    for (; pixels >= 1; pixels -= 1) {
        const odl_f16 *scalar_0 = dy;
        const size_t at_0 = at;
        next_pixel(r, &column, &dy, &at);
        const odl_f16 *vector = r->w;
        odl_wide_f16 sum[1];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
        sum[0] = odl_wide_zero_f16();
#endif
        odl_vec_f16 acc_0_0;
        uint32_t units = r->rows, left = r->taps, begin = 0;
        bool first = true;
        for (;;) {
            uint32_t runs = 1, count = run;
            ptrdiff_t vector_jump = r->vector_jump;
            if (run <= 64) {
                runs = r->runs_per_chunk < left ? r->runs_per_chunk : left;
                left -= runs;
            } else if (run - begin <= 64) {
                count -= begin;
                begin = 0;
                left--;
            } else {
                count = 64;
                begin += 64;
                vector_jump = 0;
            }
#ifdef ODL_PACKED_ASM
            const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
            if (r->lanes < ODL_LANES_f16) {
                OUTER_1xhalf;
            } else {
                OUTER_1x1;
            }
#else
            acc_0_0 = odl_vzero_f16();
            for (uint32_t i = 0; i < runs; i++) {
                for (uint32_t j = 0; j < count; j++) {
                    const odl_vec_f16 b_0 = load_lanes(vector, r->lanes);
                    const odl_vec_f16 a_0 = odl_vdup_f16(scalar_0);
                    acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                    scalar_0++;
                    vector += vector_step;
                }
                vector += vector_jump;
            }
#endif
            if (left == 0) {
                if (--units == 0) {
                    break;
                }
                left = r->taps;
                scalar_0 += r->dy_jump;
                vector += r->w_jump;
            }
            if (first) {
#ifdef ODL_PACKED_ASM
                SET_1x1;
#else
                sum[0] = odl_widen_f16(acc_0_0);
#endif
            } else {
#ifdef ODL_PACKED_ASM
                ADD_1x1;
#else
                sum[0] = odl_wide_add_f16(sum[0], acc_0_0);
#endif
            }
            first = false;
        }
        if (!first) {
#ifdef ODL_PACKED_ASM
            FINISH_1x1;
#else
            acc_0_0 = odl_narrow_f16(odl_wide_add_f16(sum[0], acc_0_0));
#endif
        }
        store_lanes(r, at_0, acc_0_0);
    }
    r->dy = dy;
    r->at = at;
    r->column = column;
    r->pixels = pixels;
}

/* Pixels of a region without taps. */
ODL_TILE no_taps(struct region *r, uint32_t begin, uint32_t end) {
    const odl_f16 *dy = r->dy;
    uint32_t column = 0;
    size_t at = r->at;
    for (uint32_t pixel = 0; pixel < r->pixels; pixel++) {
        uint32_t c = begin;
        for (; c + 4 * ODL_LANES_f16 <= end; c += 4 * ODL_LANES_f16) {
            const odl_vec_f16 zero = odl_vzero_f16();
            store_4(r->addend != NULL ? r->addend + at + c : NULL, r->mask != NULL ? r->mask + at + c : NULL,
                    r->dx + at + c, &r->limits, zero, zero, zero, zero);
        }
        for (; c < end; c += r->lanes) {
            r->lanes = end - c < ODL_LANES_f16 ? end - c : ODL_LANES_f16;
            store_lanes(r, at + c, odl_vzero_f16());
        }
        next_pixel(r, &column, &dy, &at);
    }
}

/* All pixels of a region, channels [begin, end); w, addend, mask and dx at channel 0. */
static void channels_of(const struct region *region, uint32_t begin, uint32_t end) {
    if (region->rows == 0) {
        struct region r = *region;
        no_taps(&r, begin, end);
        return;
    }
    uint32_t channels;
    for (uint32_t c = begin; c < end; c += channels) {
        struct region r = *region;
        r.w += c;
        r.at += c;
        if (end - c >= 4 * ODL_LANES_f16) {
            channels = 4 * ODL_LANES_f16;
            tiles_4x4(&r);
            tiles_2x4(&r);
            tiles_1x4(&r);
        } else {
            r.lanes = end - c < ODL_LANES_f16 ? end - c : ODL_LANES_f16;
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
                    uint32_t count, const odl_f16 *dy, const odl_f16 *w, size_t row_at, uint32_t begin,
                    uint32_t end) {
    for (uint32_t phase = 0; phase < s->stride_w; phase++) {
        uint32_t columns_alike;
        for (uint32_t ix = phase; ix < s->in_w; ix += columns_alike * s->stride_w) {
            const struct taps columns = taps_of(ix, s->pad_left, s->kernel_w, s->stride_w, s->out_w);
            r->column = 0;
            columns_alike = alike(ix, s->in_w, s->pad_left, s->kernel_w, s->stride_w, s->out_w);
            r->columns = columns_alike;
            r->pixels = count * columns_alike;
            r->at = row_at + (size_t)ix * s->in_c;
            r->at_wrap = (size_t)s->stride_h * s->in_w * s->in_c - (columns_alike - 1) * r->at_step;
            r->rows = columns.count > 0 ? rows->count : 0;
            r->taps = columns.count;
            r->dy = dy;
            r->w = w;
            if (r->rows > 0) {
                r->dy += ((size_t)rows->o_first * s->out_w + columns.o_first) * s->out_c;
                r->w += ((size_t)rows->k_first * s->kernel_w + columns.k_first) * s->in_c;
            }
            r->dy_wrap = (s->out_w - (columns_alike - 1)) * r->dy_step;
            if (r->dy_wrap == r->dy_step && r->at_wrap == r->at_step) {
                r->columns = r->pixels; /* rows without gaps are one row */
            }
            r->dy_jump = (s->out_w - r->taps) * r->dy_step;
            r->w_jump = (ptrdiff_t)(r->taps * s->stride_w * s->in_c) -
                        (ptrdiff_t)(s->stride_h * s->kernel_w * s->in_c);
            channels_of(r, begin, end);
        }
    }
}

void odl_conv2d_input_gradient(const struct odl_conv2d_shape *s, const odl_f16 *dy, const odl_f16 *w,
                               const odl_f16 *addend, const odl_f16 *mask, odl_f16 *dx, float low, float high,
                               uint32_t core, uint32_t cores) {
    const struct odl_share share =
        odl_share_grid(s->batch * s->in_h, s->in_c, 4 * ODL_LANES_f16, core, cores);
    struct region region = {.addend = addend, .mask = mask, .dx = dx, .limits = odl_limits(low, high)};
    region.dy_step = s->out_c;
    region.at_step = (size_t)s->stride_w * s->in_c;
    region.run = s->out_c;
    region.runs_per_chunk = 64 / s->out_c;
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
