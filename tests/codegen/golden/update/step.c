/* --- one training step --- */

/* addmm: Linear 1x4 -> 1x3, 12 MACs */
static void net_linear_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const x = NET_AT(odl_f16, 56u);
    odl_f16 *const weight = NET_AT(odl_f16, 0u);
    odl_f16 *const bias = NET_AT(odl_f16, 24u);
    odl_f16 *const addmm = NET_AT(odl_f16, 44u);
    net_conv2d_forward_p_f16_t_f16_tile_channels_4_tile_pixels_4(&conv2d_shape_1, x, weight, bias, NULL,
                                                                 addmm, -INFINITY, INFINITY, core, cores);
    odl_barrier();
}

/* loss: CrossEntropy 1x3 -> 1 */
static void net_cross_entropy_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const addmm = NET_AT(odl_f16, 44u);
    odl_f32 *const target = NET_AT(odl_f32, 32u);
    odl_f32 *const sample_weight = NET_AT(odl_f32, 52u);
    odl_f32 *const loss = NET_AT(odl_f32, 80u);
    odl_f16 *const output_gradient = NET_AT(odl_f16, 72u);
    net_cross_entropy_t_f16(&classes_shape_1, addmm, target, sample_weight, loss, output_gradient,
                            net_state.loss_scale, core, cores);
    if (core == 0 && !isfinite(*loss)) {
        given.overflow = 1; /* a NaN that came from outside raises no flag */
    }
    odl_barrier();
}

/* bias.gradient: ChannelSum 1x3 -> 3 */
static void net_bias_gradient(uint32_t core, uint32_t cores) {
    odl_f16 *const output_gradient = NET_AT(odl_f16, 72u);
    odl_f16 *const bias_gradient = NET_AT(odl_f16, 64u);
    net_channel_sum_g_f16_t_f16(&channel_shape_1, output_gradient, bias_gradient, core, cores);
    odl_barrier();
}

/* weight.gradient: LinearWeightGradient 1x4 -> 3x4, 12 MACs */
static void net_weight_gradient(uint32_t core, uint32_t cores) {
    odl_f16 *const x = NET_AT(odl_f16, 56u);
    odl_f16 *const output_gradient = NET_AT(odl_f16, 72u);
    odl_f16 *const weight_gradient = NET_AT(odl_f16, 32u);
    net_conv2d_weight_gradient_g_f16_p_f16_t_f16_tile_channels_4_tile_inputs_4(
        &conv2d_shape_1, x, output_gradient, weight_gradient, core, cores);
    odl_barrier();
}

/* weight.update: SgdUpdate 3x4 */
static void net_weight_update(uint32_t core, uint32_t cores, bool counts) {
    odl_f16 *const weight = NET_AT(odl_f16, 0u);
    odl_f16 *const weight_gradient = NET_AT(odl_f16, 32u);
    if (counts) {
        net_sgd_g_f16_w_f16(&flat_shape_1, weight, weight_gradient, net_state.learning_rate,
                            net_state.gradient_factor, core, cores);
    }
    odl_barrier();
}

/* bias.update: SgdUpdate 3 */
static void net_bias_update(uint32_t core, uint32_t cores, bool counts) {
    odl_f16 *const bias = NET_AT(odl_f16, 24u);
    odl_f16 *const bias_gradient = NET_AT(odl_f16, 64u);
    if (counts) {
        net_sgd_g_f16_w_f16(&flat_shape_2, bias, bias_gradient, net_state.learning_rate,
                            net_state.gradient_factor, core, cores);
    }
    odl_barrier();
}

static void run_step(uint32_t core, uint32_t cores) {
    odl_overflow_clear();
    set_targets(core, cores);
    set_input(NET_AT(odl_f16, 56u), core, cores);
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
    if (counts && odl_overflow_seen()) {
        given.update_overflow = 1;
    }
}

