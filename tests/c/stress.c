/* stress.c: many threads in the C half at once, for the sanitizers: log, cache, lookups, merges.
 *
 *     stress DIRECTORY SECONDS        prints what was done; ends by assert when something is wrong
 *
 * The log is written by threads in each of its ways, beside syncs, rotations, releases and readers
 * of its state; afterwards every mutation is read back.  Tables are looked up, walked up and down and
 * compacted at once, through a cache too small for them. */
#include "oor.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS = 6, READERS = 4, PAIRS = 1500, TABLES = 4, MANY = 150, LOG_SECONDS_SHARE = 2 };

static const uint8_t database_id[16] = "a stressed store";
static const char *directory;
static atomic_int done;
static oor_wal *wal;
static oor_version *version;
static oor_table *tables[TABLES];
static atomic_ulong mutations, frames, lookups, pairs_walked, entries_compacted;
static atomic_ulong tokens = 1;
static pthread_mutex_t apply_lock = PTHREAD_MUTEX_INITIALIZER;

static void check(int64_t code) {
    if (code >= 0) return;
    fprintf(stderr, "%s: %s\n", oor_last_error()->path, oor_last_error()->what);
    abort();
}

/* ---- the log --------------------------------------------------------------------------------- */

static void publish(const oor_wal_durables *found) {
    if (!found->count) return;
    for (uint64_t i = 1; i < found->count; i++)
        assert(found->frame[i].first_lsn > found->frame[i - 1].last_lsn);
    oor_wal_publish(wal, found->frame[found->count - 1].last_lsn);
}

/* What the caller of a commit does if nobody else did: takes what is durable off the queue, in
 * order. */
static void apply_durable(void) {
    oor_wal_durables found;
    pthread_mutex_lock(&apply_lock);
    oor_wal_peek_durable(wal, &found);
    publish(&found);
    pthread_mutex_unlock(&apply_lock);
}

static void *write_log(void *argument) {
    uint8_t thread = (uint8_t)(uintptr_t)argument, key[8] = {thread}, value[300];
    memset(value, thread, sizeof value);
    uint32_t key_sizes[3] = {8, 8, 8}, value_sizes[3] = {100, OOR_TOMBSTONE, 100};
    for (uint32_t i = 0; !atomic_load(&done); i++) {
        memcpy(key + 4, &i, 4);
        uint8_t keys[24];
        oor_wal_durables found = {0};
        for (int k = 0; k < 3; k++) memcpy(keys + 8 * k, key, 8);
        int64_t lsn;
        uint64_t count = 1;
        switch ((i + thread) % 4) {
        case 0:
            lsn = oor_wal_put(wal, key, 8, value, i % 300, 0);
            break;
        case 1:
            lsn = oor_wal_commit(wal, key, 8, value, i % 300, atomic_fetch_add(&tokens, 1), &found);
            break;
        case 2:
            lsn =
                oor_wal_append(wal, count = 3, keys, 24, key_sizes, value, 200, value_sizes, 0, 0);
            break;
        default:
            lsn = oor_wal_commit_columns(wal, count = 3, keys, 24, key_sizes, value, 200,
                                         value_sizes, 0, atomic_fetch_add(&tokens, 1), &found);
        }
        check(lsn);
        /* Sometimes an exception keeps the one who was to publish from it. */
        if (i % 64 != 63) publish(&found);
        if (i % 16 == 0) apply_durable();
        atomic_fetch_add(&mutations, count);
        atomic_fetch_add(&frames, 1);
    }
    return NULL;
}

static void *keep_log(void *argument) {
    (void)argument;
    for (unsigned i = 0; !atomic_load(&done); i++) {
        oor_wal_state state;
        oor_wal_segment segments[64];
        oor_wal_read_state(wal, &state);
        assert(state.durable_lsn < state.next_lsn);
        int64_t count = oor_wal_segments(wal, segments, 64);
        assert(count >= 1);
        switch (i % 4) {
        case 0:
            check(oor_wal_rotate(wal));
            break;
        case 1:
            check(oor_wal_sync(wal, state.next_lsn - 1, -1));
            break;
        case 2:
            check(oor_wal_ask(wal));
            break;
        default:
            assert(oor_wal_durable(wal) >= state.durable_lsn);
        }
        usleep(500);
    }
    return NULL;
}

/* All segments, frame by frame: every mutation is there once, in the order of the LSNs. */
static void read_log_back(void) {
    oor_tail *tail;
    oor_wal_segment segments[4096];
    char path[1200];
    int64_t count = oor_wal_segments(wal, segments, 4096);
    assert(count <= 4096);
    snprintf(path, sizeof path, "%s/TAIL", directory);
    check(oor_tail_read(path, database_id, 1, &tail));
    uint64_t records = 0, last = 0;
    oor_buffer *out = oor_buffer_new();
    for (int64_t i = 0; i < count; i++) {
        oor_walscan *scan;
        oor_walscan_chunk chunk;
        snprintf(path, sizeof path, "%s/%012llu.wal", directory,
                 (unsigned long long)segments[i].number);
        check(oor_walscan_open(path, database_id, segments[i].number, 1, tail, last, 0, &scan));
        int more;
        while ((more = oor_walscan_next(scan, 1 << 16, out, &chunk)) > 0) {
            assert(chunk.first_lsn == last + 1);
            records += chunk.records;
            last = chunk.last_lsn;
        }
        check(more);
        oor_walscan_close(scan);
    }
    assert(records == atomic_load(&mutations) && last == records);
    oor_buffer_free(out);
    oor_tail_free(tail);
}

static void stress_log(unsigned seconds) {
    oor_wal_options options = {.epoch = 1,
                               .first_segment = 1,
                               .next_lsn = 1,
                               .first_lsn = 1,
                               .segment_size = 1 << 20,
                               .tail_size = 1 << 16,
                               .sync_interval_us = 2000,
                               .spare_segments = 1,
                               .max_unsynced_bytes = 1 << 19};
    memcpy(options.database_id, database_id, 16);
    check(oor_wal_open(directory, &options, 0, &wal));
    check(oor_wal_finish_copy(wal));
    check(oor_wal_start(wal));
    pthread_t threads[WRITERS + 1];
    for (uintptr_t i = 0; i < WRITERS; i++) pthread_create(&threads[i], NULL, write_log, (void *)i);
    pthread_create(&threads[WRITERS], NULL, keep_log, NULL);
    sleep(seconds);
    atomic_store(&done, 1);
    for (int i = 0; i <= WRITERS; i++) pthread_join(threads[i], NULL);
    check(oor_wal_seal(wal));
    read_log_back();
    oor_wal_free(wal);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static size_t name_of(char *out, unsigned table, unsigned i) {
    return (size_t)sprintf(out, "%05u.%u", i, i % TABLES == table ? 0 : table + 1);
}

static oor_table *make_table(oor_cache *cache, unsigned number) {
    oor_table_options options = {.block_size = 512, .restart_interval = 8, .filter_bits = 10};
    oor_run *run = oor_run_new();
    for (unsigned i = 0; i < PAIRS; i++) {
        char key[32], value[100];
        uint32_t key_size = (uint32_t)name_of(key, number, i), value_size = 8 + i % 90;
        memset(value, 'a' + (int)number, sizeof value);
        check(oor_run_add(run, 1, (uint8_t *)key, key_size, &key_size, (uint8_t *)value, value_size,
                          &value_size));
    }
    char path[1200];
    snprintf(path, sizeof path, "%s/%u.sst", directory, number);
    oor_table_props props;
    check(oor_run_write(run, path, number + 1, &options, number + 1, number + 1, &props));
    oor_table *table;
    check(oor_table_open(path, number + 1, props.file_size, props.uid, cache, &table));
    oor_run_free(run);
    return table;
}

/* As marshal.dumps writes a list of bytes; every third key is nowhere. */
static size_t marshal_keys(uint8_t *room, uint32_t count, unsigned *seed) {
    uint8_t *p = room;
    *p++ = '[';
    memcpy(p, &count, 4);
    p += 4;
    for (uint32_t i = 0; i < count; i++) {
        char key[32];
        size_t size = name_of(key, rand_r(seed) % TABLES, rand_r(seed) % PAIRS);
        if (i % 3 == 0) key[size - 1] = '~';
        uint32_t stored = (uint32_t)size;
        *p++ = 's';
        memcpy(p, &stored, 4);
        memcpy(p + 4, key, size);
        p += 4 + size;
    }
    return (size_t)(p - room);
}

static void *read_tables(void *argument) {
    unsigned seed = 1 + (unsigned)(uintptr_t)argument;
    oor_buffer *out = oor_buffer_new();
    oor_lookups *work = oor_lookups_new();
    assert(work);
    uint8_t keys[5 + MANY * 37];
    char room[256];
    oor_reader reader = {version, room, sizeof room};
    while (!atomic_load(&done)) {
        for (int i = 0; i < 200; i++) {
            char key[32];
            unsigned table = rand_r(&seed) % TABLES;
            size_t size = name_of(key, table, rand_r(&seed) % PAIRS);
            int64_t found = oor_read(&reader, key, size);
            check(found);
            assert(found >= 0);
            atomic_fetch_add(&lookups, 1);
        }
        size_t keys_size = marshal_keys(keys, MANY, &seed);
        int64_t many = oor_version_get_many(version, work, (char *)keys, keys_size, out);
        check(many);
        assert(many == MANY - (MANY + 2) / 3);
        atomic_fetch_add(&lookups, MANY);
        uint32_t flags = OOR_MERGE_NO_WINDOW | (rand_r(&seed) % 2 ? OOR_MERGE_REVERSE : 0);
        oor_merge *merge = oor_merge_new(version, NULL, 0, NULL, 0, flags);
        assert(merge);
        int step;
        while ((step = oor_merge_next(merge, 100, out)) == OOR_MERGE_MORE && !atomic_load(&done))
            atomic_fetch_add(&pairs_walked, 100);
        check(step);
        oor_merge_free(merge);
    }
    oor_lookups_free(work);
    oor_buffer_free(out);
    return NULL;
}

static void *compact_tables(void *argument) {
    oor_table_options options = {.block_size = 512, .restart_interval = 8, .filter_bits = 10};
    oor_compaction_limits limits = {1 << 30, UINT64_MAX, 1 << 12};
    for (unsigned number = 100; !atomic_load(&done); number++) {
        oor_compaction *work = oor_compaction_new(tables, TABLES, NULL, 0, 0, NULL);
        assert(work);
        char path[1200];
        snprintf(path, sizeof path, "%s/%u.out", (const char *)argument, number);
        oor_table_props props;
        int code;
        do code = oor_compaction_next(work, path, number, &options, &limits, &props);
        while (code == OOR_COMPACTION_SLICE);
        check(code);
        oor_compaction_counts counts;
        oor_compaction_read_counts(work, &counts);
        atomic_fetch_add(&entries_compacted, counts.entries_in);
        oor_compaction_free(work);
        unlink(path);
    }
    return NULL;
}

static void stress_tables(unsigned seconds) {
    oor_cache *cache = oor_cache_new(64 << 10);
    for (unsigned i = 0; i < TABLES; i++) tables[i] = make_table(cache, i);
    uint32_t levels[1] = {TABLES};
    version = oor_version_new(tables, levels, 1);
    atomic_store(&done, 0);
    pthread_t threads[READERS + 1];
    for (uintptr_t i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, read_tables, (void *)i);
    pthread_create(&threads[READERS], NULL, compact_tables, (void *)(uintptr_t)directory);
    sleep(seconds);
    atomic_store(&done, 1);
    for (int i = 0; i <= READERS; i++) pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < TABLES; i++) {
        check(oor_table_verify(tables[i]));
        oor_table_close(tables[i]);
    }
    oor_version_free(version);
    oor_cache_free(cache);
}

int main(int argc, char **argv) {
    assert(argc == 3);
    directory = argv[1];
    unsigned seconds = (unsigned)atoi(argv[2]);
    stress_log(seconds / LOG_SECONDS_SHARE + 1);
    stress_tables(seconds / LOG_SECONDS_SHARE + 1);
    printf("%lu mutations in %lu frames, %lu lookups, %lu pairs walked, %lu entries compacted\n",
           (unsigned long)mutations, (unsigned long)frames, (unsigned long)lookups,
           (unsigned long)pairs_walked, (unsigned long)entries_compacted);
    return 0;
}
