	-Iisa -Ihost -I.

HEADERS = net.h net_private.h net_state.h $(wildcard isa/*.h) $(wildcard host/*.h) net_kernels.h

# The network for a machine of yours: `make libnet.a CC=… AR=… CFLAGS="-mcpu=… -DODL_ISA_…"`. What the library needs in
# return is in runtime/odl_runtime.h; the dialects that ODL_ISA_… may name are in isa/odl_isa.h.
EXPORT = -std=c11 -O3 $(WARNINGS) -ffp-contract=off -fno-math-errno -fno-strict-aliasing -Iisa -Iruntime -I.

libnet.a: $(patsubst %,build/%.o,$(NETWORK))
	rm -f $@
	$(AR) rcs $@ $^

build/%.o: % $(HEADERS) runtime/odl_runtime.h
	@mkdir -p $(dir $@)
	$(CC) $(EXPORT) $(CFLAGS) -c $< -o $@

	rm -f example net_exact.so net_fast.so libnet.a
	rm -rf build
