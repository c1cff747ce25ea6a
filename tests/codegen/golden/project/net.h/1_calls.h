/* Sets the weights to those that the network was compiled with, and all training state to its start. */
void net_init(void);

/* Computes the output (before any softmax) of NET_BATCH samples. */
net_status net_infer(const float *x, float *output);

/*
 * One training step: forward, backward, update.
 * target: class probabilities [NET_BATCH][classes]; a hard label is one 1 among zeros.
 * sample_weight: NET_BATCH finite factors on the samples' losses, or NULL for ones.
 * A batch of n samples only trains with their mean where their factors are NET_BATCH / n
 * and those of the rest are 0.
 * loss: receives the sum of the samples' losses times their factors, over NET_BATCH, where
 * the step was computed; may be NULL.
 */
net_status net_train_step(const float *x, const float *target, const float *sample_weight, float *loss);

/*
 * The same where the samples' classes are known.
 * label: NET_BATCH class numbers, counted from 0.
 * sample_weight: NET_BATCH finite factors on the samples' losses, or NULL for ones.
 * A batch of n samples only trains with their mean where their factors are NET_BATCH / n
 * and those of the rest are 0.
 * loss: receives the sum of the samples' losses times their factors, over NET_BATCH, where
 * the step was computed; may be NULL.
 */
net_status net_train_label(const float *x, const uint32_t *label, const float *sample_weight, float *loss);

/* The learning rate of the following updates; it starts at 0.01. */
net_status net_set_learning_rate(float learning_rate);

/* What the loss is multiplied with before the backward pass (adapts itself). */
float net_loss_scale(void);

/* Steps whose gradients overflowed and that therefore changed no weight. */
uint32_t net_skipped_steps(void);

/* Forward and backward passes since net_init, those of skipped steps among them. */
uint32_t net_steps(void);

/*
 * Saves all training state (weights, statistics, optimizer, loss scale, counters) to memory of `bytes`, at
 * least NET_STATE_BYTES; net_state.h saves to a flash. Not saved: lr.
 * Returns NET_OK, NET_NOT_FINITE or NET_STATE_TOO_SMALL; then nothing was written.
 */
net_status net_save(void *state, uint32_t bytes);

/*
 * Takes a saved state of `bytes` back, also one of this network compiled with other options or for another
 * target. Returns what net_state_load in net_state.h returns; nothing changes when the state is refused.
 * Not restored: lr; what this build says, or was set since net_init, goes on.
 */
net_status net_load(const void *state, uint32_t bytes);

/* The arena; manifest.json says where each tensor lies in it. */
extern uint8_t net_arena[NET_ARENA_BYTES];

/* Recomputes the fp16 working copies after master weights were written into the arena from outside. */
net_status net_refresh(void);

#ifdef NET_OBSERVE
/* Called by core 0 after every kernel, with the program's and the node's number in manifest.json. */
extern void (*net_observer)(uint32_t program, uint32_t node);
#endif

#ifdef __cplusplus
}
#endif

#endif
