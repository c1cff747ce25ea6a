/* --- inference --- */

/* addmm: Linear 1x4 -> 1x3, 12 MACs */
static void net_infer_linear_forward(uint32_t core, uint32_t cores) {
    odl_f16 *const x = NET_AT(odl_f16, 84u);
    odl_f16 *const weight_copy = NET_AT(odl_f16, 0u);
    odl_f32 *const bias = NET_AT(odl_f32, 24u);
    odl_f16 *const addmm = NET_AT(odl_f16, 92u);
    net_conv2d_forward_p_f32_t_f16_chunk_64_chunked_tile_channels_4_tile_pixels_4(
        &conv2d_shape_1, x, weight_copy, bias, NULL, addmm, -INFINITY, INFINITY, core, cores);
    odl_barrier();
}

static void run_infer(uint32_t core, uint32_t cores) {
    set_input(NET_AT(odl_f16, 84u), core, cores);
    odl_barrier();
    if (given.refused != 0) {
        return;
    }

    net_infer_linear_forward(core, cores);
}

