/* block.c: any bytes as the payload of a data block, and as a section.
 *
 * input := how:u8 count:u8 interval:u8 probe_size:u8 probe bytes
 * how   := bit 0: count and interval are put behind the bytes, else they are the bytes' own;
 *          bit 1: the bytes are a whole section, packed by codec count / 100, whose checksum is
 *          made right */
#include "block.h"
#include "codec.h"
#include "memory_disk.h"

#include <stdlib.h>

enum { UNPACKED_MAX = 1 << 20 };

static const oor_place place = {"table", 9, 4096};

static void read_entries(const oor_block *block, const uint8_t *end, const uint8_t *probe,
                         size_t probe_size) {
    static uint8_t key[OOR_KEY_SIZE_MAX];
    uint32_t sum = 0, at_or_above = oor_block_seek(block, probe, probe_size);
    REQUIRE(at_or_above <= block->count);
    for (uint32_t i = 0; i < block->count; i++) {
        oor_entry entry;
        oor_block_entry(block, i, &entry);
        uint32_t size = oor_entry_key_size(&entry);
        REQUIRE(size <= OOR_KEY_SIZE_MAX);
        oor_entry_key(&entry, key);
        REQUIRE(oor_entry_compare(&entry, key, size) == 0);
        if (size) REQUIRE(oor_entry_compare(&entry, key, size - 1) > 0);
        uint32_t value_size = entry.value_size == OOR_TOMBSTONE ? 0 : entry.value_size;
        REQUIRE(entry.value + value_size <= end);
        for (uint32_t v = 0; v < value_size; v++) sum += entry.value[v];
    }
    volatile uint32_t kept = sum;
    (void)kept;
}

static void one_payload(const uint8_t *payload, size_t size, const uint8_t *probe,
                        size_t probe_size) {
    int64_t count = oor_block_count(&place, payload, size);
    if (count < 0) return;
    REQUIRE(count > 0 && (uint64_t)count * OOR_ENTRY_SIZE_MIN <= size);
    uint16_t *offsets = malloc((size_t)count * sizeof *offsets);
    REQUIRE(offsets);
    oor_block block;
    if (oor_block_view(&place, payload, size, (uint32_t)count, offsets, &block) >= 0)
        read_entries(&block, payload + size - OOR_BLOCK_TAIL_SIZE, probe, probe_size);
    free(offsets);
}

static void one_packed(const uint8_t *packed, size_t size, uint32_t codec, const uint8_t *probe,
                       size_t probe_size) {
    int64_t unpacked = oor_unpacked_size(&place, codec, packed, size);
    if (unpacked < 0 || unpacked > UNPACKED_MAX) return;
    uint8_t *payload = malloc(unpacked ? (size_t)unpacked : 1);
    REQUIRE(payload);
    if (oor_unpack(&place, codec, packed, size, payload, (size_t)unpacked) >= 0)
        one_payload(payload, (size_t)unpacked, probe, probe_size);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    unsigned how = (unsigned)take(&in, 1);
    uint32_t count = (uint32_t)take(&in, 1), interval = (uint32_t)take(&in, 1);
    size_t probe_size = (size_t)take(&in, 1) % 32;
    const uint8_t *probe = take_span(&in, &probe_size);
    size_t more = how & 2 ? OOR_SECTION_TRAILER_SIZE : how & 1 ? OOR_BLOCK_TAIL_SIZE : 0;
    uint8_t *copy = malloc(in.size + more + 1);
    REQUIRE(copy);
    memcpy(copy, in.data, in.size);
    uint8_t *exact = realloc(copy, in.size + more ? in.size + more : 1);
    REQUIRE(exact);
    size_t whole = in.size + more, payload_size = whole;
    if (how & 2) {
        uint8_t salt[16];
        oor_store64(salt, place.number);
        oor_store64(salt + 8, place.offset);
        exact[in.size] = (uint8_t)(count / 100);
        uint32_t crc = oor_crc32c(oor_crc32c(0, salt, sizeof salt), exact, whole - 4);
        oor_store32(exact + whole - 4, oor_crc32c_mask(crc));
        uint32_t codec;
        if (oor_section_check(&place, exact, whole, &codec, &payload_size) < 0) payload_size = 0;
        else REQUIRE(payload_size == in.size);
        if (payload_size && codec != OOR_CODEC_NONE) {
            one_packed(exact, payload_size, codec, probe, probe_size);
            payload_size = 0;
        }
    } else if (how & 1) {
        oor_store32(exact + in.size, count);
        oor_store32(exact + in.size + 4, interval);
    }
    if (payload_size) one_payload(exact, payload_size, probe, probe_size);
    free(exact);
    return 0;
}
