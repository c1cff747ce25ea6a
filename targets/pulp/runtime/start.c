/* From reset to main and from main to the end. */
#include "odl_runtime.h"
#include "registers.h"

int main(void);

#define ALL_CORES ((1u << ODL_CORES) - 1u)

/* What odl_parallel runs; in L1, where looking at it disturbs least. */
ODL_L1 static void (*volatile parallel_program)(uint32_t core, uint32_t cores);

#define MAIN_CORE (ODL_CONTROLLER ? ODL_CORES : 0)

/* The barrier at both ends of a parallel program: of the workers and of the core that called. */
static void fork_join(void) {
#if ODL_CONTROLLER
    (void)odl_event_load(ODL_BARRIER_1_WAIT_CLEAR);
#else
    odl_barrier();
#endif
}

void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) {
    parallel_program = program;
    fork_join(); /* the others wait here */
#if !ODL_CONTROLLER
    program(0, ODL_CORES);
#endif
    fork_join();
}

/* Entered by every core of the cluster from crt0, on its own stack. */
_Noreturn void odl_run_core(uint32_t core);
_Noreturn void odl_run_core(uint32_t core) {
    ODL_REGISTER(ODL_EVENT_MASK) = ODL_EVENT_BARRIER;
    if (core == MAIN_CORE) {
        odl_exit((uint32_t)main());
    }
    for (;;) {
        fork_join();
        parallel_program(core, ODL_CORES);
        fork_join();
    }
}

/* Entered by the fabric controller, where there is one. */
void odl_start_cluster(void);
void odl_start_cluster(void) {
#if !defined(ODL_TARGET_CV32E40P)
    extern char _start[];
    ODL_REGISTER(ODL_SOC_ICACHE) = 1;
    ODL_REGISTER(ODL_CLUSTER_ICACHE) = 1;
    ODL_REGISTER(ODL_TIMER_CONFIG) = 3;
    for (uint32_t core = 0; core < ODL_CORES; core++) {
        ODL_REGISTER(ODL_CLUSTER_BOOT_ADDRESS + 4 * core) = (uint32_t)(uintptr_t)_start;
    }
    /* The barrier as the cores' own registers show it, here reached from outside */
    ODL_REGISTER(0x10200C00u) = ALL_CORES;
    ODL_REGISTER(0x10200C0Cu) = ALL_CORES;
    ODL_REGISTER(ODL_CLUSTER_FETCH_ENABLE) = ALL_CORES;
#endif
}
