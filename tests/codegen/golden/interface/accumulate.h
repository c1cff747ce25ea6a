 * This is the whole interface. There is no heap; all memory is one arena of 188 bytes in net.c.

#define NET_ARENA_BYTES 188
#define NET_STATE_BYTES 180

/* Forward and backward only: adds the gradients up. Returns the mean loss. Arguments as net_train_step. */
float net_accumulate(const float *x, const float *target, const float *sample_weight);

/* Updates the weights with the mean of the accumulated gradients and starts anew. */
void net_apply(void);
