/* --- one training step --- */

/* addmm: Linear 1x4 -> 1x3, 12 MACs */
static void net_linear_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const x = NET_AT(odl_f16, 100u);
    odl_f16 *const weight_copy = NET_AT(odl_f16, 0u);
    odl_f32 *const bias = NET_AT(odl_f32, 24u);
    odl_f16 *const addmm = NET_AT(odl_f16, 108u);
    net_conv2d_forward_p_f32_t_f16_chunk_64_chunked_tile_channels_4_tile_pixels_4(
        &conv2d_shape_1, x, weight_copy, bias, NULL, addmm, -INFINITY, INFINITY, core, cores);
    odl_barrier();
}

/* loss: CrossEntropy 1x3 -> 1 */
static void net_cross_entropy_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const addmm = NET_AT(odl_f16, 108u);
    odl_f32 *const target = NET_AT(odl_f32, 88u);
    odl_f32 *const sample_weight = NET_AT(odl_f32, 84u);
    odl_f32 *const loss = NET_AT(odl_f32, 124u);
    odl_f16 *const output_gradient = NET_AT(odl_f16, 116u);
    net_cross_entropy_t_f16(&classes_shape_1, addmm, target, sample_weight, loss, output_gradient,
                            net_state.loss_scale, core, cores);
    if (core == 0 && !isfinite(*loss)) {
        given.overflow = 1; /* a NaN that came from outside raises no flag */
    }
    odl_barrier();
}

/* weight.gradient: LinearWeightGradient 1x4 -> 3x4, 12 MACs */
static void net_weight_gradient(uint32_t core, uint32_t cores) {
    odl_f16 *const x = NET_AT(odl_f16, 100u);
    odl_f16 *const output_gradient = NET_AT(odl_f16, 116u);
    odl_f16 *const weight_gradient = NET_AT(odl_f16, 0u);
    net_conv2d_weight_gradient_g_f16_p_f32_t_f16_chunk_64_chunked_tile_channels_4_tile_inputs_4(
        &conv2d_shape_1, x, output_gradient, weight_gradient, core, cores);
    odl_barrier();
}

/* bias.gradient: ChannelSum 1x3 -> 3 */
static void net_bias_gradient(uint32_t core, uint32_t cores) {
    odl_f16 *const output_gradient = NET_AT(odl_f16, 116u);
    odl_f32 *const bias_gradient = NET_AT(odl_f32, 84u);
    net_channel_sum_g_f32_t_f16(&channel_shape_1, output_gradient, bias_gradient, core, cores);
    odl_barrier();
}

static void run_step(uint32_t core, uint32_t cores) {
    odl_overflow_clear();
    set_targets(core, cores);
    set_input(NET_AT(odl_f16, 100u), core, cores);
    odl_barrier();
    if (given.refused != 0) {
        return;
    }

    net_linear_forward(core, cores);
    net_cross_entropy_forward(core, cores);
    net_weight_gradient(core, cores);
    net_bias_gradient(core, cores);

    if (odl_overflow_seen()) {
        given.overflow = 1; /* every core writes the same */
    }
    odl_barrier();
}

