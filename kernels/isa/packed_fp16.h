/* Packed fp16 instructions (Xfvec with Xf16) and a few on packed integers: two halves in one 32-bit integer
 * register.
 *
 * Each is defined once: its encoding for RISC-V compilers beside its meaning for every other machine, which
 * gives the same bits and the same overflow and invalid flags. CV32E40P (FPnew) and the PULP cores agree on
 * these encodings: `.insn r 0x33, funct3, funct7, rd, rs1, rs2`, funct3 = 2 for `.h`, 6 for `.r.h`.
 *
 * Why one rounding is enough: a product of halves has 22 significant bits and is exact in double; adding a
 * half to it is inexact in double only where the smaller operand lies far below half a unit in the last place
 * of the result in half precision, or the result overflows, so the sum rounds once more to the right half.
 */
#ifndef ODL_PACKED_FP16_H
#define ODL_PACKED_FP16_H

#include "half.h"

/* Other RISC-V cores read these encodings as something else, or not at all. */
#if defined(__riscv) && (defined(ODL_ISA_XCV) || defined(ODL_ISA_XPULP))
#define ODL_HAS_PACKED_FP16
#endif

#if defined(ODL_HAS_PACKED_FP16)

#define ODL_PACKED_INSN(funct3, funct7, rd, rs1, rs2)                                                        \
    __asm__(".insn r 0x33, " #funct3 ", " #funct7 ", %0, %1, %2" : "=r"(rd) : "r"(rs1), "r"(rs2))
#define ODL_PACKED_INSN_SUM(funct3, funct7, rd, rs1, rs2)                                                    \
    __asm__(".insn r 0x33, " #funct3 ", " #funct7 ", %0, %1, %2" : "+r"(rd) : "r"(rs1), "r"(rs2))

#elif defined(__F16C__)

static inline __m128 odl_unpack(uint32_t halves) { return ODL_CVTPH_PS(_mm_cvtsi32_si128((int)halves)); }

static inline uint32_t odl_pack(__m128 v) {
    return (uint32_t)_mm_cvtsi128_si32(ODL_CVTPS_PH(odl_canonical_nan(v)));
}

/* Two doubles to halves with one rounding: to float by rounding to odd (the last bit kept says "and
 * something below"), which the rounding to half cannot mistake for a tie (Boldo and Melquiond, "Emulation of
 * a FMA and correctly rounded sums", IEEE Trans. Computers 57, 2008, theorem 3.1). */
static inline uint32_t odl_pack_double(__m128d v) {
    const __m128i dropped = _mm_set1_epi64x(0x1fffffff); /* the 29 bits that float lacks */
    const __m128i bits = _mm_castpd_si128(v);
    const __m128i sticky = _mm_add_epi64(_mm_and_si128(bits, dropped), dropped);
    const __m128i odd = _mm_andnot_si128(dropped, _mm_or_si128(bits, sticky));
    return odl_pack(_mm_cvtpd_ps(_mm_castsi128_pd(odd)));
}

#else

static inline double odl_low(uint32_t halves) { return (double)odl_half_to_float((odl_f16)halves); }
static inline double odl_high(uint32_t halves) { return (double)odl_half_to_float((odl_f16)(halves >> 16)); }

static inline uint32_t odl_pack_double(double low, double high) {
    return (uint32_t)odl_double_to_half(low) | (uint32_t)odl_double_to_half(high) << 16;
}

#endif

/* vfadd.h: a + b */
static inline uint32_t odl_vfadd_h(uint32_t a, uint32_t b) {
#if defined(ODL_HAS_PACKED_FP16)
    uint32_t result;
    ODL_PACKED_INSN(2, 0x41, result, a, b);
    return result;
#elif defined(__F16C__)
    return odl_pack(_mm_add_ps(odl_unpack(a), odl_unpack(b))); /* float is wide enough for double rounding */
#else
    return odl_pack_double(odl_low(a) + odl_low(b), odl_high(a) + odl_high(b));
#endif
}

/* vfsub.h: a - b */
static inline uint32_t odl_vfsub_h(uint32_t a, uint32_t b) {
#if defined(ODL_HAS_PACKED_FP16)
    uint32_t result;
    ODL_PACKED_INSN(2, 0x42, result, a, b);
    return result;
#elif defined(__F16C__)
    return odl_pack(_mm_sub_ps(odl_unpack(a), odl_unpack(b)));
#else
    return odl_pack_double(odl_low(a) - odl_low(b), odl_high(a) - odl_high(b));
#endif
}

/* vfmul.h: a * b */
static inline uint32_t odl_vfmul_h(uint32_t a, uint32_t b) {
#if defined(ODL_HAS_PACKED_FP16)
    uint32_t result;
    ODL_PACKED_INSN(2, 0x43, result, a, b);
    return result;
#elif defined(__F16C__)
    return odl_pack(_mm_mul_ps(odl_unpack(a), odl_unpack(b)));
#else
    return odl_pack_double(odl_low(a) * odl_low(b), odl_high(a) * odl_high(b));
#endif
}

/* vfmac.h: sum + a * b, fused */
static inline uint32_t odl_vfmac_h(uint32_t sum, uint32_t a, uint32_t b) {
#if defined(ODL_HAS_PACKED_FP16)
    ODL_PACKED_INSN_SUM(2, 0x48, sum, a, b);
    return sum;
#elif defined(__F16C__)
    const __m128d product = _mm_mul_pd(_mm_cvtps_pd(odl_unpack(a)), _mm_cvtps_pd(odl_unpack(b)));
    return odl_pack_double(_mm_add_pd(product, _mm_cvtps_pd(odl_unpack(sum))));
#else
    return odl_pack_double(odl_low(a) * odl_low(b) + odl_low(sum), odl_high(a) * odl_high(b) + odl_high(sum));
#endif
}

/* vfmac.r.h: sum + a * (the low half of b, in both lanes), fused */
static inline uint32_t odl_vfmac_r_h(uint32_t sum, uint32_t a, uint32_t b) {
#if defined(ODL_HAS_PACKED_FP16)
    ODL_PACKED_INSN_SUM(6, 0x48, sum, a, b);
    return sum;
#else
    return odl_vfmac_h(sum, a, (b & 0xffffu) | b << 16);
#endif
}

/* vfcpka.h.s: two floats, rounded, as the low and the high half */
static inline uint32_t odl_vfcpka_h_s(float low, float high) {
#if defined(ODL_HAS_PACKED_FP16)
    uint32_t result;
    ODL_PACKED_INSN(2, 0x58, result, low, high);
    return result;
#else
    return (uint32_t)odl_float_to_half(low) | (uint32_t)odl_float_to_half(high) << 16;
#endif
}

/* ---- instructions that move halves or compare them as integers. Finite halves and infinities are ordered
 * like the integers with sign and magnitude of the same bits; the canonical NaN is a positive integer. */

/* cv.pack: the low halves of two words */
static inline uint32_t odl_pack_low(uint32_t low, uint32_t high) {
#if defined(ODL_ISA_XCV)
    uint32_t result;
    __asm__("cv.pack %0, %2, %1" : "=r"(result) : "r"(low), "r"(high));
    return result;
#else
    return (low & 0xffffu) | high << 16;
#endif
}

/* cv.pack.h: the high halves of two words */
static inline uint32_t odl_pack_high(uint32_t low, uint32_t high) {
#if defined(ODL_ISA_XCV)
    uint32_t result;
    __asm__("cv.pack.h %0, %2, %1" : "=r"(result) : "r"(low), "r"(high));
    return result;
#else
    return low >> 16 | (high & 0xffff0000u);
#endif
}

/* cv.max.h: the larger of two signed integers */
static inline uint32_t odl_max_h(uint32_t a, uint32_t b) {
#if defined(ODL_ISA_XCV)
    uint32_t result;
    __asm__("cv.max.h %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
#else
    const uint32_t low = (int16_t)a > (int16_t)b ? a : b;
    const uint32_t high =
        (int32_t)a > (int32_t)b ? a : b; /* where the high halves are equal, so is the result */
    return (low & 0xffffu) | (high & 0xffff0000u);
#endif
}

/* cv.cmpgt.h with x0: all ones where a signed integer is above 0 */
static inline uint32_t odl_positive_h(uint32_t a) {
#if defined(ODL_ISA_XCV)
    uint32_t result;
    __asm__("cv.cmpgt.h %0, %1, x0" : "=r"(result) : "r"(a));
    return result;
#else
    return ((int16_t)a > 0 ? 0xffffu : 0u) | ((int32_t)a >= 0x10000 ? 0xffff0000u : 0u);
#endif
}

#endif
