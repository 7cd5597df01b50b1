/* tle_elements.c: the fields of stored lines as columns of numbers and text.
 *
 * key   := kind:u8 number:u32 epoch:u64 source:u16 digest:u64          as in tle_columns.c
 * value := lsn:u64 format:u8 flags:u8 text
 * text  := (name line)? line1 line2, each with its end; what trails a line is blanks and '\'
 *
 * Columns of numbers are those of the lines, counted from 0:
 * line1  classification 7  designator 9-16  ndot/2 33-42  nddot/6 44-51  bstar 53-60
 *        ephemeris type 62  element set 64-67
 * line2  inclination 8-15  node 17-24  eccentricity 26-32  perigee 34-41  anomaly 43-50
 *        motion 52-62  revolution 63-67
 *
 * A number of at most 15 digits is a whole number below 2^53 over or times a power of ten up to
 * 10^22; both are exact in a double, so the quotient is the double nearest to the text.  Bitmaps
 * have the bit of a set 1 where the column is not blank, lowest bit first. */
#include "tle.h"

enum { LINE_SIZE = 68, CLASSIFICATION_AT = 7, DESIGNATOR_AT = 9, DESIGNATOR_SIZE = 8, DIGITS = 5 };
enum { PRINTABLE_MIN = 0x20, PRINTABLE_MAX = 0x7e };

typedef struct {
    const uint8_t *text;
    size_t size;
} span;

static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};

static int is_trailing(uint8_t x) {
    return x == ' ' || x == '\t' || x == '\r' || x == '\n' || x == '\\';
}

static int is_digit(uint8_t x) { return x >= '0' && x <= '9'; }

/* The next line without what trails it; moves on behind its end. */
static span next_line(span *rest) {
    const uint8_t *end = memchr(rest->text, '\n', rest->size);
    size_t size = end ? (size_t)(end - rest->text) : rest->size;
    span line = {rest->text, size};
    size_t step = size + (end != NULL);
    rest->text += step;
    rest->size -= step;
    while (line.size && is_trailing(line.text[line.size - 1])) line.size--;
    return line;
}

/* Sign, digits and a point, blanks around them: 0, or -1 for anything else. */
static int read_decimal(const uint8_t *at, size_t size, double *out) {
    const uint8_t *end = at + size;
    while (at < end && *at == ' ') at++;
    while (end > at && end[-1] == ' ') end--;
    int negative = at < end && *at == '-', pointed = 0;
    if (at < end && (*at == '-' || *at == '+')) at++;
    uint64_t digits = 0;
    size_t count = 0, behind = 0;
    for (; at < end; at++) {
        if (*at == '.' && !pointed) {
            pointed = 1;
            continue;
        }
        if (!is_digit(*at)) return -1;
        digits = digits * 10 + (uint64_t)(*at - '0');
        behind += (size_t)pointed;
        count++;
    }
    if (count == 0) return -1;
    double value = (double)digits / powers[behind];
    *out = negative ? -value : value;
    return 0;
}

/* Seven digits behind a point that is not there; blanks are zeros. */
static int read_eccentricity(const uint8_t *at, double *out) {
    uint64_t digits = 0;
    for (int i = 0; i < 7; i++) {
        if (!is_digit(at[i]) && at[i] != ' ') return -1;
        digits = digits * 10 + (at[i] == ' ' ? 0 : (uint64_t)(at[i] - '0'));
    }
    *out = (double)digits / powers[7];
    return 0;
}

/* Sign, five digits behind a point that is not there, sign and digit of a power of ten. */
static int read_scaled(const uint8_t *at, double *out) {
    uint64_t digits = 0;
    if (at[0] != ' ' && at[0] != '+' && at[0] != '-') return -1;
    for (int i = 1; i <= DIGITS; i++) {
        if (!is_digit(at[i])) return -1;
        digits = digits * 10 + (uint64_t)(at[i] - '0');
    }
    uint8_t sign = at[DIGITS + 1];
    if ((sign != ' ' && sign != '+' && sign != '-') || !is_digit(at[DIGITS + 2])) return -1;
    int exponent = at[DIGITS + 2] - '0';
    int shift = (sign == '-' ? -exponent : exponent) - DIGITS;
    double value = shift < 0 ? (double)digits / powers[-shift] : (double)digits * powers[shift];
    *out = at[0] == '-' ? -value : value;
    return 0;
}

/* 1 and a whole number, 0 for blanks, or -1. */
static int read_whole(const uint8_t *at, size_t size, uint32_t *out) {
    const uint8_t *end = at + size;
    while (at < end && *at == ' ') at++;
    while (end > at && end[-1] == ' ') end--;
    *out = 0;
    if (at == end) return 0;
    for (; at < end; at++) {
        if (!is_digit(*at)) return -1;
        *out = *out * 10 + (uint32_t)(*at - '0');
    }
    return 1;
}

static void mark(uint8_t *bits, uint64_t i) { bits[i >> 3] |= (uint8_t)(1u << (i & 7)); }

static int add_name(oor_tle_elements *out, uint64_t i, span name) {
    if (name.size >= 2 && name.text[0] == '0' && name.text[1] == ' ')
        name.text += 2, name.size -= 2;
    while (name.size && name.text[0] == ' ') name.text++, name.size--;
    for (size_t k = 0; k < name.size; k++)
        if (name.text[k] < PRINTABLE_MIN || name.text[k] > PRINTABLE_MAX) return -1;
    if (name.size) memcpy(out->names + out->name_ends[i], name.text, name.size);
    out->name_ends[i + 1] += (int32_t)name.size;
    mark(out->named, i);
    return 0;
}

static int add_designator(oor_tle_elements *out, uint64_t i, const uint8_t *columns) {
    for (size_t k = 0; k < DESIGNATOR_SIZE; k++)
        if (columns[k] < PRINTABLE_MIN || columns[k] > PRINTABLE_MAX) return -1;
    size_t size = oor_tle_write_designator(columns, out->designators + out->designator_ends[i]);
    out->designator_ends[i + 1] += (int32_t)size;
    if (size) mark(out->designated, i);
    return 0;
}

static int add_numbers(oor_tle_elements *out, uint64_t i, const uint8_t *one, const uint8_t *two) {
    uint32_t type;
    int typed = read_whole(one + 62, 1, &type);
    int numbered = read_whole(one + 64, 4, &out->element_set_no[i]);
    int turned = read_whole(two + 63, 5, &out->rev_at_epoch[i]);
    if (typed < 0 || numbered < 0 || turned < 0) return -1;
    out->ephemeris_type[i] = (uint8_t)type;
    if (typed) mark(out->typed, i);
    if (numbered) mark(out->numbered, i);
    if (turned) mark(out->turned, i);
    return read_decimal(two + 52, 11, &out->mean_motion[i]) |
           read_eccentricity(two + 26, &out->eccentricity[i]) |
           read_decimal(two + 8, 8, &out->inclination[i]) |
           read_decimal(two + 17, 8, &out->ra_of_asc_node[i]) |
           read_decimal(two + 34, 8, &out->arg_of_pericenter[i]) |
           read_decimal(two + 43, 8, &out->mean_anomaly[i]) |
           read_scaled(one + 53, &out->bstar[i]) |
           read_decimal(one + 33, 10, &out->mean_motion_dot[i]) |
           read_scaled(one + 44, &out->mean_motion_ddot[i]);
}

/* 0, or -1 for a set that is to be read in the long way. */
static int add(oor_tle_elements *out, uint64_t i, const uint8_t *key, const uint8_t *value,
               size_t size) {
    out->name_ends[i + 1] = out->name_ends[i];
    out->designator_ends[i + 1] = out->designator_ends[i];
    if (size <= OOR_TLE_VALUE_HEADER_SIZE || value[8] != OOR_TLE_FORMAT_TEXT) return -1;
    out->catalog_number[i] = (uint32_t)oor_tle_load_big(key + 1, 4);
    out->epoch_us[i] = (int64_t)(oor_tle_load_big(key + 5, 8) ^ (uint64_t)1 << 63);
    out->lsn[i] = oor_load64(value);
    span rest = {value + OOR_TLE_VALUE_HEADER_SIZE, size - OOR_TLE_VALUE_HEADER_SIZE};
    if (value[9] & OOR_TLE_NAMED && add_name(out, i, next_line(&rest)) < 0) return -1;
    span one = {NULL, 0}, two = {NULL, 0};
    while (rest.size) {
        span line = next_line(&rest);
        if (line.size) one = two, two = line;
    }
    if (one.size < LINE_SIZE || two.size < LINE_SIZE) return -1;
    out->classification[i] = one.text[CLASSIFICATION_AT];
    out->classification_ends[i + 1] = (int32_t)i + 1;
    if (out->classification[i] > PRINTABLE_MAX) return -1;
    if (add_designator(out, i, one.text + DESIGNATOR_AT) < 0) return -1;
    return add_numbers(out, i, one.text, two.text);
}

int64_t oor_tle_read_elements(uint64_t count, const uint8_t *keys, size_t keys_size,
                              const uint8_t *values, size_t values_size,
                              const uint32_t *value_sizes, oor_tle_elements *out) {
    size_t sum = 0;
    for (uint64_t i = 0; i < count; i++) sum += value_sizes[i];
    if (count > INT32_MAX || keys_size != count * OOR_TLE_KEY_SIZE || sum != values_size ||
        values_size > INT32_MAX)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu sets of %zu bytes with %zu of keys",
                        (unsigned long long)count, values_size, keys_size);
    out->name_ends[0] = out->designator_ends[0] = out->classification_ends[0] = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (add(out, i, keys, values, value_sizes[i]) < 0) return (int64_t)i;
        keys += OOR_TLE_KEY_SIZE;
        values += value_sizes[i];
    }
    return (int64_t)count;
}
