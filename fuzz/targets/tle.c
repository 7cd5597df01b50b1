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

/* Reads the fields of sets that passed: each array is as large as it must be, and no larger. */
static void read_fields(uint64_t count, const uint8_t *keys, const uint8_t *values, size_t size,
                        const uint32_t *sizes) {
    static double numbers[9][ROOM];
    static uint32_t whole[3][ROOM];
    static uint64_t lsn[ROOM];
    static int64_t epoch[ROOM];
    static int32_t ends[3][ROOM + 1];
    static uint8_t bytes[2][ROOM], designators[ROOM * OOR_TLE_DESIGNATOR_ROOM];
    uint8_t bitmaps[5][ROOM / 8] = {0}, *names = malloc(size + 1);
    REQUIRE(names);
    oor_tle_elements out = {.catalog_number = whole[0],
                            .epoch_us = epoch,
                            .lsn = lsn,
                            .mean_motion = numbers[0],
                            .eccentricity = numbers[1],
                            .inclination = numbers[2],
                            .ra_of_asc_node = numbers[3],
                            .arg_of_pericenter = numbers[4],
                            .mean_anomaly = numbers[5],
                            .bstar = numbers[6],
                            .mean_motion_dot = numbers[7],
                            .mean_motion_ddot = numbers[8],
                            .element_set_no = whole[1],
                            .rev_at_epoch = whole[2],
                            .ephemeris_type = bytes[0],
                            .names = names,
                            .name_ends = ends[0],
                            .designators = designators,
                            .designator_ends = ends[1],
                            .classification = bytes[1],
                            .classification_ends = ends[2],
                            .named = bitmaps[0],
                            .designated = bitmaps[1],
                            .typed = bitmaps[2],
                            .numbered = bitmaps[3],
                            .turned = bitmaps[4]};
    int64_t read = oor_tle_read_elements(count, keys, (size_t)count * OOR_TLE_KEY_SIZE, values,
                                         size, sizes, &out);
    REQUIRE(read >= 0 && (uint64_t)read <= count);
    for (int64_t i = 0; i < read; i++)
        REQUIRE(ends[0][i] <= ends[0][i + 1] && (size_t)ends[0][i + 1] <= size);
    free(names);
}

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
    read_fields(batch->set_count, keys, bytes, (size_t)values, sizes);
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
