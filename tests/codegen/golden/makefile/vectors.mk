# exact: the bits that every device with 8-lane fp16 SIMD computes.
EXACT = -O2 -march=native -ffp-contract=off -DODL_ISA_HOST_EXACT -DODL_LANES_F16=8 -DODL_LANES_F32=4

# The program for standard RISC-V on QEMU. CLANG and LLD: version 18 or later, of one release.
DEVICE = -std=c11 -O3 $(WARNINGS) -ffp-contract=off -fno-math-errno -fno-strict-aliasing --target=riscv32-unknown-elf -march=rv32imafc_zfh_zve32f_zvfh_zvl128b -mabi=ilp32f -ffreestanding -nostdlib -fno-common -ffunction-sections -fdata-sections -mno-relax -ffp-exception-behavior=maytrap -DODL_CORES=1 -DODL_ISA_RVV -Iisa -Iruntime -Iruntime/include -I.
