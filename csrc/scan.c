/* scan.c: what of a walk crosses to Python in one call: chunks of it, or all of a short one.
 *
 * chunk := list of key value, one behind the other, of pairs, or of keys, as in marshal.h
 * Columns: sink.h.  Nothing here is written to disk. */
#include "merge.h"

/* Hands on the first pairs as far as they are of one group: 0, or an error.
 * REQUIRES: a walk without newer pairs. */
static int walk_group(oor_merge *merge, oor_sink *sink, uint32_t pairs, uint32_t group) {
    uint8_t head[OOR_GROUP_MAX];
    assert(merge->newer.last && group > 0 && group <= OOR_GROUP_MAX);
    const oor_cursor *top;
    for (uint32_t taken = 0; taken < pairs && (top = oor_heap_top(&merge->heap)) &&
                             !oor_merge_is_past(merge, top->key, top->key_size);) {
        int live = top->value_size != OOR_TOMBSTONE;
        if (live && taken && (top->key_size < group || memcmp(top->key, head, group) != 0)) break;
        if (live && !taken && top->key_size < group) pairs = 1;
        if (live && !taken && top->key_size >= group) memcpy(head, top->key, group);
        int ended = 0, rc = oor_merge_take_table(merge, sink, &ended);
        if (rc < 0) return rc;
        taken += (uint32_t)rc;
    }
    return 0;
}

static enum oor_sink_kind list_kind(uint32_t flags) {
    return flags & OOR_MERGE_KEYS_ONLY ? OOR_SINK_KEYS
           : flags & OOR_MERGE_TUPLES  ? OOR_SINK_TUPLES
                                       : OOR_SINK_PAIRS;
}

int oor_merge_next(oor_merge *merge, uint32_t pairs, oor_buffer *out) {
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc < 0) return rc;
    size_t begun = oor_marshal_list_begin(out);
    oor_sink sink = {.kind = list_kind(merge->flags), .out = out};
    int ended = oor_merge_walk(merge, &sink, pairs);
    if (ended >= 0) oor_marshal_list_end(out, begun, sink.items);
    return ended;
}

int oor_version_scan_to(const oor_version *version, const char *start, size_t start_size,
                        const char *stop, size_t stop_size, uint32_t flags, uint32_t pairs,
                        uint32_t group, oor_sink *sink) {
    if (group > OOR_GROUP_MAX)
        return oor_fail(OOR_E_LIMIT, NULL, "groups of keys with %u bytes in common", group);
    oor_merge merge;
    int rc = oor_merge_begin(&merge, version, (const uint8_t *)start, start_size,
                             (const uint8_t *)stop, stop_size, flags | OOR_MERGE_NO_WINDOW);
    if (rc < 0) return rc;
    rc = group ? walk_group(&merge, sink, pairs, group) : oor_merge_walk(&merge, sink, pairs);
    oor_merge_end(&merge);
    return rc < 0 ? rc : 0;
}

int oor_version_scan(const oor_version *version, const char *start, size_t start_size,
                     const char *stop, size_t stop_size, uint32_t flags, uint32_t pairs,
                     uint32_t group, oor_buffer *out) {
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc < 0) return rc;
    size_t begun = oor_marshal_list_begin(out);
    oor_sink sink = {.kind = list_kind(flags), .out = out};
    rc = oor_version_scan_to(version, start, start_size, stop, stop_size, flags, pairs, group,
                             &sink);
    if (rc >= 0) oor_marshal_list_end(out, begun, sink.items);
    return rc;
}

int oor_merge_next_columns(oor_merge *merge, oor_columns *out) {
    if (out->count > out->pairs_capacity || out->keys_capacity > INT32_MAX ||
        out->values_capacity > INT32_MAX)
        return oor_fail(OOR_E_LIMIT, NULL, "columns for %u pairs in %zu and %zu bytes",
                        out->pairs_capacity, out->keys_capacity, out->values_capacity);
    if (out->count == 0) out->key_offsets[0] = out->value_offsets[0] = 0;
    oor_sink sink = {.kind = OOR_SINK_COLUMNS, .columns = out};
    return oor_merge_walk(merge, &sink, out->pairs_capacity - out->count);
}
