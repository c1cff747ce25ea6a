/* --- updates after a step that counts --- */

/* weight.update: SgdUpdate 3x4 */
static void net_weight_update(uint32_t core, uint32_t cores) {
    odl_f32 *const weight = NET_AT(odl_f32, 36u);
    odl_f16 *const weight_copy = NET_AT(odl_f16, 0u);
    odl_f16 *const weight_gradient = NET_AT(odl_f16, 0u);
    net_sgd_c_f16_g_f16_w_f32(&flat_shape_1, weight, weight_copy, weight_gradient, net_state.learning_rate,
                              net_state.gradient_factor, core, cores);
    odl_barrier();
}

/* bias.update: SgdUpdate 3 */
static void net_bias_update(uint32_t core, uint32_t cores) {
    odl_f32 *const bias = NET_AT(odl_f32, 24u);
    odl_f32 *const bias_gradient = NET_AT(odl_f32, 84u);
    net_sgd_g_f32_w_f32(&flat_shape_2, bias, bias_gradient, net_state.learning_rate,
                        net_state.gradient_factor, core, cores);
    odl_barrier();
}

static void run_apply(uint32_t core, uint32_t cores) {
    odl_overflow_clear();
    net_weight_update(core, cores);
    net_bias_update(core, cores);
    if (odl_overflow_seen()) {
        given.update_overflow = 1;
    }
}

