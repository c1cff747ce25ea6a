/* Gradient of a convolution by its weights: dw[co][ky][kx][ci] = the sum over output pixels of dy * x.
 *
 * x[batch][in_h][in_w][in_c], dy[batch][out_h][out_w][out_c], dw[out_c][kernel_h][kernel_w][in_c].
 *
 * Outer products: lanes run along in_c, one value of dy is broadcast over them, so neither operand is
 * transposed. With so few input channels that they do not fill the lanes, these run along out_c and x is
 * broadcast. Order of each sum: pixels of the batch in raster order, those in the padding left out.
 * The sum of a chunk is added to an fp32 sum: as many whole rows of an image as bring 64 terms at most, or
 * such a piece of a longer row.
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
            ODL_ASM_REPEAT(1, "%[h_0]", 30) \
            ODL_ASM_REPEAT(0, "%[h_1]", 24) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar]", 2) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_1]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_2]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_3]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_2_1]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_3_1]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_BY_f16(ODL_ASM_SPARE_1, "%[scalar]", "%[scalar_back]") \
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
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[scalar_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), ODL_ASM_W(acc_0_2), ODL_ASM_W(acc_0_3), \
ODL_ASM_W(acc_1_0), ODL_ASM_W(acc_1_1), ODL_ASM_W(acc_1_2), ODL_ASM_W(acc_1_3), \
ODL_ASM_W(acc_2_0), ODL_ASM_W(acc_2_1), ODL_ASM_W(acc_2_2), ODL_ASM_W(acc_2_3), \
ODL_ASM_W(acc_3_0), ODL_ASM_W(acc_3_1), ODL_ASM_W(acc_3_2), ODL_ASM_W(acc_3_3), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : ODL_ASM_R(vector_back), ODL_ASM_R(scalar_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes), ODL_ASM_R_MEMORY(scalar_bytes) \
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
            ODL_ASM_REPEAT(1, "%[h_0]", 15) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_BY_f16(ODL_ASM_SPARE_1, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[scalar_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), ODL_ASM_W(acc_0_2), ODL_ASM_W(acc_0_3), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), ODL_ASM_R(scalar_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes), ODL_ASM_R_MEMORY(scalar_bytes) \
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
            ODL_ASM_REPEAT(1, "%[h_0]", 15) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_LHU_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar]", 2) \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_ONE_BY_f16(ODL_ASM_SPARE_1, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_0_3]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[scalar_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), ODL_ASM_W(acc_0_2), ODL_ASM_W(acc_0_3), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), ODL_ASM_R(scalar_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes), ODL_ASM_R_MEMORY(scalar_bytes) \
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
            ODL_ASM_REPEAT(1, "%[h_0]", 15) \
            ODL_ASM_REPEAT(0, "%[h_1]", 9) \
            ODL_ASM_ONE_BY_f16(ODL_ASM_SPARE_0, "%[scalar]", "%[scalar_back]") \
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
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[scalar_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), \
ODL_ASM_W(acc_1_0), \
ODL_ASM_W(acc_2_0), \
ODL_ASM_W(acc_3_0), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : ODL_ASM_R(vector_back), ODL_ASM_R(scalar_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes), ODL_ASM_R_MEMORY(scalar_bytes) \
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
            ODL_ASM_REPEAT(1, "%[h_0]", 9) \
            ODL_ASM_REPEAT(0, "%[h_1]", 3) \
            ODL_ASM_LW_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_BY_f16(ODL_ASM_SPARE_0, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[scalar_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), ODL_ASM_R(scalar_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes), ODL_ASM_R_MEMORY(scalar_bytes) \
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
            ODL_ASM_REPEAT(1, "%[h_0]", 9) \
            ODL_ASM_REPEAT(0, "%[h_1]", 3) \
            ODL_ASM_LHU_BY("%[h_0]", "%[vector]", "%[vector_back]") \
            ODL_ASM_ONE_BY_f16(ODL_ASM_SPARE_0, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[scalar_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1) \
            : ODL_ASM_R(vector_back), ODL_ASM_R(scalar_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes), ODL_ASM_R_MEMORY(scalar_bytes) \
            ); \
    } while (0)

#define OUTER_3x4 \
    do { \
        uint32_t h_0, h_1, h_2, h_3; \
        __asm__ volatile(ODL_ASM_BEGIN \
            ODL_ASM_CLEAR("%[acc_0_0]") \
            ODL_ASM_CLEAR("%[acc_0_1]") \
            ODL_ASM_CLEAR("%[acc_0_2]") \
            ODL_ASM_CLEAR("%[acc_1_0]") \
            ODL_ASM_CLEAR("%[acc_1_1]") \
            ODL_ASM_CLEAR("%[acc_1_2]") \
            ODL_ASM_CLEAR("%[acc_2_0]") \
            ODL_ASM_CLEAR("%[acc_2_1]") \
            ODL_ASM_CLEAR("%[acc_2_2]") \
            ODL_ASM_CLEAR("%[acc_3_0]") \
            ODL_ASM_CLEAR("%[acc_3_1]") \
            ODL_ASM_CLEAR("%[acc_3_2]") \
            ODL_ASM_LW_MEMORY("%[h_0]", "%[runs]") \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_REPEAT(1, "%[h_0]", 25) \
            ODL_ASM_REPEAT(0, "%[h_1]", 19) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_0, "%[scalar]", 2) \
            ODL_ASM_ONE_f16(ODL_ASM_SPARE_1, "%[scalar]", 2) \
            ODL_ASM_LW("%[h_0]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_1]", "%[vector]", 4) \
            ODL_ASM_LW("%[h_2]", "%[vector]", 4) \
            ODL_ASM_LW_BY("%[h_3]", "%[vector]", "%[vector_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_0]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_1_0]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_2_0]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_3_0]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_ONE_BY_f16(ODL_ASM_SPARE_0, "%[scalar]", "%[scalar_back]") \
            ODL_ASM_OUTER_f16("%[acc_0_1]", "%[h_0]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_1_1]", "%[h_1]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_2_1]", "%[h_2]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_3_1]", "%[h_3]", ODL_ASM_SPARE_1) \
            ODL_ASM_OUTER_f16("%[acc_0_2]", "%[h_0]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_1_2]", "%[h_1]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_2_2]", "%[h_2]", ODL_ASM_SPARE_0) \
            ODL_ASM_OUTER_f16("%[acc_3_2]", "%[h_3]", ODL_ASM_SPARE_0) \
            ODL_ASM_LW_MEMORY("%[h_1]", "%[count]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_0, "%[vector_bytes]") \
            ODL_ASM_LW_MEMORY(ODL_ASM_SPARE_1, "%[scalar_bytes]") \
            ODL_ASM_ADD("%[vector]", "%[vector]", ODL_ASM_SPARE_0) \
            ODL_ASM_ADD("%[scalar]", "%[scalar]", ODL_ASM_SPARE_1) \
            ODL_ASM_END \
            : \
ODL_ASM_W(acc_0_0), ODL_ASM_W(acc_0_1), ODL_ASM_W(acc_0_2), \
ODL_ASM_W(acc_1_0), ODL_ASM_W(acc_1_1), ODL_ASM_W(acc_1_2), \
ODL_ASM_W(acc_2_0), ODL_ASM_W(acc_2_1), ODL_ASM_W(acc_2_2), \
ODL_ASM_W(acc_3_0), ODL_ASM_W(acc_3_1), ODL_ASM_W(acc_3_2), \
ODL_ASM_RW(vector), ODL_ASM_RW(scalar), \
ODL_ASM_W(h_0), ODL_ASM_W(h_1), ODL_ASM_W(h_2), ODL_ASM_W(h_3) \
            : ODL_ASM_R(vector_back), ODL_ASM_R(scalar_back), \
              ODL_ASM_R_MEMORY(runs), ODL_ASM_R_MEMORY(count), \
ODL_ASM_R_MEMORY(vector_bytes), ODL_ASM_R_MEMORY(scalar_bytes) \
            ); \
    } while (0)

#define SET_3x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_0]", "%[sum]", 24, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_1]", "%[sum]", 32, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_1_2]", "%[sum]", 40, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_0]", "%[sum]", 48, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_1]", "%[sum]", 56, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_2_2]", "%[sum]", 64, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_0]", "%[sum]", 72, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_1]", "%[sum]", 80, "%[one]") \
            ODL_ASM_SET_LANES("%[acc_3_2]", "%[sum]", 88, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), ODL_ASM_RW(acc_2_2), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), ODL_ASM_RW(acc_3_2), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define ADD_3x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_0]", "%[sum]", 24, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_1]", "%[sum]", 32, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_1_2]", "%[sum]", 40, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_0]", "%[sum]", 48, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_1]", "%[sum]", 56, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_2_2]", "%[sum]", 64, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_0]", "%[sum]", 72, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_1]", "%[sum]", 80, "%[one]") \
            ODL_ASM_ADD_LANES("%[acc_3_2]", "%[sum]", 88, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), ODL_ASM_RW(acc_2_2), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), ODL_ASM_RW(acc_3_2), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)
#define FINISH_3x4 \
    do { \
        uint32_t one; \
        __asm__ volatile( \
            ODL_ASM_LOAD_ONE("%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_0]", "%[sum]", 0, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_1]", "%[sum]", 8, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_0_2]", "%[sum]", 16, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_0]", "%[sum]", 24, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_1]", "%[sum]", 32, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_1_2]", "%[sum]", 40, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_0]", "%[sum]", 48, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_1]", "%[sum]", 56, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_2_2]", "%[sum]", 64, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_0]", "%[sum]", 72, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_1]", "%[sum]", 80, "%[one]") \
            ODL_ASM_FINISH_LANES("%[acc_3_2]", "%[sum]", 88, "%[one]") \
            : \
ODL_ASM_RW(acc_0_0), ODL_ASM_RW(acc_0_1), ODL_ASM_RW(acc_0_2), \
ODL_ASM_RW(acc_1_0), ODL_ASM_RW(acc_1_1), ODL_ASM_RW(acc_1_2), \
ODL_ASM_RW(acc_2_0), ODL_ASM_RW(acc_2_1), ODL_ASM_RW(acc_2_2), \
ODL_ASM_RW(acc_3_0), ODL_ASM_RW(acc_3_1), ODL_ASM_RW(acc_3_2), \
              ODL_ASM_W(one), ODL_ASM_RW_MEMORY(sum)); \
    } while (0)

/* clang-format on */
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

#ifndef ODL_PACKED_ASM
static inline odl_vec_f16 load_lanes(const odl_f16 *p, uint32_t lanes) {
    return lanes < ODL_LANES_f16 ? odl_vload_tail_f16(p, lanes) : odl_vload_f16(p);
}
#endif

/* One tap at some channels of both sides. Vectors are loaded from one operand, scalars from the other. */
struct region {
    const odl_f16 *vector, *scalar; /* at the tap's first pixel in the first image */
    odl_f16 *dw;
    uint32_t images, rows, run;         /* rows of pixels in each image, pixels in a row */
    size_t vector_step, scalar_step;    /* from pixel to pixel */
    ptrdiff_t vector_jump, scalar_jump; /* from behind a row to the next one */
    size_t vector_image, scalar_image;
    size_t filter; /* from output channel to output channel in dw */
    uint32_t runs_per_chunk;
    uint32_t lanes; /* of a vector that may be partial */
};

/* What follows the sums of one vector. */
static inline void store(odl_f16 *dw, odl_vec_f16 sum) {
    const odl_vec_f16 v = sum;
    odl_vstore_f16(dw, v);
}

/* The same for one that may be partial. */
static inline void store_lanes(odl_f16 *dw, uint32_t lanes, odl_vec_f16 sum) {
    if (lanes == ODL_LANES_f16) {
        store(dw, sum);
        return;
    }
    float lane[ODL_MAX_LANES];
    odl_wide_store_f16(lane, odl_widen_f16(sum));
    for (uint32_t i = 0; i < lanes; i++) {
        odl_store_f16(dw + i, lane[i]);
    }
}

/* The same for lanes that belong to different output channels. */
static inline void store_across(odl_f16 *dw, size_t filter, odl_vec_f16 sum) {
    float lane[ODL_MAX_LANES];
    odl_wide_store_f16(lane, odl_widen_f16(sum));
    for (uint32_t i = 0; i < ODL_LANES_f16; i++) {
        odl_store_f16(dw + i * filter, lane[i]);
    }
}

/* 4 output channels x 4 vectors of input channels */
ODL_TILE tile_4x4(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16) - 12;
    const size_t scalar_back = scalar_step * sizeof(odl_f16) - 3 * sizeof(odl_f16);
#endif
    const odl_f16 *scalar = r->scalar, *vector = r->vector;
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
    uint32_t units = r->images, left = r->rows, begin = 0;
    bool first = true;
    for (;;) {
        uint32_t runs = 1, count = run;
        ptrdiff_t vector_jump = r->vector_jump;
        ptrdiff_t scalar_jump = r->scalar_jump;
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
            vector_jump = scalar_jump = 0;
        }
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *vector;
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
                const odl_vec_f16 a_0 = odl_vdup_f16(scalar);
                const odl_vec_f16 a_1 = odl_vdup_f16(scalar + 1);
                const odl_vec_f16 a_2 = odl_vdup_f16(scalar + 2);
                const odl_vec_f16 a_3 = odl_vdup_f16(scalar + 3);
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
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
        if (left == 0) {
            if (--units == 0) {
                break;
            }
            left = r->rows;
            scalar = r->scalar + (r->images - units) * r->scalar_image;
            vector = r->vector + (r->images - units) * r->vector_image;
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
    store(r->dw, acc_0_0);
    store(r->dw + ODL_LANES_f16, acc_1_0);
    store(r->dw + 2 * ODL_LANES_f16, acc_2_0);
    store(r->dw + 3 * ODL_LANES_f16, acc_3_0);
    store(r->dw + r->filter, acc_0_1);
    store(r->dw + r->filter + ODL_LANES_f16, acc_1_1);
    store(r->dw + r->filter + 2 * ODL_LANES_f16, acc_2_1);
    store(r->dw + r->filter + 3 * ODL_LANES_f16, acc_3_1);
    store(r->dw + 2 * r->filter, acc_0_2);
    store(r->dw + 2 * r->filter + ODL_LANES_f16, acc_1_2);
    store(r->dw + 2 * r->filter + 2 * ODL_LANES_f16, acc_2_2);
    store(r->dw + 2 * r->filter + 3 * ODL_LANES_f16, acc_3_2);
    store(r->dw + 3 * r->filter, acc_0_3);
    store(r->dw + 3 * r->filter + ODL_LANES_f16, acc_1_3);
    store(r->dw + 3 * r->filter + 2 * ODL_LANES_f16, acc_2_3);
    store(r->dw + 3 * r->filter + 3 * ODL_LANES_f16, acc_3_3);
}

/* 4 output channels x 1 whole or partial vector of input channels */
ODL_TILE tile_4xpartial(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16);
    const size_t scalar_back = scalar_step * sizeof(odl_f16) - 3 * sizeof(odl_f16);
#endif
    const odl_f16 *scalar = r->scalar, *vector = r->vector;
    odl_wide_f16 sum[4];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
    sum[0] = odl_wide_zero_f16();
    sum[1] = odl_wide_zero_f16();
    sum[2] = odl_wide_zero_f16();
    sum[3] = odl_wide_zero_f16();
#endif
    odl_vec_f16 acc_0_0, acc_0_1, acc_0_2, acc_0_3;
    uint32_t units = r->images, left = r->rows, begin = 0;
    bool first = true;
    for (;;) {
        uint32_t runs = 1, count = run;
        ptrdiff_t vector_jump = r->vector_jump;
        ptrdiff_t scalar_jump = r->scalar_jump;
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
            vector_jump = scalar_jump = 0;
        }
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *vector;
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
                const odl_vec_f16 a_0 = odl_vdup_f16(scalar);
                const odl_vec_f16 a_1 = odl_vdup_f16(scalar + 1);
                const odl_vec_f16 a_2 = odl_vdup_f16(scalar + 2);
                const odl_vec_f16 a_3 = odl_vdup_f16(scalar + 3);
                acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                acc_0_1 = odl_vmac_f16(acc_0_1, b_0, a_1);
                acc_0_2 = odl_vmac_f16(acc_0_2, b_0, a_2);
                acc_0_3 = odl_vmac_f16(acc_0_3, b_0, a_3);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
        if (left == 0) {
            if (--units == 0) {
                break;
            }
            left = r->rows;
            scalar = r->scalar + (r->images - units) * r->scalar_image;
            vector = r->vector + (r->images - units) * r->vector_image;
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
    store_lanes(r->dw, r->lanes, acc_0_0);
    store_lanes(r->dw + r->filter, r->lanes, acc_0_1);
    store_lanes(r->dw + 2 * r->filter, r->lanes, acc_0_2);
    store_lanes(r->dw + 3 * r->filter, r->lanes, acc_0_3);
}

/* 1 output channel x 4 vectors of input channels */
ODL_TILE tile_1x4(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16) - 12;
    const size_t scalar_back = scalar_step * sizeof(odl_f16);
#endif
    const odl_f16 *scalar = r->scalar, *vector = r->vector;
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
    uint32_t units = r->images, left = r->rows, begin = 0;
    bool first = true;
    for (;;) {
        uint32_t runs = 1, count = run;
        ptrdiff_t vector_jump = r->vector_jump;
        ptrdiff_t scalar_jump = r->scalar_jump;
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
            vector_jump = scalar_jump = 0;
        }
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *vector;
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
                const odl_vec_f16 a_0 = odl_vdup_f16(scalar);
                acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                acc_1_0 = odl_vmac_f16(acc_1_0, b_1, a_0);
                acc_2_0 = odl_vmac_f16(acc_2_0, b_2, a_0);
                acc_3_0 = odl_vmac_f16(acc_3_0, b_3, a_0);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
        if (left == 0) {
            if (--units == 0) {
                break;
            }
            left = r->rows;
            scalar = r->scalar + (r->images - units) * r->scalar_image;
            vector = r->vector + (r->images - units) * r->vector_image;
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
    store(r->dw, acc_0_0);
    store(r->dw + ODL_LANES_f16, acc_1_0);
    store(r->dw + 2 * ODL_LANES_f16, acc_2_0);
    store(r->dw + 3 * ODL_LANES_f16, acc_3_0);
}

/* 1 output channel x 1 whole or partial vector of input channels */
ODL_TILE tile_1xpartial(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16);
    const size_t scalar_back = scalar_step * sizeof(odl_f16);
#endif
    const odl_f16 *scalar = r->scalar, *vector = r->vector;
    odl_wide_f16 sum[1];
#ifndef ODL_PACKED_ASM /* compilers do not see that the first chunk sets it */
    sum[0] = odl_wide_zero_f16();
#endif
    odl_vec_f16 acc_0_0;
    uint32_t units = r->images, left = r->rows, begin = 0;
    bool first = true;
    for (;;) {
        uint32_t runs = 1, count = run;
        ptrdiff_t vector_jump = r->vector_jump;
        ptrdiff_t scalar_jump = r->scalar_jump;
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
            vector_jump = scalar_jump = 0;
        }
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *vector;
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
                const odl_vec_f16 a_0 = odl_vdup_f16(scalar);
                acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
        if (left == 0) {
            if (--units == 0) {
                break;
            }
            left = r->rows;
            scalar = r->scalar + (r->images - units) * r->scalar_image;
            vector = r->vector + (r->images - units) * r->vector_image;
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
    store_lanes(r->dw, r->lanes, acc_0_0);
}

/* 3 input channels x 4 vectors of output channels */
ODL_TILE across_3x4(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16) - 12;
    const size_t scalar_back = scalar_step * sizeof(odl_f16) - 2 * sizeof(odl_f16);
#endif
    const odl_f16 *scalar = r->scalar, *vector = r->vector;
    odl_wide_f16 sum[12];
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
#endif
    odl_vec_f16 acc_0_0, acc_0_1, acc_0_2;
    odl_vec_f16 acc_1_0, acc_1_1, acc_1_2;
    odl_vec_f16 acc_2_0, acc_2_1, acc_2_2;
    odl_vec_f16 acc_3_0, acc_3_1, acc_3_2;
    uint32_t units = r->images, left = r->rows, begin = 0;
    bool first = true;
    for (;;) {
        uint32_t runs = 1, count = run;
        ptrdiff_t vector_jump = r->vector_jump;
        ptrdiff_t scalar_jump = r->scalar_jump;
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
            vector_jump = scalar_jump = 0;
        }
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *vector;
        OUTER_3x4;
#else
        acc_0_0 = acc_0_1 = acc_0_2 = odl_vzero_f16();
        acc_1_0 = acc_1_1 = acc_1_2 = odl_vzero_f16();
        acc_2_0 = acc_2_1 = acc_2_2 = odl_vzero_f16();
        acc_3_0 = acc_3_1 = acc_3_2 = odl_vzero_f16();
        for (uint32_t i = 0; i < runs; i++) {
            for (uint32_t j = 0; j < count; j++) {
                const odl_vec_f16 b_0 = odl_vload_f16(vector);
                const odl_vec_f16 b_1 = odl_vload_f16(vector + ODL_LANES_f16);
                const odl_vec_f16 b_2 = odl_vload_f16(vector + 2 * ODL_LANES_f16);
                const odl_vec_f16 b_3 = odl_vload_f16(vector + 3 * ODL_LANES_f16);
                const odl_vec_f16 a_0 = odl_vdup_f16(scalar);
                const odl_vec_f16 a_1 = odl_vdup_f16(scalar + 1);
                const odl_vec_f16 a_2 = odl_vdup_f16(scalar + 2);
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
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
        if (left == 0) {
            if (--units == 0) {
                break;
            }
            left = r->rows;
            scalar = r->scalar + (r->images - units) * r->scalar_image;
            vector = r->vector + (r->images - units) * r->vector_image;
        }
        if (first) {
#ifdef ODL_PACKED_ASM
            SET_3x4;
#else
            sum[0] = odl_widen_f16(acc_0_0);
            sum[1] = odl_widen_f16(acc_0_1);
            sum[2] = odl_widen_f16(acc_0_2);
            sum[3] = odl_widen_f16(acc_1_0);
            sum[4] = odl_widen_f16(acc_1_1);
            sum[5] = odl_widen_f16(acc_1_2);
            sum[6] = odl_widen_f16(acc_2_0);
            sum[7] = odl_widen_f16(acc_2_1);
            sum[8] = odl_widen_f16(acc_2_2);
            sum[9] = odl_widen_f16(acc_3_0);
            sum[10] = odl_widen_f16(acc_3_1);
            sum[11] = odl_widen_f16(acc_3_2);
#endif
        } else {
#ifdef ODL_PACKED_ASM
            ADD_3x4;
#else
            sum[0] = odl_wide_add_f16(sum[0], acc_0_0);
            sum[1] = odl_wide_add_f16(sum[1], acc_0_1);
            sum[2] = odl_wide_add_f16(sum[2], acc_0_2);
            sum[3] = odl_wide_add_f16(sum[3], acc_1_0);
            sum[4] = odl_wide_add_f16(sum[4], acc_1_1);
            sum[5] = odl_wide_add_f16(sum[5], acc_1_2);
            sum[6] = odl_wide_add_f16(sum[6], acc_2_0);
            sum[7] = odl_wide_add_f16(sum[7], acc_2_1);
            sum[8] = odl_wide_add_f16(sum[8], acc_2_2);
            sum[9] = odl_wide_add_f16(sum[9], acc_3_0);
            sum[10] = odl_wide_add_f16(sum[10], acc_3_1);
            sum[11] = odl_wide_add_f16(sum[11], acc_3_2);
#endif
        }
        first = false;
    }
    if (!first) {
#ifdef ODL_PACKED_ASM
        FINISH_3x4;
#else
        acc_0_0 = odl_narrow_f16(odl_wide_add_f16(sum[0], acc_0_0));
        acc_0_1 = odl_narrow_f16(odl_wide_add_f16(sum[1], acc_0_1));
        acc_0_2 = odl_narrow_f16(odl_wide_add_f16(sum[2], acc_0_2));
        acc_1_0 = odl_narrow_f16(odl_wide_add_f16(sum[3], acc_1_0));
        acc_1_1 = odl_narrow_f16(odl_wide_add_f16(sum[4], acc_1_1));
        acc_1_2 = odl_narrow_f16(odl_wide_add_f16(sum[5], acc_1_2));
        acc_2_0 = odl_narrow_f16(odl_wide_add_f16(sum[6], acc_2_0));
        acc_2_1 = odl_narrow_f16(odl_wide_add_f16(sum[7], acc_2_1));
        acc_2_2 = odl_narrow_f16(odl_wide_add_f16(sum[8], acc_2_2));
        acc_3_0 = odl_narrow_f16(odl_wide_add_f16(sum[9], acc_3_0));
        acc_3_1 = odl_narrow_f16(odl_wide_add_f16(sum[10], acc_3_1));
        acc_3_2 = odl_narrow_f16(odl_wide_add_f16(sum[11], acc_3_2));
#endif
    }
    store_across(r->dw + 0 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_0_0);
    store_across(r->dw + 1 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_1_0);
    store_across(r->dw + 2 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_2_0);
    store_across(r->dw + 3 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_3_0);
    store_across(r->dw + 0 * ODL_LANES_f16 * r->filter + 1, r->filter, acc_0_1);
    store_across(r->dw + 1 * ODL_LANES_f16 * r->filter + 1, r->filter, acc_1_1);
    store_across(r->dw + 2 * ODL_LANES_f16 * r->filter + 1, r->filter, acc_2_1);
    store_across(r->dw + 3 * ODL_LANES_f16 * r->filter + 1, r->filter, acc_3_1);
    store_across(r->dw + 0 * ODL_LANES_f16 * r->filter + 2, r->filter, acc_0_2);
    store_across(r->dw + 1 * ODL_LANES_f16 * r->filter + 2, r->filter, acc_1_2);
    store_across(r->dw + 2 * ODL_LANES_f16 * r->filter + 2, r->filter, acc_2_2);
    store_across(r->dw + 3 * ODL_LANES_f16 * r->filter + 2, r->filter, acc_3_2);
}

/* 1 input channel x 4 vectors of output channels */
ODL_TILE across_1x4(const struct region *r) {
    const size_t vector_step = r->vector_step, scalar_step = r->scalar_step;
    const uint32_t run = r->run;
#ifdef ODL_PACKED_ASM
    const size_t vector_back = vector_step * sizeof(odl_f16) - 12;
    const size_t scalar_back = scalar_step * sizeof(odl_f16);
#endif
    const odl_f16 *scalar = r->scalar, *vector = r->vector;
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
    uint32_t units = r->images, left = r->rows, begin = 0;
    bool first = true;
    for (;;) {
        uint32_t runs = 1, count = run;
        ptrdiff_t vector_jump = r->vector_jump;
        ptrdiff_t scalar_jump = r->scalar_jump;
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
            vector_jump = scalar_jump = 0;
        }
#ifdef ODL_PACKED_ASM
        const ptrdiff_t vector_bytes = vector_jump * (ptrdiff_t)sizeof *vector;
        const ptrdiff_t scalar_bytes = scalar_jump * (ptrdiff_t)sizeof *vector;
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
                const odl_vec_f16 a_0 = odl_vdup_f16(scalar);
                acc_0_0 = odl_vmac_f16(acc_0_0, b_0, a_0);
                acc_1_0 = odl_vmac_f16(acc_1_0, b_1, a_0);
                acc_2_0 = odl_vmac_f16(acc_2_0, b_2, a_0);
                acc_3_0 = odl_vmac_f16(acc_3_0, b_3, a_0);
                scalar += scalar_step;
                vector += vector_step;
            }
            vector += vector_jump;
            scalar += scalar_jump;
        }
#endif
        if (left == 0) {
            if (--units == 0) {
                break;
            }
            left = r->rows;
            scalar = r->scalar + (r->images - units) * r->scalar_image;
            vector = r->vector + (r->images - units) * r->vector_image;
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
    store_across(r->dw + 0 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_0_0);
    store_across(r->dw + 1 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_1_0);
    store_across(r->dw + 2 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_2_0);
    store_across(r->dw + 3 * ODL_LANES_f16 * r->filter + 0, r->filter, acc_3_0);
}

/* Input channels of the tile that begins at `ci`. */
static uint32_t lanes_from(uint32_t in_c, uint32_t ci) {
    const uint32_t left = in_c - ci, whole = 4 * ODL_LANES_f16;
    return left >= whole ? whole : left < ODL_LANES_f16 ? left : ODL_LANES_f16;
}

static uint32_t tiles_of(uint32_t in_c) {
    const uint32_t whole = 4 * ODL_LANES_f16;
    return in_c / whole + (in_c % whole + ODL_LANES_f16 - 1) / ODL_LANES_f16;
}

/* A tile of a tap that meets no pixel. */
static void no_pixels(const struct region *r, uint32_t channels, uint32_t inputs) {
    for (uint32_t c = 0; c < channels; c++) {
        for (uint32_t i = 0; i < inputs; i++) {
            odl_f16 *p = r->dw + c * r->filter + i;
            odl_store_f16(p, 0.0f);
        }
    }
}

/* The tap of one tile, at the first of its channels. */
static void tile(const struct odl_conv2d_shape *s, struct region *r, uint32_t co, uint32_t ci) {
    const bool whole = s->in_c - ci >= 4 * ODL_LANES_f16;
    r->lanes = s->in_c - ci < ODL_LANES_f16 ? s->in_c - ci : ODL_LANES_f16;
    if (r->rows == 0) {
        no_pixels(r, s->out_c - co >= 4 ? 4 : 1, lanes_from(s->in_c, ci));
        return;
    }
    if (s->out_c - co >= 4) {
        if (whole) {
            tile_4x4(r);
        } else {
            tile_4xpartial(r);
        }
        return;
    }
    if (whole) {
        tile_1x4(r);
    } else {
        tile_1xpartial(r);
    }
}

/* The pixels of a tap, and where its first one lies in x and dy. */
static void set_tap(const struct odl_conv2d_shape *s, struct region *r, uint32_t tap, bool across,
                    size_t *x_first, size_t *dy_first) {
    const uint32_t ky = tap / s->kernel_w, kx = tap % s->kernel_w;
    const struct valid rows = valid_outputs(ky, s->pad_top, s->in_h, s->stride_h, s->out_h);
    const struct valid columns = valid_outputs(kx, s->pad_left, s->in_w, s->stride_w, s->out_w);
    r->run = columns.count;
    r->rows = columns.count > 0 ? rows.count : 0;
    *x_first = *dy_first = 0;
    if (r->rows > 0) {
        const uint32_t iy = rows.first * s->stride_h + ky - s->pad_top;
        const uint32_t ix = columns.first * s->stride_w + kx - s->pad_left;
        *x_first = ((size_t)iy * s->in_w + ix) * s->in_c;
        *dy_first = ((size_t)rows.first * s->out_w + columns.first) * s->out_c;
    }
    const ptrdiff_t x_jump =
        ((ptrdiff_t)(s->stride_h * s->in_w) - (ptrdiff_t)(r->run * s->stride_w)) * (ptrdiff_t)s->in_c;
    const ptrdiff_t dy_jump = (ptrdiff_t)((size_t)(s->out_w - r->run) * s->out_c);
    r->vector_jump = across ? dy_jump : x_jump;
    r->scalar_jump = across ? x_jump : dy_jump;
    if (x_jump == 0 && dy_jump == 0) { /* rows without gaps are one row */
        r->run *= r->rows;
        r->rows = r->run > 0 ? 1 : 0;
    }
    r->runs_per_chunk = r->run > 0 ? 64 / r->run : 0;
}

/* Few input channels: lanes along out_c. */
static void few_inputs(const struct odl_conv2d_shape *s, const odl_f16 *x, const odl_f16 *dy, odl_f16 *dw,
                       struct region *r, uint32_t core, uint32_t cores) {
    const uint32_t block = 4 * ODL_LANES_f16;
    const struct odl_share share = odl_share_grid(s->kernel_h * s->kernel_w, s->out_c, block, core, cores);
    r->vector_step = s->out_c;
    r->scalar_step = (size_t)s->stride_w * s->in_c;
    r->vector_image = (size_t)s->out_h * s->out_w * s->out_c;
    r->scalar_image = (size_t)s->in_h * s->in_w * s->in_c;
    for (uint32_t tap = share.row_begin; tap < share.row_end; tap++) {
        size_t x_first, dy_first;
        set_tap(s, r, tap, true, &x_first, &dy_first);
        for (uint32_t co = share.column_begin; co < share.column_end; co += block) {
            r->vector = dy + dy_first + co;
            r->scalar = x + x_first;
            r->dw = dw + co * r->filter + (size_t)tap * s->in_c;
            if (r->rows == 0) {
                no_pixels(r, block, s->in_c);
                continue;
            }
            if (s->in_c == 3) {
                across_3x4(r);
            } else {
                across_1x4(r);
            }
        }
    }
}

/* 4 rows of dw from a single pixel. */
ODL_TILE product_4(const odl_f16 *x, const odl_f16 *dy, odl_f16 *dw, uint32_t in_c) {
    const odl_vec_f16 d_0 = odl_vdup_f16(dy);
    const odl_vec_f16 d_1 = odl_vdup_f16(dy + 1);
    const odl_vec_f16 d_2 = odl_vdup_f16(dy + 2);
    const odl_vec_f16 d_3 = odl_vdup_f16(dy + 3);
    odl_f16 *dw_1 = dw + in_c;
    odl_f16 *dw_2 = dw_1 + in_c;
    odl_f16 *dw_3 = dw_2 + in_c;
    for (uint32_t left = in_c / ODL_LANES_f16; left > 0; left--) {
        const odl_vec_f16 b = odl_vload_f16(x);
        x += ODL_LANES_f16;
        const odl_vec_f16 p_0 = odl_vmac_f16(odl_vzero_f16(), b, d_0);
        const odl_vec_f16 p_1 = odl_vmac_f16(odl_vzero_f16(), b, d_1);
        const odl_vec_f16 p_2 = odl_vmac_f16(odl_vzero_f16(), b, d_2);
        const odl_vec_f16 p_3 = odl_vmac_f16(odl_vzero_f16(), b, d_3);
        store(dw, p_0);
        dw += ODL_LANES_f16;
        store(dw_1, p_1);
        dw_1 += ODL_LANES_f16;
        store(dw_2, p_2);
        dw_2 += ODL_LANES_f16;
        store(dw_3, p_3);
        dw_3 += ODL_LANES_f16;
    }
}

/* 1 row of dw from a single pixel. */
ODL_TILE product_1(const odl_f16 *x, const odl_f16 *dy, odl_f16 *dw, uint32_t in_c) {
    const odl_vec_f16 d_0 = odl_vdup_f16(dy);
    for (uint32_t left = in_c / ODL_LANES_f16; left > 0; left--) {
        const odl_vec_f16 b = odl_vload_f16(x);
        x += ODL_LANES_f16;
        const odl_vec_f16 p_0 = odl_vmac_f16(odl_vzero_f16(), b, d_0);
        store(dw, p_0);
        dw += ODL_LANES_f16;
    }
}

/* A linear layer of one sample: every gradient is one product, and what takes time is to store it. */
static void one_pixel(const struct odl_conv2d_shape *s, const odl_f16 *x, const odl_f16 *dy, odl_f16 *dw,
                      uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(s->out_c, core + 1, cores);
    uint32_t co = odl_share_begin(s->out_c, core, cores);
    for (; co + 4 <= end; co += 4) {
        product_4(x, dy + co, dw + (size_t)co * s->in_c, s->in_c);
    }
    for (; co + 1 <= end; co += 1) {
        product_1(x, dy + co, dw + (size_t)co * s->in_c, s->in_c);
    }
}

void odl_conv2d_weight_gradient(const struct odl_conv2d_shape *s, const odl_f16 *x, const odl_f16 *dy,
                                odl_f16 *dw, uint32_t core, uint32_t cores) {
    const bool no_window = s->kernel_h == 1 && s->kernel_w == 1 && s->pad_top == 0 && s->pad_left == 0;
    if (no_window && s->batch * s->out_h * s->out_w == 1 && s->in_c % ODL_LANES_f16 == 0) {
        one_pixel(s, x, dy, dw, core, cores);
        return;
    }
    struct region r = {.images = s->batch, .filter = (size_t)s->kernel_h * s->kernel_w * s->in_c};
    if ((s->in_c == 3 || s->in_c == 1) && s->out_c % (4 * ODL_LANES_f16) == 0) {
        few_inputs(s, x, dy, dw, &r, core, cores);
        return;
    }
    /* Rows of the plane are taps, columns are tiles: output channels, in each the input channels. */
    const uint32_t out_tiles = s->out_c / 4 + s->out_c % 4;
    const uint32_t in_tiles = tiles_of(s->in_c);
    const struct odl_share share =
        odl_share_grid(s->kernel_h * s->kernel_w, out_tiles * in_tiles, 1, core, cores);
    r.vector_step = (size_t)s->stride_w * s->in_c;
    r.scalar_step = s->out_c;
    r.vector_image = (size_t)s->in_h * s->in_w * s->in_c;
    r.scalar_image = (size_t)s->out_h * s->out_w * s->out_c;
    uint32_t co_begin = 0, ci_begin = 0;
    for (uint32_t skip = share.column_begin / in_tiles; skip > 0; skip--) {
        co_begin += s->out_c - co_begin >= 4 ? 4 : 1;
    }
    for (uint32_t skip = share.column_begin % in_tiles; skip > 0; skip--) {
        ci_begin += lanes_from(s->in_c, ci_begin);
    }
    for (uint32_t tap = share.row_begin; tap < share.row_end; tap++) {
        uint32_t co = co_begin, ci = ci_begin;
        size_t x_first, dy_first;
        set_tap(s, &r, tap, false, &x_first, &dy_first);
        for (uint32_t i = share.column_begin; i < share.column_end; i++) {
            r.vector = x + x_first + ci;
            r.scalar = dy + dy_first + co;
            r.dw = dw + co * r.filter + (size_t)tap * s->in_c + ci;
            tile(s, &r, co, ci);
            ci += lanes_from(s->in_c, ci);
            if (ci == s->in_c) {
                ci = 0;
                co += s->out_c - co >= 4 ? 4 : 1;
            }
        }
    }
}
