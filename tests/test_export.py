"""Catalogues out: files of every format, satellites, tables; and conversion without a store."""

import gzip
import io
import json
import math
import random
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support import omm, stores
from support.tle import SHARED, numbered, split, text_of

from oor.cli.app import app
from oor.errors import LimitError
from oor.registry import ElementSet, Registry, ingest, parse, satellites
from oor.registry.synthetic import SyntheticCatalogue
from oor.registry.write import FORMATS, written

ENGINE = pytest.mark.skipif("engine" not in stores.KINDS, reason="the engine is not there")
TEXT = b"".join(SyntheticCatalogue(objects=40, issues=2).chunks())
MODERN = omm.json_object(BTERM="0.1", BSTAR=None, NORAD_CAT_ID="799501299", EPHEMERIS_TYPE="4")


def sets_of(data, format=None):
    sets, rejected = split(parse(data, format))
    assert not rejected
    return sets


def values(elset):
    return {name: getattr(elset, name.lower()) for name in omm.FIELDS}


# ---- files ----


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_every_format_reads_back_as_its_sets(form):
    sets = sets_of(TEXT)
    refused = []
    data = b"".join(written(sets, form, refused.append))
    back = sets_of(data)
    names = [name for name in omm.FIELDS if form != "2le" or name != "OBJECT_NAME"]
    assert not refused and len(back) == len(sets)
    for one, two in zip(sets, back, strict=True):
        assert {n: values(two)[n] for n in names} == {n: values(one)[n] for n in names}
    if form in ("json", "ndjson"):
        lines = data.splitlines() if form == "ndjson" else [data]
        assert all(json.loads(line) for line in lines)
    if form == "original":
        assert data == TEXT


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_no_sets_is_one_that_reads_as_none(form):
    assert sets_of(b"".join(written([], form, print)), None) == []


def test_what_a_format_cannot_hold_is_named_and_the_rest_is_written():
    sets = [*sets_of(TEXT)[:2], *sets_of(MODERN)]
    for form in ("tle", "csv"):
        refused = []
        back = sets_of(b"".join(written(sets, form, refused.append)))
        assert len(back) == 2
        assert [one.elset.norad_cat_id for one in refused] == [799501299]
        assert "BTERM" in refused[0].reason
    with pytest.raises(LimitError, match="ndjson"):
        next(written(sets, "yaml", print))


# ---- conversion ----


def run(*arguments, data=None):
    return CliRunner().invoke(app, arguments, input=data, standalone_mode=False)


@pytest.mark.parametrize("name", ["kvn", "xml", "json", "csv"])
def test_convert_reads_standard_input_and_writes_standard_output(name):
    result = run("convert", "--to", name, data=gzip.compress(TEXT))
    assert result.return_value == 0
    assert len(sets_of(result.stdout_bytes, name)) == 80
    back = run("convert", "--from", name, "--to", "2le", "-", data=result.stdout_bytes)
    assert values(sets_of(back.stdout_bytes)[7])["BSTAR"] == sets_of(TEXT)[7].bstar


def test_convert_tells_rejects_apart_and_says_so_in_its_exit_code(tmp_path):
    bad = omm.kvn() + omm.kvn(EPOCH="never") + omm.kvn(NORAD_CAT_ID="7")
    result = run("convert", "--to", "tle", data=bad)
    assert result.return_value == 1 and len(sets_of(result.stdout_bytes)) == 2
    assert "omm-epoch" in result.stderr and "1 reject" in result.stderr
    path = tmp_path / "rejects.jsonl"
    result = run("convert", "--to", "tle", "--rejects", str(path), "--strict", data=bad)
    assert result.return_value == 1 and len(sets_of(result.stdout_bytes)) == 1
    assert json.loads(path.read_text())["field"] == "EPOCH"
    assert run("convert", "--to", "json", str(tmp_path / "absent")).return_value == 2


def test_convert_names_what_a_tle_cannot_hold():
    result = run("convert", "--to", "tle", data=b"[" + omm.json_object() + b"," + MODERN + b"]")
    assert result.return_value == 1 and len(sets_of(result.stdout_bytes)) == 1
    assert "799501299" in result.stderr and "BTERM" in result.stderr
    fields = json.loads(run("convert", "--json", data=omm.kvn()).stdout)
    assert fields["norad_cat_id"] == 25544 and fields["format"] == "kvn"
    exact = omm.kvn(MEAN_MOTION="15.123456789")
    assert run("convert", "--to", "tle", data=exact).return_value == 1
    assert run("convert", "--to", "tle", "--rounded", data=exact).return_value == 0


# ---- export ----


@pytest.fixture
def store(tmp_path):
    (tmp_path / "a.tle").write_bytes(TEXT)
    (tmp_path / "b.json").write_bytes(b"[" + omm.json_object() + b"," + MODERN + b"]")
    path = str(tmp_path / "db")
    assert run("ingest", path, str(tmp_path / "a.tle"), "--source", "a").return_value == 0
    assert run("ingest", path, str(tmp_path / "b.json"), "--source", "b").return_value == 0
    return path


@ENGINE
def test_export_writes_the_newest_set_of_every_object(store, tmp_path):
    assert len(sets_of(run("export", store, "--format", "json").stdout_bytes)) == 42
    result = run("export", store, "--format", "3le")
    assert result.return_value == 1 and len(sets_of(result.stdout_bytes)) == 41
    assert len(sets_of(run("export", store, "--format", "kvn", "--all").stdout_bytes)) == 82
    one = run("export", store, "--object", "25544", "--object", "99998", "--format", "csv")
    assert [elset.norad_cat_id for elset in sets_of(one.stdout_bytes)] == [25544]
    lines = run("export", store, "--json", "--all").stdout.splitlines()
    assert {json.loads(line)["source"] for line in lines} == {"a", "b"}
    early = run("export", store, "--at", "2026-01-01T23:59:59", "--format", "xml", "--whole")
    assert {elset.epoch.day for elset in sets_of(early.stdout_bytes)} == {1, 20}
    out = tmp_path / "out.tle"
    assert run("export", store, "--prefer", "a", "--object", "5", "-o", str(out)).return_value == 0
    assert out.read_bytes() in TEXT


@ENGINE
def test_ingest_says_what_it_skips_and_stops_when_it_is_strict(store, tmp_path):
    again = run("ingest", store, str(tmp_path / "a.tle"), "--source", "a")
    assert "skipped" in again.stdout and "delivery 1" in again.stdout
    bad = tmp_path / "bad.kvn"
    bad.write_bytes(omm.kvn(EPOCH="never"))
    result = run("ingest", store, str(bad), "--strict", "--format", "kvn")
    assert "EPOCH" in str(result.exception)


# ---- tables ----


def test_tables_have_types_units_and_every_digit(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    from oor.registry import arrow

    sets = [*sets_of(TEXT), *sets_of(MODERN)]
    table = arrow.table(iter(sets))
    assert table.schema.equals(arrow.schema(), check_metadata=True)
    assert table.schema.field("inclination").metadata == {b"unit": b"deg"}
    assert table.schema.field("epoch").type == pa.timestamp("us", "UTC")
    for row, elset in zip(table.to_pylist(), sets, strict=True):
        for name, value in row.items():
            wanted = getattr(elset, name)
            assert value == (float(wanted) if isinstance(value, float) else wanted), name
    path = tmp_path / "x.parquet"
    assert arrow.to_parquet(iter(sets), path) == len(sets)
    assert parquet.read_table(path).equals(table)
    assert arrow.to_file(iter(sets), tmp_path / "x.arrow") == len(sets)
    assert pa.ipc.open_file(tmp_path / "x.arrow").read_all().equals(table)
    assert arrow.reader(iter(sets)).read_all().equals(table)
    assert [batch.num_rows for batch in arrow.batches(iter(sets[:10]), 4)] == [4, 4, 2]
    assert arrow.table([]).num_rows == 0


def test_data_frames_hold_the_table():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from oor.registry import arrow

    sets = sets_of(TEXT)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = arrow.to_pandas(sets)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["norad_cat_id"]) == [elset.norad_cat_id for elset in sets]
    assert frame["epoch"][0].to_pydatetime() == sets[0].epoch
    polars = pytest.importorskip("polars", reason="polars is not installed")
    assert isinstance(arrow.to_polars(sets), polars.DataFrame)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "sgp4", None)
    from oor.registry import arrow

    for call in (arrow.schema, lambda: satellites.satrec(sets_of(TEXT)[0])):
        with pytest.raises(ImportError, match=r"oor\[(arrow|sgp4)\]"):
            call()


def test_importing_the_registry_loads_no_extra():
    code = "import sys, oor.registry; print({'pyarrow', 'sgp4', 'numpy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert out.stdout.split(b"\n")[-2] == b"set()"


# ---- satellites ----


def states(satellite, minutes=(0.0, 90.0, 1440.0)):
    return [satellite.sgp4_tsince(minute) for minute in minutes]


def test_satellites_are_those_of_the_original_lines_bit_for_bit():
    api = pytest.importorskip("sgp4.api", reason="sgp4 is not installed")
    sets = sets_of(TEXT)
    for elset in sets:
        theirs = api.Satrec.twoline2rv(elset.line1, elset.line2)
        for name in ("tle", "kvn", "csv"):
            back = elset if name == "tle" else sets_of(elset.to_omm(name).encode())[0]
            assert states(satellites.satrec(back)) == states(theirs)
    array = satellites.satrec_array(sets)
    assert len(array) == len(sets)
    with pytest.raises(LimitError, match="wgs72"):
        satellites.satrec(sets[0], gravity="mars")


def test_a_set_that_no_tle_holds_is_propagated_by_its_numbers_with_its_exact_epoch():
    pytest.importorskip("sgp4.api", reason="sgp4 is not installed")
    near = sets_of(omm.kvn(NORAD_CAT_ID="799501299", EPOCH="2008-09-20T12:25:40.104193"))[0]
    ours, theirs = satellites.satrec(near), satellites.satrec(sets_of(omm.kvn())[0])
    assert round((ours.jdsatepochF - theirs.jdsatepochF) * 86400e6) == 1
    for (_, position, _), (_, other, _) in zip(states(ours), states(theirs), strict=True):
        assert math.dist(position, other) < 1e-6
    assert ours.satnum == 0
    with pytest.raises(LimitError, match="SGP4-XP"):
        satellites.satrec(sets_of(MODERN)[0])


def fields_that_differ(elset, other):
    """Names of the fields in which sgp4 reads something else."""
    turn = 1440.0 / (2.0 * math.pi)
    degree = math.pi / 180.0
    part = (other.jdsatepoch - 2440587.5) * 86_400_000_000 + other.jdsatepochF * 86_400_000_000
    pairs = {
        "norad_cat_id": (elset.norad_cat_id, other.satnum),
        "epoch": (elset.epoch_us // 864, round(part / 864)),
        "eccentricity": (float(elset.eccentricity), other.ecco),
        "inclination": (float(elset.inclination) * degree, other.inclo),
        "ra_of_asc_node": (float(elset.ra_of_asc_node) * degree, other.nodeo),
        "arg_of_pericenter": (float(elset.arg_of_pericenter) * degree, other.argpo),
        "mean_anomaly": (float(elset.mean_anomaly) * degree, other.mo),
        "mean_motion": (float(elset.mean_motion) / turn, other.no_kozai),
        "bstar": (float(elset.bstar), other.bstar),
        "mean_motion_dot": (float(elset.mean_motion_dot) / (turn * 1440.0), other.ndot),
        "mean_motion_ddot": (float(elset.mean_motion_ddot) / (turn * 1440.0**2), other.nddot),
        "element_set_no": (elset.element_set_no, other.elnum),
        "rev_at_epoch": (elset.rev_at_epoch or 0, other.revnum),
        "classification_type": (elset.classification_type, other.classification),
    }
    return [n for n, (a, b) in pairs.items() if a != b and not _close(a, b)]


def _close(a, b):
    return isinstance(a, float) and math.isclose(a, b, rel_tol=1e-15, abs_tol=1e-300)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real catalogues are not on this machine")
def test_sgp4_reads_every_field_of_every_real_set_alike():
    api = pytest.importorskip("sgp4.api", reason="sgp4 is not installed")
    import lzma

    checked = 0
    draw = random.Random(7)
    for path in sorted(SHARED.glob("*.xz")):
        for elset in split(parse(lzma.decompress(path.read_bytes())))[0]:
            other = api.Satrec.twoline2rv(elset.line1, elset.line2)
            assert fields_that_differ(elset, other) == [], elset.lines
            checked += 1
            if draw.random() < 0.004:
                assert states(satellites.satrec(elset)) == states(other)
                back = next(parse(io.BytesIO(elset.to_omm("xml").encode())))
                assert isinstance(back, ElementSet)
                assert states(satellites.satrec(back)) == states(other)
    assert checked == 286_276


@ENGINE
def test_what_is_stored_propagates_as_the_original_lines_do(tmp_path, store):
    api = pytest.importorskip("sgp4.api", reason="sgp4 is not installed")
    import oor

    text = text_of("X", *numbered("00009"))
    (tmp_path / "x.csv").write_bytes(sets_of(text)[0].to_omm("csv").encode())
    with oor.open(store) as db:
        ingest(db, [tmp_path / "x.csv"])
        back = Registry(db).latest(9)
        theirs = api.Satrec.twoline2rv(*numbered("00009"))
        assert back.format.word == "csv" and states(satellites.satrec(back)) == states(theirs)
