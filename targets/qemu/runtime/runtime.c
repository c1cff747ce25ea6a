/* Counter, output, exit, and what happens at an exception. */
#include "odl_runtime.h"
#include "semihosting.h"

#define TRAP_STATUS 0x7eu

uint64_t odl_instructions(void) {
    uint32_t low, high, again;
    do {
        __asm__ volatile("csrr %0, minstreth\ncsrr %1, minstret\ncsrr %2, minstreth"
                         : "=r"(high), "=r"(low), "=r"(again)
                         :
                         : "memory");
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

_Noreturn void odl_exit(uint32_t status) {
    const uint32_t arguments[] = {0x20026u, status}; /* the application has ended by itself */
    for (;;) {
        (void)odl_host(ODL_HOST_EXIT, arguments);
    }
}

void odl_put_string(const char *text) { (void)odl_host(ODL_HOST_WRITE_STRING, text); }

void odl_put_hex(uint32_t value) {
    char text[11] = "0x";
    for (uint32_t i = 0; i < 8u; i++) {
        text[2u + i] = "0123456789abcdef"[value >> (28u - 4u * i) & 15u];
    }
    odl_put_string(text);
}

_Noreturn void odl_trap(uint32_t hart, uint32_t cause, uint32_t pc, uint32_t value);
_Noreturn void odl_trap(uint32_t hart, uint32_t cause, uint32_t pc, uint32_t value) {
    static const char *const names[] = {"misaligned fetch", "fetch fault",     "illegal instruction",
                                        "breakpoint",       "misaligned load", "load fault",
                                        "misaligned store", "store fault"};
    odl_put_string("odl: trap: ");
    odl_put_string(cause < sizeof names / sizeof names[0] ? names[cause] : "unexpected cause");
    odl_put_string(", hart ");
    odl_put_hex(hart);
    odl_put_string(", pc ");
    odl_put_hex(pc);
    odl_put_string(", value ");
    odl_put_hex(value);
    odl_put_string("\n");
    odl_exit(TRAP_STATUS);
}
