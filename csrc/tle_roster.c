/* tle_roster.c: what one ingest knows of the objects that it has met.
 *
 * roster := slot*               a power of two of them, open addressing by catalog number
 * slot   := oor_tle_object      zeros: nobody
 *
 * It answers most of the question "is this set there already?" without a look into the store: a set
 * that is newer than every one of its object must be new.  And it is what the index of newest sets
 * is written from, at the end of a delivery:
 *
 * newest := 0x20 number:u32       -> lsn:u64 1:u8 key:23 | lsn:u64 2:u8 key:23 value
 *                                    key and value: of a set, as in tle_columns.c
 *
 * Integers of keys are big-endian.  The first LSN is 0 here, and the log puts it in; that of the
 * value is the set's own.  With values at hand the newest sets of all objects are one scan. */
#include "tle.h"

enum { NEWEST_KEY_SIZE = OOR_TLE_NEWEST_KEY_SIZE };
enum { FORMAT_WITH_VALUE = 2 };
enum { NEWEST_VALUE_AT = OOR_TLE_RECORD_HEADER_SIZE + OOR_TLE_KEY_SIZE };
_Static_assert((int)NEWEST_VALUE_AT + (int)OOR_TLE_NEWEST_VALUE_MAX == (int)OOR_TLE_NEWEST_ROOM,
               "the header names the room");

static oor_tle_object *slot_of(const oor_tle_roster *roster, uint32_t number) {
    uint64_t mask = roster->slots - 1, at = number * 0x9e3779b97f4a7c15u >> 32 & mask;
    while (roster->objects[at].flags && roster->objects[at].catalog_number != number)
        at = (at + 1) & mask;
    return &roster->objects[at];
}

oor_tle_object *oor_tle_roster_find(const oor_tle_roster *roster, uint32_t number) {
    oor_tle_object *found = slot_of(roster, number);
    return found->flags ? found : NULL;
}

int64_t oor_tle_roster_grow(oor_tle_roster *roster, oor_tle_object *objects, uint64_t slots) {
    if ((slots & (slots - 1)) != 0 || slots <= roster->slots)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu slots are no room for %llu",
                        (unsigned long long)slots, (unsigned long long)roster->slots);
    oor_tle_roster larger = {objects, slots, roster->used};
    for (uint64_t i = 0; i < roster->slots; i++)
        if (roster->objects[i].flags)
            *slot_of(&larger, roster->objects[i].catalog_number) = roster->objects[i];
    *roster = larger;
    return (int64_t)slots;
}

int64_t oor_tle_roster_meet(oor_tle_roster *roster, uint64_t count, const oor_tle_set *sets,
                            uint32_t *numbers) {
    if (roster->slots / 2 < roster->used + count)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu slots, %llu taken, and %llu sets more",
                        (unsigned long long)roster->slots, (unsigned long long)roster->used,
                        (unsigned long long)count);
    int64_t met = 0;
    for (uint64_t i = 0; i < count; i++) {
        oor_tle_object *object = slot_of(roster, sets[i].catalog_number);
        if (object->flags) continue;
        *object = (oor_tle_object){.catalog_number = sets[i].catalog_number, .flags = OOR_TLE_MET};
        numbers[met++] = sets[i].catalog_number;
    }
    roster->used += (uint64_t)met;
    return met;
}

int64_t oor_tle_roster_learn(oor_tle_roster *roster, const uint8_t *keys, size_t size) {
    if (size % OOR_TLE_KEY_SIZE != 0)
        return oor_fail(OOR_E_LIMIT, NULL, "%zu bytes are no keys of element sets", size);
    int64_t learned = 0;
    for (const uint8_t *key = keys; key != keys + size; key += OOR_TLE_KEY_SIZE, learned++) {
        oor_tle_object *object =
            oor_tle_roster_find(roster, (uint32_t)oor_tle_load_big(key + 1, 4));
        if (!object) return oor_fail(OOR_E_LIMIT, NULL, "a key of an object that was not met");
        object->epoch_us = (int64_t)(oor_tle_load_big(key + 5, 8) ^ (uint64_t)1 << 63);
        object->source = (uint16_t)oor_tle_load_big(key + 13, 2);
        object->digest = oor_tle_load_big(key + 15, 8);
        object->flags |= OOR_TLE_STORED;
    }
    return learned;
}

static void put_in_force(oor_tle_object *object, const oor_tle_set *set, uint16_t source) {
    object->epoch_us = set->epoch_us;
    object->digest = set->digest;
    object->source = source;
    object->value_size = 0;
    object->flags |= OOR_TLE_STORED | OOR_TLE_CHANGED;
}

static enum oor_tle_verdict verdict_of(oor_tle_object *object, const oor_tle_set *set,
                                       uint16_t source) {
    if (!(object->flags & OOR_TLE_STORED) || set->epoch_us > object->epoch_us) {
        object->flags = (uint16_t)((object->flags | OOR_TLE_OURS) & ~OOR_TLE_MANY);
        put_in_force(object, set, source);
        return OOR_TLE_NEW;
    }
    if (set->epoch_us < object->epoch_us) return OOR_TLE_ASK;
    if (set->digest == object->digest && source == object->source) return OOR_TLE_THERE;
    if ((object->flags & (OOR_TLE_OURS | OOR_TLE_MANY)) != OOR_TLE_OURS) return OOR_TLE_ASK;
    /* The only set of this epoch came in this ingest, and it is another one. */
    object->flags |= OOR_TLE_MANY;
    put_in_force(object, set, source);
    return OOR_TLE_NEW;
}

int64_t oor_tle_roster_sort_out(oor_tle_roster *roster, uint64_t count, const oor_tle_set *sets,
                                uint16_t source, uint8_t *verdicts, uint64_t *fresh) {
    int64_t asked = 0;
    *fresh = 0;
    for (uint64_t i = 0; i < count; i++) {
        oor_tle_object *object = oor_tle_roster_find(roster, sets[i].catalog_number);
        if (!object) return oor_fail(OOR_E_LIMIT, NULL, "a set of an object that was not met");
        enum oor_tle_verdict verdict = verdict_of(object, &sets[i], source);
        verdicts[i] = (uint8_t)verdict;
        asked += verdict == OOR_TLE_ASK;
        *fresh += verdict == OOR_TLE_NEW;
    }
    return asked;
}

int64_t oor_tle_roster_take(oor_tle_roster *roster, uint64_t count, const oor_tle_set *sets,
                            uint16_t source, const uint8_t *keep) {
    int64_t taken = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!keep[i]) continue;
        oor_tle_object *object = oor_tle_roster_find(roster, sets[i].catalog_number);
        if (!object) return oor_fail(OOR_E_LIMIT, NULL, "a set of an object that was not met");
        taken++;
        if (sets[i].epoch_us < object->epoch_us) continue;
        /* Of sets of one epoch the last stored is in force. */
        object->flags |= OOR_TLE_MANY;
        put_in_force(object, &sets[i], source);
    }
    return taken;
}

int64_t oor_tle_roster_keep(oor_tle_roster *roster, const uint8_t *text, size_t size,
                            uint64_t count, const oor_tle_set *sets, uint16_t source,
                            const uint8_t *keep, uint64_t first_lsn) {
    int64_t kept = 0;
    uint64_t lsn = first_lsn;
    for (uint64_t i = 0; i < count; i++) {
        if (!keep[i]) continue;
        const oor_tle_set *set = &sets[i];
        if (set->offset > size || set->size > size - set->offset)
            return oor_fail(OOR_E_LIMIT, NULL, "set %llu is not in the text",
                            (unsigned long long)i);
        oor_tle_object *object = oor_tle_roster_find(roster, set->catalog_number);
        size_t value_size = OOR_TLE_VALUE_HEADER_SIZE + (size_t)set->size;
        if (object && object->epoch_us == set->epoch_us && object->digest == set->digest &&
            object->source == source && value_size <= OOR_TLE_NEWEST_VALUE_MAX) {
            oor_tle_write_value(text, set, object->value);
            oor_store64(object->value, lsn);
            object->value_size = (uint8_t)value_size;
            kept++;
        }
        lsn++;
    }
    return kept;
}

int64_t oor_tle_roster_changed(oor_tle_roster *roster, uint64_t *slot, uint64_t capacity,
                               uint8_t *keys, uint8_t *values, uint32_t *value_sizes) {
    uint64_t count = 0;
    for (; *slot < roster->slots && count < capacity; ++*slot) {
        oor_tle_object *object = &roster->objects[*slot];
        if (!(object->flags & OOR_TLE_CHANGED)) continue;
        object->flags &= (uint16_t)~OOR_TLE_CHANGED;
        oor_tle_set set = {.digest = object->digest,
                           .epoch_us = object->epoch_us,
                           .catalog_number = object->catalog_number};
        keys[0] = OOR_TLE_KIND_NEWEST;
        oor_tle_store_big(keys + 1, object->catalog_number, 4);
        keys += NEWEST_KEY_SIZE;
        oor_tle_record_header(values);
        if (object->value_size) values[OOR_TLE_RECORD_HEADER_SIZE - 1] = FORMAT_WITH_VALUE;
        oor_tle_write_key(&set, object->source, values + OOR_TLE_RECORD_HEADER_SIZE);
        memcpy(values + NEWEST_VALUE_AT, object->value, object->value_size);
        value_sizes[count] = NEWEST_VALUE_AT + (uint32_t)object->value_size;
        values += value_sizes[count];
        count++;
    }
    return (int64_t)count;
}
