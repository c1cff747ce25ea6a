/* --- after a step that overflowed --- */

static void run_skip(uint32_t core, uint32_t cores) {
    odl_f32 *const weight_gradient = NET_AT(odl_f32, 84u);
    odl_f32 *const bias_gradient = NET_AT(odl_f32, 132u);

    /* weight.gradient.clear: Clear 3x4 */
    net_fill_t_f32(&flat_shape_1, weight_gradient, 0.0f, core, cores);
    NET_DONE(2u, 0u);

    /* bias.gradient.clear: Clear 3 */
    net_fill_t_f32(&flat_shape_2, bias_gradient, 0.0f, core, cores);
    NET_DONE(2u, 1u);
}

