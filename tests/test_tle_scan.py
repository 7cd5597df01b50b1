"""The scanner: what it takes, what it refuses and why, and that it accounts for every byte."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tle import ISS_1, ISS_2, edited, numbered, rules, sealed, split, text_of

from oor.native import ffi, lib
from oor.registry import Rejected, Scanner, parse
from oor.registry.rules import TLE_REASONS
from oor.registry.tle_scan import RULES

GOOD = text_of(ISS_1, ISS_2)
NAMED = text_of("ISS (ZARYA)", ISS_1, ISS_2)


def scanned(data, *, batch_sets=4096, cuts=()):
    """(kind, offset, bytes) of all that one input holds, and the scanner after it."""
    scanner = Scanner(batch_sets)
    edges = [0, *cuts, len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(edges)]
    found = []
    for batch in scanner.batches(chunks):
        pairs = zip(batch.offsets(), batch.element_sets(), strict=True)
        found += [("set", offset, elset.text) for offset, elset in pairs]
        found += [
            ((one.rule, one.line, one.fault_line, one.column), one.offset, one.raw)
            for one in batch.rejected
        ]
    return sorted(found, key=lambda item: item[1]), scanner


def assert_every_byte_is_accounted_for(data, found, scanner):
    """Sets and rejects do not overlap, are the input's own bytes, and leave only blanks."""
    end = 0
    blank = b""
    for _, offset, raw in found:
        assert offset >= end and raw and data[offset : offset + len(raw)] == raw
        blank += data[end:offset]
        end = offset + len(raw)
    blank += data[end:]
    blank = blank.removeprefix(b"\xef\xbb\xbf") if data.startswith(b"\xef\xbb\xbf") else blank
    assert not blank.strip(b" \t\r\n\\")
    assert scanner.offset == len(data)
    assert scanner.set_count + scanner.reject_count == len(found)
    raw_bytes = sum(len(raw) for _, _, raw in found)
    assert scanner.blank_bytes == len(data) - raw_bytes


# ---- what is taken ----


@pytest.mark.parametrize(
    "data",
    [
        GOOD,
        NAMED,
        text_of("0 ISS (ZARYA)", ISS_1, ISS_2),
        text_of(ISS_1, ISS_2, end="\n"),
        text_of("ISS", ISS_1, ISS_2, end="\r\r\n"),
        text_of(ISS_1, ISS_2, end=" \t \r\n"),
        text_of(ISS_1, ISS_2, end="\\\n"),
        text_of("ISS", ISS_1, ISS_2, end="\\\r\n"),
        b"ISS\n" + ISS_1.encode() + b"\r\n" + ISS_2.encode() + b"\n",
        b"ISS\n\n" + ISS_1.encode() + b"\n\r\n" + ISS_2.encode() + b"\n",
        (ISS_1 + "\n" + ISS_2).encode(),
        text_of("1 HOPE", ISS_1, ISS_2),
        text_of("2 BE OR NOT 2 BE", ISS_1, ISS_2),
        text_of("1 25544", ISS_1, ISS_2),
        text_of("CAF\u00c9 \u00a0 SAT", ISS_1, ISS_2),
        text_of("0", ISS_1, ISS_2),
        text_of("x" * 80, ISS_1, ISS_2),
        text_of(*numbered("    5")),
        text_of(*numbered("00005")),
        text_of(numbered("    5")[0], numbered("00005")[1]),
        text_of(*numbered("T0288")),
        text_of(*numbered("Z9999")),
        text_of(edited(ISS_1, 10, " " * 8), ISS_2),
        text_of(edited(ISS_1, 34, "+.00000067"), ISS_2),
        text_of(edited(ISS_1, 34, "0.00000067"), ISS_2),
        text_of(edited(ISS_1, 45, "+00000+0"), edited(ISS_2, 9, "051.6416 007.4627")),
        text_of(edited(ISS_1, 63, " "), ISS_2),
        text_of(edited(ISS_1, 8, "S"), ISS_2),
        text_of(*numbered("25544", "24000.50000000")),
        text_of(*numbered("25544", "23366.99999999")),
        text_of(*numbered("25544", "24  1.00000000")),
        text_of(ISS_1, edited(ISS_2, 9, "180.0000")),
    ],
)
def test_a_set_is_taken_whole_and_byte_for_byte(data):
    found, scanner = scanned(data)
    assert [(kind, raw) for kind, _, raw in found] == [("set", data)]
    assert_every_byte_is_accounted_for(data, found, scanner)


def test_a_byte_order_mark_is_blank_and_not_part_of_the_first_set():
    for cuts in [(), (1,), (2,), (1, 2), (3,)]:
        data = b"\xef\xbb\xbf" + GOOD
        found, scanner = scanned(data, cuts=cuts)
        assert found == [("set", 3, GOOD)]
        assert_every_byte_is_accounted_for(data, found, scanner)


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n \t\r\n\\\n", b"   "])
def test_an_input_without_text_holds_nothing(data):
    found, scanner = scanned(data)
    assert found == []
    assert scanner.blank_bytes == scanner.offset == len(data)


# ---- what is refused ----

BAD_DIGIT = ISS_1[:68] + "0"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (text_of(BAD_DIGIT, ISS_2), ["checksum"]),
        (text_of(ISS_1, ISS_2[:68] + "0"), ["checksum"]),
        (text_of(ISS_1[:68], ISS_2), ["checksum-missing"]),
        (text_of(ISS_1, ISS_2[:68] + "\\"), ["checksum-missing"]),
        (text_of(ISS_1[:68] + " ", ISS_2), ["checksum-missing"]),
        (text_of(ISS_1 + "1", ISS_2), ["length"]),
        (text_of(ISS_1, ISS_2[:50]), ["length"]),
        (text_of("1 25544U", ISS_2), ["length"]),
        (text_of(*numbered("25544", "24000.00000000")), ["epoch"]),
        (text_of(*numbered("25544", "24367.00000000")), ["epoch"]),
        (text_of(*numbered("25544", "24999.99999999")), ["epoch"]),
        (text_of(*numbered("25544", "2 036.00000000")), ["column"]),
        (text_of(*numbered("25544", "24 3 .00000000")), ["column"]),
        (text_of(*numbered("I0288")), ["catalog-number"]),
        (text_of(*numbered("O0288")), ["catalog-number"]),
        (text_of(numbered("J0288")[0], numbered("I0288")[1]), ["catalog-number"]),
        (text_of(*numbered("t0288")), ["column"]),
        (text_of(*numbered("T 288")), ["column"]),
        (text_of(*numbered("T028 ")), ["column"]),
        (text_of(*numbered("2 544")), ["column"]),
        (text_of(*numbered("2T544")), ["column"]),
        (text_of(*numbered("     ")), ["column"]),
        (text_of(numbered("25544")[0], numbered("25545")[1]), ["catalog-mismatch"]),
        (text_of(edited(ISS_1, 33, "\xa0"), ISS_2), ["byte"]),
        (GOOD.replace(b"25544U", b"25544\xc2\xa0"), ["byte"]),
        (GOOD.replace(b"51.6416", b"51.64\x006"), ["byte"]),
        (GOOD.replace(b"51.6416", b"51.64\t6"), ["byte"]),
        (text_of(edited(ISS_1, 34, "x.00002182"), ISS_2), ["column"]),
        (text_of(edited(ISS_1, 9, "-"), ISS_2), ["column"]),
        (text_of(ISS_1, edited(ISS_2, 9, "180.0001")), ["angle"]),
        (text_of(ISS_1, edited(ISS_2, 18, "360.0001")), ["angle"]),
        (text_of(ISS_1, edited(ISS_2, 35, "999.9999")), ["angle"]),
        (text_of(ISS_1, edited(ISS_2, 44, "361.0000")), ["angle"]),
        (text_of(ISS_2), ["line-1-missing"]),
        (text_of("ISS", ISS_2), ["line-1-missing"]),
        (text_of(ISS_1), ["line-2-missing"]),
        (text_of("ISS", ISS_1), ["line-2-missing"]),
        (text_of(ISS_1, "ISS"), ["line-2-missing", "name-alone"]),
        (text_of("ISS"), ["name-alone"]),
        (text_of("ISS", "ZARYA"), ["name-alone", "name-alone"]),
        (text_of("x" * 81), ["text"]),
        (b"ab\x00cd\n", ["text"]),
        (b"\x00" * 500, ["text"]),
        (text_of(ISS_1, "ab\x07cd", ISS_2), ["line-2-missing", "text", "line-1-missing"]),
        (b"x" * 1023 + b"\n", ["text"]),
        (b"x" * 1024 + b"\n", ["long-line"]),
        (b"x" * 65536 + b"yz\n", ["long-line", "long-line"]),
        (ISS_1.encode() + b"\n" * 5000, ["line-2-missing"]),
        ((ISS_1 + "\n" * 5000 + ISS_2).encode(), ["line-2-missing", "line-1-missing"]),
        ((ISS_1 + "\r\n" + ISS_2[:40]).encode(), ["length"]),
        ((ISS_1 + "\r\n" + ISS_2[:5]).encode(), ["line-2-missing", "name-alone"]),
        (ISS_1[:30].encode(), ["line-2-missing"]),
    ],
)
def test_bad_lines_are_refused_by_the_rule_they_break_and_the_next_set_is_taken(data, expected):
    assert rules(data) == expected
    separated = data if data.endswith(b"\n") else data + b"\n"
    followed = separated + NAMED
    found, scanner = scanned(followed)
    assert [kind[0] for kind, _, _ in found[:-1]] == expected
    assert found[-1] == ("set", len(separated), NAMED)
    assert_every_byte_is_accounted_for(followed, found, scanner)


def test_sets_and_rejects_come_in_the_order_of_the_input():
    parts = [text_of(ISS_2), NAMED, b"\0\n", text_of(BAD_DIGIT, ISS_2), GOOD, NAMED, text_of("X")]
    items = parse(b"".join(parts))
    assert [item.raw if isinstance(item, Rejected) else item.text for item in items] == parts


def test_a_damaged_line_1_is_never_taken_for_the_name_of_the_next_set():
    data = text_of(ISS_1[:20]) + GOOD
    sets, rejected = split(parse(data))
    assert [one.text for one in sets] == [GOOD]
    assert [one.raw for one in rejected] == [text_of(ISS_1[:20])]


def test_text_that_is_no_name_does_not_cost_the_set_behind_it():
    sets, rejected = split(parse(text_of("\x01name") + GOOD))
    assert sets[0].object_name is None and sets[0].text == GOOD
    assert [one.rule for one in rejected] == ["text"]


def test_a_reject_says_where_it_begins_and_where_the_fault_is():
    data = GOOD + b"\n\n" + text_of("ISS", ISS_1, edited(ISS_2, 20, "x"))
    (reject,) = split(parse(data))[1]
    assert (reject.line, reject.fault_line, reject.column) == (5, 7, 20)
    assert reject.offset == len(GOOD) + 2
    assert reject.raw == data[reject.offset :]
    assert reject.reason == "line 7, column 20: a character that the field does not allow"


@pytest.mark.parametrize("column", range(1, 69))
@pytest.mark.parametrize("which", [0, 1])
def test_no_column_takes_a_character_that_no_field_allows(column, which):
    lines = [ISS_1, ISS_2]
    lines[which] = edited(lines[which], column, "*")
    assert len(rules(text_of(*lines))) >= 1
    assert split(parse(text_of(*lines)))[0] == []


@pytest.mark.parametrize("which", [0, 1])
def test_every_change_of_a_check_digit_is_found(which):
    for digit in "0123456789":
        lines = [ISS_1, ISS_2]
        lines[which] = lines[which][:68] + digit
        good = lines[which] == sealed(lines[which])
        assert rules(text_of(*lines)) == ([] if good else ["checksum"])


def test_every_rule_has_a_name_and_a_reason_and_the_numbers_stay():
    assert set(RULES[1:]) == set(TLE_REASONS)
    assert RULES == (
        "fine", "long-line", "text", "name-alone", "line-1-missing", "line-2-missing", "byte",
        "length", "checksum-missing", "column", "checksum", "catalog-number", "catalog-mismatch",
        "epoch", "angle",
    )  # fmt: skip
    assert lib.oor_tle_rule_name(len(RULES)) == ffi.NULL
    assert lib.oor_tle_rule_name(-1) == ffi.NULL


# ---- chunks, batches, and bytes of any kind ----

MIXED = b"".join(
    [
        b"\xef\xbb\xbf\r\n",
        NAMED,
        text_of(BAD_DIGIT, ISS_2),
        text_of("0 X", *numbered("T0001"), end="\\\n"),
        text_of(ISS_1, ISS_1, ISS_2, end="\n"),
        b"\n\n\r\nNAME\n\n",
        text_of(*numbered("    7")),
        text_of("alone", "\x00junk", ISS_2),
        text_of(*numbered("00009")) + b" \n",
        b"y" * 1100 + b"\n",
        (ISS_1 + "\n" + ISS_2).encode(),
    ]
)


def test_a_cut_between_chunks_at_any_byte_changes_nothing():
    whole, scanner = scanned(MIXED)
    assert [kind if kind == "set" else kind[0] for kind, _, _ in whole] == [
        "set", "checksum", "set", "line-2-missing", "set", "set", "name-alone", "text",
        "line-1-missing", "set", "long-line", "set",
    ]  # fmt: skip
    assert_every_byte_is_accounted_for(MIXED, whole, scanner)
    for cut in range(len(MIXED)):
        assert scanned(MIXED, cuts=(cut,))[0] == whole
    assert scanned(MIXED, cuts=range(1, len(MIXED)))[0] == whole


def test_batches_of_one_set_find_what_one_batch_finds():
    data = MIXED + text_of("junk") * 600 + GOOD
    whole, _ = scanned(data)
    found, scanner = scanned(data, batch_sets=1)
    assert found == whole
    assert_every_byte_is_accounted_for(data, found, scanner)


def test_a_long_line_is_cut_into_the_same_pieces_however_it_arrives():
    data = GOOD + b"z" * 200_000 + b"\n" + NAMED
    whole, scanner = scanned(data)
    assert_every_byte_is_accounted_for(data, whole, scanner)
    assert [len(raw) for _, _, raw in whole] == [len(GOOD), 65536, 65536, 65536, 3393, len(NAMED)]
    assert {kind[1] for kind, _, _ in whole[1:-1]} == {3}
    for step in (1009, 65535, 65536, 65537):
        assert scanned(data, cuts=range(step, len(data), step))[0] == whole


_pieces = st.sampled_from(
    [
        GOOD, NAMED, ISS_1.encode(), ISS_2.encode(), b"\n", b"\r\n", b"\r", b" ", b"\\", b"\0",
        b"1 ", b"2 ", b"0 ", b"\xa0", b"NAME", b"\xef\xbb\xbf", ISS_1[:68].encode(), b"x" * 1100,
        text_of(*numbered("T0288")), text_of(*numbered("I0288")), b"\n" * 4100,
    ]
)  # fmt: skip
_inputs = st.lists(st.one_of(_pieces, st.binary(max_size=80)), max_size=12).map(b"".join)


@given(_inputs, st.integers(1, 3), st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_accounted_for_and_cuts_never_matter(data, batch_sets, draw):
    whole, scanner = scanned(data)
    assert_every_byte_is_accounted_for(data, whole, scanner)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    assert scanned(data, batch_sets=batch_sets, cuts=cuts)[0] == whole


@given(st.integers(0, 137), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_one_changed_byte_gives_another_set_or_a_reject_never_the_same_set(at, byte):
    lines = bytearray(text_of(ISS_1, ISS_2))
    at += 2 * (at >= 69)
    old, lines[at] = lines[at], byte
    found, scanner = scanned(bytes(lines))
    assert_every_byte_is_accounted_for(bytes(lines), found, scanner)
    if byte != old:
        assert ("set", 0, GOOD) not in found


def test_arrays_too_small_for_one_step_are_refused_as_a_limit():
    state = ffi.new("oor_tle_state *")
    batch = ffi.new("oor_tle_batch *", {"set_capacity": 1, "reject_capacity": 1})
    assert lib.oor_tle_scan(state, b"", 0, 1, batch) == lib.OOR_E_LIMIT


def test_columns_never_reach_past_the_text_or_the_room_for_values():
    text = GOOD
    sets = ffi.new("oor_tle_set[]", [{"offset": 1, "size": len(text)}])
    none = ffi.NULL
    code = lib.oor_tle_columns(text, len(text), 1, sets, none, 0, none, none, none, 0)
    assert code == lib.OOR_E_LIMIT
    sets[0].offset = 0
    values = ffi.new("uint8_t[]", len(text))
    code = lib.oor_tle_columns(text, len(text), 1, sets, none, 0, none, none, values, len(text))
    assert code == lib.OOR_E_LIMIT
