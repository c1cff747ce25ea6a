    /* 1: BatchNorm 1x5x4x4 -> 1x5x4x4 */
    net_batch_norm_train_p_f32_t_f16(&channel_shape_1, n0, n1_weight, n1_bias, n1_running_mean_next,
                                     n1_running_var_next, relu, n1_1, n1_2, 0.1f, 1e-05f, 0.0f, INFINITY,
                                     core, cores);
    NET_DONE(0u, 3u);

    /* 1.input_gradient: BatchNormGradient 1x5x4x4 -> 1x5x4x4 */
    net_batch_norm_train_gradient_g_f32_p_f32_t_f16(&channel_shape_1, threshold_backward, n0, n1_weight, n1_1,
                                                    n1_2, n1_input_gradient, n1_weight_gradient,
                                                    n1_bias_gradient, core, cores);
    NET_DONE(0u, 12u);

