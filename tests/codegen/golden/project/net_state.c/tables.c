/* --- what this network saves, by ascending id --- */

/* A tensor. Element i, j, k of the record lies at i, j and k times the strides, in elements from the
   offset. */
struct tensor {
    uint32_t id;
    uint32_t offset; /* bytes into the arena */
    uint32_t extents[3];
    uint32_t strides[3];
    uint8_t type;
    bool needed; /* every state has it, in finite numbers */
    bool waits;  /* a gradient that waits for an update */
};
static const struct tensor tensors[] = {
    {0x124a927cu, 24u, {1u, 1u, 3u}, {0u, 0u, 1u}, TYPE_F32, true, false},  /* bias */
    {0x3b23c0c7u, 36u, {1u, 1u, 12u}, {0u, 0u, 1u}, TYPE_F32, true, false}, /* weight */
};
#define TENSORS ((uint32_t)(sizeof tensors / sizeof *tensors))

/* A word of the training state besides the tensors, and the bits that it starts with. */
struct word {
    void *place;
    uint32_t id;
    uint32_t initial;
};
static const struct word words[] = {
    {&net_state.good_steps, 0x73abf835u, 0x00000000u},    /* good_steps */
    {&net_state.steps, 0x8fdc2617u, 0x00000000u},         /* steps */
    {&net_state.overflow, 0x9ae75cbfu, 0x00000000u},      /* overflow */
    {&net_state.accumulated, 0xa46cef21u, 0x00000000u},   /* accumulated */
    {&net_state.skipped_steps, 0xabfd79c7u, 0x00000000u}, /* skipped_steps */
    {&net_state.loss_scale, 0xbacfb4d3u, 0x44800000u},    /* loss_scale */
};
#define WORDS ((uint32_t)(sizeof words / sizeof *words))

/* Gradients that can wait for an update, and the id of the word that says whether they do. */
#define WAITING 0u
#define ACCUMULATED_ID 0xa46cef21u

/* What a state of this network means. */
#define PARTS 4u
static const struct {
    uint32_t hash;
    status_t otherwise;
} meaning[PARTS] = {
    {0x93f78517u, NET_STATE_NETWORK},
    {0x99bd838eu, NET_STATE_LOSS},
    {0x4ad7c964u, NET_STATE_TRAINED},
    {0xa2c80283u, NET_STATE_OPTIMIZER},
};

