/* odl.in, all numbers 32 bits, little-endian:
 *   the number of variables to fill; for each its address and size, followed by its bytes
 *   the number of variables to return at the end; for each its address and size
 *   the number of watches; for each the mark, an address and a size
 * odl.out:
 *   for every mark its number and the count (64 bits), followed by what is watched at it, in odl.in's order
 *   0xfffffffd and the last count; the variables to return, in odl.in's order
 *
 * Called by core 0 only. No file is closed: GVSoC takes the handle itself as the argument of close, the
 * specification a block with it, and the end of the run closes both. */
#include "exchange.h"
#include "odl_runtime.h"
#include "semihosting.h"

#define LAST_MARK 0xfffffffdu
#define MAX_VARIABLES 16u
#define MAX_WATCHES 4096u
#define MAX_MARKS 128u

struct region {
    uint32_t address, bytes;
};

static struct region returned[MAX_VARIABLES];
static struct {
    uint32_t mark;
    struct region region;
} watches[MAX_WATCHES];
static uint32_t returned_count, watch_count, output;

/* Marks not yet written: a call of the host takes far longer than a mark should. */
static struct {
    uint32_t id, count_low, count_high;
} marks[MAX_MARKS];
static uint32_t mark_count;

/* What marks count: a cluster's cycles, modulo 2^32, or the instructions of all harts. */
static uint64_t count(void) {
#ifdef ODL_TARGET_GVSOC
    return odl_cycles();
#else
    return odl_instructions();
#endif
}

static uint32_t open(const char *name, uint32_t length, uint32_t mode) {
    const uint32_t arguments[] = {(uint32_t)(uintptr_t)name, mode, length};
    return odl_host(ODL_HOST_OPEN, arguments);
}

static void need(uint32_t holds, const char *otherwise) {
    if (!holds) {
        odl_put_string(otherwise);
        odl_exit(0x7d);
    }
}

static void read(uint32_t file, uint32_t address, uint32_t bytes) {
    const uint32_t arguments[] = {file, address, bytes};
    need(odl_host(ODL_HOST_READ, arguments) == 0u, "odl: odl.in ends too early\n");
}

static uint32_t read_word(uint32_t file) {
    uint32_t word;
    read(file, (uint32_t)(uintptr_t)&word, sizeof word);
    return word;
}

static struct region read_region(uint32_t file) {
    struct region region;
    read(file, (uint32_t)(uintptr_t)&region, sizeof region);
    return region;
}

static void write(struct region region) {
    const uint32_t arguments[] = {output, region.address, region.bytes};
    need(odl_host(ODL_HOST_WRITE, arguments) == 0u, "odl: cannot write odl.out\n");
}

static void write_marks(void) {
    if (mark_count != 0u) {
        write((struct region){(uint32_t)(uintptr_t)marks, mark_count * (uint32_t)sizeof marks[0]});
        mark_count = 0;
    }
}

void odl_receive(void) {
    const uint32_t file = open("odl.in", 6, ODL_HOST_OPEN_READ);
    if (file == UINT32_MAX) {
        return;
    }
    for (uint32_t left = read_word(file); left > 0u; left--) {
        const struct region region = read_region(file);
        read(file, region.address, region.bytes);
    }
    returned_count = read_word(file);
    need(returned_count <= MAX_VARIABLES, "odl: odl.in asks for too many variables\n");
    for (uint32_t i = 0; i < returned_count; i++) {
        returned[i] = read_region(file);
    }
    watch_count = read_word(file);
    need(watch_count <= MAX_WATCHES, "odl: odl.in has too many watches\n");
    for (uint32_t i = 0; i < watch_count; i++) {
        watches[i].mark = read_word(file);
        watches[i].region = read_region(file);
    }
    output = open("odl.out", 7, ODL_HOST_OPEN_WRITE);
    need(output != UINT32_MAX, "odl: cannot write odl.out\n");
}

void odl_mark(uint32_t id) {
    const uint64_t now = count();
    if (output == 0u) {
        return;
    }
    marks[mark_count].id = id;
    marks[mark_count].count_low = (uint32_t)now;
    marks[mark_count].count_high = (uint32_t)(now >> 32);
    mark_count++;
    if (mark_count == MAX_MARKS) {
        write_marks();
    }
    for (uint32_t i = 0; i < watch_count; i++) {
        if (watches[i].mark == id) {
            write_marks();
            write(watches[i].region);
        }
    }
}

void odl_send(void) {
    odl_mark(LAST_MARK);
    if (output != 0u) {
        write_marks();
        for (uint32_t i = 0; i < returned_count; i++) {
            write(returned[i]);
        }
    }
}
