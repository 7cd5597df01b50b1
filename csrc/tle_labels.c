/* tle_labels.c: names and designators of scanned sets as records of the indexes by them.
 *
 * designator := 0x21 text 0x00 number:u32   -> lsn:u64 format:u8
 * name       := 0x22 text 0x00 number:u32   -> lsn:u64 format:u8 name
 *
 * The text of a designator is "1998-067A" for the columns "98067A", of a name its small letters.
 * Numbers are big-endian; the LSN is 0 here, and the log puts it in.  Only labels that an object
 * was not met with lately are written: most objects keep theirs for life. */
#include "tle.h"

enum { DESIGNATOR_AT = 9, DESIGNATOR_SIZE = 8, NAME_MAX = 128, PROBES = 8 };
enum { KIND_DESIGNATOR = 0x21, KIND_NAME = 0x22 };
/* "1998-067ABC" is the longest designator; both kinds have a kind, a zero and a number around. */
enum { AROUND = 6, LABELS_KEY_MAX = 2 * AROUND + DESIGNATOR_SIZE + 3 + NAME_MAX };
_Static_assert((int)LABELS_KEY_MAX <= (int)OOR_TLE_LABELS_ROOM, "the header names the room");

typedef struct {
    const uint8_t *text;
    size_t size;
} label;

/* Whether the table did not know this label of this object; it does now.  Where PROBES slots are
 * taken by others one of them is forgotten, and is written again when it comes again. */
static int is_new(uint64_t *known, uint64_t slots, uint64_t digest) {
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

static uint64_t digest_of(uint32_t number, uint8_t kind, label it) {
    uint8_t bytes[5 + NAME_MAX];
    memcpy(bytes, &number, 4);
    bytes[4] = kind;
    memcpy(bytes + 5, it.text, it.size);
    return oor_tle_digest(bytes, 5 + it.size) | 1;
}

static int is_blank(uint8_t x) { return x == ' ' || (x >= '\t' && x <= '\r') || x == '\\'; }

static label name_of(const uint8_t *text, const oor_tle_set *set) {
    label name = {text + set->offset, set->line1_at};
    while (name.size && is_blank(name.text[name.size - 1])) name.size--;
    int numbered = name.size >= 2 && name.text[0] == '0' && name.text[1] == ' ';
    if (numbered) name.text += 2, name.size -= 2;
    while (name.size && name.text[0] != '\\' && is_blank(name.text[0])) name.text++, name.size--;
    while (name.size && name.text[name.size - 1] != '\\' && is_blank(name.text[name.size - 1]))
        name.size--;
    if (name.size > NAME_MAX) name.size = NAME_MAX;
    return name;
}

static label trimmed(const uint8_t *columns) {
    label it = {columns, DESIGNATOR_SIZE};
    while (it.size && it.text[it.size - 1] == ' ') it.size--;
    while (it.size && it.text[0] == ' ') it.text++, it.size--;
    return it;
}

/* Writes "1998-067A" for "98067A", and what follows no pattern as it is; returns the size. */
static size_t write_designator(label it, uint8_t *out) {
    int plain = it.size >= 6;
    for (size_t i = 0; i < it.size && plain; i++)
        plain = i < 5 ? it.text[i] >= '0' && it.text[i] <= '9' : it.text[i] != ' ';
    if (!plain) {
        memcpy(out, it.text, it.size);
        return it.size;
    }
    memcpy(out, it.text[0] * 10 + it.text[1] >= '5' * 10 + '7' ? "19" : "20", 2);
    memcpy(out + 2, it.text, 2);
    out[4] = '-';
    memcpy(out + 5, it.text + 2, it.size - 2);
    return it.size + 3;
}

size_t oor_tle_write_designator(const uint8_t *columns, uint8_t *out) {
    return write_designator(trimmed(columns), out);
}

static void add(oor_tle_records *out, uint8_t kind, const uint8_t *text, size_t size,
                uint32_t number, label value) {
    uint8_t *key = out->keys + out->keys_size;
    *key++ = kind;
    memcpy(key, text, size);
    key[size] = 0;
    oor_tle_store_big(key + size + 1, number, 4);
    out->key_sizes[out->count] = (uint32_t)size + AROUND;
    out->keys_size += size + AROUND;
    uint8_t *at = out->values + out->values_size;
    oor_tle_record_header(at);
    if (value.size) memcpy(at + OOR_TLE_RECORD_HEADER_SIZE, value.text, value.size);
    out->value_sizes[out->count] = OOR_TLE_RECORD_HEADER_SIZE + (uint32_t)value.size;
    out->values_size += out->value_sizes[out->count];
    out->count++;
}

/* Returns 1 if the name is not ASCII: its small letters are a matter of tables. */
static int add_name(oor_tle_records *out, uint32_t number, label name) {
    uint8_t small[NAME_MAX];
    for (size_t i = 0; i < name.size; i++) {
        uint8_t x = name.text[i];
        if (x >= 0x80) return 1;
        small[i] = x >= 'A' && x <= 'Z' ? (uint8_t)(x + 32) : x;
    }
    add(out, KIND_NAME, small, name.size, number, name);
    return 0;
}

int64_t oor_tle_labels(oor_tle_roster *roster, uint64_t *known, uint64_t known_slots,
                       const uint8_t *text, size_t size, uint64_t count, const oor_tle_set *sets,
                       const uint8_t *keep, oor_tle_records *out, uint8_t *marks) {
    if (known_slots == 0 || (known_slots & (known_slots - 1)) != 0)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu slots", (unsigned long long)known_slots);
    int64_t left = 0;
    out->count = out->keys_size = out->values_size = 0;
    for (uint64_t i = 0; i < count; i++) {
        const oor_tle_set *set = &sets[i];
        marks[i] = 0;
        if (!keep[i]) continue;
        if (set->offset > size || set->size > size - set->offset)
            return oor_fail(OOR_E_LIMIT, NULL, "set %llu is not in the text",
                            (unsigned long long)i);
        oor_tle_object *object = oor_tle_roster_find(roster, set->catalog_number);
        if (!object) return oor_fail(OOR_E_LIMIT, NULL, "a set of an object that was not met");
        const uint8_t *columns = text + set->offset + set->line1_at + DESIGNATOR_AT;
        uint64_t designator = oor_load64(columns);
        if (designator != object->designator) {
            label it = trimmed(columns);
            uint8_t written[DESIGNATOR_SIZE + 3];
            object->designator = designator;
            if (it.size && is_new(known, known_slots, digest_of(set->catalog_number, 'd', it)))
                add(out, KIND_DESIGNATOR, written, write_designator(it, written),
                    set->catalog_number, (label){NULL, 0});
        }
        label name = name_of(text, set);
        if (name.size == 0) continue;
        uint64_t digest = digest_of(set->catalog_number, 'n', name);
        if (digest == object->name) continue;
        object->name = digest;
        if (!is_new(known, known_slots, digest)) continue;
        marks[i] = (uint8_t)add_name(out, set->catalog_number, name);
        left += marks[i];
    }
    return left;
}
