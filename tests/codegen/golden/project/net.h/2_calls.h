/**
 * @brief Sets the weights to those that the network was compiled with, and all training state to its start.
 *
 * @pre Before every other function of the network; again at any time, to start anew.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 */
void net_init(void);

/**
 * @brief Computes the output of NET_BATCH samples; changes no weight and no training state.
 *
 * @pre After net_init.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 * @param[in] x NET_INPUT_SIZE floats, 1x4, finite, and below 65520 in magnitude.
 * @param[out] output receives NET_OUTPUT_SIZE floats, 1x3 (before any softmax), unless the status says that
 *     the call was refused.
 * @return NET_OK, or: NET_WRONG_ORDER, NET_BAD_INPUT, NET_OVERFLOW, NET_BAD_WEIGHTS.
 */
net_status net_infer(const float *x, float *output);

/**
 * @brief Computes one training step: forward, backward, update. A step that is refused or overflows changes
 * no weight.
 *
 * @pre After net_init.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 * @param[in] x NET_INPUT_SIZE floats, 1x4, finite, and below 65520 in magnitude.
 * @param[in] target class probabilities, 1x3, none negative, of sum 1 in each sample (to 0.001); a hard label
 *     is one 1 among zeros.
 * @param[in] sample_weight NET_BATCH finite factors on the samples' losses, or NULL for ones. A batch of n
 *     samples only trains with their mean where their factors are NET_BATCH / n and those of the rest are 0.
 * @param[out] loss receives the sum of the samples' losses times their factors, over NET_BATCH, where the
 *     step was computed; may be NULL.
 * @return NET_OK, or: NET_OVERFLOW, NET_SCALE_FLOOR, NET_UPDATE_OVERFLOW, NET_WRONG_ORDER, NET_BAD_INPUT,
 *     NET_BAD_SAMPLE_WEIGHT, NET_BAD_WEIGHTS, NET_BAD_TARGET.
 */
net_status net_train_step(const float *x, const float *target, const float *sample_weight, float *loss);

/**
 * @brief Computes one training step where the samples' classes are known: as net_train_step with
 * probabilities of 0 and 1.
 *
 * @pre After net_init.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 * @param[in] x NET_INPUT_SIZE floats, 1x4, finite, and below 65520 in magnitude.
 * @param[in] label NET_BATCH class numbers, from 0 to 2.
 * @param[in] sample_weight NET_BATCH finite factors on the samples' losses, or NULL for ones. A batch of n
 *     samples only trains with their mean where their factors are NET_BATCH / n and those of the rest are 0.
 * @param[out] loss receives the sum of the samples' losses times their factors, over NET_BATCH, where the
 *     step was computed; may be NULL.
 * @return NET_OK, or: NET_OVERFLOW, NET_SCALE_FLOOR, NET_UPDATE_OVERFLOW, NET_WRONG_ORDER, NET_BAD_INPUT,
 *     NET_BAD_SAMPLE_WEIGHT, NET_BAD_WEIGHTS, NET_BAD_LABEL.
 */
net_status net_train_label(const float *x, const uint32_t *label, const float *sample_weight, float *loss);

