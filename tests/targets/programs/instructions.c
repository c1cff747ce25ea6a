/* Every packed fp16 instruction over many operands: result and exception flags.
 *
 * Compiled for the device it executes the instructions; compiled for the host, the C meaning that stands
 * beside each encoding. There it reads the operands from standard input and writes the results to standard
 * output. The test writes instruction_list.h: the number INSTRUCTIONS, and INSTRUCTION_CASES, one line
 * `case n: return …;` for each function of the kernels' headers, of the operands H(i), packed halves, and
 * F(i), a float.
 */
#include "isa/packed_fp16.h"

#include "instruction_list.h"

#if defined(__riscv)
#include "odl_runtime.h"
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
#define H(i) operands[i]
#define F(i) as_float(operands[3 + (i)])
static uint32_t apply(int instruction, volatile uint32_t *operands) {
    switch (instruction) {
        INSTRUCTION_CASES
    default:
        return 0;
    }
}

#define FLAGS (FE_OVERFLOW | FE_INVALID)

static void run_all(uint32_t *operands, uint32_t *results, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; i++) {
        for (int instruction = 0; instruction < INSTRUCTIONS; instruction++) {
            uint32_t *result = results + (i * INSTRUCTIONS + (uint32_t)instruction) * 2;
            feclearexcept(FE_ALL_EXCEPT);
            volatile uint32_t value = apply(instruction, operands + i * 6);
            const int flags = fetestexcept(FLAGS);
            result[0] = value;
            result[1] = ((flags & FE_OVERFLOW) != 0 ? 1u : 0u) | ((flags & FE_INVALID) != 0 ? 2u : 0u);
        }
    }
}

/* Three words of packed halves and three floats each time */
uint32_t operands[TRIPLES * 6];
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
