/* From reset to main and from main to the end; the barrier. */
#include "exchange.h"
#include "odl_runtime.h"

int main(void);

/* Software interrupt of a hart (machine mode, core-local interruptor of the `virt` machine). It only wakes a
 * hart that waits: interrupts stay disabled. */
#define SOFTWARE_INTERRUPT(hart) (*(volatile uint32_t *)(uintptr_t)(0x2000000u + 4u * (hart)))
#define MIE_SOFTWARE 8u

static uint32_t arrived, generation;
static void (*parallel_program)(uint32_t core, uint32_t cores);

void odl_barrier(void) {
    const uint32_t core = odl_core_id();
    const uint32_t now = __atomic_load_n(&generation, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == ODL_CORES) {
        arrived = 0;
        __atomic_store_n(&generation, now + 1u, __ATOMIC_RELEASE);
        __asm__ volatile("fence rw, o" : : : "memory");
        for (uint32_t other = 0; other < ODL_CORES; other++) {
            if (other != core) {
                SOFTWARE_INTERRUPT(other) = 1;
            }
        }
        return;
    }
    /* The look at the generation comes after the interrupt is cleared, so that no wake-up is lost; one that
     * comes late, after the hart has gone on, costs the next wait a turn of this loop. */
    while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == now) {
        __asm__ volatile("wfi" : : : "memory");
        SOFTWARE_INTERRUPT(core) = 0;
        __asm__ volatile("fence o, r" : : : "memory");
    }
}

void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) {
    parallel_program = program;
    odl_barrier(); /* the others wait here */
    program(0, ODL_CORES);
    odl_barrier();
}

/* Entered by every hart from crt0, on its own stack. */
_Noreturn void odl_run_core(uint32_t core);
_Noreturn void odl_run_core(uint32_t core) {
    __asm__ volatile("csrw mie, %0" : : "r"(MIE_SOFTWARE));
    if (core == 0u) {
        odl_receive();
        const int status = main();
        odl_send();
        odl_exit((uint32_t)status);
    }
    for (;;) {
        odl_barrier();
        parallel_program(core, ODL_CORES);
        odl_barrier();
    }
}
