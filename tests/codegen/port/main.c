/* Trains a few steps on made-up samples and prints the losses and the last output, every bit of them. */
#include "net.h"

#include <stdio.h>
#include <string.h>

extern uint32_t port_marks;

static float x[NET_INPUT_SIZE], target[NET_TARGET_SIZE], output[NET_OUTPUT_SIZE];

static void print_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf("%08lx\n", (unsigned long)bits);
}

int main(void) {
    target[1] = 1.0f;
    net_init();
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < NET_INPUT_SIZE; i++) {
            x[i] = (float)((i * 37 + step * 11) % 64) / 32.0f - 1.0f;
        }
        float loss = 0.0f;
        if (net_train_step(x, target, NULL, &loss) != NET_OK) {
            return 1;
        }
        print_bits(loss);
    }
    if (net_infer(x, output) != NET_OK) {
        return 1;
    }
    for (int i = 0; i < NET_OUTPUT_SIZE; i++) {
        print_bits(output[i]);
    }
    fprintf(stderr, "%lu\n", (unsigned long)port_marks);
    return 0;
}
