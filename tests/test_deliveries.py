"""Deliveries: whole or visibly not, resumed where they stopped, recognised when they come again."""

import gzip
import hashlib
import io
import json
import lzma
import sys
import zipfile
from types import SimpleNamespace

import pytest
from support import omm, stores
from support.fakedb import FakeDB
from support.tle import ISS_1, ISS_2, numbered, text_of

import oor
from oor.errors import LimitError
from oor.registry import Registry, StrictError, ingest, parse, quarantine, sources
from oor.registry.synthetic import SyntheticCatalogue

GOOD = text_of("ISS", ISS_1, ISS_2)
BAD = text_of("ISS", ISS_1[:68] + "0", ISS_2)
NAMES = ("tle", "kvn", "xml", "json", "csv")


def catalogue(name, count=30, bad=(), first=1):
    """An input of that format with sets of `count` objects, some of them damaged."""
    numbers = range(first, first + count)
    if name == "tle":
        texts = [text_of(f"OBJECT {n}", *numbered(f"{n:05d}")) for n in numbers]
        return b"".join(
            t[:-4] + b"x" + t[-3:] if i in bad else t for i, t in enumerate(texts, first)
        )
    changes = [{"NORAD_CAT_ID": str(n), "BSTAR": "x1" if n in bad else "1"} for n in numbers]
    return omm.documents(*changes)[name]


@pytest.fixture(params=stores.KINDS)
def db(request, tmp_path):
    with stores.opened(request.param, tmp_path) as store:
        yield store


@pytest.fixture
def put(tmp_path):
    def write(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return write


def rejects(report):
    with open(report.quarantine_path, "rb") as file:
        return list(quarantine.decode(file.read()))


def numbers(db):
    return sorted(elset.norad_cat_id for elset in Registry(db).elements())


# ---- what a delivery says ----


@pytest.mark.parametrize("name", NAMES)
def test_each_input_is_a_delivery_with_its_counts_and_content(db, put, name):
    data = catalogue(name, 20, bad={3, 4})
    path = put("input", data)
    report = ingest(db, [path], source="here", batch_sets=6)
    (one,) = Registry(db).deliveries()
    assert (one.id, one.source, one.file, one.format) == (1, "here", path, name)
    assert one.sha256 == hashlib.sha256(data).hexdigest()
    assert (one.read, one.stored, one.already_there, one.quarantined) == (20, 18, 0, 2)
    assert one.rules == report.rules and sum(one.rules.values()) == 2
    assert one.whole and one.failure is None and one.state is None and one.size == len(data)
    assert one.started <= one.finished
    file = report.files[0]
    assert (file.format, file.delivery_id, file.skipped, file.resumed_at) == (name, 1, False, None)
    assert {elset.norad_cat_id for elset in Registry(db).delivered(one)} == set(numbers(db))


def test_deliveries_are_listed_by_source_and_the_last_whole_one_is_known(db, put):
    registry = Registry(db)
    assert registry.deliveries() == [] and registry.last_whole() is None
    ingest(db, [put("a", catalogue("tle", 3)), put("b", catalogue("json", 3))], source="a")
    ingest(db, [put("c", catalogue("csv", 2, first=50))], source="b")
    ingest(db, [put("d.gz", gzip.compress(catalogue("tle", 9, first=70))[:-9])], source="b")
    assert [(one.id, one.source, one.whole) for one in registry.deliveries()] == [
        (1, "a", True), (2, "a", True), (3, "b", True), (4, "b", False),
    ]  # fmt: skip
    assert [one.id for one in registry.deliveries("b")] == [3, 4]
    assert (registry.last_whole().id, registry.last_whole("a").id) == (3, 2)
    assert "cannot read" in registry.deliveries()[-1].failure


def test_a_count_that_was_expected_and_is_not_met_makes_no_whole_delivery(db, put):
    path = put("input", catalogue("tle", 5))
    ingest(db, [path], expected=6)
    assert not ingest(db, [path], expected=5).skipped
    first, second = Registry(db).deliveries()
    assert not first.whole and first.failure == "6 were expected and 5 were read"
    assert second.whole and (second.stored, second.already_there) == (0, 5)


@pytest.mark.parametrize("name", ["xml", "json"])
def test_a_file_that_was_cut_between_messages_is_not_whole(db, put, name):
    data = catalogue(name, 3).rstrip()
    report = ingest(db, [put("input", data[: -len({"xml": "</ndm>", "json": "]"}[name])])])
    assert report.stored == 3 and "before all that it opened" in str(report.failures[0])
    assert not Registry(db).deliveries()[0].whole


def test_an_empty_input_is_a_whole_delivery_of_nothing(db, put):
    ingest(db, [put("input", b"")])
    (one,) = Registry(db).deliveries()
    assert one.whole and one.read == 0


# ---- again ----


@pytest.mark.parametrize("name", NAMES)
def test_the_same_content_is_recognised_under_any_name_and_skipped(db, put, name):
    data = catalogue(name, 9, bad={2})
    first = ingest(db, [put("one", data)], source="a")
    again = ingest(db, [put("two", data), put("one", data)], source="a")
    assert [file.skipped for file in again.files] == [True, True] and again.skipped == 2
    assert (again.read, again.stored, again.already_there, again.quarantined) == (18, 0, 16, 2)
    assert len(Registry(db).deliveries()) == 1 and len(rejects(first)) == 1
    other = ingest(db, [put("one", data)], source="b")
    assert (other.skipped, other.stored) == (0, 8)
    forced = ingest(db, [put("one", data)], source="a", again=True)
    assert (forced.skipped, forced.already_there) == (0, 8)


def test_rejects_are_quarantined_once_however_often_they_come(db, put):
    path = put("input", catalogue("tle", 9, bad={2, 5}))
    first = ingest(db, [path])
    ingest(db, [path], again=True)
    put("input", catalogue("tle", 10, bad={2, 5, 10}))
    last = ingest(db, [path])
    assert last.quarantined == 3 and last.rules["checksum"] + last.rules["column"] == 3
    assert len(rejects(first)) == 3


# ---- crashes ----


class Crash(Exception):
    pass


class Fragile(FakeDB):
    """Loses its process before the write that has that number."""

    fuse = -1

    def write_columns(self, *args, **options):
        if self.fuse == 0:
            raise Crash
        self.fuse -= 1
        return super().write_columns(*args, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_crash_leaves_an_open_delivery_that_is_resumed_where_it_stopped(
    tmp_path, put, name, pack
):
    bad = {3, 9, 17, 28}
    path = put("input", pack(catalogue(name, 30, bad=bad)))
    for writes in range(12):
        db = Fragile(tmp_path / f"{name}-{writes}")
        db.fuse = writes
        try:
            ingest(db, [path], source="s", batch_sets=4)
        except Crash:
            found = Registry(db).deliveries()
            assert [one.whole for one in found] == [False] * min(writes, 1)
            offset = found[0].size if found else None
            before = numbers(db)
            with Registry(db).snapshot(whole=True) as catalogue_:
                assert list(catalogue_.latest_all()) == []
            assert [e.norad_cat_id for e in Registry(db).latest_all()] == before[::-1]
        else:
            assert writes > 7
            break
        db.fuse = -1
        ingest(db, [put("other", catalogue("tle", 2, first=90))], source="s")
        report = ingest(db, [path], source="s", batch_sets=5)
        assert report.files[0].resumed_at == offset
        assert (report.read, report.stored, report.quarantined) == (30, 26, 4)
        assert sum(report.rules.values()) == 4
        delivery = [one for one in Registry(db).deliveries() if one.file == path][-1]
        assert delivery.whole and (delivery.stored, delivery.already_there) == (26, 0)
        assert numbers(db) == sorted({*range(1, 31), 90, 91} - bad)
        registry = Registry(db)
        assert list(registry.latest_all()) == list(registry.walk_latest())
        assert len(list(registry.delivered(delivery))) == 26
        assert len(rejects(report)) == 4
        assert [item.key for item in registry.latest_all()][::-1] == [
            e.key for e in registry.elements()
        ]


def test_a_delivery_under_way_is_seen_and_its_sets_are_not_in_the_whole_catalogue(db, put):
    ingest(db, [put("first", catalogue("tle", 4))])
    seen = []

    def look(_):
        registry = Registry(db)
        with registry.snapshot(whole=True) as whole, registry.snapshot() as all_:
            seen.append((len(whole.objects()), len(all_.objects()), registry.last_whole().id))
            assert whole.latest(12) is None
            assert all_.latest(11).norad_cat_id == registry.latest(11).norad_cat_id == 11
            assert [e.norad_cat_id for e in all_.by_name("object 11")] == [11]

    ingest(db, [put("second", catalogue("tle", 6, first=11))], batch_sets=2, progress=look)
    assert seen == [(4, 6, 1), (4, 8, 1), (4, 10, 1)]
    with Registry(db).snapshot(whole=True) as whole:
        assert len(whole.objects()) == 10 and whole.latest(12).norad_cat_id == 12


@pytest.mark.skipif("engine" not in stores.KINDS, reason="the engine is not there")
def test_what_a_delivery_left_in_the_middle_is_resumed_after_a_reopening(tmp_path, put):
    path = put("input", catalogue("json", 40))

    def stop(report):
        if report.read >= 20:
            raise Crash

    with oor.open(str(tmp_path / "db")) as db, pytest.raises(Crash):
        ingest(db, [path], batch_sets=5, progress=stop)
    with oor.open(str(tmp_path / "db")) as db:
        (one,) = Registry(db).deliveries()
        assert not one.whole and one.read == 20
        assert ingest(db, [path]).files[0].resumed_at == one.size
        assert numbers(db) == list(range(1, 41)) == Registry(db).objects()


# ---- strict ----


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_ingest_stops_at_the_first_reject_and_can_go_on_later(db, put, name):
    data = catalogue(name, 20, bad={8, 12})
    path = put("input", data)
    with pytest.raises(StrictError) as caught:
        ingest(db, [path], strict=True, batch_sets=5)
    wanted = next(item for item in parse(data) if hasattr(item, "raw"))
    assert caught.value.rejected == wanted and caught.value.offset == wanted.offset
    assert numbers(db) == list(range(1, 8))
    assert not Registry(db).deliveries()[0].whole
    report = ingest(db, [path], batch_sets=5)
    assert (report.read, report.quarantined) == (20, 2)
    assert report.stored + report.already_there == 18
    assert len(numbers(db)) == 18 and len(rejects(report)) == 2


# ---- inputs ----


def test_a_directory_is_all_files_below_it_in_order(db, put, tmp_path):
    put("drop/b.json", catalogue("json", 2, first=3))
    put("drop/a.tle", catalogue("tle", 2))
    put("drop/2024/c.csv.xz", lzma.compress(catalogue("csv", 2, first=5)))
    report = ingest(db, [tmp_path / "drop"])
    names = [file.path.removeprefix(str(tmp_path)) for file in report.files]
    assert names == ["/drop/a.tle", "/drop/b.json", "/drop/2024/c.csv.xz"]
    assert [file.format for file in report.files] == ["tle", "json", "csv"]
    assert numbers(db) == [1, 2, 3, 4, 5, 6]


def test_members_of_a_zip_are_inputs_of_their_own(db, tmp_path):
    path = tmp_path / "year.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.tle", catalogue("tle", 5, bad={2}))
        archive.writestr("two.kvn.gz", gzip.compress(catalogue("kvn", 5, first=11)))
        archive.mkdir("empty")
    report = ingest(db, [path])
    assert [file.path for file in report.files] == [f"{path}!a/one.tle", f"{path}!two.kvn.gz"]
    assert report.stored == 9 and ingest(db, [path]).skipped == 2
    shas = {one.sha256 for one in Registry(db).deliveries()}
    assert shas == {hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_damaged_zip_is_named_in_the_report(db, put, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.tle", GOOD * 400)
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    report = ingest(db, [put("crc.zip", bytes(data)), put("cut.zip", path.read_bytes()[:3000])])
    assert len(report.failures) == 2 and report.files[1].read == 0


def test_standard_input_is_a_delivery_that_knows_its_content_at_its_end(db, monkeypatch):
    data = catalogue("xml", 4)
    for skipped in (0, 0):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(gzip.compress(data))))
        assert ingest(db, ["-"]).skipped == skipped
    first, second = Registry(db).deliveries()
    assert first.sha256 == second.sha256 == hashlib.sha256(data).hexdigest()
    assert (first.stored, second.already_there) == (4, 4)


def test_a_file_that_changes_while_it_is_read_is_no_whole_delivery(db, put, monkeypatch):
    path = put("input", catalogue("tle", 9))

    def hashed(self):
        found = real(self)
        put("input", catalogue("tle", 10))
        return found

    real = sources.Input.sha256
    monkeypatch.setattr(sources.Input, "sha256", hashed)
    report = ingest(db, [path], batch_sets=4)
    assert "changed while it was read" in str(report.failures[0])
    assert not Registry(db).deliveries()[0].whole


def test_the_format_can_be_named(db, put):
    assert ingest(db, [put("input", GOOD)], format="json").quarantined > 0
    assert ingest(db, [put("input", GOOD)], format="3le", again=True).stored == 1
    with pytest.raises(LimitError):
        ingest(db, [put("input", GOOD)], format="yaml")


def test_quarantined_messages_say_which_field_is_at_fault(db, put):
    report = ingest(db, [put("input", catalogue("kvn", 3, bad={2}))])
    (entry,) = rejects(report)
    assert (entry["rule"], entry["field"]) == ("omm-number", "BSTAR")
    assert "BSTAR" in entry["reason"] and entry["raw"] in catalogue("kvn", 3, bad={2})


def test_an_ingest_of_many_formats_balances(db, put):
    paths = [
        put(f"{name}.in", catalogue(name, 9, bad={3}, first=i * 10)) for i, name in enumerate(NAMES)
    ]
    report = ingest(db, paths, batch_sets=4)
    assert report.read == report.stored + report.already_there + report.quarantined == 45
    text = b"".join(SyntheticCatalogue(objects=50, issues=2).chunks())
    assert ingest(db, [put("synthetic", text)]).stored == 100
    assert json.dumps([elset.to_dict() for elset in Registry(db).latest_all()])
