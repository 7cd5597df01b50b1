/* tle.h: what the scanner (tle.c) and the check of one set (tle_line.c) say to each other.
 *
 * Ownership: nothing is allocated; all pointers are the caller's.
 * Threads:   pure functions.
 * Invariants:
 * (1) A check reads only the bytes it is given, whatever they are.
 * (2) A set passes only if every column of both lines has been looked at. */
#ifndef OOR_TLE_H
#define OOR_TLE_H

#include "core.h"

enum { OOR_TLE_COLUMNS = 69 };

/* A line without its end and without the blanks and backslashes that trail it. */
typedef struct {
    const uint8_t *text;
    size_t size;
} oor_tle_line;

/* Where a check failed. */
typedef struct {
    int line;        /* 1 or 2 */
    uint32_t column; /* from 1; 0: the line as a whole */
} oor_tle_fault;

/* Checks two element lines and fills catalog_number, epoch_us and digest of `set`.
 * Returns OOR_TLE_FINE, or the rule that the lines break first, with `fault` filled. */
int oor_tle_check(oor_tle_line one, oor_tle_line two, oor_tle_set *set, oor_tle_fault *fault);

/* Whether five columns can be a catalog number: padded digits, or a capital and four digits. */
int oor_tle_like_catalog_number(const uint8_t *columns);

/* ---- records (tle_columns.c) ---- */

enum { OOR_TLE_KIND_NEWEST = 0x20, OOR_TLE_RECORD_HEADER_SIZE = 9, OOR_TLE_FORMAT_TEXT = 1 };

void oor_tle_store_big(uint8_t *out, uint64_t value, int size);
uint64_t oor_tle_load_big(const uint8_t *from, int size);
/* The OOR_TLE_KEY_SIZE bytes of a set's key. */
void oor_tle_write_key(const oor_tle_set *set, uint16_t source, uint8_t *out);
/* The value of a set of `text`, OOR_TLE_VALUE_HEADER_SIZE bytes longer than the set. */
void oor_tle_write_value(const uint8_t *text, const oor_tle_set *set, uint8_t *out);
/* What a value of an index begins with: an LSN of 0 and the format. */
void oor_tle_record_header(uint8_t *out);

/* The eight columns of a designator as "1998-067A" (tle_labels.c), at most OOR_TLE_DESIGNATOR_ROOM
 * bytes; returns how many, 0 for blanks. */
size_t oor_tle_write_designator(const uint8_t *columns, uint8_t *out);

/* The object of a number, or NULL: it was not met. */
oor_tle_object *oor_tle_roster_find(const oor_tle_roster *roster, uint32_t number);

#endif
