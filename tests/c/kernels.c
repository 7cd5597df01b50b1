/* kernels.c: the inner loops of the C half, each behind a function of its own whose instructions a
 * simulator counts.
 *
 *     kernels NAME DIRECTORY          runs one; prints how many operations it was
 *     kernels list                    prints the names
 *
 * What is prepared stands outside of `kernel`, so that only the loop is counted.  Tables are made in
 * DIRECTORY.  The work is the same each time: no clock, no chance. */
#include "block.h"
#include "frame.h"
#include "oor.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    CHECKSUMS = 200,
    SMALL_CHECKSUMS = 4000,
    FRAMES = 4000,
    SEEKS = 4000,
    VIEWS = 200,
    TABLES = 4,
    PAIRS = 4000,
    SETS = 1000,
    KEY_SIZE = 9,
    VALUE_SIZE = 138,
    BLOCK_SIZE = 4096,
    LINE_SIZE = 69
};

static const char *directory;
static uint8_t value[VALUE_SIZE];

static void check(int64_t code) {
    if (code >= 0) return;
    fprintf(stderr, "%s: %s\n", oor_last_error()->path, oor_last_error()->what);
    abort();
}

static void write_key(uint8_t *out, unsigned number) {
    char text[16];
    snprintf(text, sizeof text, "%09u", number);
    memcpy(out, text, KEY_SIZE);
}

/* ---- checksum and frame ---------------------------------------------------------------------- */

static uint8_t bytes[BLOCK_SIZE];

__attribute__((noinline)) void kernel_crc32c(void) {
    uint32_t crc = 0;
    for (int i = 0; i < CHECKSUMS; i++) crc = oor_crc32c(crc, bytes, sizeof bytes);
    assert(crc);
}

__attribute__((noinline)) void kernel_crc32c_small(void) {
    uint32_t crc = 0;
    for (int i = 0; i < SMALL_CHECKSUMS; i++) crc = oor_crc32c(crc, bytes, VALUE_SIZE);
    assert(crc);
}

__attribute__((noinline)) void kernel_frame(void) {
    static uint8_t room[1024];
    uint8_t key[KEY_SIZE] = "000000000";
    for (unsigned i = 0; i < FRAMES; i++) {
        uint8_t *body = room + OOR_FRAME_HEADER_SIZE;
        uint8_t *end = oor_op_encode(body, key, KEY_SIZE, value, VALUE_SIZE);
        oor_frame_finish(room, 7, 4096 + 8 * i, (uint32_t)(end - body), 1, 1 + i, i, 0);
    }
}

/* ---- block ----------------------------------------------------------------------------------- */

static oor_buffer section;
static size_t payload_size;
static uint8_t seek_keys[SEEKS][KEY_SIZE];
static uint16_t offsets[OOR_ENTRY_OFFSET_MAX];
static oor_block block;
static const oor_place place = {"kernels", 1, 4096};

__attribute__((noinline)) void kernel_block_view(void) {
    for (int i = 0; i < VIEWS; i++) {
        uint32_t codec;
        check(oor_section_check(&place, section.data, section.size, &codec, &payload_size));
        int64_t count = oor_block_count(&place, section.data, payload_size);
        check(oor_block_view(&place, section.data, payload_size, (uint32_t)count, offsets, &block));
    }
}

__attribute__((noinline)) void kernel_block_seek(void) {
    uint32_t sum = 0;
    for (int i = 0; i < SEEKS; i++) sum += oor_block_seek(&block, seek_keys[i], KEY_SIZE);
    assert(sum);
}

static void make_block(void) {
    oor_block_writer writer;
    oor_block_begin(&writer, &section, 16);
    unsigned count = 0;
    while (section.size < BLOCK_SIZE) {
        uint8_t key[KEY_SIZE];
        write_key(key, 2 * count++);
        check(oor_block_add(&writer, &section, key, KEY_SIZE, value, VALUE_SIZE));
    }
    check(oor_block_end(&writer, &section));
    uint32_t crc, codec;
    check(oor_section_seal(&section, 0, place.number, place.offset, OOR_CODEC_NONE, &crc));
    for (unsigned i = 0; i < SEEKS; i++) write_key(seek_keys[i], i * 7 % (2 * count));
    check(oor_section_check(&place, section.data, section.size, &codec, &payload_size));
    check(oor_block_view(&place, section.data, payload_size, count, offsets, &block));
}

/* ---- tables ---------------------------------------------------------------------------------- */

static oor_cache *cache;
static oor_table *tables[TABLES];
static oor_version *version;
static oor_buffer *pairs;
static const oor_table_options table_options = {
    .block_size = BLOCK_SIZE, .restart_interval = 16, .filter_bits = 10};

static oor_run *make_run(unsigned first, unsigned step) {
    oor_run *run = oor_run_new();
    for (unsigned i = 0; i < PAIRS / TABLES; i++) {
        /* In no order, as a memtable hands them over. */
        uint8_t key[KEY_SIZE];
        write_key(key, first + step * (i * 7 % (PAIRS / TABLES)));
        uint32_t key_size = KEY_SIZE, value_size = VALUE_SIZE;
        check(oor_run_add(run, 1, key, KEY_SIZE, &key_size, value, VALUE_SIZE, &value_size));
    }
    return run;
}

static void make_tables(void) {
    cache = oor_cache_new(8 << 20);
    for (unsigned i = 0; i < TABLES; i++) {
        char path[1200];
        snprintf(path, sizeof path, "%s/%u.sst", directory, i);
        oor_run *run = make_run(i, TABLES);
        oor_table_props props;
        check(oor_run_write(run, path, i + 1, &table_options, i + 1, i + 1, &props));
        check(oor_table_open(path, i + 1, props.file_size, props.uid, cache, &tables[i]));
        oor_run_free(run);
    }
    uint32_t levels[1] = {TABLES};
    version = oor_version_new(tables, levels, 1);
    pairs = oor_buffer_new();
}

__attribute__((noinline)) void kernel_merge(void) {
    oor_merge *merge = oor_merge_new(version, NULL, 0, NULL, 0, OOR_MERGE_NO_WINDOW);
    int step;
    while ((step = oor_merge_next(merge, 256, pairs)) == OOR_MERGE_MORE) continue;
    check(step);
    oor_merge_free(merge);
}

static void look_up_all(void) {
    static char room[256];
    oor_reader reader = {version, room, sizeof room};
    for (int i = 0; i < SEEKS; i++) {
        int64_t found = oor_read(&reader, (const char *)seek_keys[i], KEY_SIZE);
        assert(found == VALUE_SIZE);
    }
}

__attribute__((noinline)) void kernel_lookup(void) { look_up_all(); }

static void make_tables_and_keys(void) {
    make_tables();
    for (unsigned i = 0; i < SEEKS; i++) write_key(seek_keys[i], i * 7 % PAIRS);
    look_up_all(); /* so that the blocks are in the cache */
}

__attribute__((noinline)) void kernel_compaction(void) {
    char path[1200];
    snprintf(path, sizeof path, "%s/out.sst", directory);
    oor_compaction *work = oor_compaction_new(tables, TABLES, NULL, 0, 0, NULL);
    oor_compaction_limits limits = {1 << 30, UINT64_MAX, 1 << 20};
    oor_table_props props;
    check(oor_compaction_next(work, path, 100, &table_options, &limits, &props));
    oor_compaction_free(work);
}

static oor_run *run;

static void make_flush(void) { run = make_run(0, 1); }

__attribute__((noinline)) void kernel_flush(void) {
    char path[1200];
    snprintf(path, sizeof path, "%s/flush.sst", directory);
    oor_table_props props;
    check(oor_run_write(run, path, 1, &table_options, 1, 1, &props));
}

/* ---- element sets ---------------------------------------------------------------------------- */

static char text[SETS * 2 * (LINE_SIZE + 1) + 1];
static oor_tle_set sets[SETS];

/* Puts the check digit behind 68 columns: the sum of the digits and one for each minus. */
static size_t end_line(char *line) {
    int sum = 0;
    for (int i = 0; i < LINE_SIZE - 1; i++)
        sum += line[i] == '-' ? 1 : line[i] >= '0' && line[i] <= '9' ? line[i] - '0' : 0;
    line[LINE_SIZE - 1] = (char)('0' + sum % 10);
    line[LINE_SIZE] = '\n';
    return LINE_SIZE + 1;
}

static void make_text(void) {
    size_t at = 0;
    for (unsigned i = 0; i < SETS; i++) {
        sprintf(text + at, "1 %05uU 98067A   26%03u.%08u  .%08u  00000-0  %05u-3 0  999", 10000 + i,
                1 + i % 365, i * 54321, 100 + i, 10000 + i);
        at += end_line(text + at);
        sprintf(text + at, "2 %05u  51.6400 %8.4f 0006703 130.5360 325.0288 15.%08u%05u", 10000 + i,
                i * 0.25, 50000000 + i, i);
        at += end_line(text + at);
    }
}

__attribute__((noinline)) void kernel_tle_scan(void) {
    oor_tle_reject rejects[2];
    oor_tle_state state = {0};
    oor_tle_batch batch = {sets, rejects, SETS, 2, 0, 0};
    check(oor_tle_scan(&state, (const uint8_t *)text, sizeof text - 1, 1, &batch));
    assert(batch.set_count == SETS && batch.reject_count == 0);
}

/* ---- which ----------------------------------------------------------------------------------- */

static void make_bytes(void) {
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 31);
}

static const struct {
    const char *name;
    void (*prepare)(void);
    void (*kernel)(void);
    int operations;
} kernels[] = {
    {"crc32c", make_bytes, kernel_crc32c, CHECKSUMS},
    {"crc32c_small", make_bytes, kernel_crc32c_small, SMALL_CHECKSUMS},
    {"frame", make_bytes, kernel_frame, FRAMES},
    {"block_view", make_block, kernel_block_view, VIEWS},
    {"block_seek", make_block, kernel_block_seek, SEEKS},
    {"lookup", make_tables_and_keys, kernel_lookup, SEEKS},
    {"merge", make_tables, kernel_merge, PAIRS},
    {"flush", make_flush, kernel_flush, PAIRS / TABLES},
    {"compaction", make_tables, kernel_compaction, PAIRS},
    {"tle_scan", make_text, kernel_tle_scan, SETS},
};

int main(int argc, char **argv) {
    int listing = argc == 2 && strcmp(argv[1], "list") == 0;
    if (!listing && argc != 3) {
        fprintf(stderr, "usage: kernels NAME DIRECTORY | kernels list\n");
        return 2;
    }
    memset(value, 'v', sizeof value);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (listing) puts(kernels[i].name);
        if (listing || strcmp(argv[1], kernels[i].name) != 0) continue;
        directory = argv[2];
        kernels[i].prepare();
        kernels[i].kernel();
        printf("%d\n", kernels[i].operations);
        return 0;
    }
    return listing ? 0 : 2;
}
