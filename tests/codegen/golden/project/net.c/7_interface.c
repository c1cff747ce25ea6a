/* Forward and backward; the sum of the samples' weighted losses over NET_BATCH. */
static float compute_gradients(const float *x, const float *target, const float *sample_weight) {
    given.x = x;
    given.target = target;
    given.sample_weight = sample_weight;
    odl_parallel(run_step);
    net_state.steps++;
    const float loss = *NET_AT(float, 124u);
    if (!isfinite(loss)) {
        net_state.overflow = 1; /* a NaN that came from outside raises no flag */
    }
    return loss;
}

void net_infer(const float *x, float *output) {
    const odl_f16 *const y_tensor = NET_AT(odl_f16, 92u);
    given.x = x;
    odl_parallel(run_infer);
    for (uint32_t i = 0; i < NET_OUTPUT_SIZE; i++) {
        output[i] = odl_load_f16(&y_tensor[i]);
    }
}

void net_refresh(void) { odl_parallel(run_refresh); }

void net_init(void) {
    memset(net_arena, 0, NET_PERSISTENT_BYTES);
    for (size_t i = 0; i < sizeof initial_tensors / sizeof *initial_tensors; i++) {
        memcpy(net_arena + initial_tensors[i].offset,
               (const uint8_t *)net_initial + initial_tensors[i].source, initial_tensors[i].bytes);
    }
    memset(&net_state, 0, sizeof net_state);
    net_state.learning_rate = 0.01f;
    net_state.loss_scale = 1024.0f;
    net_refresh();
}

static void prepare_update(uint32_t steps) {
    net_state.gradient_factor = 1.0f / (net_state.loss_scale * (float)steps);
}

static void update_or_skip(uint32_t steps) {
    const float largest_scale = 65536.0f;
    const uint32_t growth_interval = 1000;

    if (net_state.overflow != 0) {
        odl_parallel(run_refresh);
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

float net_train_step(const float *x, const float *target, const float *sample_weight) {
    const float loss = compute_gradients(x, target, sample_weight);
    update_or_skip(1);
    return loss;
}

void net_set_learning_rate(float learning_rate) { net_state.learning_rate = learning_rate; }

float net_loss_scale(void) { return net_state.loss_scale; }

uint32_t net_skipped_steps(void) { return net_state.skipped_steps; }

uint32_t net_steps(void) { return net_state.steps; }
