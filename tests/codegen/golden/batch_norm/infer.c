    /* 1: BatchNorm 1x5x4x4 -> 1x5x4x4 */
    net_batch_norm_frozen_p_f32_t_f16(&channel_shape_1, n0, n1_weight, n1_bias, n1_running_mean,
                                      n1_running_var, relu, 1e-05f, 0.0f, INFINITY, core, cores);
    NET_DONE(3u, 1u);

