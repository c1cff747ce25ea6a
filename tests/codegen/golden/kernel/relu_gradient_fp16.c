/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient of a clamp by its output y: dx = dy where low < y < high, else 0. dx may be dy or y.
 *
 * At the limits the gradient is 0, and where y is NaN it is dy, as in PyTorch (threshold_backward,
 * hardtanh_backward). An infinite limit is none.
 */
#include "odl_isa.h"

#include "lanes.h"

#include "net_kernels.h"

void net_relu_gradient_t_f16(const struct odl_flat_shape *s, const odl_f16 *dy, const odl_f16 *y, odl_f16 *dx,
                             float low, float high, uint32_t core, uint32_t cores) {
    const struct odl_limits limits = odl_limits(low, high);
    const uint32_t vectors = (s->count + ODL_LANES_f16 - 1u) / ODL_LANES_f16;
    const uint32_t begin = odl_share_begin(vectors, core, cores) * ODL_LANES_f16;
    const uint32_t end = odl_share_begin(vectors, core + 1u, cores) * ODL_LANES_f16;
    uint32_t left = begin < s->count ? (end < s->count ? end : s->count) - begin : 0u;
    dy += left > 0u ? begin : 0u;
    y += left > 0u ? begin : 0u;
    dx += left > 0u ? begin : 0u;
    for (; left >= 4u * ODL_LANES_f16; left -= 4u * ODL_LANES_f16) {
        const odl_vec_f16 y_0 = odl_vload_f16(y);
        const odl_vec_f16 dy_0 = odl_vload_f16(dy);
        const odl_vec_f16 y_1 = odl_vload_f16(y + ODL_LANES_f16);
        const odl_vec_f16 dy_1 = odl_vload_f16(dy + ODL_LANES_f16);
        const odl_vec_f16 y_2 = odl_vload_f16(y + 2u * ODL_LANES_f16);
        const odl_vec_f16 dy_2 = odl_vload_f16(dy + 2u * ODL_LANES_f16);
        const odl_vec_f16 y_3 = odl_vload_f16(y + 3u * ODL_LANES_f16);
        const odl_vec_f16 dy_3 = odl_vload_f16(dy + 3u * ODL_LANES_f16);
        odl_vstore_f16(dx, odl_vmask_f16(dy_0, y_0, &limits));
        odl_vstore_f16(dx + ODL_LANES_f16, odl_vmask_f16(dy_1, y_1, &limits));
        odl_vstore_f16(dx + 2u * ODL_LANES_f16, odl_vmask_f16(dy_2, y_2, &limits));
        odl_vstore_f16(dx + 3u * ODL_LANES_f16, odl_vmask_f16(dy_3, y_3, &limits));
        dy += 4u * ODL_LANES_f16;
        y += 4u * ODL_LANES_f16;
        dx += 4u * ODL_LANES_f16;
    }
    for (; left >= ODL_LANES_f16; left -= ODL_LANES_f16) {
        const odl_vec_f16 y_0 = odl_vload_f16(y);
        const odl_vec_f16 dy_0 = odl_vload_f16(dy);
        odl_vstore_f16(dx, odl_vmask_f16(dy_0, y_0, &limits));
        dy += ODL_LANES_f16;
        y += ODL_LANES_f16;
        dx += ODL_LANES_f16;
    }
    if (left > 0u) {
        const odl_vec_f16 y_0 = odl_vload_tail_f16(y, left);
        const odl_vec_f16 dy_0 = odl_vload_tail_f16(dy, left);
        odl_vstore_tail_f16(dx, odl_vmask_f16(dy_0, y_0, &limits), left);
    }
}
