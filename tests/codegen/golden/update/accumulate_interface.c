static void update_or_skip(uint32_t steps) {
    const float largest_scale = 65536.0f;
    const uint32_t growth_interval = 1000;

    if (net_state.overflow != 0) {
        odl_parallel(run_skip);
        net_state.overflow = 0;
        net_state.skipped_steps++;
        net_state.good_steps = 0;
        if (net_state.loss_scale > 1.0f) {
            net_state.loss_scale *= 0.5f;
        }
        return;
    }
    prepare_update(steps);
    odl_parallel(run_apply);
    net_state.good_steps++;
    if (net_state.good_steps == growth_interval) {
        net_state.good_steps = 0;
        if (net_state.loss_scale < largest_scale) {
            net_state.loss_scale *= 2.0f;
        }
    }
}

float net_accumulate(const float *x, const float *target, const float *sample_weight) {
    const float loss = compute_gradients(x, target, sample_weight);
    net_state.accumulated++;
    return loss;
}

void net_apply(void) {
    if (net_state.accumulated == 0) {
        return;
    }
    update_or_skip(net_state.accumulated);
    net_state.accumulated = 0;
}

float net_train_step(const float *x, const float *target, const float *sample_weight) {
    const float loss = net_accumulate(x, target, sample_weight);
    net_apply();
    return loss;
}
