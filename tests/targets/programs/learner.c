/*
 * On the device itself: learns from eight samples, saves to a flash in memory, starts anew, resumes, forgets three samples and
 * hashes its state; the samples are those of a project's examples/learner.c. Stands in for device.c of a project whose prefix is
 * `net`.
 */
#include "net.h"
#include "odl_runtime.h"

struct net_request {
    uint32_t saved, loaded, forgotten, steps;
    uint8_t digest[32];
};
extern struct net_request net_request;
struct net_request net_request;

static uint8_t flash[NET_STATE_BYTES];
extern float net_x[NET_INPUT_SIZE];
float net_x[NET_INPUT_SIZE];

static void learn(uint32_t from, uint32_t to) {
    for (uint32_t number = from; number < to; number++) {
        const uint32_t label = number % (NET_OUTPUT_SIZE / NET_BATCH);
        uint32_t seed = number + 1u;
        for (uint32_t i = 0; i < NET_INPUT_SIZE; i++) {
            seed = seed * 1664525u + 1013904223u;
            net_x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
        }
        net_learn(net_x, &label, number, NULL);
    }
}

int main(void) {
    static const uint32_t secret[] = {2, 3, 5};
    odl_mark(0xfffffffeu);
    net_init();
    learn(0, 4);
    net_request.saved = (uint32_t)net_save(flash, sizeof flash);
    net_init();
    net_request.loaded = (uint32_t)net_load(flash, sizeof flash);
    learn(4, 8);
    net_request.steps = net_forget_steps(secret, 3);
    net_request.forgotten = (uint32_t)net_forget(secret, 3);
    net_digest(net_request.digest);
    odl_mark(0xffffffffu);
    return 0;
}
