/* SPDX-License-Identifier: Apache-2.0 */
/* Copy x[batch][height][width][channels] to y[batch][channels][height][width]. */
#include "odl_isa.h"

#include "net_kernels.h"

void net_change_layout_t_f16_to_channels_first(const struct odl_layout_shape *s, const odl_f16 *x, odl_f16 *y,
                                               uint32_t core, uint32_t cores) {
    const uint32_t pixels = s->height * s->width;
    const uint32_t rows = s->channels, columns = pixels; /* of y; x is the transposed matrix */
    const uint32_t end = odl_share_begin(s->batch * rows, core + 1u, cores);
    for (uint32_t i = odl_share_begin(s->batch * rows, core, cores); i < end; i++) {
        const odl_f16 *from = x + (size_t)(i / rows) * rows * columns + i % rows;
        odl_f16 *to = y + (size_t)i * columns;
        for (uint32_t j = 0; j < columns; j++, from += rows) {
            to[j] = *from;
        }
    }
}
