/* The abstract SIMD vector that every kernel is written over.
 *
 * A dialect gives it a meaning; a macro on the compiler's command line picks one:
 *   ODL_ISA_HOST_EXACT  (default) the bits of the device: fp16 arithmetic, one rounding per instruction
 *   ODL_ISA_HOST_FAST   fp16 storage, fp32 arithmetic, as wide as the host is: more accurate, quick
 *   ODL_ISA_XCV         CV32E40P with packed fp16
 *   ODL_ISA_XPULP       RI5CY and successors with packed fp16
 *   ODL_ISA_ZFH         standard RISC-V with scalar fp16 arithmetic
 *   ODL_ISA_RVV         standard RISC-V with fp16 vectors (Zvfh), registers of at least 128 bits
 *
 * For T in { f16, f32 } a dialect provides
 *   odl_vec_T                       a vector of ODL_LANES_T elements; may have no size: never in an array
 *   odl_vzero_T()                   all lanes +0
 *   odl_vload_T(p)                  any alignment
 *   odl_vload_tail_T(p, n)          n < lanes elements, the other lanes +0; reads nothing beyond them
 *   odl_vfirst_T(p)                 one element in the first lane, the others +0
 *   odl_vdup_T(p)                   one element in every lane
 *   odl_vstore_T(p, v), odl_vstore_tail_T(p, v, n)
 *   odl_vmac_T(sum, a, b)           sum + a * b, fused: one rounding
 *   odl_vadd_T(a, b), odl_vsub_T(a, b), odl_vmul_T(a, b)
 *   odl_vmask_T(v, m, limits)       v where the gradient of a clamping activation passes, else +0;
 *                                   m: the activation's output
 *   odl_vsum_T(v)                   sum of the lanes as a float: halves folded, each addition rounded to T
 *   odl_wide_T                      one float per lane, for sums that outlive a chunk; may be in an array
 *   odl_wide_zero_T(), odl_wide_add_T(w, v), odl_widen_T(v), odl_narrow_T(w), odl_wide_store_T(p, w)
 *   odl_load_T(p), odl_store_T(p, x)  one element from and to float, rounded to nearest even; in fp16 the
 *                                   only NaN is the canonical one
 *   odl_overflow_clear(), odl_overflow_seen()  the sticky IEEE flags overflow, invalid, division by zero
 * value_limits.h, pair.h and lanes.h add what follows a sum, and arithmetic on floats per lane.
 */
#ifndef ODL_ISA_H
#define ODL_ISA_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "share.h"

/* No vector of any dialect has more lanes: the size of a float array that odl_wide_store_T may fill. */
#define ODL_MAX_LANES 8u

#if defined(ODL_ISA_HOST_FAST)
#include "host_fast.h"
#elif defined(ODL_ISA_XCV)
#include "xcv.h"
#elif defined(ODL_ISA_XPULP)
#include "xpulp.h"
#elif defined(ODL_ISA_ZFH)
#include "zfh.h"
#elif defined(ODL_ISA_RVV)
#include "rvv.h"
#else
#ifndef ODL_ISA_HOST_EXACT
#define ODL_ISA_HOST_EXACT
#endif
#include "host_exact.h"
#endif

/* Cores with packed fp16, hardware loops and loads with post-increment: the kernels' inner loops are blocks
 * of assembly. */
#if defined(ODL_ISA_XCV) || defined(ODL_ISA_XPULP)
#define ODL_PACKED_ASM
#endif

/* Keeps a register tile in a function of its own: inlined, it would share the registers with its callers'
 * loops. */
#define ODL_TILE static __attribute__((noinline)) void

#include "pair.h"

#endif
