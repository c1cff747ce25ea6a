static void prepare_update(uint32_t steps) {
    net_state.gradient_factor = 1.0f / (net_state.loss_scale * (float)steps);
    net_state.bias_correction1 += (1.0f - net_state.bias_correction1) * 0.1f;
    net_state.bias_correction2 += (1.0f - net_state.bias_correction2) * 0.001f;
}

float net_train_step(const float *x, const float *target, const float *sample_weight) {
    prepare_update(1); /* each layer is updated as soon as its gradient is complete */
    return compute_gradients(x, target, sample_weight);
}
