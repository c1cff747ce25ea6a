/* From reset to main and from main to the end. */
#include "odl_runtime.h"
#include "registers.h"

int main(void);

#define ALL_CORES ((1u << ODL_CORES) - 1u)

/* Entered by every core of the cluster from crt0, on its own stack. */
_Noreturn void odl_run_core(uint32_t core) {
    ODL_REGISTER(ODL_EVENT_MASK) = ODL_EVENT_BARRIER;
    const int status = main();
    odl_barrier();
    if (core == 0) {
        odl_exit((uint32_t)status);
    }
    ODL_REGISTER(ODL_EVENT_MASK) = 0;
    for (;;) {
        (void)odl_event_load(ODL_EVENT_WAIT_CLEAR);
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
