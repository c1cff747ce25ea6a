/* Barrier, counters, exit and output. */
#include "odl_runtime.h"
#include "registers.h"

void odl_barrier(void) {
    /* The event load is also the fence: the core waits for its stores before it asks. */
    (void)odl_event_load(ODL_BARRIER_WAIT_CLEAR);
}

_Noreturn void odl_exit(uint32_t status) {
    ODL_REGISTER(ODL_EXIT) = 0x80000000u | status;
    for (;;) {
        __asm__ volatile("wfi");
    }
}

uint32_t odl_cycles(void) {
#if defined(ODL_TARGET_CV32E40P)
    return ODL_REGISTER(ODL_MEASURE_CYCLES);
#else
    return ODL_REGISTER(ODL_TIMER_COUNT);
#endif
}

#if defined(ODL_TARGET_CV32E40P)
void odl_mark(uint32_t id) { ODL_REGISTER(ODL_MEASURE_MARK) = id; }
#endif

void odl_put_char(char c) { *(volatile uint8_t *)(uintptr_t)(ODL_STDOUT + 8u * odl_core_id()) = (uint8_t)c; }

void odl_put_string(const char *text) {
    while (*text != '\0') {
        odl_put_char(*text++);
    }
}

void odl_put_unsigned(uint32_t value) {
    char digits[10];
    uint32_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    while (count != 0u) {
        odl_put_char(digits[--count]);
    }
}

void odl_put_hex(uint32_t value) {
    odl_put_string("0x");
    for (int shift = 28; shift >= 0; shift -= 4) {
        odl_put_char("0123456789abcdef"[value >> shift & 15u]);
    }
}
