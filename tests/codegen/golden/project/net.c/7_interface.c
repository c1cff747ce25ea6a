/* Forward and backward of what was handed in. */
static net_status compute_gradients(float *loss) {
    odl_parallel(run_step);
    const net_status status = outcome();
    if (loss != NULL && given.refused == 0) {
        *loss = *NET_AT(float, 124u);
    }
    if (status == NET_OK) {
        net_state.steps++;
    }
    return status;
}

net_status net_infer(const float *x, float *output) {
    const odl_f16 *const y_tensor = NET_AT(odl_f16, 92u);
    const net_status status = hand_in(x, NULL, NULL);
    if (status != NET_OK) {
        return status;
    }
    odl_parallel(run_infer);
    if (given.refused != 0) {
        return outcome();
    }
    for (uint32_t i = 0; i < NET_OUTPUT_SIZE; i++) {
        output[i] = odl_load_f16(&y_tensor[i]);
        given.overflow |= isfinite(output[i]) ? 0u : 1u;
    }
    return explained_outcome();
}

net_status net_refresh(void) {
    if (!weights_are_sound()) {
        return NET_BAD_WEIGHTS;
    }
    odl_parallel(run_refresh);
    return NET_OK;
}

void net_init(void) {
    memset(net_arena, 0, NET_PERSISTENT_BYTES);
    for (size_t i = 0; i < sizeof initial_tensors / sizeof *initial_tensors; i++) {
        memcpy(net_arena + initial_tensors[i].offset,
               (const uint8_t *)net_initial + initial_tensors[i].source, initial_tensors[i].bytes);
    }
    memset(&net_state, 0, sizeof net_state);
    net_state.learning_rate = 0.01f;
    net_state.loss_scale = 1024.0f;
    odl_parallel(run_refresh);
}

/* After an update. */
static net_status count_step(void) {
    const float largest_scale = 65536.0f;
    const uint32_t growth_interval = 1000;
    net_state.good_steps++;
    if (net_state.good_steps == growth_interval) {
        net_state.good_steps = 0;
        if (net_state.loss_scale < largest_scale) {
            net_state.loss_scale *= 2.0f;
        }
    }
    return given.update_overflow != 0 ? NET_UPDATE_OVERFLOW : NET_OK;
}

/* Instead of an update, after an overflow. */
static net_status skip_step(void) {
    odl_parallel(run_refresh);
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

/* The update that the gradients of `steps` steps were computed for. */
static net_status update(uint32_t steps) {
    given.update_overflow = 0;
    prepare_update(steps);
    odl_parallel(run_apply);
    return count_step();
}

/* One training step with what was handed in. */
static net_status train(float *loss) {
    const net_status status = compute_gradients(loss);
    if (status == NET_OVERFLOW) {
        return skip_step();
    }
    return status == NET_OK ? update(1) : status;
}

net_status net_train_step(const float *x, const float *target, const float *sample_weight, float *loss) {
    const net_status status = hand_in(x, target, sample_weight);
    return status == NET_OK ? train(loss) : status;
}

net_status net_train_label(const float *x, const uint32_t *label, const float *sample_weight, float *loss) {
    const net_status status = hand_in(x, NULL, sample_weight);
    given.label = label;
    return status == NET_OK ? train(loss) : status;
}

net_status net_set_learning_rate(float learning_rate) {
    if (net_state.loss_scale == 0.0f) {
        return NET_WRONG_ORDER;
    }
    if (!(learning_rate >= 0.0f) || !isfinite(learning_rate)) {
        return NET_BAD_LEARNING_RATE;
    }
    net_state.learning_rate = learning_rate;
    return NET_OK;
}

float net_loss_scale(void) { return net_state.loss_scale; }

uint32_t net_skipped_steps(void) { return net_state.skipped_steps; }

uint32_t net_steps(void) { return net_state.steps; }
