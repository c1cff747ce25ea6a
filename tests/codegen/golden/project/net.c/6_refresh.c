/* --- fp16 working copies from the master weights --- */

static void run_refresh(uint32_t core, uint32_t cores) {
    odl_f32 *const weight = NET_AT(odl_f32, 36u);
    odl_f16 *const weight_copy = NET_AT(odl_f16, 0u);

    /* weight.refresh: Refresh 3x4 */
    net_cast_d_f16_s_f32(&flat_shape_1, weight, weight_copy, core, cores);
    NET_DONE(4u, 0u);
}

