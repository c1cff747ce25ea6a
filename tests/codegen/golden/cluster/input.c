/* --- what the caller hands in --- */

NET_SECTION_CALL static struct {
    const float *x, *target, *sample_weight;
    const uint32_t *label; /* where it is not NULL, instead of the target */
    /* A core sets to 1 what it finds. */
    uint32_t bad_input, bad_target, bad_label, bad_sample_weight, refused;
    uint32_t overflow, update_overflow;
} given;
_Static_assert(sizeof given == NET_SECTION_CALL_BYTES, "as net_memory.h says");

/* Notes a fault of what was handed in; every core that finds it writes the same. */
static void refuse(uint32_t *fault) {
    *fault = 1;
    given.refused = 1;
}

/* Stored numbers of 4 bytes in sum, or one number: in the signs, carries out of exponents of ones, NaN's and
   infinity's. */
static inline uint32_t exponents_of_ones(const odl_f16 *numbers, uint32_t bytes) {
    const uint32_t exponents = 0x7c007c00u, one = 0x04000400u;
    uint32_t word = 0;
    if (bytes == sizeof word) {
        __builtin_memcpy(&word, __builtin_assume_aligned(numbers, 4), sizeof word);
    } else {
        __builtin_memcpy(&word, numbers, sizeof *numbers);
    }
    return (word & exponents) + one;
}

/* Elements of the input that are converted at a time. */
#define NET_INPUT_BLOCK 16u

static uint32_t input_left(uint32_t begin) {
    const uint32_t left = NET_INPUT_SIZE - begin;
    return left < NET_INPUT_BLOCK ? left : NET_INPUT_BLOCK;
}

static void fetch_input(float *to, uint32_t begin) {
    begin_transfer();
    fetches[0] |= 1u << odl_dma_to_l1(to, given.x + begin, input_left(begin) * (uint32_t)sizeof *to);
}

/* The input, into the arena by way of L1, which holds nothing else yet; the next block comes while one is
   converted. */
static void set_input(odl_f16 *x, uint32_t core, uint32_t cores) {
    float *const block = NET_L1(float, 0u);
    uint32_t found = 0;
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
            for (uint32_t j = 0; j < lanes; j += 2u) {
                found |= exponents_of_ones(&to[i + j], 4u);
            }
        }
        for (uint32_t i = vectors * lanes; core == 0 && i < count; i++) {
            odl_store_f16(&to[i], from[i]);
            found |= exponents_of_ones(&to[i], (uint32_t)sizeof *to);
        }
        odl_barrier();
        if (core == 0) {
            wait_for(&stores); /* of the block before */
            begin_transfer();
            stores |= 1u << odl_dma_to_l2(x + begin, to, count * (uint32_t)sizeof *to);
        }
    }
    if ((found & 0x80008000u) != 0) {
        refuse(&given.bad_input);
    }
    if (core == 0) {
        wait_for(&stores);
    }
}

/* One sample's target probabilities. */
static void set_probabilities(float *target, const float *from) {
    const uint32_t classes = NET_TARGET_SIZE / NET_BATCH;
    float sum = 0.0f;
    bool sound = true;
    for (uint32_t c = 0; c < classes; c++) {
        sound = sound && from[c] >= 0.0f;
        sum += from[c];
        target[c] = from[c];
    }
    if (!sound || !(fabsf(sum - 1.0f) <= 0.001f)) {
        refuse(&given.bad_target);
    }
}

/* One sample's target where its class is known. */
static void set_label(float *target, uint32_t label) {
    const uint32_t classes = NET_TARGET_SIZE / NET_BATCH;
    for (uint32_t c = 0; c < classes; c++) {
        target[c] = c == label ? 1.0f : 0.0f;
    }
    if (label >= classes) {
        refuse(&given.bad_label);
    }
}

/* A core's share of the targets and of the samples' weights. */
static void set_targets(uint32_t core, uint32_t cores) {
    float *const target = NET_AT(float, 36u);
    float *const weights = NET_AT(float, 32u);
    const uint32_t begin = odl_share_begin(NET_BATCH, core, cores);
    const uint32_t end = odl_share_begin(NET_BATCH, core + 1, cores);
    for (uint32_t n = begin; n < end; n++) {
        const uint32_t row = n * (NET_TARGET_SIZE / NET_BATCH);
        if (given.label != NULL) {
            set_label(target + row, given.label[n]);
        } else {
            set_probabilities(target + row, given.target + row);
        }
    }
    for (uint32_t n = begin; n < end; n++) {
        weights[n] = given.sample_weight == NULL ? 1.0f : given.sample_weight[n];
        if (!isfinite(weights[n])) {
            refuse(&given.bad_sample_weight);
        }
    }
}

/* Advances what changes from one update to the next; its gradients are sums of `steps` steps. */
static void prepare_update(uint32_t steps) {
    net_state.gradient_factor = 1.0f / (net_state.loss_scale * (float)steps);
}

