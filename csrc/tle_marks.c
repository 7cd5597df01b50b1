/* tle_marks.c: which sets of a batch an index has to hear of.  It writes no bytes of a format.
 *
 * An index of the newest sets needs the last of each object in a batch; one of names and designators
 * needs those whose name or designator is not known yet.  Both are few in a history, so the caller
 * looks at few sets one by one. */
#include "tle.h"

enum { DESIGNATOR_AT = 9, DESIGNATOR_SIZE = 8, LABEL_SIZE_MAX = 128, PROBES = 8 };

/* The slot of a number in a table of sets + 1 by number; 0 is free. */
static uint64_t slot_of(const oor_tle_set *sets, const uint32_t *newest, uint64_t slots,
                        uint32_t number) {
    uint64_t slot = number * 0x9e3779b97f4a7c15u >> 32 & (slots - 1);
    while (newest[slot] && sets[newest[slot] - 1].catalog_number != number)
        slot = (slot + 1) & (slots - 1);
    return slot;
}

/* Whether the table did not know this text of this object; it does now.  Where PROBES slots are taken
 * by others one of them is forgotten, and will be told again. */
static int is_new(uint64_t *known, uint64_t slots, uint32_t number, uint8_t kind,
                  const uint8_t *text, size_t size) {
    uint8_t label[5 + LABEL_SIZE_MAX];
    if (size > LABEL_SIZE_MAX) size = LABEL_SIZE_MAX;
    memcpy(label, &number, 4);
    label[4] = kind;
    memcpy(label + 5, text, size);
    uint64_t digest = oor_tle_digest(label, 5 + size) | 1;
    for (uint64_t i = 0; i < PROBES; i++) {
        uint64_t *slot = &known[((digest >> 8) + i) & (slots - 1)];
        if (*slot == digest) return 0;
        if (*slot == 0 || i == PROBES - 1) {
            *slot = digest;
            break;
        }
    }
    return 1;
}

static int label_is_new(uint64_t *known, uint64_t slots, const uint8_t *text,
                        const oor_tle_set *set) {
    const uint8_t *name = text + set->offset;
    size_t size = set->line1_at;
    if (size >= 2 && name[0] == '0' && name[1] == ' ') name += 2, size -= 2;
    while (size && (name[size - 1] <= ' ' || name[size - 1] == '\\')) size--;
    int fresh = is_new(known, slots, set->catalog_number, 'd',
                       text + set->offset + set->line1_at + DESIGNATOR_AT, DESIGNATOR_SIZE);
    if (size) fresh |= is_new(known, slots, set->catalog_number, 'n', name, size);
    return fresh;
}

int64_t oor_tle_marks(const uint8_t *text, size_t size, uint64_t count, const oor_tle_set *sets,
                      const uint8_t *keep, uint32_t *newest, uint64_t newest_slots, uint64_t *known,
                      uint64_t known_slots, uint8_t *marks) {
    int powers = (newest_slots & (newest_slots - 1)) == 0 && (known_slots & (known_slots - 1)) == 0;
    if (!powers || known_slots == 0 || count >= UINT32_MAX || newest_slots / 2 < count)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu and %llu slots for %llu sets",
                        (unsigned long long)newest_slots, (unsigned long long)known_slots,
                        (unsigned long long)count);
    memset(newest, 0, newest_slots * sizeof *newest);
    memset(marks, 0, count);
    int64_t marked = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (keep && !keep[i]) continue;
        const oor_tle_set *set = &sets[i];
        if (set->offset > size || set->size > size - set->offset)
            return oor_fail(OOR_E_LIMIT, NULL, "set %llu is not in the text",
                            (unsigned long long)i);
        uint64_t slot = slot_of(sets, newest, newest_slots, set->catalog_number);
        uint32_t before = newest[slot];
        /* Of sets of one epoch the last is in force. */
        if (!before || sets[before - 1].epoch_us <= set->epoch_us) {
            if (before) marked -= (marks[before - 1] &= OOR_TLE_LABELLED) == 0;
            newest[slot] = (uint32_t)i + 1;
            marks[i] |= OOR_TLE_NEWEST;
        }
        if (label_is_new(known, known_slots, text, set)) marks[i] |= OOR_TLE_LABELLED;
        marked += marks[i] != 0;
    }
    return marked;
}
