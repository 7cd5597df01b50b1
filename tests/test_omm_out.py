"""Element sets out: every form reads back as the same set, digit for digit, or is refused."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import omm
from support.tle import ISS_1, ISS_2, SHARED, edited, numbered, split, text_of

from oor.errors import LimitError
from oor.registry import ElementSet, alpha5, parse
from oor.registry.omm.model import epoch_text
from oor.registry.synthetic import SyntheticCatalogue

NAMES = ("kvn", "xml", "json", "csv")


def one(data, format=None):
    (found,) = parse(data, format)
    assert isinstance(found, ElementSet), found
    return found


def element_fields(elset):
    return {name: getattr(elset, name.lower()) for name in omm.FIELDS}


# ---- there and back ----

_angle = st.integers(0, 3_600_000).map(lambda n: f"{n // 10_000:3d}.{n % 10_000:04d}")
_mantissa = st.tuples(st.integers(10_000, 99_999), st.integers(-9, 9), st.booleans()).map(
    lambda x: f"{'-' if x[2] else ' '}{x[0]}{'-' if x[1] <= 0 else '+'}{abs(x[1])}"
)
_scaled = st.one_of(st.just(" 00000-0"), _mantissa)
_rate = st.tuples(st.integers(0, 99_999_999), st.booleans()).map(
    lambda x: f"{'-' if x[0] and x[1] else ' '}.{x[0]:08d}"
)
_whole = st.integers(0, 9999).map(lambda n: f"{n:4d}")
_name = st.one_of(
    st.none(),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=24),
    st.sampled_from(
        ["ISS (ZARYA)", 'A, B "C"', "<&>'", "0 1", "1 HOPE", "[x] {y} = z", "#;", "a  b"]
    ),
)
_days = st.tuples(st.integers(0, 99), st.integers(1, 365), st.integers(0, 99_999_999)).map(
    lambda x: f"{x[0]:02d}{x[1]:03d}.{x[2]:08d}"
)


@st.composite
def usual_tles(draw):
    """Text of a set in the layout that is written, with or without a name."""
    columns = alpha5.encode(draw(st.integers(0, alpha5.NUMBER_MAX)))
    designator = draw(st.sampled_from(["98067A  ", "57001ABC", "        ", "00001B  "]))
    one_ = (
        f"1 {columns}{draw(st.sampled_from('UCS'))} {designator} {draw(_days)} {draw(_rate)} "
        f"{draw(_scaled)} {draw(_scaled)} {draw(st.integers(0, 4))} {draw(_whole)}"
    )
    inclination = draw(st.integers(0, 1_800_000))
    two = (
        f"2 {columns} {inclination // 10_000:3d}.{inclination % 10_000:04d} {draw(_angle)} "
        f"{draw(st.integers(0, 9_999_999)):07d} {draw(_angle)} {draw(_angle)} "
        f"{draw(st.integers(0, 17)):2d}.{draw(st.integers(0, 99_999_999)):08d}"
        f"{draw(st.integers(0, 99_999)):5d}"
    )
    lines = [edited(one_ + "0", 69, "0"), edited(two + "0", 69, "0")]
    name = draw(_name)
    data = "".join(line + "\n" for line in lines)
    return f"0 {name}\n{data}" if name else data


@given(usual_tles())
@settings(max_examples=150, deadline=None)
def test_a_tle_goes_through_every_form_and_comes_back_as_its_text(text):
    tle = one(text.encode())
    shape = "3le" if tle.object_name else "2le"
    assert tle.to_tle(shape) == text
    for name in NAMES:
        message = one(tle.to_omm(name))
        assert message.format.word == name
        assert element_fields(message) == element_fields(tle)
        assert (message.norad_cat_id, message.epoch_us) == (tle.norad_cat_id, tle.epoch_us)
        assert message.to_tle(shape) == text
        for other in NAMES:
            again = one(message.to_omm(other))
            assert again.key == message.key and element_fields(again) == element_fields(tle)


_digits = (
    st.decimals(0, 1, allow_nan=False, places=20).filter(lambda d: d < 1).map(lambda d: f"{d:f}")
)


@given(
    _digits, _digits, st.integers(0, 999_999_999), st.integers(-(10**15), 4 * 10**15),
    st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).map(lambda n: f"X_{n}"),
                    st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=9)),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_what_no_tle_can_hold_goes_through_every_form_with_every_digit(
    eccentricity, bstar, number, epoch_us, others
):
    start = one(omm.kvn(
        ECCENTRICITY=eccentricity, BSTAR=bstar, NORAD_CAT_ID=str(number),
        EPOCH=epoch_text(epoch_us), MEAN_MOTION_DOT="-0.00002182",
    ))  # fmt: skip
    others = {name: " ".join(value.split()) for name, value in others.items() if value.split()}
    wanted = {**start.fields, **others}
    data = json.dumps({**start.fields, **others}).encode()
    assert one(data).fields == wanted
    for name in NAMES:
        back = one(one(data).to_omm(name))
        assert {n: back.fields.get(n) for n in wanted} == wanted
        assert back.eccentricity == Decimal(eccentricity) and back.bstar == Decimal(bstar)
        assert (back.norad_cat_id, back.epoch_us) == (number, epoch_us)


def test_the_synthetic_catalogue_goes_through_every_form():
    sets, _ = split(parse(SyntheticCatalogue(objects=60, issues=4).chunks()))
    for tle in sets:
        for name in NAMES:
            message = one(tle.to_omm(name))
            assert element_fields(message) == element_fields(tle)
            assert element_fields(one(message.to_tle())) == element_fields(tle)


@pytest.mark.parametrize("name", NAMES)
def test_comments_and_names_with_marks_of_every_format_survive(name):
    start = one(
        omm.json_strings(OBJECT_NAME='A, \\"B\\" <C> & [D] = E', COMMENT="one\\ntwo", GP_ID="a=b")
    )
    back = one(start.to_omm(name))
    assert back.object_name == 'A, "B" <C> & [D] = E'
    assert back.fields["GP_ID"] == "a=b"
    assert back.comment == ("one two" if name == "csv" else "one\ntwo")
    assert back.creation_date == "2008-09-20T14:00:00"


def test_json_is_json_with_exact_numbers():
    text = one(
        omm.kvn(MEAN_MOTION="+015.7212539100", BSTAR="-.5E-3", OBJECT_NAME="CAF\u00c9")
    ).to_omm("json")
    values = json.loads(text, parse_float=str)
    assert (values["MEAN_MOTION"], values["BSTAR"]) == ("15.7212539100", "-0.5E-3")
    assert (values["NORAD_CAT_ID"], values["OBJECT_NAME"]) == (25544, "CAF\u00c9")


def test_a_modern_message_says_so():
    elset = one(
        omm.json_object(
            BTERM="0.01", BSTAR=None, AGOM="0.1", MEAN_MOTION_DDOT=None, EPHEMERIS_TYPE="4"
        )
    )
    back = one(elset.to_omm("xml"))
    assert (back.ccsds_omm_vers, back.mean_element_theory, back.bterm) == (
        "3.0",
        "SGP4-XP",
        Decimal("0.01"),
    )


# ---- TLE ----


def test_lines_come_in_three_shapes():
    elset = one(text_of("0 ISS", ISS_1, ISS_2))
    lines = f"{ISS_1}\n{ISS_2}\n"
    assert elset.to_tle() == f"ISS\n{lines}"
    assert elset.to_tle("2le") == lines and elset.to_tle("3le") == f"0 ISS\n{lines}"
    with pytest.raises(LimitError, match="4le"):
        elset.to_tle("4le")


@pytest.mark.parametrize("name", ["1 25544U 98067A", "2 00005", "0 X", "1" * 60])
def test_a_name_that_looks_like_something_else_is_told_apart(name):
    elset = one(omm.kvn(OBJECT_NAME=name))
    assert one(elset.to_tle()).object_name == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("NORAD_CAT_ID", "340000"), ("NORAD_CAT_ID", "799501299"),
        ("EPOCH", "2024-01-01T00:00:00.000001"), ("EPOCH", "1956-12-31T00:00:00"),
        ("EPOCH", "2057-01-01T00:00:00"), ("MEAN_MOTION", "15.721253911"),
        ("MEAN_MOTION", "100"), ("ECCENTRICITY", "0.00067031"), ("INCLINATION", "51.64161"),
        ("RA_OF_ASC_NODE", "-1"), ("BSTAR", "0.123456"), ("BSTAR", "1E10"), ("BSTAR", "1.2345E-13"),
        ("MEAN_MOTION_DOT", "1"), ("MEAN_MOTION_DOT", "0.123456789"), ("ELEMENT_SET_NO", "10000"),
        ("REV_AT_EPOCH", "100000"), ("EPHEMERIS_TYPE", "10"), ("OBJECT_ID", "1998-067ABCD"),
        ("OBJECT_ID", "UNKNOWN-1"), ("OBJECT_NAME", "x" * 80), ("CLASSIFICATION_TYPE", "UU"),
    ],
)  # fmt: skip
def test_what_a_tle_cannot_hold_is_kept_and_refused_by_name(field, value):
    elset = one(omm.kvn(**{field: value}))
    assert elset.fields[field] == value
    words = {"NORAD_CAT_ID": "catalog number"}.get(field, field)
    with pytest.raises(LimitError, match=words):
        elset.to_tle()
    assert one(elset.to_omm("json")).fields[field] == value


def test_bterm_is_refused_and_a_stand_in_number_and_rounding_are_taken():
    with pytest.raises(LimitError, match="BTERM"):
        one(omm.kvn(BTERM="0.1")).to_tle()
    elset = one(omm.kvn(
        NORAD_CAT_ID="799501299", MEAN_MOTION="15.721253915", BSTAR="0.9999999", INCLINATION="51.64165",
        EPOCH="2024-12-31T23:59:59.999900", MEAN_MOTION_DDOT="1.26E-13",
    ))  # fmt: skip
    back = one(elset.to_tle(number=99999, rounded=True))
    assert back.norad_cat_id == 99999
    assert (back.mean_motion, back.inclination) == (Decimal("15.72125392"), Decimal("51.6416"))
    assert back.bstar == 1 and back.mean_motion_ddot == Decimal("1.3E-13")
    assert back.epoch.year == 2025 and back.epoch.microsecond == 0
    assert one(text_of(ISS_1, ISS_2)).to_tle(number=7).startswith("1 00007U")


def test_small_and_large_drag_terms_are_written_as_far_as_digits_go():
    for value, columns in {
        "1E-10": " 10000-9", "1.2E-11": " 01200-9", "-9.9999E-10": "-99999-9", "1E-14": " 00001-9",
        "99999E4": " 99999+9", "0.1": " 10000-0", "1": " 10000+1", "-0": " 00000-0",
    }.items():  # fmt: skip
        elset = one(omm.kvn(BSTAR=value))
        assert elset.line1[53:61] == columns
        assert one(elset.to_tle()).bstar == Decimal(value)


def test_alpha_5_is_written_where_it_is_needed():
    for number, columns in {
        5: "00005",
        99_999: "99999",
        100_000: "A0000",
        339_999: "Z9999",
    }.items():
        assert one(omm.kvn(NORAD_CAT_ID=str(number))).line2[2:7] == columns


def test_original_lines_come_back_as_they_were():
    plus, zeros = edited(ISS_1, 34, "+.00002182"), edited(ISS_2, 9, "051.6416")
    elset = one(text_of(plus, zeros))
    assert elset.to_tle() == f"{plus}\n{zeros}\n"
    assert one(elset.to_omm("xml")).line1[33] == " "


def test_omm_is_not_a_name_of_lines():
    with pytest.raises(LimitError, match="to_tle"):
        one(text_of(*numbered("00005"))).to_omm("tle")


def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[1] / "docs" / "registry.md").read_text(encoding="ascii")
    (tmp_path / "gp.json").write_bytes(omm.json_object())
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], scope)
    out = capsys.readouterr().out
    assert "0 ISS (ZARYA)" in out and "CCSDS_OMM_VERS" in out and len(scope["sets"]) == 1


# ---- with sgp4, where it is ----


def _states(satrec):
    return [satrec.sgp4_tsince(minutes) for minutes in (0.0, 720.0)]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real catalogues are not on this machine")
def test_real_sets_go_through_every_form_and_propagate_to_the_same_bits():
    api = pytest.importorskip("sgp4.api", reason="sgp4 is not installed")
    import lzma

    for path in sorted(SHARED.glob("*.xz")):
        sets, _ = split(parse(lzma.decompress(path.read_bytes())))
        for number, elset in enumerate(sets[::499]):
            name = NAMES[number % 4]
            back = one(elset.to_omm(name))
            assert element_fields(back) == element_fields(elset) | {
                "CLASSIFICATION_TYPE": elset.classification_type.strip() or None
            }
            ours = api.Satrec.twoline2rv(*back.to_tle("2le").splitlines())
            theirs = api.Satrec.twoline2rv(elset.line1, elset.line2)
            assert _states(ours) == _states(theirs)
