"""Compiler flags for the C of a network: the project's Makefile, the tuner and the tests of kernels take them from here."""

from __future__ import annotations

STANDARD = ("-std=c11",)
#: Generated code has none of these; a compiler of tomorrow may see one, which must not stop somebody's build.
WARNINGS = ("-Wall", "-Wextra", "-Wconversion")

#: On the host, after standard and warnings. The arena is one byte array that kernels read and write as fp16 and fp32
#: numbers (-fno-strict-aliasing). The floating-point flags tell whether a step overflowed, so no operation may be
#: invented (-ftrapping-math), nor the rest of a wide register computed along with two floats (-fno-tree-slp-vectorize;
#: GCC bug 110762).
HOST = ("-fno-strict-aliasing", "-fno-math-errno", "-ftrapping-math", "-fno-tree-slp-vectorize")
#: The bits that a device computes; the lanes of its vectors are to be added.
EXACT = ("-O2", "-march=native", "-ffp-contract=off", "-DODL_ISA_HOST_EXACT")
#: The same algorithm for the host's own SIMD.
FAST = ("-O3", "-march=native", "-ffp-contract=fast", "-DODL_ISA_HOST_FAST")

#: On a device, after standard, optimisation and warnings.
OPTIMISED = ("-O3",)
DEVICE = ("-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing")


def makefile_flags() -> dict[str, str]:
    """The flags in a Makefile whose variable WARNINGS has the warnings."""
    device = (*STANDARD, *OPTIMISED, "$(WARNINGS)", *DEVICE)
    named = {
        "warnings": (*WARNINGS, "$(if $(WERROR),-Werror)"),
        "host_flags": (*STANDARD, "$(WARNINGS)", *HOST),
        "exact": EXACT,
        "fast": FAST,
        "device_code": device,
    }
    return {name: " ".join(flags) for name, flags in named.items()}
