/*
 * On the device itself: trains, saves to a flash in memory, goes on for 50 steps; starts anew, loads, and takes the same 50 steps
 * again. Stands in for device.c of a project whose prefix is `net`.
 */
#include "net.h"
#include "net_private.h"
#include "net_state.h"
#include "odl_runtime.h"

#include <string.h>

#define BLOCK 512u
#define BLOCKS ((NET_STATE_BYTES + 2u * BLOCK - 1u) / BLOCK)

struct net_request {
    uint32_t saved, loaded, steps, differ;
};
extern struct net_request net_request;
struct net_request net_request;

static uint8_t flash[2u * BLOCKS * BLOCK];
static struct {
    struct net_state state;
    uint8_t arena[NET_PERSISTENT_BYTES];
} reached;
static float x[NET_INPUT_SIZE], target[NET_TARGET_SIZE];

static int read_flash(void *context, uint32_t address, void *to, uint32_t bytes) {
    (void)context;
    memcpy(to, flash + address, bytes);
    return 0;
}

static int program_flash(void *context, uint32_t address, const void *from, uint32_t bytes) {
    (void)context;
    memcpy(flash + address, from, bytes);
    return 0;
}

static int erase_flash(void *context, uint32_t address) {
    (void)context;
    memset(flash + address, 0xff, BLOCK);
    return 0;
}

static void train(uint32_t first, uint32_t steps) {
    for (uint32_t step = first; step < first + steps; step++) {
        for (uint32_t i = 0; i < NET_INPUT_SIZE; i++) {
            x[i] = (float)((step * 7u + i * 13u) % 17u) / 8.0f - 1.0f;
        }
        memset(target, 0, sizeof target);
        target[step % NET_TARGET_SIZE] = 1.0f;
        net_train_step(x, target, NULL, NULL);
    }
}

int main(void) {
    const struct net_storage storage = {read_flash, program_flash, erase_flash, NULL, NULL, BLOCK, 8u, BLOCKS};
    odl_mark(0xfffffffeu);
    net_init();
    train(0, 3);
    net_request.saved = (uint32_t)net_state_save(&storage);
    train(3, 50);
    reached.state = net_state;
    memcpy(reached.arena, net_arena, sizeof reached.arena);
    net_init();
    train(70, 1);
    net_request.loaded = (uint32_t)net_state_load(&storage);
    train(3, 50);
    net_request.steps = net_steps();
    net_request.differ = (uint32_t)(memcmp(&reached.state, &net_state, sizeof net_state) != 0) +
                         2u * (uint32_t)(memcmp(reached.arena, net_arena, sizeof reached.arena) != 0);
    odl_mark(0xffffffffu);
    return 0;
}
