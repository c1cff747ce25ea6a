/* --- fp16 working copies from the master weights --- */

/* weight.refresh: Refresh 3x4 */
static void net_weight_refresh(uint32_t core, uint32_t cores) {
    odl_f32 *const weight = NET_AT(odl_f32, 36u);
    odl_f16 *const weight_copy = NET_AT(odl_f16, 0u);
    net_cast_d_f16_s_f32(&flat_shape_1, weight, weight_copy, core, cores);
    odl_barrier();
}

static void run_refresh(uint32_t core, uint32_t cores) {
    /* This is all. */
    net_weight_refresh(core, cores);
}

/* Whether weights and statistics can be computed with, as they always can unless somebody else wrote them. */
static bool weights_are_sound(void) {
    for (size_t i = 0; i < sizeof initial_tensors / sizeof *initial_tensors; i++) {
        const uint8_t *const tensor = net_arena + initial_tensors[i].offset;
        const bool half = initial_tensors[i].largest < 0x8000u;
        for (uint32_t at = 0; at < initial_tensors[i].bytes; at += half ? 2u : 4u) {
            uint32_t bits = 0;
            memcpy(&bits, tensor + at, half ? 2u : 4u);
            if ((bits & (half ? 0x7fffu : 0x7fffffffu)) > initial_tensors[i].largest) {
                return false;
            }
        }
    }
    return true;
}

/* What a call is given; NET_WRONG_ORDER before net_init, which sets the loss scale. */
static net_status hand_in(const float *x, const float *target, const float *sample_weight) {
    memset(&given, 0, sizeof given);
    given.x = x;
    given.target = target;
    given.sample_weight = sample_weight;
    return net_state.loss_scale == 0.0f ? NET_WRONG_ORDER : NET_OK;
}

/* What the cores found. */
static net_status outcome(void) {
    if (given.refused == 0) {
        return given.overflow != 0 ? NET_OVERFLOW : NET_OK;
    }
    if (given.bad_input != 0) {
        return NET_BAD_INPUT;
    }
    if (given.bad_target != 0) {
        return NET_BAD_TARGET;
    }
    if (given.bad_label != 0) {
        return NET_BAD_LABEL;
    }
    return NET_BAD_SAMPLE_WEIGHT;
}

/* The same of a call that changes no weight: an overflow may come from weights that somebody destroyed. */
static net_status explained_outcome(void) {
    return given.overflow != 0 && !weights_are_sound() ? NET_BAD_WEIGHTS : outcome();
}

