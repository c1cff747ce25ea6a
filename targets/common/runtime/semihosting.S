# uint32_t odl_host(uint32_t operation, const void *argument): the three instructions must be uncompressed and in one
# page (RISC-V semihosting specification).
    .section .text.odl_host, "ax"
    .option norvc
    .balign 16
    .globl odl_host
    .type odl_host, @function
odl_host:
    slli x0, x0, 0x1f
    ebreak
    srai x0, x0, 7
    ret
    .size odl_host, . - odl_host
