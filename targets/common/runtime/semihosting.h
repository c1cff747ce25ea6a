/* Calls to the host that simulates: RISC-V semihosting, whose operations are Arm's (Semihosting for AArch32
 * and AArch64, chapter 6). A debugger on a real board serves the same calls. */
#ifndef ODL_SEMIHOSTING_H
#define ODL_SEMIHOSTING_H

#include <stdint.h>

#define ODL_HOST_OPEN 0x01u
#define ODL_HOST_WRITE_STRING 0x04u
#define ODL_HOST_WRITE 0x05u
#define ODL_HOST_READ 0x06u
#define ODL_HOST_EXIT 0x20u

#define ODL_HOST_OPEN_READ 1u  /* "rb" */
#define ODL_HOST_OPEN_WRITE 5u /* "wb" */

/* The operation's result; `argument` is its block of parameters. */
uint32_t odl_host(uint32_t operation, const void *argument);

#endif
