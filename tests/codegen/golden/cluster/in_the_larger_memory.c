/* 3: Linear 1x144 -> 1x3, 432 MACs; in L2, too large for L1 */
static void net_3_forward(uint32_t core, uint32_t cores) {
    if (core == 0) {
        store(432u, 1888u, 288u); /* view.layout */
        wait_for(&stores);
        wait_for(&fetches[2]);
    }
    odl_barrier();
    odl_f16 *const view = NET_AT(odl_f16, 1888u);
    odl_f16 *const n3_weight = NET_AT(odl_f16, 152u);
    odl_f16 *const n3_bias = NET_AT(odl_f16, 1016u);
    odl_f16 *const n3 = NET_AT(odl_f16, 1324u);
    net_conv2d_forward_p_f16_t_f16_tile_channels_4_tile_pixels_4(&conv2d_shape_2, view, n3_weight, n3_bias,
                                                                 NULL, n3, -INFINITY, INFINITY, core, cores);
    odl_barrier();
}

