/* Every packed fp16 instruction over many operands: result and exception flags.
 *
 * Compiled for the device it executes the instructions; compiled for the host, the C meaning that stands
 * beside each encoding. There it reads the operands from standard input and writes the results to standard
 * output.
 */
#include "isa/packed_fp16.h"

#include "instruction_list.h"

#if defined(__riscv)
#include "odl_runtime.h"

static float odl_test_to_float(odl_f16 half) { /* fcvt.s.h */
    float result;
    __asm__ volatile("fcvt.s.h %0, %1" : "=r"(result) : "r"((uint32_t)half | 0xffff0000u));
    return result;
}

static odl_f16 odl_test_to_half(float value) { /* fcvt.h.s */
    uint32_t result;
    __asm__ volatile("fcvt.h.s %0, %1" : "=r"(result) : "r"(value));
    return (odl_f16)result;
}
#else
#define odl_test_to_float odl_half_to_float
#define odl_test_to_half odl_float_to_half
#endif

static float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t as_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* volatile: nothing is moved past the handling of the flags, nothing is folded */
static uint32_t apply(int instruction, volatile uint32_t *operands) {
    const uint32_t a = operands[0];
    const uint32_t b = operands[1];
    const uint32_t sum = operands[2];
    switch (instruction) {
    case VFADD:
        return odl_vfadd_h(a, b);
    case VFSUB:
        return odl_vfsub_h(a, b);
    case VFMUL:
        return odl_vfmul_h(a, b);
    case VFMAC:
        return odl_vfmac_h(sum, a, b);
    case VFMAC_R:
        return odl_vfmac_r_h(sum, a, b);
    case VFCPKA:
        return odl_vfcpka_h_s(as_float(a), as_float(b));
    case TO_FLOAT:
        return as_bits(odl_test_to_float((odl_f16)a));
    default:
        return odl_test_to_half(as_float(a));
    }
}

#define FLAGS (FE_OVERFLOW | FE_INVALID)

static void run_all(uint32_t *operands, uint32_t *results, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; i++) {
        for (int instruction = 0; instruction < INSTRUCTIONS; instruction++) {
            uint32_t *result = results + (i * INSTRUCTIONS + (uint32_t)instruction) * 2;
            volatile uint32_t *mine = operands + (i * 2 + (uint32_t)(instruction >= VFCPKA)) * 3;
            feclearexcept(FE_ALL_EXCEPT);
            volatile uint32_t value = apply(instruction, mine);
            const int flags = fetestexcept(FLAGS);
            result[0] = value;
            result[1] = ((flags & FE_OVERFLOW) != 0 ? 1u : 0u) | ((flags & FE_INVALID) != 0 ? 2u : 0u);
        }
    }
}

/* Per operand triple one of packed halves and one of floats */
uint32_t operands[TRIPLES * 2 * 3];
uint32_t results[TRIPLES * INSTRUCTIONS * 2];

#if defined(__riscv)
static void program(uint32_t core, uint32_t cores) {
    run_all(operands, results, TRIPLES * core / cores, TRIPLES * (core + 1) / cores);
}

int main(void) {
    odl_parallel(program);
    return 0;
}
#else
#include <stdio.h>

int main(void) {
    if (fread(operands, sizeof operands, 1, stdin) != 1) {
        return 1;
    }
    run_all(operands, results, 0, TRIPLES);
    return fwrite(results, sizeof results, 1, stdout) == 1 ? 0 : 1;
}
#endif
