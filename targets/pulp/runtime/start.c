/* From reset to main and from main to the end. */
#include "odl_runtime.h"
#include "registers.h"
#if defined(ODL_TARGET_GVSOC)
#include "exchange.h"
#endif

int main(void);

#define ALL_CORES ((1u << ODL_CORES) - 1u)

/* What odl_parallel runs; in L1, where looking at it disturbs least. */
ODL_L1 static void (*volatile parallel_program)(uint32_t core, uint32_t cores);

#define MAIN_CORE ((uint32_t)(ODL_CONTROLLER ? ODL_CORES : 0))

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

/* main, with what the machine needs before and after it; returns the status of the run. */
static uint32_t run_main(void) {
#if defined(ODL_TARGET_GVSOC)
    /* Core 0 comes alone: only cores can set up a barrier, and none may reach it before. */
    ODL_REGISTER(ODL_BARRIER_TRIGGER_MASK) = ALL_CORES;
    ODL_REGISTER(ODL_BARRIER_TARGET_MASK) = ALL_CORES;
    ODL_REGISTER(ODL_CLUSTER_FETCH_ENABLE) = ALL_CORES;
    odl_receive();
    const uint32_t status = (uint32_t)main();
    odl_send();
    return status;
#else
    return (uint32_t)main();
#endif
}

/* Entered by every core of the cluster from crt0, on its own stack. */
_Noreturn void odl_run_core(uint32_t core);
_Noreturn void odl_run_core(uint32_t core) {
    ODL_REGISTER(ODL_EVENT_MASK) = ODL_EVENT_BARRIER;
    if (core == MAIN_CORE) {
        odl_exit(run_main());
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
#if defined(ODL_TARGET_GVSOC)
    extern char _start[];
    ODL_REGISTER(ODL_SOC_ICACHE) = 1;
    ODL_REGISTER(ODL_CLUSTER_ICACHE) = 1;
    ODL_REGISTER(ODL_TIMER_CONFIG) = 3; /* from 0, running */
    for (uint32_t core = 0; core < ODL_CORES; core++) {
        ODL_REGISTER(ODL_CLUSTER_BOOT_ADDRESS + 4u * core) = (uint32_t)(uintptr_t)_start;
    }
    ODL_REGISTER(ODL_CLUSTER_FETCH_ENABLE) = 1; /* core 0 brings in the others */
#endif
}
