/* Gradient of a bias: db[c] = the sum over pixels of dy[pixel][c].
 *
 * Lanes run along the channels. Every sum is made in fp32, in the order of the pixels.
 */
#include "odl_isa.h"

#include "kernels.h"

void odl_channel_sum(const struct odl_channel_shape *s, const odl_f16 *dy, odl_f32 *db, uint32_t core,
                     uint32_t cores) {
    const uint32_t vectors = (s->channels + ODL_LANES_f16 - 1) / ODL_LANES_f16;
    const uint32_t begin = odl_share_begin(vectors, core, cores) * ODL_LANES_f16;
    const uint32_t end = odl_share_begin(vectors, core + 1, cores) * ODL_LANES_f16;
    for (uint32_t c = begin; c < end; c += ODL_LANES_f16) {
        const uint32_t left = s->channels - c;
        const uint32_t lanes = left < ODL_LANES_f16 ? left : ODL_LANES_f16;
        const bool whole = lanes == ODL_LANES_f16;
        odl_wide_f16 sum = odl_wide_zero_f16();
        for (uint32_t pixel = 0; pixel < s->pixels; pixel++) {
            const odl_f16 *p = dy + (size_t)pixel * s->channels + c;
            sum = odl_wide_add_f16(sum, whole ? odl_vload_f16(p) : odl_vload_tail_f16(p, lanes));
        }
        float lane[ODL_MAX_LANES];
        odl_wide_store_f16(lane, sum);
        for (uint32_t i = 0; i < lanes; i++) {
            odl_store_f32(db + c + i, lane[i]);
        }
    }
}
