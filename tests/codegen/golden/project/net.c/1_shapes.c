/* --- shapes, each shared by all calls that have it, one close behind the other --- */

static _Alignas(4) const struct odl_conv2d_shape conv2d_shape_1 NET_SECTION_SHAPES = {
    .batch = 1u,
    .in_h = 1u,
    .in_w = 1u,
    .in_c = 4u,
    .out_h = 1u,
    .out_w = 1u,
    .out_c = 3u,
    .kernel_h = 1u,
    .kernel_w = 1u,
    .stride_h = 1u,
    .stride_w = 1u,
    .pad_top = 0u,
    .pad_left = 0u,
};

static _Alignas(4) const struct odl_classes_shape classes_shape_1 NET_SECTION_SHAPES = {
    .batch = 1u,
    .classes = 3u,
};

static _Alignas(4) const struct odl_channel_shape channel_shape_1 NET_SECTION_SHAPES = {
    .pixels = 1u,
    .channels = 3u,
};

static _Alignas(4) const struct odl_flat_shape flat_shape_1 NET_SECTION_SHAPES = {
    .count = 12u,
};

static _Alignas(4) const struct odl_flat_shape flat_shape_2 NET_SECTION_SHAPES = {
    .count = 3u,
};

