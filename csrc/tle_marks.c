/* tle_marks.c: what of a batch an index has to hear of.  It writes no bytes of a format.
 *
 * The newest sets of a delivery are gathered in a table by catalog number; names and designators
 * that were not met before are marked, so that the caller looks at few sets one by one. */
#include "tle.h"

enum { DESIGNATOR_AT = 9, DESIGNATOR_SIZE = 8, LABEL_SIZE_MAX = 128, PROBES = 8 };

static oor_tle_newest *entry_of(oor_tle_newest *table, uint64_t slots, uint32_t number) {
    uint64_t at = number * 0x9e3779b97f4a7c15u >> 32 & (slots - 1);
    while (table[at].used && table[at].catalog_number != number) at = (at + 1) & (slots - 1);
    return &table[at];
}

int64_t oor_tle_newest_move(const oor_tle_newest *from, uint64_t from_slots, oor_tle_newest *to,
                            uint64_t to_slots) {
    if ((to_slots & (to_slots - 1)) != 0 || to_slots <= from_slots)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu slots are no room for %llu",
                        (unsigned long long)to_slots, (unsigned long long)from_slots);
    int64_t moved = 0;
    for (uint64_t i = 0; i < from_slots; i++) {
        if (!from[i].used) continue;
        *entry_of(to, to_slots, from[i].catalog_number) = from[i];
        moved++;
    }
    return moved;
}

/* Whether the table did not know this text of this object; it does now.  Where PROBES slots are
 * taken by others one of them is forgotten, and will be told again. */
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
    const uint8_t *name = text + set->offset, *designator = name + set->line1_at + DESIGNATOR_AT;
    size_t size = set->line1_at;
    if (size >= 2 && name[0] == '0' && name[1] == ' ') name += 2, size -= 2;
    while (size && (name[size - 1] <= ' ' || name[size - 1] == '\\')) size--;
    int fresh = is_new(known, slots, set->catalog_number, 'd', designator, DESIGNATOR_SIZE);
    if (size) fresh |= is_new(known, slots, set->catalog_number, 'n', name, size);
    return fresh;
}

int64_t oor_tle_marks(const uint8_t *text, size_t size, uint64_t count, const oor_tle_set *sets,
                      const uint8_t *keep, oor_tle_newest *newest, uint64_t newest_slots,
                      uint64_t newest_used, uint64_t *known, uint64_t known_slots, uint8_t *marks) {
    int powers = (newest_slots & (newest_slots - 1)) == 0 && (known_slots & (known_slots - 1)) == 0;
    if (!powers || known_slots == 0 || newest_slots / 2 < newest_used + count)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu and %llu slots for %llu sets more",
                        (unsigned long long)newest_slots, (unsigned long long)known_slots,
                        (unsigned long long)count);
    memset(marks, 0, count);
    for (uint64_t i = 0; i < count; i++) {
        if (keep && !keep[i]) continue;
        const oor_tle_set *set = &sets[i];
        if (set->offset > size || set->size > size - set->offset)
            return oor_fail(OOR_E_LIMIT, NULL, "set %llu is not in the text",
                            (unsigned long long)i);
        oor_tle_newest *entry = entry_of(newest, newest_slots, set->catalog_number);
        newest_used += !entry->used;
        /* Of sets of one epoch the last is in force. */
        if (!entry->used || entry->epoch_us <= set->epoch_us)
            *entry = (oor_tle_newest){set->digest, set->epoch_us, set->catalog_number, 1};
        marks[i] = (uint8_t)label_is_new(known, known_slots, text, set);
    }
    return (int64_t)newest_used;
}
