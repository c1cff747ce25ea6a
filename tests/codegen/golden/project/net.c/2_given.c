/* --- what the caller hands in --- */

static struct {
    const float *x, *target, *sample_weight;
} given;

/* A core's share of the input, into the arena. */
static void set_input(odl_f16 *x, uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(NET_INPUT_SIZE, core + 1, cores);
    for (uint32_t i = odl_share_begin(NET_INPUT_SIZE, core, cores); i < end; i++) {
        odl_store_f16(&x[i], given.x[i]);
    }
}

/* A core's share of the targets and of the samples' weights. */
static void set_targets(uint32_t core, uint32_t cores) {
    float *const target = NET_AT(float, 88u);
    float *const weights = NET_AT(float, 84u);
    uint32_t begin = odl_share_begin(NET_TARGET_SIZE, core, cores);
    uint32_t end = odl_share_begin(NET_TARGET_SIZE, core + 1, cores);
    memcpy(target + begin, given.target + begin, (end - begin) * sizeof(float));
    begin = odl_share_begin(NET_BATCH, core, cores);
    end = odl_share_begin(NET_BATCH, core + 1, cores);
    for (uint32_t i = begin; i < end; i++) {
        weights[i] = given.sample_weight == NULL ? 1.0f : given.sample_weight[i];
    }
}

