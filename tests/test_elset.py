"""Element sets: fields, keys, digests, Alpha-5."""

import copy
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tle import ISS_1, ISS_2, decoded, edited, numbered, split, text_of

from oor.errors import FormatError, LimitError
from oor.native import lib
from oor.registry import ElementSet, alpha5, keys, parse
from oor.registry.synthetic import SyntheticCatalogue


def one(*lines, end="\r\n"):
    (elset,) = parse(text_of(*lines, end=end))
    return elset


def assert_fields_are_exact(elset):
    for name, value in decoded(elset.line1, elset.line2).items():
        mine = getattr(elset, name)
        assert (Fraction(mine) if isinstance(mine, Decimal) else mine) == value, name


# ---- fields ----


def test_a_known_set_has_its_known_fields():
    elset = one("0 ISS (ZARYA)  ", ISS_1, ISS_2)
    assert elset.lines == ("0 ISS (ZARYA)", ISS_1, ISS_2)
    assert elset.text == text_of("0 ISS (ZARYA)  ", ISS_1, ISS_2)
    assert elset.object_name == "ISS (ZARYA)"
    assert elset.object_id == "1998-067A"
    assert elset.norad_cat_id == 25544
    assert elset.epoch == datetime(2008, 9, 20, 12, 25, 40, 104192, tzinfo=UTC)
    assert elset.epoch_us == 1221913540104192
    assert elset.classification_type == "U"
    assert str(elset.mean_motion_dot) == "-0.00002182"
    assert elset.mean_motion_ddot == 0
    assert elset.bstar == Decimal("-0.000011606")
    assert elset.ephemeris_type == 0
    assert elset.element_set_no == 292
    assert str(elset.inclination) == "51.6416"
    assert str(elset.ra_of_asc_node) == "247.4627"
    assert str(elset.eccentricity) == "0.0006703"
    assert str(elset.arg_of_pericenter) == "130.5360"
    assert str(elset.mean_anomaly) == "325.0288"
    assert str(elset.mean_motion) == "15.72125391"
    assert elset.rev_at_epoch == 56353
    assert elset.source is None and elset.lsn == 0


def test_the_dictionary_of_a_set_goes_through_json_without_losing_a_digit():
    elset = one("ISS", ISS_1, ISS_2)
    back = json.loads(json.dumps(elset.to_dict()))
    assert back == elset.to_dict()
    assert back["epoch"] == "2008-09-20T12:25:40.104192Z"
    for name in ("mean_motion", "eccentricity", "bstar", "mean_motion_dot", "inclination"):
        assert Decimal(repr(back[name])) == getattr(elset, name)


@pytest.mark.parametrize(
    ("epoch", "moment"),
    [
        ("57001.00000000", datetime(1957, 1, 1, tzinfo=UTC)),
        ("99365.50000000", datetime(1999, 12, 31, 12, tzinfo=UTC)),
        ("00060.00000000", datetime(2000, 2, 29, tzinfo=UTC)),
        ("56366.00000000", datetime(2056, 12, 31, tzinfo=UTC)),
        ("24000.50000000", datetime(2023, 12, 31, 12, tzinfo=UTC)),
        ("23366.99999999", datetime(2024, 1, 1, 23, 59, 59, 999136, tzinfo=UTC)),
        ("70001.00000001", datetime(1970, 1, 1, 0, 0, 0, 864, tzinfo=UTC)),
    ],
)
def test_epochs_are_exact_to_the_microsecond_and_pivot_at_57(epoch, moment):
    assert one(*numbered("00005", epoch)).epoch == moment


@pytest.mark.parametrize(
    ("columns", "value"),
    [
        (" 00000-0", "0"), ("+00000+0", "0"), (" 00000 0", "0"), (" 12345-3", "0.00012345"),
        ("-12345-3", "-0.00012345"), ("+12345+2", "12.345"), (" 68453-9", "6.8453E-10"),
        ("012345-0", "0.12345"),
    ],
)  # fmt: skip
def test_implied_points_and_exponents_are_read_exactly(columns, value):
    elset = one(edited(edited(ISS_1, 54, columns), 45, columns), ISS_2)
    assert elset.bstar == elset.mean_motion_ddot == Decimal(value)


def test_blank_fields_are_none_and_padded_ones_are_numbers():
    blank = one(edited(edited(ISS_1, 10, " " * 8), 63, "      "), edited(ISS_2, 64, "     "))
    assert blank.object_id is blank.ephemeris_type is blank.element_set_no is None
    assert blank.rev_at_epoch is blank.object_name is None
    padded = one(edited(ISS_1, 63, "    1"), edited(edited(ISS_2, 27, "     12"), 9, "  0.0500"))
    assert padded.eccentricity == Decimal("0.0000012")
    assert padded.inclination == Decimal("0.05")
    assert padded.ephemeris_type is None


@pytest.mark.parametrize(
    ("columns", "object_id"),
    [
        ("57001B  ", "1957-001B"),
        ("20012AAB", "2020-012AAB"),
        ("98 67A  ", "98 67A"),
        ("98067 A ", "98067 A"),
        ("X", "X"),
    ],
)
def test_designators_are_written_out_when_they_follow_the_pattern(columns, object_id):
    assert one(edited(ISS_1, 10, f"{columns:8s}"), ISS_2).object_id == object_id


def test_names_are_utf8_or_else_latin_1():
    assert one("CAF\u00c9", ISS_1, ISS_2).object_name == "CAF\u00c9"
    utf8 = "CAF\u00c9".encode() + b"\n" + text_of(ISS_1, ISS_2)
    assert next(parse(utf8)).object_name == "CAF\u00c9"


def test_an_element_set_cannot_be_changed():
    elset = one(ISS_1, ISS_2)
    for name in ("key", "record", "source", "text", "lsn", "named", "epoch", "nothing"):
        with pytest.raises(AttributeError):
            setattr(elset, name, None)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_a_copy_of_an_element_set_is_equal_and_reads_the_same(again):
    for elset in (one(ISS_1, ISS_2), next(iter(parse(one(ISS_1, ISS_2).to_omm("json"))))):
        found = again(elset)
        assert found == elset and hash(found) == hash(elset)
        assert found.fields == elset.fields


def test_every_number_of_the_synthetic_catalogue_equals_an_independent_decoding():
    sets, rejected = split(parse(SyntheticCatalogue(objects=400, issues=6).chunks()))
    assert not rejected and len(sets) == 2406
    for elset in sets:
        assert_fields_are_exact(elset)


def _number(width, decimals):
    """A padded decimal field of that many columns."""
    whole = width - decimals - 1
    return st.tuples(
        st.integers(0, 10**whole - 1), st.integers(0, 10**decimals - 1), st.sampled_from(" 0")
    ).map(lambda x: f"{x[0]:{x[2] if x[2] == '0' else ''}{whole}d}.{x[1]:0{decimals}d}")


_scaled = st.from_regex(r"[ +-][0-9]{5}[+-][0-9]", fullmatch=True)


@given(
    st.integers(0, alpha5.NUMBER_MAX), st.integers(0, 99), _number(12, 8), _scaled, _scaled,
    st.from_regex(r"[ +-]\.[0-9]{8}", fullmatch=True), st.integers(0, 9999),
    st.tuples(*[_number(8, 4)] * 4), st.integers(0, 9999999), _number(11, 8), st.integers(0, 99999),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_every_number_field_reads_as_an_independent_decoding_does(
    number, year, day, ddot, bstar, dot, set_no, angles, eccentricity, mean_motion, turns
):
    columns = alpha5.encode(number)
    line1 = edited(edited(ISS_1, 3, columns), 19, f"{year:02d}{day}")
    line1 = edited(edited(edited(line1, 34, dot), 45, ddot), 54, f"{bstar} 0 {set_no:4d}")
    line2 = edited(ISS_2, 3, columns)
    for at, angle in zip((9, 18, 35, 44), angles, strict=True):
        line2 = edited(line2, at, angle)
    line2 = edited(line2, 27, f"{eccentricity:07d}")
    line2 = edited(line2, 53, f"{mean_motion}{turns:5d}")
    (found,) = parse(text_of(line1, line2))
    inside = 0 < Fraction(day.strip()) < 367
    limits = (180, 360, 360, 360)
    inside &= all(Fraction(a.strip()) <= top for a, top in zip(angles, limits, strict=True))
    assert isinstance(found, ElementSet) == inside
    if inside:
        assert_fields_are_exact(found)


def test_fields_agree_with_sgp4_where_it_is_installed():
    api = pytest.importorskip("sgp4.api")
    for elset in split(parse(SyntheticCatalogue(objects=300, issues=2).chunks()))[0]:
        other = api.Satrec.twoline2rv(elset.line1, elset.line2)
        assert other.satnum == elset.norad_cat_id
        assert other.ecco == float(elset.eccentricity)
        assert other.bstar == pytest.approx(float(elset.bstar), rel=1e-15)
        assert other.revnum == elset.rev_at_epoch
        assert other.elnum == elset.element_set_no


# ---- keys, digests ----


def sip13(data, key=b"oor element sets"):
    """SipHash-1-3, from its definition."""
    mask = 2**64 - 1

    def turn(x, by):
        return (x << by | x >> (64 - by)) & mask

    def mix():
        nonlocal a, b, c, d
        a, c = (a + b) & mask, (c + d) & mask
        b, d = turn(b, 13) ^ a, turn(d, 16) ^ c
        a = turn(a, 32)
        c, a = (c + b) & mask, (a + d) & mask
        b, d = turn(b, 17) ^ c, turn(d, 21) ^ a
        c = turn(c, 32)

    low, high = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    a, b = low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D
    c, d = low ^ 0x6C7967656E657261, high ^ 0x7465646279746573
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        d ^= word
        mix()
        a ^= word
    c ^= 255
    for _ in range(3):
        mix()
    return a ^ b ^ c ^ d


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_the_digest_is_siphash_1_3(data):
    assert lib.oor_tle_digest(data, len(data)) == sip13(data)


def test_the_definition_of_siphash_1_3_here_is_that_of_the_interpreter():
    if sys.hash_info.algorithm != "siphash13":
        pytest.skip("this interpreter hashes bytes in another way")
    data = b"1 25544U 98067A"
    command = [sys.executable, "-S", "-c", f"print(hash({data!r}))"]
    out = subprocess.run(command, env={"PYTHONHASHSEED": "0"}, capture_output=True, check=True)
    assert int(out.stdout) % 2**64 == sip13(data, bytes(16))


def test_the_digest_covers_the_fields_and_neither_names_nor_line_ends():
    elset = one(ISS_1, ISS_2)
    assert elset.digest == sip13((ISS_1[:68] + ISS_2[:68]).encode())
    assert one("NAME", ISS_1, ISS_2, end="\\\n").key == elset.key
    for column, text in ((8, "C"), (15, "B"), (34, "+"), (45, "+"), (54, " "), (65, "1")):
        assert one(edited(ISS_1, column, text), ISS_2).digest != elset.digest
    assert one(ISS_1, edited(ISS_2, 63, "2")).digest != elset.digest


_parts = st.tuples(
    st.integers(0, keys.NUMBER_MAX),
    st.integers(keys.EPOCH_US_MIN, keys.EPOCH_US_MAX),
    st.integers(0, keys.SOURCE_ID_MAX),
    st.integers(0, 2**64 - 1),
).map(lambda parts: keys.ElsetKey(*parts))


@given(st.lists(_parts, max_size=20))
@settings(deadline=None)
def test_keys_sort_as_object_and_epoch_do_and_read_back(parts):
    assert [keys.ElsetKey.decode(part.encode()) for part in parts] == parts
    assert sorted(part.encode() for part in parts) == [part.encode() for part in sorted(parts)]


@given(_parts)
@settings(deadline=None)
def test_the_bounds_of_an_object_and_of_a_moment_enclose_its_keys(key):
    number, epoch_us = key.catalog_number, key.epoch_us
    raw = key.encode()
    assert len(raw) == keys.KEY_SIZE
    assert keys.object_start(number) <= raw < keys.object_start(number + 1)
    assert keys.moment_start(number, epoch_us) <= raw < keys.moment_start(number, epoch_us + 1)


def test_the_scanner_writes_the_keys_that_python_reads():
    for number, epoch in (("00005", "57001.00000000"), ("Z9999", "56366.99999999")):
        elset = one(*numbered(number, epoch))
        parts = keys.ElsetKey(elset.norad_cat_id, elset.epoch_us, 0, elset.digest)
        assert keys.ElsetKey.decode(elset.key) == parts
        assert parts.encode() == elset.key


def test_other_kinds_of_records_are_no_element_sets():
    assert {kind.name: int(kind) for kind in keys.Kind} == {
        "SOURCE": 1, "DELIVERY": 2, "CONTENT": 3, "OPEN": 4, "ELEMENT_SET": 0x10, "NEWEST": 0x20,
        "DESIGNATOR": 0x21, "NAME": 0x22,
    }  # fmt: skip
    with pytest.raises(ValueError):
        keys.ElsetKey.decode(keys.source_key(1))
    with pytest.raises(FormatError):
        ElementSet.from_record(one(ISS_1, ISS_2).key, bytes(8) + b"\x06\x00text")


# ---- Alpha-5 ----


def test_alpha5_reads_back_and_skips_i_and_o():
    for number in (0, 5, 99_999, 100_000, 179_999, 180_000, 229_999, 230_000, 339_999):
        assert alpha5.decode(alpha5.encode(number)) == number
    assert alpha5.encode(100_000) == "A0000"
    assert alpha5.encode(180_000) == "J0000"
    assert alpha5.encode(230_000) == "P0000"
    assert alpha5.encode(339_999) == "Z9999"
    assert alpha5.decode("    5") == 5


@pytest.mark.parametrize(
    "text", ["I0000", "O0000", "t0288", "T288", "", "     ", "T02\u06688", "1 345"]
)
def test_what_is_no_alpha5_number_is_refused(text):
    with pytest.raises(ValueError):
        alpha5.decode(text)


@pytest.mark.parametrize("number", [-1, 340_000, 799_501_299])
def test_numbers_that_five_columns_cannot_hold_are_refused(number):
    with pytest.raises(LimitError):
        alpha5.encode(number)
