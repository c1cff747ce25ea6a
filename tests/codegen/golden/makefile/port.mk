# CFLAGS are added to each compiler call, behind all others; WERROR=1 makes warnings errors. DEBUG=OBSERVE, MARKS or PUBLISH
	-Iisa -Ihost -I.

HEADERS = $(wildcard *.h isa/*.h host/*.h) $(if $(DEBUG),net.c)

# The network for a machine of yours: `make libnet.a CC=… AR=… CFLAGS="-mcpu=… -DODL_ISA_…"`. What the library needs in
# return is in runtime/odl_runtime.h; the dialects that ODL_ISA_… may name are in isa/odl_isa.h.
# FREESTANDING=1: without a C library, by what stands in the folder freestanding.
EXPORT = -std=c11 -O3 $(WARNINGS) -ffp-contract=off -fno-math-errno -fno-strict-aliasing $(if $(FREESTANDING),-ffreestanding -Ifreestanding/include) -Iisa -Iruntime -I.
EXPORTED = $(NETWORK) $(if $(FREESTANDING),freestanding/string.c)

libnet.a: $(patsubst %,build/%.o,$(EXPORTED))

build/%.o: % $(HEADERS) runtime/odl_runtime.h
	$(CC) $(EXPORT) $(DEBUG_FLAGS) $(CFLAGS) -c $< -o $@

	rm -f example $(EXAMPLES) examples/firmware_cpp libnet_host.a net_exact.so net_fast.so libnet.a
