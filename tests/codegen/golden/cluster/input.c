/* --- what the caller hands in --- */

static struct {
    const float *x, *target, *sample_weight;
} given;

/* Elements of the input that are converted at a time. */
#define NET_INPUT_BLOCK 16u

static uint32_t input_left(uint32_t begin) {
    return NET_INPUT_SIZE - begin < NET_INPUT_BLOCK ? NET_INPUT_SIZE - begin : NET_INPUT_BLOCK;
}

static void fetch_input(float *to, uint32_t begin) {
    begin_transfer();
    fetches[0] |= 1u << odl_dma_to_l1(to, given.x + begin, input_left(begin) * (uint32_t)sizeof *to);
}

/* The input, into the arena by way of L1, which holds nothing else yet; the next block comes while one is
   converted. */
static void set_input(odl_f16 *x, uint32_t core, uint32_t cores) {
    float *const block = NET_L1(float, 0u);
    odl_f16 *const made = NET_L1(odl_f16, 16u);
    if (core == 0) {
        fetch_input(block, 0);
    }
    for (uint32_t begin = 0, odd = 0; begin < NET_INPUT_SIZE; begin += NET_INPUT_BLOCK, odd = 1 - odd) {
        const uint32_t count = input_left(begin), lanes = ODL_LANES_f16;
        const uint32_t vectors = count / lanes;
        const uint32_t end = odl_share_begin(vectors, core + 1, cores) * lanes;
        const float *const from = block + odd * NET_INPUT_BLOCK;
        odl_f16 *const to = made + odd * NET_INPUT_BLOCK;
        if (core == 0) {
            wait_for(&fetches[0]);
            if (count < NET_INPUT_SIZE - begin) {
                fetch_input(block + (1 - odd) * NET_INPUT_BLOCK, begin + NET_INPUT_BLOCK);
            }
        }
        odl_barrier();
        for (uint32_t i = odl_share_begin(vectors, core, cores) * lanes; i < end; i += lanes) {
            odl_put_f16_f16(&to[i], odl_get_f16_f32(&from[i]));
        }
        for (uint32_t i = vectors * lanes; core == 0 && i < count; i++) {
            odl_store_f16(&to[i], from[i]);
        }
        odl_barrier();
        if (core == 0) {
            wait_for(&stores); /* of the block before */
            begin_transfer();
            stores |= 1u << odl_dma_to_l2(x + begin, to, count * (uint32_t)sizeof *to);
        }
    }
    if (core == 0) {
        wait_for(&stores);
    }
}

/* A core's share of the targets and of the samples' weights. */
static void set_targets(uint32_t core, uint32_t cores) {
    float *const target = NET_AT(float, 36u);
    float *const weights = NET_AT(float, 32u);
    uint32_t begin = odl_share_begin(NET_TARGET_SIZE, core, cores);
    uint32_t end = odl_share_begin(NET_TARGET_SIZE, core + 1, cores);
    memcpy(target + begin, given.target + begin, (end - begin) * sizeof(float));
    begin = odl_share_begin(NET_BATCH, core, cores);
    end = odl_share_begin(NET_BATCH, core + 1, cores);
    for (uint32_t i = begin; i < end; i++) {
        weights[i] = given.sample_weight == NULL ? 1.0f : given.sample_weight[i];
    }
}

