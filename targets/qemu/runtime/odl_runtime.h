/* What a program finds on QEMU's `virt` machine: harts that share one memory, a barrier, a count of
 * instructions, and files of the host through semihosting.
 *
 * The program's `int main(void)` runs on hart 0, and the run ends with the value that it returns;
 * `odl_parallel` brings in the others, which sleep otherwise.
 */
#ifndef ODL_RUNTIME_H
#define ODL_RUNTIME_H

#include <stdint.h>

#ifndef ODL_CORES
#error "ODL_CORES: the number of harts the program is built for"
#endif

/* There is no memory beside the cores. */
#define ODL_L1
#define ODL_L1_DATA

static inline uint32_t odl_core_id(void) {
    uint32_t hart;
    __asm__("csrr %0, mhartid" : "=r"(hart));
    return hart;
}

static inline uint32_t odl_core_count(void) { return ODL_CORES; }

/* Runs a program on every hart and returns when all have finished. Called by main, not by such a program. */
void odl_parallel(void (*program)(uint32_t core, uint32_t cores));

/* Inside a program of odl_parallel: waits until every hart has come here. What the harts stored before is
 * visible to all of them after. */
void odl_barrier(void);

/* Instructions of all harts together since the start; exact where QEMU was started with `-icount shift=0`. */
uint64_t odl_instructions(void);

/* Notes the count of instructions under `id`, and what the host asked to see at this mark. */
void odl_mark(uint32_t id);

/* Ends the run. */
_Noreturn void odl_exit(uint32_t status);

void odl_put_string(const char *text);
void odl_put_hex(uint32_t value);

#endif
