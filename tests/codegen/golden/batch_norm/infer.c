/* 1: BatchNorm 1x5x4x4 -> 1x5x4x4 */
static void net_infer_1_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const n0 = NET_AT(odl_f16, 2284u);
    odl_f32 *const n1_weight = NET_AT(odl_f32, 216u);
    odl_f32 *const n1_bias = NET_AT(odl_f32, 232u);
    odl_f32 *const n1_running_mean = NET_AT(odl_f32, 2132u);
    odl_f32 *const n1_running_var = NET_AT(odl_f32, 2148u);
    odl_f16 *const relu = NET_AT(odl_f16, 2284u);
    net_batch_norm_frozen_p_f32_t_f16(&channel_shape_1, n0, n1_weight, n1_bias, n1_running_mean,
                                      n1_running_var, relu, 1e-05f, 0.0f, INFINITY, core, cores);
    odl_barrier();
}

