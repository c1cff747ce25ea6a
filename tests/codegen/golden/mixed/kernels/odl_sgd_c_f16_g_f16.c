/* Stochastic gradient descent as torch.optim.SGD does it, one parameter tensor:
 *
 *   d = g * gradient_factor
 *   w = w - learning_rate * d
 *
 * in fp32, rounded once at each store. gradient_factor takes back the loss scale and averages accumulated
 * steps.
 * copy receives w in f16 for the kernels to compute with; g may be copy.
 */
#include "odl_isa.h"

#include "kernels.h"

void odl_sgd_c_f16_g_f16(const struct odl_flat_shape *s, odl_f32 *w, odl_f16 *copy, const odl_f16 *g,
                         float learning_rate, float gradient_factor, uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(s->count, core + 1, cores);
    for (uint32_t i = odl_share_begin(s->count, core, cores); i < end; i++) {
        const float before = odl_load_f32(w + i);
        float d = odl_load_f16(g + i) * gradient_factor;
        const float after = __builtin_fmaf(-learning_rate, d, before);
        odl_store_f32(w + i, after);
        odl_store_f16(copy + i, after);
    }
}
