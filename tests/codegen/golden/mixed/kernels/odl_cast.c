/* y = x in another storage type, rounded to nearest even. */
#include "odl_isa.h"

#include "kernels.h"

void odl_cast(const struct odl_flat_shape *s, const odl_f32 *x, odl_f16 *y, uint32_t core, uint32_t cores) {
    const uint32_t end = odl_share_begin(s->count, core + 1, cores);
    for (uint32_t i = odl_share_begin(s->count, core, cores); i < end; i++) {
        odl_store_f16(y + i, odl_load_f32(x + i));
    }
}
