/* The four functions that compilers call on their own account. */
#include <string.h>

#include <stdint.h>

/* gcc would take these loops for what they are, and call the functions from themselves. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((((uintptr_t)target | (uintptr_t)source) & 3u) == 0u) {
        for (; bytes >= 4u; bytes -= 4u, target += 4, source += 4) {
            *(uint32_t *)(void *)target = *(const uint32_t *)(const void *)source;
        }
    }
    while (bytes-- != 0u) {
        *target++ = *source++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((uintptr_t)to - (uintptr_t)from >= bytes) {
        while (bytes-- != 0u) {
            *target++ = *source++;
        }
    } else {
        while (bytes-- != 0u) {
            target[bytes] = source[bytes];
        }
    }
    return to;
}

void *memset(void *to, int value, size_t bytes) {
    uint8_t *target = to;
    if (((uintptr_t)target & 3u) == 0u) {
        const uint32_t word = 0x01010101u * (uint8_t)value;
        for (; bytes >= 4u; bytes -= 4u, target += 4) {
            *(uint32_t *)(void *)target = word;
        }
    }
    while (bytes-- != 0u) {
        *target++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
    const uint8_t *x = a;
    const uint8_t *y = b;
    for (size_t i = 0; i < bytes; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}
