/* Exceptions: one line, and the end of the run. */
#include "odl_runtime.h"

#define TRAP_STATUS 0x7eu

static const char *name(uint32_t cause) {
#if defined(ODL_TARGET_GVSOC)
    (void)cause; /* its model of the core gives the same for every exception */
    return "exception";
#else
    static const char *const names[] = {"misaligned fetch", "fetch fault",     "illegal instruction",
                                        "breakpoint",       "misaligned load", "load fault",
                                        "misaligned store", "store fault",     "system call"};
    return cause < sizeof names / sizeof names[0] ? names[cause] : "unexpected cause";
#endif
}

_Noreturn void odl_trap(uint32_t hart, uint32_t cause, uint32_t pc);
_Noreturn void odl_trap(uint32_t hart, uint32_t cause, uint32_t pc) {
    odl_put_string("odl: trap: ");
    odl_put_string(name(cause));
    odl_put_string(", core ");
    odl_put_unsigned(hart & 0x1fu);
    odl_put_string(", pc ");
    odl_put_hex(pc);
    odl_put_string("\n");
    odl_exit(TRAP_STATUS);
}
