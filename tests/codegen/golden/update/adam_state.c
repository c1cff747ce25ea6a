static void prepare_update(uint32_t steps) {
    net_state.gradient_factor = 1.0f / (net_state.loss_scale * (float)steps);
    net_state.bias_correction1 += (1.0f - net_state.bias_correction1) * 0.1f;
    net_state.bias_correction2 += (1.0f - net_state.bias_correction2) * 0.001f;
}

static net_status train(float *loss) {
    const net_status status = compute_gradients(loss);
    if (status == NET_OVERFLOW) {
        return skip_step();
    }
    return status == NET_OK ? count_step() : status;
}

net_status net_train_step(const float *x, const float *target, const float *sample_weight, float *loss) {
    const net_status status = hand_in(x, target, sample_weight);
    return status == NET_OK ? train(loss) : status;
}
