/* tle.c: any text as lines of element sets, whole and cut into pieces.
 *
 * input := piece:u8 room:u8 text       the text in pieces of `piece` bytes, `room` sets at a time */
#include "memory_disk.h"

#include <stdlib.h>

enum { ROOM = 64 };

typedef struct {
    oor_tle_state state;
    uint64_t digest; /* of all sets, in order */
} outcome;

static void note(outcome *out, const oor_tle_batch *batch, const uint8_t *text, size_t size) {
    for (uint64_t i = 0; i < batch->set_count; i++) {
        const oor_tle_set *set = &batch->sets[i];
        REQUIRE((size_t)set->offset + set->size <= size);
        REQUIRE(set->line1_at < set->size && set->line2_at < set->size);
        REQUIRE(set->line2_at > set->line1_at);
        out->digest = out->digest * 31 + set->digest + (uint64_t)set->epoch_us;
    }
    int64_t values =
        oor_tle_columns(text, size, batch->set_count, batch->sets, NULL, 1, NULL, NULL, NULL, 0);
    REQUIRE(values >= 0);
    uint8_t *keys = malloc((size_t)batch->set_count * OOR_TLE_KEY_SIZE + 1);
    uint8_t *bytes = malloc((size_t)values + 1);
    uint32_t *sizes = malloc(((size_t)batch->set_count + 1) * sizeof *sizes);
    REQUIRE(keys && bytes && sizes);
    REQUIRE(oor_tle_columns(text, size, batch->set_count, batch->sets, NULL, 1, keys, sizes, bytes,
                            (size_t)values) == values);
    free(keys);
    free(bytes);
    free(sizes);
}

/* Reads the text in pieces of `piece` bytes; what is not done with comes again. */
static outcome read_all(const uint8_t *text, size_t size, size_t piece, uint64_t room) {
    outcome out = {0};
    static oor_tle_set sets[ROOM];
    static oor_tle_reject rejects[ROOM];
    size_t at = 0, end = 0;
    while (at < size || end < size) {
        end = end + piece < size ? end + piece : size;
        for (;;) {
            oor_tle_batch batch = {.sets = sets,
                                   .rejects = rejects,
                                   .set_capacity = room,
                                   .reject_capacity = room + 1};
            size_t given = end - at;
            uint8_t *exact = malloc(given ? given : 1);
            REQUIRE(exact);
            memcpy(exact, text + at, given);
            int64_t done = oor_tle_scan(&out.state, exact, given, end == size, &batch);
            REQUIRE(done >= 0 && (size_t)done <= given);
            note(&out, &batch, exact, given);
            free(exact);
            at += (size_t)done;
            if (done == 0 || at == end) break;
        }
        if (end == size && at < size) REQUIRE(!"the end of the input is not consumed");
    }
    REQUIRE(out.state.offset == size);
    REQUIRE(out.state.set_bytes + out.state.reject_bytes + out.state.blank_bytes == size);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    size_t piece = (size_t)take(&in, 1) + in.size / 16 + 1; /* so that the work is bounded */
    uint64_t room = take(&in, 1) % (ROOM - 1) + 1;
    outcome whole = read_all(in.data, in.size, in.size + 1, ROOM - 1);
    outcome cut = read_all(in.data, in.size, piece, room);
    /* Where the input is cut makes no difference. */
    REQUIRE(whole.digest == cut.digest && whole.state.sets == cut.state.sets);
    REQUIRE(whole.state.rejects == cut.state.rejects);
    REQUIRE(whole.state.set_bytes == cut.state.set_bytes);
    return 0;
}
