/* --- transfers between L2 and L1, all of them core 0's --- */

/* Transfers under way, a bit for each handle: into L1 in groups that are waited for together, and out of
   it. */
#define NET_GROUPS 4
NET_SECTION_TRANSFERS static _Alignas(4) uint32_t fetches[NET_GROUPS], stores, under_way;

static void wait_for(uint32_t *handles) {
    for (odl_dma_handle handle = 0; *handles != 0; handle++) {
        if ((*handles >> handle & 1u) != 0) {
            odl_dma_wait(handle);
            *handles &= ~(1u << handle);
            under_way--;
        }
    }
}

static void wait_for_fetches(void) {
    for (uint32_t group = 0; group < NET_GROUPS; group++) {
        wait_for(&fetches[group]);
    }
}

/* Makes room for one more transfer. */
static void begin_transfer(void) {
    if (under_way == ODL_DMA_MAX_TRANSFERS) {
        wait_for_fetches();
        wait_for(&stores);
        under_way = 0; /* where handles are not told apart */
    }
    under_way++;
}

/* `bytes` from the arena to L1. */
static void fetch(uint32_t group, uint32_t l1, uint32_t l2, uint32_t bytes) {
    begin_transfer();
    fetches[group] |= 1u << odl_dma_to_l1(net_l1 + l1, net_arena + l2, bytes);
}

static void store(uint32_t l1, uint32_t l2, uint32_t bytes) {
    begin_transfer();
    stores |= 1u << odl_dma_to_l2(net_arena + l2, net_l1 + l1, bytes);
}

/* The same for lines of `line` bytes that are `stride` bytes apart in the arena. */
static void fetch_lines(uint32_t group, uint32_t l1, uint32_t l2, uint32_t bytes, uint32_t line,
                        uint32_t stride) {
    begin_transfer();
    fetches[group] |= 1u << odl_dma_to_l1_2d(net_l1 + l1, net_arena + l2, bytes, line, stride);
}

static void store_lines(uint32_t l1, uint32_t l2, uint32_t bytes, uint32_t line, uint32_t stride) {
    begin_transfer();
    stores |= 1u << odl_dma_to_l2_2d(net_arena + l2, net_l1 + l1, bytes, line, stride);
}

