/*
 * Saves training states of a generated network (prefix `net`) to a simulated NOR flash whose power fails at every call, and
 * loads damaged states. Prints what it counted as one JSON object; every number under "faults" must be 0.
 *
 *     power_cuts SEED CUTS DAMAGES
 *
 * The flash keeps two images: what a read gives, and what outlives a power cut. Between two syncs the operations under way
 * reach the second one in any order, each of them whole, in part or not at all. What was interrupted may read
 * differently every time, until it is erased; a mark not, with which any load could give either state.
 */
#include "net.h"
#include "net_private.h"
#include "net_state.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPERATIONS 65536u

static uint64_t random_state = 1;

static uint32_t random_word(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static uint32_t random_below(uint32_t limit) { return random_word() % limit; }

/* --- what is counted --- */

static struct {
    unsigned long cuts, kept_old, took_new, first_saves, flips, truncations, slot_flips;
    unsigned long unloadable, mixed, not_saved, misuse, accepted, harmed;
} counted;

/* --- the flash --- */

enum kind { ERASE, PROGRAM };

struct operation {
    enum kind kind;
    uint32_t address, bytes;
    uint8_t data[NET_STATE_BUFFER_BYTES];
};

static struct {
    uint8_t *seen, *kept, *unsure; /* `unsure`: bits that read as anything */
    uint32_t bytes, block_bytes;
    bool cached, any_unsure;
    uint32_t calls, cut_at; /* the call that the power fails in; calls count from 1 */
    struct operation *waiting;
    uint32_t operations;
    jmp_buf reset;
} flash;

/* Does an operation to the image that is kept: all of it, or what an interruption leaves. */
static void perform(const struct operation *operation, bool torn) {
    uint8_t *const cells = flash.kept + operation->address, *const unsure = flash.unsure + operation->address;
    const bool can_be_unsure = operation->kind == ERASE || memcmp(operation->data, "KEPT", 4u) != 0;
    const uint32_t way = torn ? 1u + random_below(can_be_unsure ? 4u : 3u) : 0u, prefix = random_below(operation->bytes + 1u);
    for (uint32_t i = 0; i < operation->bytes; i++) {
        const uint8_t wanted = operation->kind == ERASE ? 0xffu : (uint8_t)(cells[i] & operation->data[i]);
        const uint8_t changing = (uint8_t)(cells[i] ^ wanted);
        uint8_t done = changing;
        if (way == 1u && i >= prefix) {
            done = 0;
        } else if (way == 2u) {
            done = (uint8_t)(changing & random_word());
        } else if (way == 3u) { /* nearly all */
            done = (uint8_t)(changing & (random_word() | random_word() | random_word() | random_word()));
        } else if (way == 4u) {
            unsure[i] |= changing;
            flash.any_unsure = true;
            continue;
        }
        cells[i] ^= done;
        if (!torn && operation->kind == ERASE) {
            unsure[i] = 0;
        }
    }
}

/* The power fails: of what is under way some is done in any order; `current` is the operation that was just asked for. */
static void cut_power(void) {
    if (flash.cached) {
        for (uint32_t i = flash.operations; i > 1u; i--) {
            const uint32_t other = random_below(i);
            const struct operation moved = flash.waiting[i - 1u];
            flash.waiting[i - 1u] = flash.waiting[other];
            flash.waiting[other] = moved;
        }
    }
    for (uint32_t i = 0; i < flash.operations; i++) {
        const uint32_t fate = random_below(3u);
        if (fate != 0u) {
            perform(&flash.waiting[i], fate == 1u);
        }
    }
    flash.operations = 0;
    memcpy(flash.seen, flash.kept, flash.bytes);
    longjmp(flash.reset, 1);
}

static int sync_flash(void *context) {
    (void)context;
    if (++flash.calls == flash.cut_at) {
        cut_power();
    }
    for (uint32_t i = 0; i < flash.operations; i++) {
        perform(&flash.waiting[i], false);
    }
    flash.operations = 0;
    return 0;
}

static void begin(const struct operation *operation) {
    if (operation->address + operation->bytes > flash.bytes || flash.operations == MOST_OPERATIONS) {
        fprintf(stderr, "outside the flash\n");
        exit(1);
    }
    flash.waiting[flash.operations++] = *operation;
    if (++flash.calls == flash.cut_at) {
        cut_power();
    }
    uint8_t *const cells = flash.seen + operation->address;
    for (uint32_t i = 0; i < operation->bytes; i++) {
        cells[i] = operation->kind == ERASE ? 0xffu : (uint8_t)(cells[i] & operation->data[i]);
    }
    if (!flash.cached) {
        perform(operation, false);
        flash.operations = 0;
    }
}

static struct net_storage storage;

static int read_flash(void *context, uint32_t address, void *to, uint32_t bytes) {
    (void)context;
    if (address + bytes > flash.bytes) {
        counted.misuse++;
        return 1;
    }
    memcpy(to, flash.seen + address, bytes);
    for (uint32_t i = 0; flash.any_unsure && i < bytes; i++) {
        ((uint8_t *)to)[i] ^= (uint8_t)(flash.unsure[address + i] & random_word());
    }
    return 0;
}

static int program_flash(void *context, uint32_t address, const void *from, uint32_t bytes) {
    struct operation operation = {.kind = PROGRAM, .address = address, .bytes = bytes};
    (void)context;
    bool fair = bytes != 0u && bytes <= sizeof operation.data && address % storage.program_bytes == 0u &&
                bytes % storage.program_bytes == 0u;
    for (uint32_t i = 0; fair && i < bytes; i++) {
        fair = flash.seen[address + i] == 0xffu && flash.unsure[address + i] == 0u;
    }
    counted.misuse += fair ? 0u : 1u;
    memcpy(operation.data, from, bytes);
    begin(&operation);
    return 0;
}

static int erase_flash(void *context, uint32_t address) {
    struct operation operation = {.kind = ERASE, .address = address, .bytes = flash.block_bytes};
    (void)context;
    counted.misuse += address % flash.block_bytes == 0u ? 0u : 1u;
    begin(&operation);
    return 0;
}

/* A new flash, erased, with room for two states. */
static void make_flash(uint32_t block_bytes, uint32_t program_bytes, bool cached) {
    const uint32_t blocks = (net_state_bytes(program_bytes) + block_bytes - 1u) / block_bytes;
    flash.bytes = 2u * blocks * block_bytes;
    flash.block_bytes = block_bytes;
    flash.cached = cached;
    flash.any_unsure = false;
    flash.operations = flash.calls = flash.cut_at = 0;
    flash.seen = realloc(flash.seen, flash.bytes);
    flash.kept = realloc(flash.kept, flash.bytes);
    flash.unsure = realloc(flash.unsure, flash.bytes);
    memset(flash.seen, 0xff, flash.bytes);
    memset(flash.kept, 0xff, flash.bytes);
    memset(flash.unsure, 0, flash.bytes);
    storage = (struct net_storage){read_flash, program_flash, erase_flash, sync_flash, NULL, block_bytes, program_bytes, blocks};
}

/* --- the network's states --- */

/* Everything that is restored. */
struct snapshot {
    struct net_state state;
    uint8_t arena[NET_PERSISTENT_BYTES];
};

static void take(struct snapshot *snapshot) {
    snapshot->state = net_state;
    snapshot->state.learning_rate = snapshot->state.gradient_factor = 0.0f; /* not restored, made anew */
    memcpy(snapshot->arena, net_arena, sizeof snapshot->arena);
}

static bool is(const struct snapshot *wanted) {
    static struct snapshot now;
    take(&now);
    return memcmp(&now, wanted, sizeof now) == 0;
}

/* Any state that differs from the one before. */
static void train(void) {
    static float x[NET_INPUT_SIZE], target[NET_TARGET_SIZE];
    for (uint32_t i = 0; i < NET_INPUT_SIZE; i++) {
        x[i] = (float)(int32_t)random_word() / 1073741824.0f;
    }
    memset(target, 0, sizeof target);
    for (uint32_t n = 0; n < NET_BATCH; n++) {
        target[n * (NET_TARGET_SIZE / NET_BATCH) + random_below(NET_TARGET_SIZE / NET_BATCH)] = 1.0f;
    }
    TRAIN;
}

/* The power comes back: memory holds anything, then the firmware starts. */
static void restart(void) {
    memset(net_arena, 0xa5, NET_ARENA_BYTES);
    memset(&net_state, 0x5a, sizeof net_state);
    net_init();
}

static uint32_t crc32(const uint8_t *bytes, uint32_t count) {
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1u) != 0u ? 0xedb88320u : 0u);
        }
    }
    return ~crc;
}

static uint32_t word_at(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void set_word(uint8_t *bytes, uint32_t word) {
    for (int i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(word >> 8 * i);
    }
}

/* Gives the only saved state another generation, so that generations soon start anew. */
static void age(uint32_t generation) {
    uint8_t *slot = flash.kept;
    if (word_at(slot) == 0xffffffffu) {
        slot += flash.bytes / 2u;
    }
    const uint32_t behind = word_at(slot + 8) - word_at(slot + 12) - 4u; /* where the CRC stands */
    set_word(slot + 16, generation);
    set_word(slot + 40, crc32(slot, 40u));
    set_word(slot + behind, crc32(slot, behind));
    memcpy(flash.seen, flash.kept, flash.bytes);
}

/* --- power cuts --- */

/* A save during which the power fails at call `cut_at`; false when it was done before. */
static bool cut_save(uint32_t cut_at) {
    flash.calls = 0;
    flash.cut_at = cut_at;
    if (setjmp(flash.reset) != 0) {
        flash.cut_at = 0;
        counted.cuts++;
        return true;
    }
    counted.not_saved += net_state_save(&storage) == NET_OK ? 0u : 1u;
    flash.cut_at = 0;
    return false;
}

/* Whether a save and a load work after all that happened; leaves the flash as it was. */
static void check_next_save(void) {
    static struct snapshot next;
    uint8_t *const seen = malloc(3u * flash.bytes), *const kept = seen + flash.bytes, *const unsure = kept + flash.bytes;
    const bool any_unsure = flash.any_unsure;
    memcpy(seen, flash.seen, flash.bytes);
    memcpy(kept, flash.kept, flash.bytes);
    memcpy(unsure, flash.unsure, flash.bytes);
    train();
    take(&next);
    counted.not_saved += net_state_save(&storage) == NET_OK ? 0u : 1u;
    restart();
    counted.unloadable += net_state_load(&storage) == NET_OK ? 0u : 1u;
    counted.mixed += is(&next) ? 0u : 1u;
    memcpy(flash.seen, seen, flash.bytes);
    memcpy(flash.kept, kept, flash.bytes);
    memcpy(flash.unsure, unsure, flash.bytes);
    flash.any_unsure = any_unsure;
    free(seen);
}

/* The power fails in the very first save: afterwards there is the new state, or none and everything as compiled. */
static void cut_first_saves(uint32_t block_bytes, uint32_t program_bytes, bool cached) {
    static struct snapshot fresh, compiled;
    for (uint32_t call = 1;; call++) {
        make_flash(block_bytes, program_bytes, cached);
        restart();
        take(&compiled);
        train();
        take(&fresh);
        if (!cut_save(call)) {
            return;
        }
        counted.first_saves++;
        restart();
        const enum net_status status = net_state_load(&storage);
        const bool none = status == NET_STATE_NONE || status == NET_STATE_DAMAGED;
        counted.unloadable += status == NET_OK || none ? 0u : 1u;
        counted.mixed += is(status == NET_OK ? &fresh : &compiled) ? 0u : 1u;
        check_next_save();
    }
}

/* Saves one after another, each cut at the next call of all that a save makes; the flash keeps its scars. */
static void cut_saves(unsigned long cuts) {
    static struct snapshot old, fresh;
    restart();
    train();
    take(&old);
    counted.not_saved += net_state_save(&storage) == NET_OK ? 0u : 1u;
    age(0xfffffff0u + random_below(16u));
    for (uint32_t call = 1; cuts > 0u; call++) {
        train();
        take(&fresh);
        if (!cut_save(call)) {
            if (call == 1u) {
                return; /* it does not save at all, which was counted */
            }
            call = 0;
            old = fresh;
            continue;
        }
        cuts--;
        restart();
        counted.unloadable += net_state_load(&storage) == NET_OK ? 0u : 1u;
        if (is(&fresh)) {
            counted.took_new++;
            old = fresh;
        } else if (is(&old)) {
            counted.kept_old++;
        } else {
            counted.mixed++;
        }
        check_next_save();
        restart();
        counted.unloadable += net_state_load(&storage) == NET_OK ? 0u : 1u;
        if (is(&fresh)) { /* an unsure mark may be read either way */
            old = fresh;
        } else if (!is(&old)) {
            counted.mixed++;
        }
    }
}

/* --- damaged states --- */

/* A damaged state must be refused, and nothing may change. */
static void expect_refusal(const uint8_t *state, uint32_t bytes, const struct snapshot *before) {
    counted.accepted += net_load(state, bytes) == NET_OK ? 1u : 0u;
    counted.harmed += is(before) ? 0u : 1u;
}

/* Every flipped bit and every truncation of states in memory. */
static void damage_memory(unsigned long damages) {
    static uint8_t state[NET_STATE_BYTES];
    static struct snapshot before;
    restart();
    while (damages > 0u) {
        train();
        counted.not_saved += net_save(state, sizeof state) == NET_OK ? 0u : 1u;
        train();
        take(&before);
        for (uint32_t bit = 0; bit < 8u * sizeof state && damages > 0u; bit++, damages--, counted.flips++) {
            state[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
            expect_refusal(state, sizeof state, &before);
            state[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
        }
        for (uint32_t bytes = 0; bytes < sizeof state && damages > 0u; bytes++, damages--, counted.truncations++) {
            uint8_t *const part = malloc(bytes + 1u); /* of its own, so that a sanitizer sees what is read behind it */
            memcpy(part, state, bytes);
            expect_refusal(part, bytes, &before);
            free(part);
        }
        counted.unloadable += net_load(state, sizeof state) == NET_OK ? 0u : 1u;
    }
}

/* A flipped bit in the newest of two saved states: the older one is loaded. */
static void damage_slots(unsigned long damages) {
    static struct snapshot older;
    restart();
    train();
    take(&older);
    counted.not_saved += net_state_save(&storage) == NET_OK ? 0u : 1u;
    const bool second = word_at(flash.seen) == 0xffffffffu;
    train();
    counted.not_saved += net_state_save(&storage) == NET_OK ? 0u : 1u;
    uint8_t *const newest = flash.seen + (second ? 0u : flash.bytes / 2u);
    for (; damages > 0u; damages--, counted.slot_flips++) {
        const uint32_t bit = random_below(8u * net_state_bytes(storage.program_bytes));
        newest[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
        counted.unloadable += net_state_load(&storage) == NET_OK ? 0u : 1u;
        counted.accepted += is(&older) ? 0u : 1u;
        newest[bit / 8u] ^= (uint8_t)(1u << bit % 8u);
    }
}

int main(int count, char **arguments) {
    static const uint32_t sizes[][2] = {{4096u, 256u}, {256u, 1u}, {1024u, 32u}, {512u, 8u}, {2048u, 64u}, {128u, 4u}};
    const uint32_t kinds = 2u * sizeof sizes / sizeof *sizes;
    if (count != 4) {
        return 2;
    }
    random_state = strtoull(arguments[1], NULL, 10) * 2654435761u + 88172645463325252u;
    const unsigned long cuts = strtoul(arguments[2], NULL, 10), damages = strtoul(arguments[3], NULL, 10);
    flash.waiting = malloc(MOST_OPERATIONS * sizeof *flash.waiting);
    for (uint32_t i = 0; i < kinds; i++) {
        const uint32_t *const size = sizes[i / 2u];
        cut_first_saves(size[0], size[1], i % 2u != 0u);
        make_flash(size[0], size[1], i % 2u != 0u);
        cut_saves((cuts + kinds - 1u) / kinds);
        make_flash(size[0], size[1], i % 2u != 0u);
        damage_slots(damages / kinds / 10u);
    }
    damage_memory(damages);
    printf("{\"cuts\": %lu, \"first_saves\": %lu, \"kept_old\": %lu, \"took_new\": %lu, \"flips\": %lu, \"truncations\": %lu, "
           "\"slot_flips\": %lu, \"faults\": {\"unloadable\": %lu, \"mixed\": %lu, \"not_saved\": %lu, \"misuse\": %lu, "
           "\"accepted\": %lu, \"harmed\": %lu}}\n",
           counted.cuts, counted.first_saves, counted.kept_old, counted.took_new, counted.flips, counted.truncations,
           counted.slot_flips, counted.unloadable, counted.mixed, counted.not_saved, counted.misuse, counted.accepted,
           counted.harmed);
    return 0;
}
