"""Messages in: every format and style, exact values, and a reject for what is no message."""

import re
import time
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import omm
from support.fakedb import FakeDB
from support.tle import ISS_1, ISS_2, split, text_of

from oor.errors import FormatError, LimitError
from oor.registry import ElementSet, Format, Registry, ingest, parse
from oor.registry.formats import recognised
from oor.registry.omm import xml
from oor.registry.omm.model import Refused
from oor.registry.omm.scan import OmmScanner

NAMES = ("kvn", "xml", "json", "csv")
ISS = text_of("ISS (ZARYA)", ISS_1, ISS_2)


def one(data, format=None):
    (found,) = parse(data, format)
    assert isinstance(found, ElementSet), found
    return found


def rejects(data, format=None):
    return [(item.rule, item.field) for item in split(parse(data, format))[1]]


# ---- formats ----


@pytest.mark.parametrize("name", NAMES)
def test_each_format_is_told_by_content_and_gives_the_fields_of_the_tle(name):
    elset, tle = one(omm.documents({})[name]), one(ISS)
    assert elset.format is Format[name.upper()]
    for field in (*omm.FIELDS, "EPOCH_US"):
        assert getattr(elset, field.lower()) == getattr(tle, field.lower()), field
    assert elset.lines == tle.lines
    assert elset.epoch == datetime(2008, 9, 20, 12, 25, 40, 104192, tzinfo=UTC)


STYLES = {
    "one object": omm.json_object(),
    "array of one": b"[" + omm.json_object() + b"]",
    "pretty": b"[\n  " + omm.json_object().replace(b",", b",\n    ") + b"\n]\n",
    "all texts": b"[" + omm.json_strings() + b"]",
    "mark": b"\xef\xbb\xbf[" + omm.json_object() + b"]",
    "quoted rows": omm.csv_header() + omm.csv_row(quoted=True),
    "rows in another order": omm.csv_header(sorted(omm.FIELDS)) + omm.csv_row(sorted(omm.FIELDS)),
    "one line end": omm.documents({})["csv"].replace(b"\r", b""),
    "lone message": omm.xml(),
    "prefix": omm.xml().replace(b"<omm", b"<n:omm").replace(b"</omm", b"</n:omm"),
    "units": omm.kvn(MEAN_MOTION="15.72125391 [rev/day]", INCLINATION="51.6416 [DEG]"),
    "xml units": omm.xml().replace(b"<MEAN_MOTION>", b'<MEAN_MOTION units="rev/day">'),
    "comment": b"<!-- <omm> --><ndm>" + omm.xml() + b"</ndm>",
    "kvn comment": omm.kvn().replace(b"CREATION", b"COMMENT = ?\nCOMMENT\nCREATION"),
}


@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_one_set_with_one_key(style):
    found = one(STYLES[style])
    assert found.key == one(omm.json_object()).key
    assert found.to_tle() == ISS.decode().replace("\r", "")


def test_a_line_of_json_is_an_object_of_its_own():
    data = omm.json_object() + b"\n" + omm.json_object(NORAD_CAT_ID="5") + b"\n"
    assert [found.norad_cat_id for found in parse(data)] == [25544, 5]


def test_tables_behind_each_other_are_read_by_their_own_headers():
    turned = tuple(reversed(omm.FIELDS))
    data = (
        omm.documents({})["csv"]
        + omm.csv_header(turned)
        + omm.csv_row(turned, EPOCH="2009-001T00:00:00")
    )
    first, second = parse(data)
    assert (first.norad_cat_id, second.norad_cat_id) == (25544, 25544)
    assert second.epoch == datetime(2009, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", NAMES)
def test_the_format_that_is_named_wins_over_the_content(name):
    sets, rejected = split(parse(ISS, name))
    assert not sets
    assert b"".join(item.raw for item in rejected).split() == ISS.split()
    assert parse(ISS, "3le") and one(ISS, "tle").norad_cat_id == 25544
    with pytest.raises(LimitError, match="tle, kvn, xml, json, csv"):
        next(parse(ISS, "yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_the_record_is_kept_byte_for_byte(name):
    data = omm.documents({}, {"NORAD_CAT_ID": "5"})[name]
    first, second = parse(data)
    assert first.text in data or name == "csv"
    for elset in (first, second):
        assert one(elset.text, name).key == elset.key
        stored = bytes(8) + bytes([elset.format, 0]) + elset.text
        assert ElementSet.from_record(elset.key, stored) == elset
    if name == "csv":
        assert second.text == omm.csv_header() + omm.csv_row(NORAD_CAT_ID="5")


def test_a_stored_message_that_cannot_be_read_any_more_is_a_format_error():
    elset = ElementSet.from_record(one(omm.kvn()).key, bytes(8) + b"\x04\x00" + b"{]")
    with pytest.raises(FormatError):
        _ = elset.inclination


def test_fields_that_only_messages_have_are_there_by_their_names():
    elset = one(omm.json_strings(BTERM="0.0123", BSTAR=None, AGOM="1E-3", COMMENT="A\\nB"))
    assert (elset.originator, elset.ccsds_omm_vers, elset.comment) == ("NOBODY", "3.0", "A\nB")
    assert (elset.bterm, elset.agom, elset.bstar) == (Decimal("0.0123"), Decimal("0.001"), None)
    assert elset.mass is None and elset.fields["GP_ID"] == "1234567"
    assert elset.to_dict()["other"]["TLE_LINE0"] == "0 ISS (ZARYA)"
    for name in ("gp_id", "BTERM", "nothing"):
        with pytest.raises(AttributeError):
            getattr(elset, name)


# ---- values ----


@pytest.mark.parametrize(
    "number", ["5", "00005", "000000005", "100000", "339999", "340000", "799501299"]
)
@pytest.mark.parametrize("name", NAMES)
def test_catalog_numbers_have_one_to_nine_digits(name, number):
    assert one(omm.documents({"NORAD_CAT_ID": number})[name]).norad_cat_id == int(number)


def test_a_catalog_number_of_alpha_5_is_decoded():
    assert one(omm.kvn(NORAD_CAT_ID="T0288")).norad_cat_id == 270288


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29T00:00:00", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T23:59:59Z", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2024-060T01:02:03.5", datetime(2024, 2, 29, 1, 2, 3, 500000, tzinfo=UTC)),
        ("2024-02-29T01:02:03.123456000Z", datetime(2024, 2, 29, 1, 2, 3, 123456, tzinfo=UTC)),
        ("2024-02-29T01:02:03.000001", datetime(2024, 2, 29, 1, 2, 3, 1, tzinfo=UTC)),
        ("1958-02-01T03:48:00.1", datetime(1958, 2, 1, 3, 48, 0, 100000, tzinfo=UTC)),
        ("2023-365T00:00:00.000000", datetime(2023, 12, 31, tzinfo=UTC)),
    ],
)
def test_epochs_are_read_exactly(text, moment):
    assert one(omm.kvn(EPOCH=text)).epoch == moment


@pytest.mark.parametrize(
    "text",
    ["2023-02-29T00:00:00", "2023-366T00:00:00", "2023-000T00:00:00", "2024-01-01", "now",
     "2024-01-01T24:00:00", "2024-01-01T00:00:60", "2024-01-01T00:00:00.0000000000",
     "2024-01-01T00:00:00+01:00", "2024-01-01T00:00:00.", "0000-01-01T00:00:00"],
)  # fmt: skip
def test_an_epoch_that_is_no_moment_is_refused(text):
    assert rejects(omm.kvn(EPOCH=text)) == [("omm-epoch", "EPOCH")]


def test_an_epoch_finer_than_a_microsecond_is_refused_by_its_own_rule():
    for fraction in ("1234567", "123456001", "0000001"):
        data = omm.kvn(EPOCH=f"2024-01-01T00:00:00.{fraction}")
        assert rejects(data) == [("omm-epoch-precision", "EPOCH")]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("omm-missing", {"EPOCH": None}), ("omm-missing", {"MEAN_MOTION": None}),
        ("omm-missing", {"NORAD_CAT_ID": None}), ("omm-missing", {"BSTAR": None}),
        ("omm-missing", {"MEAN_MOTION_DDOT": None}), ("omm-missing", {"MEAN_ANOMALY": ""}),
        ("omm-number", {"MEAN_MOTION": "fast"}), ("omm-number", {"ECCENTRICITY": "NaN"}),
        ("omm-number", {"BSTAR": "1E400"}), ("omm-number", {"INCLINATION": "1" * 41}),
        ("omm-number", {"ELEMENT_SET_NO": "-1"}), ("omm-number", {"REV_AT_EPOCH": "1.5"}),
        ("omm-number", {"MEAN_ANOMALY": "1\u0661"}),
        ("omm-range", {"INCLINATION": "180.0001"}), ("omm-range", {"INCLINATION": "-0.1"}),
        ("omm-range", {"ECCENTRICITY": "1"}), ("omm-range", {"ECCENTRICITY": "-0.1"}),
        ("omm-range", {"MEAN_ANOMALY": "360.1"}), ("omm-range", {"MEAN_MOTION": "-1"}),
        ("omm-catalog-number", {"NORAD_CAT_ID": "1234567890"}),
        ("omm-catalog-number", {"NORAD_CAT_ID": "I0000"}),
        ("omm-catalog-number", {"NORAD_CAT_ID": "5.0"}),
        ("omm-model", {"TIME_SYSTEM": "GPS"}), ("omm-model", {"REF_FRAME": "EME2000"}),
        ("omm-model", {"CENTER_NAME": "MARS"}), ("omm-model", {"MEAN_ELEMENT_THEORY": "DSST"}),
        ("omm-unit", {"MEAN_MOTION": "15.7 [rad/s]"}), ("omm-unit", {"INCLINATION": "1 [rad]"}),
    ],
)  # fmt: skip
def test_a_message_that_breaks_a_rule_is_refused_and_the_others_are_read(rule, changes):
    (name,) = changes
    data = omm.kvn() + omm.kvn(**changes) + omm.kvn(NORAD_CAT_ID="7")
    sets, (rejected,) = split(parse(data))
    assert [found.norad_cat_id for found in sets] == [25544, 7]
    assert (rejected.rule, rejected.field) == (rule, name)
    assert rejected.raw == omm.kvn(**changes)
    assert rejected.offset == len(omm.kvn()) and rejected.line == omm.kvn().count(b"\n") + 1
    assert name in rejected.reason


def test_a_unit_attribute_that_is_not_the_fields_is_refused():
    data = omm.xml().replace(b"<MEAN_MOTION>", b'<MEAN_MOTION units="rad/s">')
    assert rejects(data) == [("omm-unit", "MEAN_MOTION")]


TWICE = {
    "kvn": omm.kvn() + b"BSTAR = 0\n",
    "xml": omm.xml().replace(b"</tleParameters>", b"<BSTAR>0</BSTAR></tleParameters>"),
    "json": omm.json_object()[:-1] + b',"BSTAR":0}',
    "csv": omm.csv_header((*omm.FIELDS, "BSTAR")) + omm.csv_row((*omm.FIELDS, "BSTAR")),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_there_twice_is_refused(name):
    assert rejects(TWICE[name]) == [("omm-duplicate", "BSTAR")]


# ---- damage ----

DAMAGED = {
    "kvn line": (omm.kvn().replace(b"BSTAR =", b"BSTAR"), "omm-record"),
    "kvn text in front": (b"hello\n" + omm.kvn(), "omm-text"),
    "xml tag": (omm.xml().replace(b"</BSTAR>", b"</BSTER>"), "omm-record"),
    "xml entity": (omm.xml(OBJECT_NAME="&lol;"), "omm-record"),
    "xml text between": (b"<ndm>hello" + omm.xml() + b"</ndm>", "omm-text"),
    "json bare word": (omm.json_object(BSTAR="NaN"), "omm-record"),
    "json nested": (omm.json_object()[:-1] + b',"x":[1]}', "omm-record"),
    "json true": (omm.json_object()[:-1] + b',"x":true}', "omm-record"),
    "json control": (omm.json_object(OBJECT_NAME="A\\u0001"), "omm-record"),
    "json surrogate": (omm.json_object(OBJECT_NAME="\\ud800"), "omm-record"),
    "csv cells": (omm.csv_header() + b"1,2,3\n", "omm-record"),
    "csv quote": (omm.csv_header() + omm.csv_row(OBJECT_NAME='"ISS'), "omm-record"),
    "csv without header": (omm.csv_row(), "omm-text"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_not_well_formed_is_refused(what):
    data, rule = DAMAGED[what]
    assert rule in [found for found, _ in rejects(data, what.split()[0])]


def test_entities_are_never_expanded_whatever_the_input_declares():
    bombs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    head = f'<?xml version="1.0"?><!DOCTYPE ndm [<!ENTITY e0 "ha">{bombs}]><ndm>'.encode()
    data = head + omm.xml(OBJECT_NAME="&e11;") + omm.xml(NORAD_CAT_ID="7") + b"</ndm>"
    sets, rejected = split(parse(data))
    assert [item.rule for item in rejected] == ["omm-doctype", "omm-record"]
    assert [found.norad_cat_id for found in sets] == [7]
    inside = omm.xml().replace(
        b"<omm", b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><omm'
    )
    assert rejects(inside) == [("omm-doctype", "")]


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_message_costs_no_other(name):
    numbers = [{"NORAD_CAT_ID": str(number)} for number in (1, 2, 3)]
    data = omm.documents(*numbers)[name]
    names = {
        "kvn": b"OBJECT_ID = ",
        "xml": b"</meanElements>",
        "json": b'"OBJECT_ID"',
        "csv": b",U,",
    }
    at = [i for i in range(len(data)) if data.startswith(names[name], i)][1]
    damaged = data[:at] + data[at + len(names[name]) - 1 :]
    sets, rejected = split(parse(damaged))
    assert [found.norad_cat_id for found in sets] == [1, 3] and rejected
    broken = data[:at] + b"\x00\xff" + data[at + 1 :]
    sets, rejected = split(parse(broken))
    assert [found.norad_cat_id for found in sets] == [1, 3] and rejected


@pytest.mark.parametrize("name", NAMES)
def test_half_a_message_at_the_end_of_a_cut_input_is_never_a_set(name):
    data = omm.documents({}, {"NORAD_CAT_ID": "7", "MEAN_MOTION_DDOT": "0.00012345"})[name]
    whole = {found.fields["MEAN_MOTION_DDOT"] for found in parse(data)}
    for size in range(len(data)):
        sets, rejected = split(parse(data[:size], name))
        assert {found.fields["MEAN_MOTION_DDOT"] for found in sets} <= whole
        assert len(sets) < 2 or data[size:].strip(b"\r\n <>/ndm]") == b""
        for item in rejected:
            assert item.raw == data[item.offset : item.offset + len(item.raw)]


@pytest.mark.parametrize("name", ["xml", "json"])
def test_an_input_that_ends_before_it_is_closed_is_known_to_be_cut(name):
    data = omm.documents({})[name].rstrip()
    for size, cut in (
        (len(data), False),
        (len(data) - len({"xml": "</ndm>", "json": "]"}[name]), True),
    ):
        scanner = OmmScanner(Format[name.upper()])
        assert sum(batch.count for batch in scanner.batches([data[:size] + b"\n"])) == 1
        assert scanner.cut == cut


def test_two_quotes_that_are_missing_cost_two_objects_and_none_between_them():
    parts = [omm.json_object(NORAD_CAT_ID=str(number)) for number in range(1, 6)]
    for at in (1, 3):
        parts[at] = parts[at].replace(b'"U"', b'"U')
    sets, rejected = split(parse(b"[" + b",".join(parts) + b"]"))
    assert [found.norad_cat_id for found in sets] == [1, 3, 5]
    assert [item.rule for item in rejected] == ["omm-record"] * 2


def test_the_reader_of_one_message_takes_no_declarations_either():
    with pytest.raises(Refused) as caught:
        xml.read(b'<!DOCTYPE omm [<!ENTITY a "b">]>' + omm.xml(OBJECT_NAME="&a;"))
    assert caught.value.rule == "omm-doctype"


# ---- streams ----


@pytest.mark.parametrize("name", NAMES)
def test_where_chunks_are_cut_makes_no_difference(name):
    junk = b"junk {<x>\n" if name != "csv" else b"junk\n"
    parts = omm.documents({}, {"BSTAR": "x"}, {"NORAD_CAT_ID": "9"})[name]
    data = (
        parts + junk + parts + b"x" * 200_000 + b"\n" + omm.documents({"NORAD_CAT_ID": "3"})[name]
    )
    wanted = list(parse(data, name))
    assert sum(isinstance(item, ElementSet) for item in wanted) >= 3
    for size in (1013, 65_536, 70_001, 300_000):
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        assert list(parse(chunks, name)) == wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_of_an_input_is_in_a_set_a_reject_or_between_them(name):
    data = omm.documents(
        *[{"NORAD_CAT_ID": str(n), "BSTAR": "xx"[n % 3 :] + "1"} for n in range(1, 60)]
    )[name]
    scanner = OmmScanner(Format[name.upper()], batch_sets=7)
    batches = list(scanner.batches([data]))
    assert max(batch.count + len(batch.rejected) for batch in batches) == 7
    assert scanner.offset == len(data)
    assert (scanner.set_count, scanner.reject_count) == (20, 39)


@pytest.mark.parametrize("name", NAMES)
def test_a_scanner_goes_on_where_another_one_stopped(name):
    data = omm.documents(*[{"NORAD_CAT_ID": str(n)} for n in range(1, 30)])[name]
    wanted = [found.key for found in parse(data)]
    first = OmmScanner(Format[name.upper()], batch_sets=4)
    batches = first.batches([data])
    keys = next(batches).keys(0) + next(batches).keys(0)
    second = OmmScanner(Format[name.upper()], batch_sets=5)
    second.restore(first.state())
    keys += [key for batch in second.batches([data[second.offset :]]) for key in batch.keys(0)]
    assert keys == wanted and not second.cut
    assert (second.offset, second.set_count) == (len(data), 29)


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_bounded_on_a_huge_input(name):
    unit = omm.documents(*[{"NORAD_CAT_ID": str(n)} for n in range(1, 40)])
    body = {
        "json": b"," + unit["json"][1:-1],
        "xml": unit["xml"].split(b"<ndm>")[1].split(b"</ndm>")[0],
    }
    head = {"json": b"[" + unit["json"][1:-1], "xml": b"<ndm>", "csv": omm.csv_header(), "kvn": b""}
    part = body.get(name, unit[name].removeprefix(omm.csv_header()))
    tracemalloc.start()
    count = sum(1 for _ in parse((head[name] if i == 0 else part for i in range(60)), name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count >= 59 * 39
    assert peak < 12_000_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "junk", [b'{"', b"<omm ", b'"', b"<!--", b"<!DOCTYPE [", b"<ndm '", b"{[", b"CCSDS_OMM_VERS = ", b"\n ", b",", b'\\"']
)  # fmt: skip
def test_a_long_run_of_junk_takes_no_long_time(name, junk):
    data = junk * (400_000 // len(junk))
    started = time.process_time()
    sets, rejected = split(parse(data, name))
    assert not sets and time.process_time() - started < 10
    assert all(len(item.raw) <= 65_536 for item in rejected)


_pieces = st.sampled_from([
    omm.kvn(), omm.xml(), omm.json_object(), omm.json_strings(), omm.csv_header(), omm.csv_row(),
    b"<ndm>", b"</ndm>", b"[", b"]", b",", b"{", b"}", b'"', b"<", b">", b"<omm>", b"</omm>", b"\n",
    b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&lt;", b"=", b"\\", b"\x00", b"\xff", b"COMMENT", ISS,
])  # fmt: skip


@st.composite
def _damaged(draw):
    data = bytearray(
        b"".join(draw(st.lists(st.one_of(_pieces, st.binary(max_size=20)), max_size=6)))
    )
    for _ in range(draw(st.integers(0, 4))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=3))
    return bytes(data)


@given(_damaged(), st.sampled_from((None, *NAMES)), st.integers(1, 400))
@settings(max_examples=400, deadline=None)
def test_any_input_is_read_to_its_end_with_nothing_dropped(data, name, size):
    found = list(parse(data, name))
    assert found == list(parse([data[at : at + size] for at in range(0, len(data), size)], name))
    rest = data
    for item in reversed([item for item in found if not isinstance(item, ElementSet)]):
        assert data[item.offset : item.offset + len(item.raw)] == item.raw
        rest = rest[: item.offset] + b"\n" + rest[item.offset + len(item.raw) :]
    for item in found:
        if isinstance(item, ElementSet):
            assert one(item.text, item.format).key == item.key
            record = item.text
            if item.format is Format.CSV:
                record = item.text.split(b"\n", 1)[1]
            assert record in rest
            rest = rest.replace(record, b"", 1)
    form = recognised(data[:4096]) if name is None else Format[name.upper()]
    assert not re.sub(STRUCTURE[form], b"", rest.removeprefix(b"\xef\xbb\xbf")), (form, rest)


STRUCTURE = {
    Format.TLE: rb"[\s\\]",
    Format.KVN: rb"\s",
    Format.JSON: rb"[\s,\[\]]",
    Format.CSV: rb".*NORAD_CAT_ID.*\n|\s",
    Format.XML: rb"(?s)<!--.*?-->|<\?.*?\?>|</?ndm(?:\s[^<>]*)?>|\s",
}


@given(st.sampled_from(NAMES), st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_file_of_each_form_balances_and_stores_what_parses(tmp_path, name, draw):
    """Whole files as they are served, with bytes changed, cut out, put in and doubled anywhere."""
    changes = [{"NORAD_CAT_ID": str(number)} for number in (5, 11, 25544)]
    data = bytearray(omm.documents(*changes)[name])
    for _ in range(draw.draw(st.integers(0, 5))):
        at = draw.draw(st.integers(0, len(data)))
        size = draw.draw(st.sampled_from((0, 1, 2, 40, 700)))
        put = draw.draw(
            st.one_of(st.binary(max_size=4), st.just(bytes(data[at : at + 400])), _pieces)
        )
        data[at : at + size] = put
    (tmp_path / "any").write_bytes(data)
    (tmp_path / "rejects").unlink(missing_ok=True)
    db = FakeDB()
    report = ingest(
        db, [tmp_path / "any"], format=name, batch_sets=2, quarantine=tmp_path / "rejects"
    )
    assert report.read == report.stored + report.already_there + report.quarantined
    sets, rejected = split(parse(bytes(data), name))
    assert (report.stored + report.already_there, report.quarantined) == (len(sets), len(rejected))
    assert {elset.key for elset in sets} == {elset.key for elset in Registry(db).elements()}
    again = ingest(db, [tmp_path / "any"], format=name, again=True, quarantine=tmp_path / "rejects")
    assert (again.stored, again.already_there) == (0, len(sets))
