/* tle.c: finds element sets in text, and accounts for every byte of it.
 *
 * input  := (set | blank | reject)*
 * set    := [name blank*] line1 blank* line2     at most OOR_TLE_SET_MAX bytes in all
 * line   := byte* '\n'                           the last line of an input may lack its end
 * blank  := a line of nothing but trailing bytes
 * line1  := '1' ' ' ...   line2 := '2' ' ' ...   69 columns (tle_line.c), then trailing bytes
 * name   := at most NAME_SIZE_MAX bytes without control characters that are no element line
 * trailing bytes := space, tab, '\r', '\\'       some archives end every line with a backslash
 *
 * A reject is what cannot be part of a set: one line, or lines that belong together and break a
 * rule.  A line that opens a set and finds no second half is refused alone; reading goes on with
 * the next line, so one damaged line never costs a set that it is not part of. */
#include "tle.h"

enum { NAME_SIZE_MAX = 80, ELEMENT_LINE_LIKELY = 40 };
enum line_kind { BLANK, NAME, ONE, TWO, JUNK };
enum opened { NOTHING, NAMED, FIRST };

typedef struct {
    oor_tle_state *state;
    oor_tle_batch *batch;
    const uint8_t *text;
    size_t size;
    size_t position;
    uint64_t lines; /* read, before `position` */
    enum opened opened;
    /* Of what is open: */
    size_t start;        /* its first byte */
    size_t end;          /* behind its last line that is not blank */
    uint64_t start_line; /* lines before it */
    uint64_t one_line;   /* lines before its line 1 */
    size_t one_at;
    oor_tle_line one;
} scan;

/* A line as it lies in the text. */
typedef struct {
    size_t start;
    size_t end; /* behind its line end */
    oor_tle_line text;
    int cut; /* a piece of a line past the limit */
} raw_line;

static const char *const RULE_NAMES[OOR_TLE_RULE_COUNT] = {
    [OOR_TLE_FINE] = "fine",
    [OOR_TLE_LONG_LINE] = "long-line",
    [OOR_TLE_TEXT] = "text",
    [OOR_TLE_NAME_ALONE] = "name-alone",
    [OOR_TLE_LINE_1_MISSING] = "line-1-missing",
    [OOR_TLE_LINE_2_MISSING] = "line-2-missing",
    [OOR_TLE_BYTE] = "byte",
    [OOR_TLE_LENGTH] = "length",
    [OOR_TLE_CHECKSUM_MISSING] = "checksum-missing",
    [OOR_TLE_COLUMN] = "column",
    [OOR_TLE_CHECKSUM] = "checksum",
    [OOR_TLE_CATALOG_NUMBER] = "catalog-number",
    [OOR_TLE_CATALOG_MISMATCH] = "catalog-mismatch",
    [OOR_TLE_EPOCH] = "epoch",
    [OOR_TLE_ANGLE] = "angle",
};

const char *oor_tle_rule_name(int rule) {
    return rule >= 0 && rule < OOR_TLE_RULE_COUNT ? RULE_NAMES[rule] : NULL;
}

static int is_trailing(uint8_t x) {
    return x == '\n' || x == '\r' || x == ' ' || x == '\t' || x == '\\';
}

static int is_name(oor_tle_line line) {
    if (line.size > NAME_SIZE_MAX) return 0;
    for (size_t i = 0; i < line.size; i++)
        if ((line.text[i] < 0x20 && line.text[i] != '\t') || line.text[i] == 0x7f) return 0;
    return 1;
}

static enum line_kind kind_of(oor_tle_line line) {
    const uint8_t *x = line.text;
    if (line.size == 0) return BLANK;
    if (line.size >= 2 && (x[0] == '1' || x[0] == '2') && x[1] == ' ') {
        /* "1 HOPE" is a name; "1 25544U 98067A" is what a cut left of an element line. */
        int numbered = line.size >= 8 && oor_tle_like_catalog_number(x + 2);
        if (numbered || line.size >= ELEMENT_LINE_LIKELY) return x[0] == '1' ? ONE : TWO;
    }
    return is_name(line) ? NAME : JUNK;
}

/* Finds the line at the position.  Returns 0 when the text ends before the line does. */
static int next_line(const scan *s, int at_end, raw_line *out) {
    const uint8_t *from = s->text + s->position;
    size_t left = s->size - s->position, window = left < OOR_TLE_PIECE ? left : OOR_TLE_PIECE;
    if (left == 0) return 0;
    const uint8_t *found = memchr(from, '\n', window);
    if (!found && window < OOR_TLE_PIECE && !at_end) return 0;
    size_t size = found ? (size_t)(found - from) + 1 : window;
    *out = (raw_line){.start = s->position, .end = s->position + size, .text = {from, size}};
    out->cut = !found && window == OOR_TLE_PIECE;
    while (out->text.size && is_trailing(from[out->text.size - 1])) out->text.size--;
    return 1;
}

static void reject(scan *s, int rule, size_t start, size_t end, uint64_t line, uint64_t fault_line,
                   uint32_t column) {
    assert(s->batch->reject_count < s->batch->reject_capacity && start < end);
    s->batch->rejects[s->batch->reject_count++] = (oor_tle_reject){
        .offset = s->state->offset + start,
        .size = end - start,
        .line = line + 1,
        .fault_line = fault_line + 1,
        .column = column,
        .rule = rule,
    };
    s->state->rejects++;
    s->state->reject_bytes += end - start;
}

/* Refuses what is open; the blank lines between it and `until` are blank lines again. */
static void reject_opened(scan *s, size_t until) {
    if (s->opened == NOTHING) return;
    int rule = s->opened == NAMED ? OOR_TLE_NAME_ALONE : OOR_TLE_LINE_2_MISSING;
    uint64_t fault_line = s->opened == NAMED ? s->start_line : s->one_line;
    reject(s, rule, s->start, s->end, s->start_line, fault_line, 0);
    s->state->blank_bytes += until - s->end;
    s->opened = NOTHING;
}

static void open_name(scan *s, const raw_line *line) {
    reject_opened(s, line->start);
    s->opened = NAMED;
    s->start = line->start;
    s->end = line->end;
    s->start_line = s->lines;
}

static void open_first(scan *s, const raw_line *line) {
    if (s->opened != NAMED) {
        reject_opened(s, line->start);
        s->start = line->start;
        s->start_line = s->lines;
    }
    s->opened = FIRST;
    s->end = line->end;
    s->one_line = s->lines;
    s->one_at = line->start;
    s->one = line->text;
}

/* Line 2 closes what is open: as a set, or as a reject of all its lines. */
static void close_set(scan *s, const raw_line *line) {
    if (s->opened != FIRST) {
        size_t start = s->opened == NAMED ? s->start : line->start;
        uint64_t start_line = s->opened == NAMED ? s->start_line : s->lines;
        reject(s, OOR_TLE_LINE_1_MISSING, start, line->end, start_line, s->lines, 0);
        s->opened = NOTHING;
        return;
    }
    s->opened = NOTHING;
    assert(s->batch->set_count < s->batch->set_capacity);
    oor_tle_set *set = &s->batch->sets[s->batch->set_count];
    oor_tle_fault fault;
    int rule = oor_tle_check(s->one, line->text, set, &fault);
    if (rule) {
        uint64_t fault_line = fault.line == 1 ? s->one_line : s->lines;
        reject(s, rule, s->start, line->end, s->start_line, fault_line, fault.column);
        return;
    }
    size_t size = line->end - s->start;
    assert(size <= OOR_TLE_SET_MAX);
    set->offset = (uint32_t)s->start;
    set->size = (uint16_t)size;
    set->line1_at = (uint16_t)(s->one_at - s->start);
    set->line2_at = (uint16_t)(line->start - s->start);
    set->flags = s->one_at != s->start ? OOR_TLE_NAMED : 0;
    s->batch->set_count++;
    s->state->sets++;
    s->state->set_bytes += size;
}

static void take_line(scan *s, const raw_line *line) {
    /* A set is bounded, so what a caller has to keep for the next call is bounded too. */
    if (s->opened && line->end - s->start > OOR_TLE_SET_MAX) reject_opened(s, line->start);
    if (s->state->in_long_line || line->cut || line->end - line->start > OOR_TLE_LINE_MAX) {
        reject_opened(s, line->start);
        reject(s, OOR_TLE_LONG_LINE, line->start, line->end, s->lines, s->lines, 0);
    } else {
        switch (kind_of(line->text)) {
        case BLANK:
            if (!s->opened) s->state->blank_bytes += line->end - line->start;
            break;
        case NAME:
            open_name(s, line);
            break;
        case ONE:
            open_first(s, line);
            break;
        case TWO:
            close_set(s, line);
            break;
        case JUNK:
            reject_opened(s, line->start);
            reject(s, OOR_TLE_TEXT, line->start, line->end, s->lines, s->lines, 0);
            break;
        }
    }
    s->position = line->end;
    s->state->in_long_line = line->cut;
    s->lines += !line->cut;
}

int64_t oor_tle_scan(oor_tle_state *state, const uint8_t *text, size_t size, int at_end,
                     oor_tle_batch *batch) {
    if (size > UINT32_MAX || batch->set_capacity < 1 || batch->reject_capacity < 2)
        return oor_fail(OOR_E_LIMIT, NULL, "a scan of %zu bytes into %llu sets and %llu rejects",
                        size, (unsigned long long)batch->set_capacity,
                        (unsigned long long)batch->reject_capacity);
    scan s = {.state = state, .batch = batch, .text = text, .size = size, .lines = state->lines};
    batch->set_count = batch->reject_count = 0;
    raw_line line;
    int more = 1;
    /* A line adds at most one set, or two rejects: what it ends and itself. */
    while (more && batch->set_count < batch->set_capacity &&
           batch->reject_count + 2 <= batch->reject_capacity) {
        more = next_line(&s, at_end, &line);
        if (more) take_line(&s, &line);
    }
    if (!more && at_end) reject_opened(&s, size);
    size_t done = s.opened ? s.start : s.position;
    state->lines = s.opened ? s.start_line : s.lines;
    state->offset += done;
    assert(state->offset == state->set_bytes + state->reject_bytes + state->blank_bytes);
    return (int64_t)done;
}
