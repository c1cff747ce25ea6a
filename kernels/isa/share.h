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
    const uint32_t blocks = (columns + block - 1u) / block;
    const uint32_t most_rows = (rows + cores - 1u) / cores;
    const uint32_t most_columns = (blocks + cores - 1u) / cores * block;
    struct odl_share share = {0, rows, 0, columns};
    if ((uint64_t)most_rows * columns <= (uint64_t)rows * (most_columns < columns ? most_columns : columns)) {
        share.row_begin = odl_share_begin(rows, core, cores);
        share.row_end = odl_share_begin(rows, core + 1u, cores);
    } else {
        const uint32_t end = odl_share_begin(blocks, core + 1u, cores) * block;
        share.column_begin = odl_share_begin(blocks, core, cores) * block;
        share.column_end = end < columns ? end : columns;
    }
    return share;
}

/* The same for 1 << log_cores cores: a division takes up to 35 cycles on a small core. */
static inline uint32_t odl_share_begin_of(uint32_t total, uint32_t core, uint32_t log_cores) {
    const uint32_t rest = total & ((1u << log_cores) - 1u);
    return core * (total >> log_cores) + (core < rest ? core : rest);
}

/* A core's part of a plane of outputs when the cores form a grid: rows in one direction, blocks of `block`
 * columns in the other. The grid is the one that leaves the busiest core least to do; with equal work, the
 * one with the fewest groups of rows: adjacent rows make better tiles than adjacent columns. Where the cores
 * are no power of two, they share in one direction. */
static inline struct odl_share odl_share_grid(uint32_t rows, uint32_t columns, uint32_t block, uint32_t core,
                                              uint32_t cores) {
    if ((cores & (cores - 1u)) != 0u) {
        return odl_share_plane(rows, columns, block, core, cores);
    }
    const uint32_t blocks = (columns + block - 1u) / block;
    uint32_t log_cores = 0, down = 0, least = UINT32_MAX;
    while (1u << log_cores < cores) {
        log_cores++;
    }
    for (uint32_t log = 0; log <= log_cores; log++) {
        const uint32_t most_rows = (rows + (1u << log) - 1u) >> log;
        const uint32_t most_blocks = (blocks + (cores >> log) - 1u) >> (log_cores - log);
        if (most_rows * most_blocks < least) {
            least = most_rows * most_blocks;
            down = log;
        }
    }
    const uint32_t across = log_cores - down, row = core >> across, column = core & ((1u << across) - 1u);
    const uint32_t end = odl_share_begin_of(blocks, column + 1u, across) * block;
    const struct odl_share share = {
        odl_share_begin_of(rows, row, down),
        odl_share_begin_of(rows, row + 1u, down),
        odl_share_begin_of(blocks, column, across) * block,
        end < columns ? end : columns,
    };
    return share;
}

#endif
