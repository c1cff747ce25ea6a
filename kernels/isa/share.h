/* How the cores of a cluster (or one core alone) divide a kernel's outputs. Results never depend on it. */
#ifndef ODL_SHARE_H
#define ODL_SHARE_H

#include <stdint.h>

/* First item of a core's share when `total` items are dealt in order and as evenly as possible; the share of
 * `core` ends where that of `core + 1` begins. */
static inline uint32_t odl_share_begin(uint32_t total, uint32_t core, uint32_t cores) {
    const uint32_t rest = total % cores;
    return core * (total / cores) + (core < rest ? core : rest);
}

struct odl_share {
    uint32_t row_begin, row_end, column_begin, column_end;
};

/* A core's part of a plane of outputs: whole rows, or whole blocks of `block` columns, whichever leaves the
 * busiest core less to do (with equal work, rows). */
static inline struct odl_share odl_share_plane(uint32_t rows, uint32_t columns, uint32_t block, uint32_t core,
                                               uint32_t cores) {
    const uint32_t blocks = (columns + block - 1) / block;
    const uint32_t most_rows = (rows + cores - 1) / cores;
    const uint32_t most_columns = (blocks + cores - 1) / cores * block;
    struct odl_share share = {0, rows, 0, columns};
    if ((uint64_t)most_rows * columns <= (uint64_t)rows * (most_columns < columns ? most_columns : columns)) {
        share.row_begin = odl_share_begin(rows, core, cores);
        share.row_end = odl_share_begin(rows, core + 1, cores);
    } else {
        const uint32_t end = odl_share_begin(blocks, core + 1, cores) * block;
        share.column_begin = odl_share_begin(blocks, core, cores) * block;
        share.column_end = end < columns ? end : columns;
    }
    return share;
}

#endif
