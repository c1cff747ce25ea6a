/* --- one training step --- */

/* addmm: Linear 1x4 -> 1x3, 12 MACs */
static void net_linear_forward(uint32_t core, uint32_t cores) {
    if (core == 0) {
        fetch(0u, 114664u, 0u, 24u); /* weight */
        fetch(0u, 114656u, 48u, 8u); /* x */
        fetch(0u, 114648u, 24u, 6u); /* bias */
        wait_for(&fetches[0]);
    }
    odl_barrier();
    if (core == 0) {
        fetch(1u, 114628u, 36u, 12u); /* target */
        fetch(1u, 114616u, 32u, 4u);  /* sample_weight */
    }
    odl_f16 *const x = NET_L1(odl_f16, 114656u);
    odl_f16 *const weight = NET_L1(odl_f16, 114664u);
    odl_f16 *const bias = NET_L1(odl_f16, 114648u);
    odl_f16 *const addmm = NET_L1(odl_f16, 114640u);
    net_conv2d_forward_p_f16_t_f16_tile_channels_1_tile_pixels_1(&conv2d_shape_1, x, weight, bias, NULL,
                                                                 addmm, -INFINITY, INFINITY, core, cores);
    if (core == 0) {
        wait_for(&fetches[1]);
    }
    odl_barrier();
}

/* loss: CrossEntropy 1x3 -> 1 */
static void net_cross_entropy_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const addmm = NET_L1(odl_f16, 114640u);
    odl_f32 *const target = NET_L1(odl_f32, 114628u);
    odl_f32 *const sample_weight = NET_L1(odl_f32, 114616u);
    odl_f32 *const loss = NET_L1(odl_f32, 114612u);
    odl_f16 *const output_gradient = NET_L1(odl_f16, 114620u);
    net_cross_entropy_t_f16(&classes_shape_1, addmm, target, sample_weight, loss, output_gradient,
                            net_state.loss_scale, core, cores);
    if (core == 0 && !isfinite(*loss)) {
        given.overflow = 1; /* a NaN that came from outside raises no flag */
    }
    odl_barrier();
}

/* bias.gradient: ChannelSum 1x3 -> 3 */
static void net_bias_gradient(uint32_t core, uint32_t cores) {
    if (core == 0) {
        store(114612u, 56u, 4u); /* loss */
    }
    odl_f16 *const output_gradient = NET_L1(odl_f16, 114620u);
    odl_f16 *const bias_gradient = NET_L1(odl_f16, 114604u);
    net_channel_sum_g_f16_t_f16(&channel_shape_1, output_gradient, bias_gradient, core, cores);
    odl_barrier();
}

/* weight.gradient: LinearWeightGradient 1x4 -> 3x4, 12 MACs */
static void net_weight_gradient(uint32_t core, uint32_t cores) {
    odl_f16 *const x = NET_L1(odl_f16, 114656u);
    odl_f16 *const output_gradient = NET_L1(odl_f16, 114620u);
    odl_f16 *const weight_gradient = NET_L1(odl_f16, 114580u);
    net_conv2d_weight_gradient_g_f16_p_f16_t_f16_tile_channels_4_tile_inputs_4(
        &conv2d_shape_1, x, output_gradient, weight_gradient, core, cores);
    odl_barrier();
}

/* weight.update: SgdUpdate 3x4 */
static void net_weight_update(uint32_t core, uint32_t cores, bool counts) {
    odl_f16 *const weight = NET_L1(odl_f16, 114664u);
    odl_f16 *const weight_gradient = NET_L1(odl_f16, 114580u);
    if (counts) {
        net_sgd_g_f16_w_f16(&flat_shape_1, weight, weight_gradient, net_state.learning_rate,
                            net_state.gradient_factor, core, cores);
    }
    odl_barrier();
}

/* bias.update: SgdUpdate 3 */
static void net_bias_update(uint32_t core, uint32_t cores, bool counts) {
    if (core == 0) {
        store(114664u, 0u, 24u); /* weight */
    }
    odl_f16 *const bias = NET_L1(odl_f16, 114648u);
    odl_f16 *const bias_gradient = NET_L1(odl_f16, 114604u);
    if (counts) {
        net_sgd_g_f16_w_f16(&flat_shape_2, bias, bias_gradient, net_state.learning_rate,
                            net_state.gradient_factor, core, cores);
    }
    odl_barrier();
}

static void run_step(uint32_t core, uint32_t cores) {
    odl_overflow_clear();
    set_targets(core, cores);
    set_input(NET_AT(odl_f16, 48u), core, cores);
    odl_barrier();
    if (given.refused != 0) {
        return;
    }

    net_linear_forward(core, cores);
    net_cross_entropy_forward(core, cores);
    net_bias_gradient(core, cores);
    net_weight_gradient(core, cores);

    /* All that is computed is complete. What outlives the step changes where no core saw an overflow. */
    if (odl_overflow_seen()) {
        given.overflow = 1; /* every core writes the same */
    }
    odl_barrier();
    const bool counts = given.overflow == 0;
    if (core == 0 && counts) {
        prepare_update(1);
    }
    odl_barrier();

    net_weight_update(core, cores, counts);
    net_bias_update(core, cores, counts);

    if (core == 0) {
        store(114648u, 24u, 6u); /* bias */
        wait_for(&stores);
    }
    odl_barrier();
    if (counts && odl_overflow_seen()) {
        given.update_overflow = 1;
    }
}

