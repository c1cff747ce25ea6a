/* Gradient of a clamp by its output y: dx = dy where low < y < high, else 0. dx may be dy or y.
 *
 * At the limits the gradient is 0, and where y is NaN it is dy, as in PyTorch (threshold_backward,
 * hardtanh_backward).
 */
#include "odl_isa.h"

#include "kernels.h"

void odl_relu_gradient(const struct odl_flat_shape *s, const odl_f32 *dy, const odl_f32 *y, odl_f32 *dx,
                       float low, float high, uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(s->count, core + 1, cores);
    for (uint32_t i = odl_share_begin(s->count, core, cores); i < end; i++) {
        const float v = odl_load_f32(y + i);
        odl_store_f32(dx + i, v <= low || v >= high ? 0.0f : odl_load_f32(dy + i));
    }
}
