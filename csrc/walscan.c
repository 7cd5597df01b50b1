/* walscan.c: reads segments, and the shared tail that continues the newest, frame by frame.
 *
 * segment := header:4096 frame* rest          grammar: frame.c; the tail's: wal_tail.c
 *
 * The walk takes the frame at offset p from the segment, else from the tail, if it is whole and its
 * first LSN is the expected one.  Where neither has one the walk ends; `rest` is then searched, at
 * every multiple of 8, for whole frames that prove the log once went on: what they promise durable
 * and what LSNs they used.  Those frames are never replayed. */
#include "walscan.h"
#include "bulk.h"
#include "io.h"
#include "marshal.h"
#include "tail.h"

#include <stdlib.h>

typedef struct {
    uint8_t *data;
    size_t size; /* of data: 0 for a file of zeros, which has nothing to tell */
    uint64_t file_size;
    oor_segment_id id;
    uint32_t salt;
    oor_segment_header header;
    int header_state;
    int header_in_tail;
    const oor_tail *tail;
} segment;

struct oor_walscan {
    segment file;
    char path[1024];
    uint8_t database_id[16];
    uint64_t at;
    uint64_t expected_lsn;
    uint64_t after_lsn;
    int salvage;
    oor_frame *frames; /* of the chunk read last */
    size_t frame_count;
    size_t frame_room;
};

const oor_frame *oor_walscan_frames(const oor_walscan *scan, size_t *count) {
    *count = scan->frame_count;
    return scan->frames;
}

static void segment_close(segment *s) {
    free(s->data);
    s->data = NULL;
}

static int all_zeros(const uint8_t *data, size_t size) {
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

enum { PROBE_SIZE = 1 << 18 };

/* Whether the file holds nothing but zeros: 1, 0 or an error.  Most segments that were made ahead
 * do, and a small buffer that stays in the cache tells so at a fraction of what reading one whole
 * costs. */
static int is_blank(int fd, const char *path, uint64_t size) {
    uint8_t *probe = malloc(PROBE_SIZE);
    if (!probe) return oor_fail(OOR_E_MEMORY, path, "no memory for %d bytes", PROBE_SIZE);
    int blank = 1;
    for (uint64_t at = 0; blank == 1 && at < size; at += PROBE_SIZE) {
        int64_t got = oor_io_read(fd, path, probe, PROBE_SIZE, at);
        blank = got < 0 ? (int)got : all_zeros(probe, (size_t)got);
    }
    free(probe);
    return blank;
}

/* Reads the file whole and its header, from the tail if only that has it. */
static int segment_read(segment *s, const char *path, const uint8_t *database_id, uint64_t number,
                        uint64_t epoch, const oor_tail *tail) {
    *s = (segment){.id = {database_id, epoch, number}, .tail = tail};
    s->salt = oor_segment_salt(&s->id);
    int fd = oor_io_open(path, OOR_OPEN_READ);
    if (fd < 0) return fd;
    int64_t size = oor_io_size(fd, path);
    int64_t got = size;
    int blank = size > 0 ? is_blank(fd, path, (uint64_t)size) : 0;
    if (blank) {
        got = blank < 0 ? blank : 0;
    } else if (size > 0) {
        s->data = malloc((size_t)size);
        got = s->data ? oor_io_read(fd, path, s->data, (size_t)size, 0)
                      : oor_fail(OOR_E_MEMORY, path, "no memory for a segment of %lld bytes",
                                 (long long)size);
    }
    oor_io_close(fd, path);
    if (got < 0) {
        segment_close(s);
        return (int)got;
    }
    s->size = (size_t)got;
    s->file_size = (uint64_t)size;
    s->header_state = oor_segment_header_decode(s->data, s->size, &s->id, &s->header);
    const oor_segment_header *begun = oor_tail_header(tail, number);
    if (s->header_state != OOR_HEADER_GOOD && begun) {
        /* The process died after it went on to this segment and before the first drain to it. */
        s->header = *begun;
        s->header_state = OOR_HEADER_GOOD;
        s->header_in_tail = 1;
    }
    return 0;
}

/* The whole frame at `at` that continues the log: 1 from the segment, 2 from the tail, 0 none. */
static int frame_at(const segment *s, uint64_t at, uint64_t expected_lsn, oor_frame *out) {
    for (int source = 1; source <= 2; source++) {
        const uint8_t *data = NULL;
        size_t size = 0;
        if (source == 2) data = oor_tail_at(s->tail, s->id.number, at, &size);
        else if (at < s->size) data = s->data + at, size = s->size - at;
        if (!data || !oor_frame_decode(data, size, s->salt, at, out)) continue;
        if (out->first_lsn == expected_lsn) return source;
        if ((out->flags & OOR_FRAME_JUMP) && out->first_lsn > expected_lsn) return source;
    }
    return 0;
}

/* ---- inspect --------------------------------------------------------------------------------- */

static void note_promise(oor_segment_info *info, const oor_frame *frame) {
    if (frame->durable_lsn > info->promised_lsn) info->promised_lsn = frame->durable_lsn;
    if (frame->op_count && frame->first_lsn + frame->op_count - 1 > info->highest_lsn)
        info->highest_lsn = frame->first_lsn + frame->op_count - 1;
}

static void walk(const segment *s, oor_segment_info *info) {
    uint64_t at = OOR_SEGMENT_HEADER_SIZE, expected = s->header.first_lsn;
    oor_frame frame;
    int source, sealed = 0;
    while ((source = frame_at(s, at, expected, &frame))) {
        note_promise(info, &frame);
        info->frames++;
        info->records += frame.op_count;
        info->tail_frames += source == 2;
        expected = frame.first_lsn + frame.op_count;
        if (frame.op_count) info->last_lsn = expected - 1;
        sealed = (frame.flags & OOR_FRAME_SEAL) != 0;
        at += frame.size;
    }
    info->end = at;
    info->next_lsn = expected;
    info->ended = sealed ? OOR_END_SEAL : at >= s->file_size ? OOR_END_FILE : OOR_END_ZEROS;
}

/* Looks for whole frames behind the walk's end, `base`, where `data` is from.  Returns 0 when there
 * is nothing but zeros. */
static int search_rest(const uint8_t *data, size_t size, uint64_t base, uint32_t salt,
                       oor_segment_info *info) {
    if (all_zeros(data, size)) return 0;
    for (uint64_t at = 0; at + OOR_FRAME_HEADER_SIZE <= size;) {
        oor_frame frame;
        if (oor_frame_decode(data + at, size - (size_t)at, salt, base + at, &frame)) {
            if (!info->later_frames++) info->later_offset = base + at;
            note_promise(info, &frame);
            at += frame.size;
        } else {
            at += OOR_FRAME_ALIGN;
        }
    }
    return 1;
}

static void search_all_rest(const segment *s, oor_segment_info *info) {
    uint64_t end = info->end;
    assert(end % OOR_FRAME_ALIGN == 0);
    if (end < s->size && search_rest(s->data + end, s->size - (size_t)end, end, s->salt, info) &&
        info->ended == OOR_END_ZEROS)
        info->ended = OOR_END_BAD;
    size_t size;
    const uint8_t *tail = oor_tail_at(s->tail, s->id.number, end, &size);
    if (tail) search_rest(tail, size, end, s->salt, info);
}

static void inspect(const segment *s, oor_segment_info *out) {
    *out = (oor_segment_info){.number = s->id.number,
                              .file_size = s->file_size,
                              .header = s->header_state,
                              .header_in_tail = s->header_in_tail,
                              .end = OOR_SEGMENT_HEADER_SIZE};
    if (s->header_state == OOR_HEADER_GOOD) {
        out->epoch = s->header.epoch;
        out->first_lsn = s->header.first_lsn;
        out->previous_segment = s->header.previous_segment;
        out->previous_last_lsn = s->header.previous_last_lsn;
        /* Besides what the segment can hold, both halves of the tail may have held mutations of the
         * next one, whose header was not written yet. */
        uint64_t size = s->header.size > s->file_size ? s->header.size : s->file_size;
        uint64_t room = size + 2 * s->header.tail_size;
        out->lsn_bound = s->header.new_lsn + room / OOR_OP_HEADER_SIZE + 1;
        walk(s, out);
    }
    search_all_rest(s, out);
    out->frames_found = s->header_state != OOR_HEADER_GOOD && out->later_frames > 0;
}

int oor_walscan_inspect(const char *path, const uint8_t *database_id, uint64_t number,
                        uint64_t epoch, const oor_tail *tail, oor_segment_info *out) {
    segment s;
    int rc = segment_read(&s, path, database_id, number, epoch, tail);
    if (rc < 0) return rc;
    inspect(&s, out);
    segment_close(&s);
    return 0;
}

/* ---- redo ------------------------------------------------------------------------------------ */

int oor_walscan_read(const char *path, const uint8_t *database_id, uint64_t number, uint64_t epoch,
                     const oor_tail *tail, oor_segment_info *info, oor_walscan **out) {
    oor_walscan *scan = calloc(1, sizeof *scan);
    if (!scan) return oor_fail(OOR_E_MEMORY, path, "no memory for a log reader");
    memcpy(scan->database_id, database_id, sizeof scan->database_id);
    int rc = segment_read(&scan->file, path, scan->database_id, number, epoch, tail);
    if (rc < 0) {
        oor_walscan_close(scan);
        return rc;
    }
    strncpy(scan->path, path, sizeof scan->path - 1);
    if (info) inspect(&scan->file, info);
    *out = scan;
    return 0;
}

int oor_walscan_start(oor_walscan *scan, uint64_t after_lsn, int salvage) {
    if (scan->file.header_state != OOR_HEADER_GOOD && !salvage)
        return oor_fail(OOR_E_CORRUPT, scan->path, "segment %llu has no header that verifies",
                        (unsigned long long)scan->file.id.number);
    scan->at = OOR_SEGMENT_HEADER_SIZE;
    scan->expected_lsn = scan->file.header.first_lsn;
    scan->after_lsn = after_lsn;
    scan->salvage = salvage;
    return 0;
}

int oor_walscan_open(const char *path, const uint8_t *database_id, uint64_t number, uint64_t epoch,
                     const oor_tail *tail, uint64_t after_lsn, int salvage, oor_walscan **out) {
    int rc = oor_walscan_read(path, database_id, number, epoch, tail, NULL, out);
    if (rc < 0) return rc;
    rc = oor_walscan_start(*out, after_lsn, salvage);
    if (rc < 0) oor_walscan_close(*out);
    return rc;
}

void oor_walscan_close(oor_walscan *scan) {
    if (!scan) return;
    segment_close(&scan->file);
    free(scan->frames);
    free(scan);
}

static int keep_frame(oor_walscan *scan, const oor_frame *frame) {
    if (scan->frame_count == scan->frame_room) {
        size_t room = scan->frame_room ? 2 * scan->frame_room : 64;
        oor_frame *frames = realloc(scan->frames, room * sizeof *frames);
        if (!frames) return oor_fail(OOR_E_MEMORY, scan->path, "no memory for %zu frames", room);
        scan->frames = frames;
        scan->frame_room = room;
    }
    scan->frames[scan->frame_count++] = *frame;
    return 0;
}

/* Appends the operations to a dict.  OOR_E_CORRUPT: they do not fit the body. */
static int marshal_ops(const oor_frame *frame, oor_buffer *out) {
    size_t room = (size_t)frame->op_count * 2 * OOR_MARSHAL_BYTES_ROOM + OOR_MARSHAL_FRAME_ROOM;
    int rc = oor_buffer_reserve(out, frame->body_size + room);
    if (rc < 0) return rc;
    size_t at = 0;
    uint64_t ops = 0;
    oor_op op;
    while ((rc = oor_op_decode(frame->body, frame->body_size, &at, &op)) > 0 &&
           ops++ < frame->op_count) {
        oor_marshal_bytes(out, op.key, op.key_size);
        if (op.value) oor_marshal_bytes(out, op.value, op.value_size);
        else oor_marshal_none(out);
    }
    if (rc == 0 && ops != frame->op_count)
        return oor_fail(OOR_E_CORRUPT, NULL, "%llu operations", (unsigned long long)ops);
    return rc;
}

/* The operations go on in `out`, or where `out` is NULL in `bulk`. */
static int take_ops(const oor_walscan *scan, const oor_frame *frame, uint64_t offset,
                    oor_buffer *out, oor_bulk *bulk) {
    int rc = out ? marshal_ops(frame, out)
                 : oor_bulk_add_ops(bulk, frame->op_count, frame->body, frame->body_size);
    if (rc != OOR_E_CORRUPT) return rc;
    oor_fail(OOR_E_CORRUPT, scan->path,
             "a frame that verifies does not hold the %u operations it states", frame->op_count);
    return oor_fail_at(scan->file.id.number, offset, frame->first_lsn,
                       frame->first_lsn + frame->op_count - 1);
}

/* Salvage: the next place behind one that does not verify where a frame that goes on does.  Returns
 * 1 and notes what is missing, or 0 when there is none. */
static int find_next_frame(oor_walscan *scan, oor_walscan_chunk *chunk, oor_frame *frame) {
    uint64_t expected =
        scan->expected_lsn > scan->after_lsn ? scan->expected_lsn : scan->after_lsn + 1;
    for (uint64_t at = scan->at; at + OOR_FRAME_HEADER_SIZE <= scan->file.size;
         at += OOR_FRAME_ALIGN) {
        if (!oor_frame_decode(scan->file.data + at, scan->file.size - (size_t)at, scan->file.salt,
                              at, frame))
            continue;
        if (frame->first_lsn < scan->expected_lsn) continue;
        chunk->lost_offset = scan->at;
        chunk->lost_first_lsn = frame->first_lsn > expected ? expected : 0;
        chunk->lost_last_lsn = frame->first_lsn > expected ? frame->first_lsn - 1 : 0;
        chunk->offset = scan->at = at;
        return 1;
    }
    return 0;
}

/* The next frame of the walk; in salvage, past bytes that do not verify, at the start of a chunk
 * only. */
static int next_frame(oor_walscan *scan, oor_walscan_chunk *chunk, oor_frame *frame) {
    if (frame_at(&scan->file, scan->at, scan->expected_lsn, frame)) return 1;
    if (!scan->salvage || chunk->frames || chunk->lost_offset) return 0;
    return find_next_frame(scan, chunk, frame);
}

static int next_chunk(oor_walscan *scan, size_t bytes, oor_buffer *out, oor_bulk *bulk,
                      oor_walscan_chunk *chunk) {
    *chunk = (oor_walscan_chunk){.offset = scan->at};
    scan->frame_count = 0;
    oor_frame frame;
    while (chunk->bytes < bytes && next_frame(scan, chunk, &frame)) {
        uint64_t offset = scan->at;
        scan->at += frame.size;
        scan->expected_lsn = frame.first_lsn + frame.op_count;
        if (!frame.op_count || scan->expected_lsn - 1 <= scan->after_lsn) continue;
        int rc = keep_frame(scan, &frame);
        if (rc >= 0) rc = take_ops(scan, &frame, offset, out, bulk);
        if (rc < 0) return rc;
        if (!chunk->first_lsn) chunk->first_lsn = frame.first_lsn;
        chunk->last_lsn = scan->expected_lsn - 1;
        chunk->frames++;
        chunk->records += frame.op_count;
        chunk->bytes += frame.size;
    }
    return chunk->frames > 0 || chunk->lost_offset > 0;
}

int oor_walscan_next(oor_walscan *scan, size_t bytes, oor_buffer *out, oor_walscan_chunk *chunk) {
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc < 0) return rc;
    oor_marshal_dict_begin(out);
    int more = next_chunk(scan, bytes, out, NULL, chunk);
    if (more < 0) return more;
    rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc < 0) return rc;
    oor_marshal_dict_end(out);
    return more;
}

int oor_walscan_load(oor_walscan *scan, size_t bytes, oor_bulk *bulk, oor_walscan_chunk *chunk) {
    return next_chunk(scan, bytes, NULL, bulk, chunk);
}
