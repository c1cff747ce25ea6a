/* 1: BatchNorm 1x5x4x4 -> 1x5x4x4 */
static void net_1_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const n0 = NET_AT(odl_f16, 2340u);
    odl_f32 *const n1_weight = NET_AT(odl_f32, 216u);
    odl_f32 *const n1_bias = NET_AT(odl_f32, 232u);
    odl_f32 *const n1_running_mean_next = NET_AT(odl_f32, 2500u);
    odl_f32 *const n1_running_var_next = NET_AT(odl_f32, 2164u);
    odl_f16 *const relu = NET_AT(odl_f16, 2708u);
    odl_f32 *const n1_1 = NET_AT(odl_f32, 2688u);
    odl_f32 *const n1_2 = NET_AT(odl_f32, 2868u);
    net_batch_norm_train_p_f32_t_f16(&channel_shape_1, n0, n1_weight, n1_bias, n1_running_mean_next,
                                     n1_running_var_next, relu, n1_1, n1_2, 0.1f, 1e-05f, 0.0f, INFINITY,
                                     core, cores);
    odl_barrier();
}

/* 1.input_gradient: BatchNormGradient 1x5x4x4 -> 1x5x4x4 */
static void net_1_input_gradient(uint32_t core, uint32_t cores) {
    odl_f16 *const threshold_backward = NET_AT(odl_f16, 2528u);
    odl_f16 *const n0 = NET_AT(odl_f16, 2340u);
    odl_f32 *const n1_weight = NET_AT(odl_f32, 216u);
    odl_f32 *const n1_1 = NET_AT(odl_f32, 2688u);
    odl_f32 *const n1_2 = NET_AT(odl_f32, 2868u);
    odl_f16 *const n1_input_gradient = NET_AT(odl_f16, 2528u);
    odl_f32 *const n1_weight_gradient = NET_AT(odl_f32, 2180u);
    odl_f32 *const n1_bias_gradient = NET_AT(odl_f32, 2196u);
    net_batch_norm_train_gradient_g_f32_p_f32_t_f16(&channel_shape_1, threshold_backward, n0, n1_weight, n1_1,
                                                    n1_2, n1_input_gradient, n1_weight_gradient,
                                                    n1_bias_gradient, core, cores);
    odl_barrier();
}

