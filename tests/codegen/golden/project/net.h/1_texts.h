/**
 * @brief Says what a status means.
 *
 * @pre At any time.
 * @note Safe in any thread and any interrupt, also while another function of this network runs.
 * @param[in] status what a function of this network returned.
 * @return a text that outlives the program's run; never NULL.
 */
static inline const char *net_status_text(net_status status) {
    switch (status) {
    case NET_OK:
        return "done";
    case NET_OVERFLOW:
        return "numbers beyond their type: a step is skipped, a sum starts anew, an output is not finite";
    case NET_SCALE_FLOOR:
        return "a step is skipped for an overflow that no smaller loss scale can prevent";
    case NET_UPDATE_OVERFLOW:
        return "an update left the range of its type, and weights are lost: load a state, lower the rate";
    case NET_BAD_INPUT:
        return "the input holds NaN, infinity, or a number beyond the type that stores it";
    case NET_BAD_TARGET:
        return "the target holds NaN or infinity, or with cross-entropy no probabilities of sum 1";
    case NET_BAD_LABEL:
        return "a label is no class number";
    case NET_BAD_SAMPLE_WEIGHT:
        return "a sample weight is NaN or infinite";
    case NET_BAD_WEIGHTS:
        return "a weight or statistic, written from outside, is NaN, infinite or beyond its type";
    case NET_WRONG_ORDER:
        return ("before init; apply with nothing accumulated; a step while accumulated gradients wait, or "
                "while the log has steps");
    case NET_BAD_LEARNING_RATE:
        return "the learning rate is negative, NaN or infinite";
    case NET_LOG_FULL:
        return "the log has no room: drop its oldest steps, which can then not be forgotten";
    case NET_NOT_IN_LOG:
        return "a sample is not in the log: it was never learned, was forgotten, or its step was dropped";
    case NET_BAD_SETTING:
        return "a setting of the call is beyond its range";
    case NET_NOT_FINITE:
        return "a weight, a statistic or optimizer state is NaN or infinite";
    case NET_STATE_NONE:
        return "there is no saved state";
    case NET_STATE_DAMAGED:
        return "the saved state is damaged, truncated or was never finished";
    case NET_STATE_FORMAT:
        return "the saved state is of another version of the format";
    case NET_STATE_NETWORK:
        return "the saved state is of another network";
    case NET_STATE_LOSS:
        return "the saved state is of a training with another loss";
    case NET_STATE_TRAINED:
        return "the saved state is of a training of other parameters or statistics";
    case NET_STATE_OPTIMIZER:
        return "the saved state is of another optimizer, or of one with other constants";
    case NET_STATE_WAITING:
        return "gradients wait in the saved state for an update, which this network has no room for";
    case NET_STATE_RANGE:
        return "the saved state has a number beyond the range of the type that it is to be stored in";
    case NET_STATE_TOO_SMALL:
        return "the memory, a slot or the buffer is too small for the state";
    case NET_STATE_STORAGE:
        return "the storage failed, or its sizes make no sense";
    case NET_STATE_LOST:
        return "the storage failed while a sound state was restored; the network is as compiled";
    default:
        return "not a status";
    }
}

