/* Measures what every rule of the cluster costs. Core 0 writes results[]; the order is that of
 * test_timing.py. */
#include "odl_runtime.h"

enum {
    ONE_BANK,  /* cycles of 64 loads, all cores on one bank */
    OWN_BANKS, /* the same, every core on its own bank */
    FROM_L2,   /* the same by core 0 alone from L2 */
    BARRIER,   /* cycles of 16 barriers, all cores arriving together */
    MACS,      /* cycles of 256 iterations of macs() by core 0 alone */
    MACS_ALL,  /* by all cores at once, longest */
    DMA_IN,    /* DMA_BYTES from L2 to L1 */
    DMA_OUT,
    DMA_BOTH,      /* both directions at once */
    DMA_COMPETING, /* to L1 while the other cores load from every bank */
    DMA_2D,        /* lines of 32 bytes */
    DMA_TRAIN,     /* in 8 transfers */
    DIVIDE,        /* cycles of 64 divisions by core 0 alone */
    FITS,          /* 8 × 256 instructions: 256-byte loop, 32 times */
    SHARED,        /* 1 KiB loop, 8 times */
    LARGE,         /* 8 KiB loop, once after once for warming up */
    RESULTS
};

#define DMA_BYTES 8192u

void loads_64(const uint32_t *p);
void loads_128(const uint32_t *p);
void straight_64(uint32_t n);
void straight_256(uint32_t n);
void straight_2048(uint32_t n);
void macs(const uint32_t *x, const uint32_t *y, uint32_t n);
void busy_loads(const uint32_t *p, uint32_t n);
void divides(float a, float b, uint32_t n);

uint32_t results[RESULTS];
uint32_t dma_errors;
ODL_L1 __attribute__((aligned(64))) uint32_t words[DMA_BYTES / 4];
ODL_L1 __attribute__((aligned(64))) uint32_t more_words[DMA_BYTES / 4];
__attribute__((aligned(64))) uint32_t source[DMA_BYTES / 4];
__attribute__((aligned(64))) uint32_t target[DMA_BYTES / 4];
ODL_L1 uint32_t longest[16];

/* Twice 64 accesses less once 64, so that the measurement itself drops out. */
static uint32_t loads(const uint32_t *p) {
    loads_64(p);
    loads_128(p);
    odl_barrier();
    const uint32_t t0 = odl_cycles();
    loads_64(p);
    const uint32_t t1 = odl_cycles();
    odl_barrier();
    const uint32_t t2 = odl_cycles();
    loads_128(p);
    const uint32_t t3 = odl_cycles();
    odl_barrier();
    return t3 - t2 - (t1 - t0);
}

static uint32_t time_macs(const uint32_t *x) {
    macs(x, x, 4);
    odl_barrier();
    const uint32_t t0 = odl_cycles();
    macs(x, x, 256);
    const uint32_t t1 = odl_cycles();
    macs(x, x, 512);
    const uint32_t t2 = odl_cycles();
    return t2 - t1 - (t1 - t0);
}

static uint32_t largest(uint32_t value) {
    longest[odl_core_id()] = value;
    odl_barrier();
    uint32_t most = 0;
    for (uint32_t i = 0; i < odl_core_count(); i++) {
        most = longest[i] > most ? longest[i] : most;
    }
    odl_barrier();
    return most;
}

static void check(const uint32_t *p, uint32_t first) {
    for (uint32_t i = 0; i < DMA_BYTES / 4; i++) {
        dma_errors += p[i] != first + i;
    }
}

static void fill(uint32_t *p, uint32_t first) {
    for (uint32_t i = 0; i < DMA_BYTES / 4; i++) {
        p[i] = first + i;
    }
}

static void dma_alone(void) {
    fill(source, 1000);
    for (int warm = 0; warm < 2; warm++) { /* the second time with the code in the cache */
        uint32_t t0 = odl_cycles();
        odl_dma_wait(odl_dma_to_l1(words, source, DMA_BYTES));
        results[DMA_IN] = odl_cycles() - t0;
        check(words, 1000);

        fill(words, 2000);
        t0 = odl_cycles();
        odl_dma_wait(odl_dma_to_l2(target, words, DMA_BYTES));
        results[DMA_OUT] = odl_cycles() - t0;
        check(target, 2000);

        fill(more_words, 3000);
        t0 = odl_cycles();
        const odl_dma_handle in = odl_dma_to_l1(words, source, DMA_BYTES);
        const odl_dma_handle out = odl_dma_to_l2(target, more_words, DMA_BYTES);
        odl_dma_wait(in);
        odl_dma_wait(out);
        results[DMA_BOTH] = odl_cycles() - t0;
        check(words, 1000);
        check(target, 3000);

        /* Every other line of 32 bytes */
        t0 = odl_cycles();
        odl_dma_wait(odl_dma_to_l1_2d(words, source, DMA_BYTES / 2, 32, 64));
        results[DMA_2D] = odl_cycles() - t0;
        for (uint32_t i = 0; i < DMA_BYTES / 8; i++) {
            dma_errors += words[i] != 1000 + i / 8 * 16 + i % 8;
        }

        t0 = odl_cycles();
        odl_dma_handle handles[8];
        for (uint32_t i = 0; i < 8; i++) {
            handles[i] =
                odl_dma_to_l1(words + i * DMA_BYTES / 32, source + i * DMA_BYTES / 32, DMA_BYTES / 8);
        }
        for (uint32_t i = 0; i < 8; i++) {
            odl_dma_wait(handles[i]);
        }
        results[DMA_TRAIN] = odl_cycles() - t0;
        check(words, 1000);
    }
    /* Any alignment, both ways, 1D and 2D */
    for (uint32_t i = 0; i < 24; i++) {
        const uint32_t bytes = 5 + 3 * i;
        uint8_t *to = (uint8_t *)words + i;
        const uint8_t *from = (const uint8_t *)source + 2 * i + 1;
        const uint8_t before = to[-1 + (int)(i == 0)];
        const uint8_t after = to[bytes];
        odl_dma_wait(odl_dma_to_l1(to, from, bytes));
        for (uint32_t k = 0; k < bytes; k++) {
            dma_errors += to[k] != from[k];
        }
        dma_errors += i != 0 && to[-1] != before;
        dma_errors += to[bytes] != after;
        uint8_t *back = (uint8_t *)target + 7 * i + 3;
        odl_dma_wait(odl_dma_to_l2_2d(back, to, bytes, 3, 5));
        for (uint32_t k = 0; k < bytes; k++) {
            dma_errors += back[k / 3 * 5 + k % 3] != to[k];
        }
    }
}

static void dma_competing(uint32_t core) {
    for (int warm = 0; warm < 2; warm++) {
        odl_barrier();
        if (core == 0) {
            const uint32_t t0 = odl_cycles();
            odl_dma_wait(odl_dma_to_l1(words, source, DMA_BYTES));
            results[DMA_COMPETING] = odl_cycles() - t0;
        } else {
            busy_loads(more_words + core, 400);
        }
    }
    odl_barrier();
}

static void instruction_cache(void) {
    straight_64(2);
    uint32_t t0 = odl_cycles();
    straight_64(32);
    results[FITS] = odl_cycles() - t0;
    straight_256(2);
    t0 = odl_cycles();
    straight_256(8);
    results[SHARED] = odl_cycles() - t0;
    straight_2048(1);
    t0 = odl_cycles();
    straight_2048(1);
    results[LARGE] = odl_cycles() - t0;
}

static void program(uint32_t core, uint32_t cores) {
    (void)cores;
    uint32_t cycles = largest(loads(words));
    results[ONE_BANK] = cycles;
    cycles = largest(loads(words + core));
    results[OWN_BANKS] = cycles;
    for (int warm = 0; warm < 2; warm++) {
        odl_barrier();
        const uint32_t t0 = odl_cycles();
        for (int i = 0; i < 4; i++) {
            odl_barrier();
            odl_barrier();
            odl_barrier();
            odl_barrier();
        }
        results[BARRIER] = odl_cycles() - t0;
    }
    cycles = largest(time_macs(words + 2 * core));
    results[MACS_ALL] = cycles;
    odl_barrier();
    if (core == 0) {
        uint32_t t0 = odl_cycles();
        loads_64(source);
        const uint32_t t1 = odl_cycles();
        loads_128(source);
        results[FROM_L2] = odl_cycles() - t1 - (t1 - t0);
        macs(words, words, 4);
        t0 = odl_cycles();
        macs(words, words, 256);
        const uint32_t t2 = odl_cycles();
        macs(words, words, 512);
        results[MACS] = odl_cycles() - t2 - (t2 - t0);
        divides(3.0f, 7.0f, 4);
        t0 = odl_cycles();
        divides(3.0f, 7.0f, 64);
        results[DIVIDE] = odl_cycles() - t0;
        dma_alone();
        instruction_cache();
    }
    dma_competing(core);
}

int main(void) {
    odl_parallel(program);
    return 0;
}
