/* --- one training step --- */

static void run_step(uint32_t core, uint32_t cores) {
    odl_f16 *const x = NET_AT(odl_f16, 36u);
    odl_f16 *const weight = NET_AT(odl_f16, 0u);
    odl_f16 *const bias = NET_AT(odl_f16, 24u);
    odl_f16 *const addmm = NET_AT(odl_f16, 68u);
    odl_f32 *const target = NET_AT(odl_f32, 52u);
    odl_f32 *const sample_weight = NET_AT(odl_f32, 64u);
    odl_f32 *const loss = NET_AT(odl_f32, 32u);
    odl_f16 *const output_gradient = NET_AT(odl_f16, 44u);
    odl_f16 *const weight_gradient = NET_AT(odl_f16, 52u);
    odl_f16 *const bias_gradient = NET_AT(odl_f16, 36u);

    set_targets(core, cores);
    set_input(NET_AT(odl_f16, 36u), core, cores); /* what is beyond fp16 overflows */
    odl_barrier();

    /* addmm: Linear 1x4 -> 1x3, 12 MACs */
    net_conv2d_forward_p_f16_t_f16_tile_channels_4_tile_pixels_4(&conv2d_shape_1, x, weight, bias, NULL,
                                                                 addmm, -INFINITY, INFINITY, core, cores);
    NET_DONE(0u, 0u);

    /* loss: CrossEntropy 1x3 -> 1 */
    net_cross_entropy_t_f16(&classes_shape_1, addmm, target, sample_weight, loss, output_gradient,
                            net_state.loss_scale, core, cores);
    NET_DONE(0u, 1u);

    /* weight.gradient: LinearWeightGradient 1x4 -> 3x4, 12 MACs */
    net_conv2d_weight_gradient_g_f16_p_f16_t_f16_tile_channels_4_tile_inputs_4(
        &conv2d_shape_1, x, output_gradient, weight_gradient, core, cores);
    NET_DONE(0u, 2u);

    /* weight.update: SgdUpdate 3x4 */
    net_sgd_g_f16_w_f16(&flat_shape_1, weight, weight_gradient, net_state.learning_rate,
                        net_state.gradient_factor, core, cores);
    NET_DONE(0u, 3u);

    /* bias.gradient: ChannelSum 1x3 -> 3 */
    net_channel_sum_g_f16_t_f16(&channel_shape_1, output_gradient, bias_gradient, core, cores);
    NET_DONE(0u, 4u);

    /* bias.update: SgdUpdate 3 */
    net_sgd_g_f16_w_f16(&flat_shape_2, bias, bias_gradient, net_state.learning_rate,
                        net_state.gradient_factor, core, cores);
    NET_DONE(0u, 5u);
}

