/**
 * @brief Sets the learning rate of the following updates; it starts at 0.01.
 *
 * @pre After net_init.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 * @param[in] learning_rate the new rate, finite and not negative.
 * @return NET_OK, or: NET_WRONG_ORDER, NET_BAD_LEARNING_RATE.
 */
net_status net_set_learning_rate(float learning_rate);

/**
 * @brief Says what the loss is multiplied with before the backward pass, against gradients below fp16's
 * range.
 *
 * @pre At any time.
 * @note Safe in any thread and any interrupt, also while another function of this network runs.
 * @return the factor, from 1 to 65536; it adapts itself. 0 before net_init.
 */
float net_loss_scale(void);

/**
 * @brief Says how many steps changed no weight because their gradients overflowed.
 *
 * @pre At any time.
 * @note Safe in any thread and any interrupt, also while another function of this network runs.
 * @return the number since net_init, modulo 2^32; a loaded state brings its own.
 */
uint32_t net_skipped_steps(void);

/**
 * @brief Says how many forward and backward passes counted: neither refused nor skipped.
 *
 * @pre At any time.
 * @note Safe in any thread and any interrupt, also while another function of this network runs.
 * @return the number since net_init, modulo 2^32; a loaded state brings its own.
 */
uint32_t net_steps(void);

/**
 * @brief Saves all training state (weights, statistics, optimizer, loss scale, counters) to memory;
 * net_state.h saves to a flash. Writes nothing where the status is not NET_OK.
 *
 * @pre After net_init.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 * @param[out] state receives NET_STATE_BYTES bytes, of any alignment.
 * @param[in] bytes size of that memory, at least NET_STATE_BYTES.
 * @return NET_OK, or: NET_NOT_FINITE, NET_STATE_TOO_SMALL.
 */
net_status net_save(void *state, uint32_t bytes);

/**
 * @brief Takes a saved state back, also one of this network compiled with other options or for another
 * target. Changes nothing where the status is not NET_OK. Not restored: lr; what this build says, or was set
 * since net_init, goes on.
 *
 * @pre After net_init.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 * @param[in] state what net_save wrote, of any alignment.
 * @param[in] bytes its size, or more.
 * @return NET_OK, or: NET_STATE_DAMAGED, NET_STATE_FORMAT, NET_STATE_NETWORK, NET_STATE_LOSS,
 *     NET_STATE_TRAINED, NET_STATE_OPTIMIZER, NET_STATE_WAITING, NET_STATE_RANGE, NET_NOT_FINITE.
 */
net_status net_load(const void *state, uint32_t bytes);

/* The arena; manifest.json says where each tensor lies in it. */
extern uint8_t net_arena[NET_ARENA_BYTES];

/**
 * @brief Recomputes the fp16 working copies after master weights were written into the arena from outside.
 *
 * @pre After net_init, and after whoever wrote weights into the arena has finished.
 * @note Not re-entrant: no other thread and no interrupt may use this network meanwhile. It takes as long as
 *     its work: call it from a task, not from an interrupt.
 * @return NET_OK, or: NET_BAD_WEIGHTS.
 */
net_status net_refresh(void);

#ifdef __cplusplus
}
#endif

#endif
