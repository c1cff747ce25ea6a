static net_status skip_step(void) {
    odl_parallel(run_skip);
    if (!weights_are_sound()) {
        return NET_BAD_WEIGHTS;
    }
    net_state.skipped_steps++;
    net_state.good_steps = 0;
    if (net_state.loss_scale <= 1.0f) {
        return NET_SCALE_FLOOR;
    }
    net_state.loss_scale *= 0.5f;
    return NET_OVERFLOW;
}

static net_status add_gradients(float *loss) {
    const net_status status = compute_gradients(loss);
    if (given.refused != 0) {
        return status;
    }
    if (status != NET_OK) {
        odl_parallel(run_skip);
        net_state.overflow = 1;
    }
    net_state.accumulated++;
    return status;
}

net_status net_accumulate(const float *x, const float *target, const float *sample_weight, float *loss) {
    const net_status status = hand_in(x, target, sample_weight);
    return status == NET_OK ? add_gradients(loss) : status;
}

net_status net_apply(void) {
    const uint32_t steps = net_state.accumulated;
    if (steps == 0) {
        return NET_WRONG_ORDER;
    }
    const bool overflow = net_state.overflow != 0;
    net_state.accumulated = net_state.overflow = 0;
    if (overflow) {
        return skip_step();
    }
    return update(steps);
}

static net_status train(float *loss) {
    if (net_state.accumulated != 0) {
        return NET_WRONG_ORDER;
    }
    const net_status status = add_gradients(loss);
    return given.refused != 0 ? status : net_apply();
}

net_status net_train_step(const float *x, const float *target, const float *sample_weight, float *loss) {
    const net_status status = hand_in(x, target, sample_weight);
    return status == NET_OK ? train(loss) : status;
}
