/* tle_line.c: the two element lines of a set, column by column.
 *
 * d digit   p digit, or a space that no digit of the field precedes   s space, plus or minus
 * S s or digit   A capital, digit or space   U capital or space   a p or capital
 *
 * line 1, columns                                     line 2, columns
 *  1     d  line number                                1     d  line number
 *  3-7   apppd  catalog number                         3-7   apppd  catalog number
 *  8     U  classification                             9-16  ppd.dddd  inclination, degrees
 * 10-17  A  international designator                  18-25  ppd.dddd  right ascension of the node
 * 19-20  pd  epoch, year: 57 to 99 are 19xx           27-33  ppppppd  eccentricity, 0. in front
 * 21-32  ppd.dddddddd  epoch, day of the year         35-42  ppd.dddd  argument of pericenter
 * 34-43  S.dddddddd  mean motion, 1st derivative / 2  44-51  ppd.dddd  mean anomaly
 * 45-52  Sdddddsd  2nd derivative / 6, .ddddd x 10^sd 53-63  pd.dddddddd  mean motion, turns a day
 * 54-61  Sdddddsd  B*, the same way                   64-68  ppppp  turn number at epoch
 * 63     p  ephemeris type                            69     d  check digit
 * 65-68  pppp  element set number
 * 69     d  check digit
 *
 * All columns not named hold a space.  The check digit is the sum of the digits of columns 1 to 68,
 * a minus counting 1 and all else 0, modulo 10.
 *
 * digest := SipHash-1-3 of columns 1 to 68 of line 1, then of line 2 (136 bytes), under the key
 * "oor element sets" (16 bytes).  A set is taken for one that is there already only if object,
 * epoch, source and digest are the same. */
#include "tle.h"

enum { DIGIT = 1, SPACE = 2, PLUS = 4, MINUS = 8, DOT = 16, CAPITAL = 32, JOINED = 64 };
enum {
    b = SPACE,
    d = DIGIT,
    p = DIGIT | SPACE,
    j = DIGIT | SPACE | JOINED, /* p with a column of the same field in front */
    s = SPACE | PLUS | MINUS,
    S = DIGIT | SPACE | PLUS | MINUS,
    A = DIGIT | SPACE | CAPITAL,
    U = SPACE | CAPITAL,
    o = DOT
};
/* Lines are checked in vectors of 16 columns, so the tables go on with spaces to 80. */
enum { PADDED = 80 };

/* What each column allows. */
static const uint8_t LINE_1[PADDED] = {
    d, b, A, j, j, j, d, U, b, A, A, A, A, A, A, A, A, b, /* number, class, designator */
    p, d, p, j, d, o, d, d, d, d, d, d, d, d, b,          /* epoch */
    S, o, d, d, d, d, d, d, d, d, b,                      /* mean motion, first derivative */
    S, d, d, d, d, d, s, d, b, S, d, d, d, d, d, s, d, b, /* second derivative, B* */
    p, b, p, j, j, j, d,                                  /* type, set number, check digit */
    b, b, b, b, b, b, b, b, b, b, b};
static const uint8_t LINE_2[PADDED] = {
    d, b, A, j, j, j, d, b,                               /* number */
    p, j, d, o, d, d, d, d, b, p, j, d, o, d, d, d, d, b, /* inclination, node */
    p, j, j, j, j, j, d, b,                               /* eccentricity */
    p, j, d, o, d, d, d, d, b, p, j, d, o, d, d, d, d, b, /* pericenter, mean anomaly */
    p, d, o, d, d, d, d, d, d, d, d, p, j, j, j, j, d,    /* mean motion, turns, check digit */
    b, b, b, b, b, b, b, b, b, b, b};
_Static_assert((int)OOR_TLE_COLUMNS < (int)PADDED, "the last column is followed by a space");

/* The kind of each column of a line, with a 0 in front: every column has a left neighbour. */
typedef struct {
    uint8_t kinds[PADDED + 1];
    uint8_t weights[PADDED]; /* what it adds to the checksum */
} columns;

static inline uint8_t mask(int yes) { return (uint8_t)-yes; }

static void read_columns(const uint8_t *line, columns *out) {
    uint8_t text[PADDED];
    memset(text + OOR_TLE_COLUMNS, ' ', PADDED - OOR_TLE_COLUMNS);
    memcpy(text, line, OOR_TLE_COLUMNS);
    out->kinds[0] = 0;
    /* No branches: the compiler makes vectors of this. */
    for (int i = 0; i < PADDED; i++) {
        uint8_t x = text[i], digit = (uint8_t)(x - '0'), letter = (uint8_t)(x - 'A');
        uint8_t is_digit = mask(digit < 10), is_minus = mask(x == '-');
        out->kinds[i + 1] =
            (uint8_t)((is_digit & DIGIT) | (mask(x == ' ') & SPACE) | (mask(x == '+') & PLUS) |
                      (is_minus & MINUS) | (mask(x == '.') & DOT) | (mask(letter < 26) & CAPITAL));
        out->weights[i] = (uint8_t)((is_digit & digit) | (is_minus & 1));
    }
}

/* Not 0 when a column's kind is not allowed, or a space follows a digit or capital of its field. */
static inline uint8_t misfit(uint8_t kind, uint8_t left, uint8_t allowed) {
    uint8_t refused = mask((kind & allowed) == 0), inside = mask((left & (DIGIT | CAPITAL)) != 0);
    /* JOINED is SPACE << 5: both set leaves the bit. */
    return refused | (uint8_t)(inside & (uint8_t)(kind << 5) & allowed & JOINED);
}
_Static_assert(JOINED == SPACE << 5, "misfit shifts one onto the other");

static int columns_fit(const columns *line, const uint8_t *allowed) {
    uint8_t bad = 0;
    for (int i = 0; i < PADDED; i++) bad |= misfit(line->kinds[i + 1], line->kinds[i], allowed[i]);
    return bad == 0;
}

static uint32_t first_misfit(const columns *line, const uint8_t *allowed) {
    for (uint32_t i = 0; i < PADDED; i++)
        if (misfit(line->kinds[i + 1], line->kinds[i], allowed[i])) return i + 1;
    return 0;
}

static int checksum_fits(const columns *line) {
    uint64_t lanes = 0;
    /* A lane adds ten weights of at most 9, so it never carries into the next. */
    for (int i = 0; i < PADDED; i += 8) {
        uint64_t word;
        memcpy(&word, line->weights + i, 8);
        lanes += word;
    }
    uint64_t pairs = (lanes & 0x00ff00ff00ff00ff) + (lanes >> 8 & 0x00ff00ff00ff00ff);
    uint64_t sum = (pairs * 0x0001000100010001) >> 48;
    uint64_t digit = line->weights[OOR_TLE_COLUMNS - 1];
    return (sum - digit) % 10 == digit;
}

/* A space counts as 0: leading zeros are often left out. */
static uint32_t number(const uint8_t *text, int size) {
    uint32_t value = 0;
    for (int i = 0; i < size; i++) value = value * 10 + (text[i] & 15u);
    return value;
}

int oor_tle_like_catalog_number(const uint8_t *x) {
    int lead = x[0] == ' ' || (x[0] >= '0' && x[0] <= '9') || (x[0] >= 'A' && x[0] <= 'Z');
    if (!lead || x[4] < '0' || x[4] > '9') return 0;
    for (int i = 1; i < 4; i++)
        if (x[i] != ' ' && (x[i] < '0' || x[i] > '9')) return 0;
    return 1;
}

/* Alpha-5: A to Z without I and O stand for 10 to 33.  Returns 0 for I and O. */
static int catalog_number(const uint8_t *text, uint32_t *out) {
    uint32_t lead = text[0] & 15u;
    if (text[0] >= 'A') {
        if (text[0] == 'I' || text[0] == 'O') return 0;
        lead = text[0] - 'A' + 10u - (text[0] > 'I') - (text[0] > 'O');
    }
    *out = lead * 10000 + number(text + 1, 4);
    return 1;
}

/* A day has 100,000,000 units of 864 microseconds, so the text is kept exactly. */
static int epoch_us(const uint8_t *text, int64_t *out) {
    const int64_t day_us = 86400000000, unit_us = 864, units = 100000000;
    int64_t year = number(text, 2);
    int64_t since_1957 = year >= 57 ? year - 57 : year + 43;
    /* From 1957 to 2056 every fourth year from 1960 on is a leap year; 4,748 days lead to 1970. */
    int64_t new_year = 365 * since_1957 + since_1957 / 4 - 4748;
    int64_t day = (int64_t)number(text + 2, 3) * units + number(text + 6, 8);
    if (day <= 0 || day >= 367 * units) return 0;
    *out = (new_year - 1) * day_us + day * unit_us;
    return 1;
}

static int angle_fits(const uint8_t *text, uint32_t limit) {
    uint32_t degrees = number(text, 3);
    return degrees < limit || (degrees == limit && number(text + 4, 4) == 0);
}

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t oor_tle_digest(const uint8_t *data, size_t size) {
    static const uint8_t key[] = "oor element sets";
    uint64_t k0 = oor_load64(key), k1 = oor_load64(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                     k1 ^ 0x7465646279746573};
    size_t whole = size / 8 * 8;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word = oor_load64(data + i);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = whole; i < size; i++) last |= (uint64_t)data[i] << (i - whole) * 8;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The rule that one line breaks by itself, or OOR_TLE_FINE. */
static int check_line(oor_tle_line line, const uint8_t *allowed, uint32_t *column) {
    *column = 0;
    for (size_t i = 0; i < line.size; i++) {
        if (line.text[i] >= 0x20 && line.text[i] < 0x7f) continue;
        *column = (uint32_t)i + 1;
        return OOR_TLE_BYTE;
    }
    if (line.size == OOR_TLE_COLUMNS - 1) return OOR_TLE_CHECKSUM_MISSING;
    if (line.size != OOR_TLE_COLUMNS) return OOR_TLE_LENGTH;
    columns seen;
    read_columns(line.text, &seen);
    *column = first_misfit(&seen, allowed);
    if (*column) return OOR_TLE_COLUMN;
    if (checksum_fits(&seen)) return OOR_TLE_FINE;
    *column = OOR_TLE_COLUMNS;
    return OOR_TLE_CHECKSUM;
}

static int refuse(int rule, int line, uint32_t column, oor_tle_fault *fault) {
    *fault = (oor_tle_fault){.line = line, .column = column};
    return rule;
}

static int explain(oor_tle_line one, oor_tle_line two, oor_tle_fault *fault) {
    uint32_t column;
    int rule = check_line(one, LINE_1, &column);
    if (rule) return refuse(rule, 1, column, fault);
    rule = check_line(two, LINE_2, &column);
    assert(rule);
    return refuse(rule, 2, column, fault);
}

static int lines_fit(oor_tle_line one, oor_tle_line two) {
    if (one.size != OOR_TLE_COLUMNS || two.size != OOR_TLE_COLUMNS) return 0;
    columns first, second;
    read_columns(one.text, &first);
    read_columns(two.text, &second);
    return columns_fit(&first, LINE_1) && columns_fit(&second, LINE_2) && checksum_fits(&first) &&
           checksum_fits(&second);
}

int oor_tle_check(oor_tle_line one, oor_tle_line two, oor_tle_set *set, oor_tle_fault *fault) {
    /* Almost every set is fine: a quick answer comes first, and the reason only when it is no. */
    if (!lines_fit(one, two)) return explain(one, two, fault);
    const uint8_t *x = one.text, *y = two.text;
    uint32_t number, other;
    if (!catalog_number(x + 2, &number)) return refuse(OOR_TLE_CATALOG_NUMBER, 1, 3, fault);
    if (!catalog_number(y + 2, &other)) return refuse(OOR_TLE_CATALOG_NUMBER, 2, 3, fault);
    if (other != number) return refuse(OOR_TLE_CATALOG_MISMATCH, 2, 3, fault);
    set->catalog_number = number;
    if (!epoch_us(x + 18, &set->epoch_us)) return refuse(OOR_TLE_EPOCH, 1, 21, fault);
    if (!angle_fits(y + 8, 180)) return refuse(OOR_TLE_ANGLE, 2, 9, fault);
    if (!angle_fits(y + 17, 360)) return refuse(OOR_TLE_ANGLE, 2, 18, fault);
    if (!angle_fits(y + 34, 360)) return refuse(OOR_TLE_ANGLE, 2, 35, fault);
    if (!angle_fits(y + 43, 360)) return refuse(OOR_TLE_ANGLE, 2, 44, fault);
    uint8_t fields[2 * (OOR_TLE_COLUMNS - 1)];
    memcpy(fields, x, OOR_TLE_COLUMNS - 1);
    memcpy(fields + OOR_TLE_COLUMNS - 1, y, OOR_TLE_COLUMNS - 1);
    set->digest = oor_tle_digest(fields, sizeof fields);
    return OOR_TLE_FINE;
}
