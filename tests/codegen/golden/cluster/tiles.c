/* 3.input_gradient: LinearInputGradient 1x3 -> 1x144, 432 MACs */
static void net_3_input_gradient(uint32_t core, uint32_t cores) {
    { /* part 1 of 2 */
        if (core == 0) {
            store(756u, 2344u, 4u); /* loss */
        }
        odl_f16 *const output_gradient = NET_L1(odl_f16, 764u);
        odl_f16 *const n3_weight = NET_L1(odl_f16, 288u);
        odl_f16 *const n3_input_gradient = NET_L1(odl_f16, 0u);
        net_conv2d_input_gradient_p_f16_t_f16_tile_inputs_4_tile_pixels_1(
            &conv2d_shape_3, output_gradient, n3_weight, NULL, NULL, n3_input_gradient, -INFINITY, INFINITY,
            core, cores);
        odl_barrier();
    }
    { /* part 2 of 2 */
        if (core == 0) {
            fetch_lines(1u, 288u, 296u, 432u, 144u, 288u); /* 3.weight */
            wait_for(&fetches[1]);
        }
        odl_barrier();
        if (core == 0) {
            store(0u, 1312u, 144u); /* 3.input_gradient */
        }
        odl_f16 *const output_gradient = NET_L1(odl_f16, 764u);
        odl_f16 *const n3_weight = NET_L1(odl_f16, 288u);
        odl_f16 *const n3_input_gradient = NET_L1(odl_f16, 144u);
        net_conv2d_input_gradient_p_f16_t_f16_tile_inputs_4_tile_pixels_1(
            &conv2d_shape_3, output_gradient, n3_weight, NULL, NULL, n3_input_gradient, -INFINITY, INFINITY,
            core, cores);
        odl_barrier();
    }
}

