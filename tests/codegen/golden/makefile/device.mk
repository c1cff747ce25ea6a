# The program for a cluster of CV32E40P cores with packed FP16. CLANG and LLD: version 18 or later, of one release.
CLANG = clang
LLD = ld.lld
DEVICE = -std=c11 -O3 $(WARNINGS) -ffp-contract=off -fno-math-errno -fno-strict-aliasing --target=riscv32-unknown-elf -march=rv32imc_zfinx_zhinx_xcvmem_xcvalu_xcvsimd_xcvmac -mabi=ilp32 -ffreestanding -nostdlib -fno-common -ffunction-sections -fdata-sections -mno-relax -DODL_TARGET_CV32E40P -DODL_CORES=8 -DODL_CONTROLLER=0 -DODL_ISA_XCV -Iisa -Iruntime -Iruntime/include -I.
DEVICE_LINK = -T runtime/link.ld --gc-sections --no-relax
DEVICE_SOURCES = device.c $(NETWORK) $(sort $(wildcard runtime/*.c) $(wildcard runtime/*.S))
DEVICE_OBJECTS = $(patsubst %,build/%.o,$(DEVICE_SOURCES))

device: net.elf

net.elf: $(DEVICE_OBJECTS) runtime/link.ld
	$(LLD) $(DEVICE_LINK) $(DEVICE_OBJECTS) -o $@

build/%.o: % $(HEADERS) $(wildcard runtime/*.h)
	$(CLANG) $(DEVICE) $(DEBUG_FLAGS) $(CFLAGS) -c $< -o $@

print-device:
	@echo $(DEVICE) $(DEBUG_FLAGS) $(CFLAGS)
	@echo $(DEVICE_SOURCES)
	@echo $(DEVICE_LINK)

	rm -f example $(EXAMPLES) examples/firmware_cpp libnet_host.a net_exact.so net_fast.so net.elf

.PHONY: run examples libraries print-exact print-fast device print-device clean
