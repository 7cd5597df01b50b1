"""Ingest: each set once, each reject kept, the count balanced, whatever the inputs are."""

import gzip
import importlib
import io
import json
import lzma
import sys
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import stores
from support.fakedb import FakeDB
from support.tle import ISS_1, ISS_2, edited, numbered, split, text_of

from oor.errors import OorError, StorageError
from oor.registry import (
    ImbalanceError,
    InputError,
    Registry,
    ingest,
    keys,
    parse,
    quarantine,
    sources,
)
from oor.registry.synthetic import SyntheticCatalogue

GOOD = text_of("ISS", ISS_1, ISS_2)
BAD = text_of("ISS", ISS_1[:68] + "0", ISS_2)
ORPHAN = text_of(ISS_2)


@pytest.fixture(params=stores.KINDS)
def db(request, tmp_path):
    with stores.opened(request.param, tmp_path) as store:
        yield store


@pytest.fixture
def files(tmp_path):
    def write(*contents):
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"input-{number}.tle"
            path.write_bytes(content)
            paths.append(path)
        return paths

    return write


def entries(report):
    with open(report.quarantine_path, "rb") as file:
        return list(quarantine.decode(file.read()))


def stored_texts(db):
    return sorted(elset.text for elset in Registry(db).elements())


def assert_balanced(report):
    assert report.read == report.stored + report.already_there + report.quarantined
    for file in report.files:
        assert file.read == file.stored + file.already_there + file.quarantined
    assert sum(report.rules.values()) == report.quarantined


# ---- what is stored ----


def test_every_set_comes_back_byte_for_byte_with_its_source_and_lsn(db, files):
    catalogue = SyntheticCatalogue(objects=1200, issues=2)
    text = b"".join(catalogue.chunks())
    report = ingest(db, files(text), source="test", batch_sets=500)
    assert_balanced(report)
    assert (report.read, report.stored) == (catalogue.set_count, catalogue.set_count)
    assert report.size == len(text) and report.failures == []
    assert stored_texts(db) == sorted(elset.text for elset in parse(text))
    found = list(Registry(db).elements())
    assert {elset.source for elset in found} == {"test"}
    lsns = sorted(elset.lsn for elset in found)
    assert lsns[-1] == report.last_lsn
    assert len(set(lsns)) == len(lsns)
    in_order = [elset.key[5:13] + elset.key[1:5] for elset in sorted(found, key=lambda e: e.lsn)]
    assert in_order == [elset.key[5:13] + elset.key[1:5] for elset in parse(text)]


def test_ingesting_twice_adds_nothing(db, files):
    paths = files(b"".join(SyntheticCatalogue(objects=300, issues=2).chunks()))
    first = ingest(db, paths, source="a", batch_sets=64)
    before = [(elset.key, elset.lsn) for elset in Registry(db).elements()]
    second = ingest(db, paths, source="a", batch_sets=100)
    assert (second.stored, second.already_there) == (0, first.stored)
    assert second.last_lsn == 0
    assert [(elset.key, elset.lsn) for elset in Registry(db).elements()] == before


def test_the_same_set_twice_in_one_batch_is_stored_once(db, files):
    unnamed = text_of(ISS_1, ISS_2)
    report = ingest(db, files(GOOD + unnamed + GOOD, GOOD))
    assert [(file.stored, file.already_there) for file in report.files] == [(1, 2), (0, 1)]
    assert stored_texts(db) == [GOOD]


def test_a_batch_with_old_and_new_sets_stores_the_new_ones(db, files):
    sets = [text_of(*numbered(f"{number:05d}")) for number in range(1, 8)]
    ingest(db, files(b"".join(sets[::2])))
    report = ingest(db, files(b"".join(sets) + sets[1]))
    assert (report.stored, report.already_there) == (3, 5)
    assert stored_texts(db) == sorted(sets)


def test_another_set_for_the_same_epoch_is_kept_beside_the_first(db, files):
    revised = text_of("ISS", edited(ISS_1, 54, " 99999-4"), ISS_2)
    ingest(db, files(GOOD + revised))
    assert stored_texts(db) == sorted([GOOD, revised])


def test_each_source_keeps_its_own_copy(db, files):
    ingest(db, files(GOOD), source="a")
    report = ingest(db, files(GOOD), source="b")
    assert report.stored == 1
    assert [elset.source for elset in Registry(db).history(25544)] == ["a", "b"]


def test_a_batch_is_one_write_of_at_most_its_size(files):
    db = FakeDB()
    ingest(db, files(b"".join(text_of(*numbered(f"{n:05d}")) for n in range(10))), batch_sets=4)
    sets = [set(range(4)), set(range(4, 8)), {8, 9}]
    assert [numbers for numbers in db.batches if numbers] == sets


def test_progress_is_told_after_each_acknowledged_batch(db, files):
    seen = []
    paths = files(b"".join(text_of(*numbered(f"{n:05d}")) for n in range(10)))
    report = ingest(
        db,
        paths,
        batch_sets=4,
        progress=lambda so_far: seen.append((so_far.stored, so_far.last_lsn)),
    )
    assert [stored for stored, _ in seen] == [4, 8, 10]
    assert seen[0][1] < seen[1][1] < seen[2][1] == report.last_lsn
    assert report.last_lsn == max(elset.lsn for elset in Registry(db).elements())


# ---- what is quarantined ----


def test_rejects_go_to_the_quarantine_file_and_do_not_stop_the_run(db, files):
    junk = b"\x00\xff\x7f\n"
    paths = files(GOOD + BAD + junk, ORPHAN + text_of(*numbered("00007")))
    report = ingest(db, paths, source="test")
    assert_balanced(report)
    assert (report.read, report.stored, report.quarantined) == (5, 2, 3)
    assert report.quarantine_path == db.path + ".quarantine.jsonl"
    first, second, third = entries(report)
    assert first == {
        "file": str(paths[0]),
        "source": "test",
        "rule": "checksum",
        "reason": "line 5, column 69: the check digit is wrong",
        "line": 4,
        "fault_line": 5,
        "column": 69,
        "offset": len(GOOD),
        "size": len(BAD),
        "raw": BAD,
    }
    assert (second["rule"], second["raw"], second["offset"]) == ("text", junk, len(GOOD + BAD))
    assert (third["rule"], third["raw"], third["file"]) == ("line-1-missing", ORPHAN, str(paths[1]))
    assert report.rules == {"checksum": 1, "text": 1, "line-1-missing": 1}


def test_a_run_without_rejects_leaves_no_quarantine_file(db, files, tmp_path):
    ingest(db, files(GOOD))
    assert not list(tmp_path.glob("*.quarantine.jsonl"))


def test_the_quarantine_file_is_appended_to_and_a_cut_line_stays_apart(db, files, tmp_path):
    path = tmp_path / "rejects.jsonl"
    path.write_bytes(b'{"file": "cut')
    ingest(db, files(BAD), quarantine=path)
    report = ingest(db, files(ORPHAN), quarantine=path)
    assert path.read_bytes().startswith(b'{"file": "cut\n{"file"')
    assert [entry["rule"] for entry in entries(report)] == ["checksum", "line-1-missing"]


def test_what_was_quarantined_can_be_mended_and_ingested(db, files):
    report = ingest(db, files(GOOD[: -len(ISS_2) - 2] + ISS_2[:68].encode() + b"\r\n"))
    (entry,) = entries(report)
    mended = entry["raw"].rstrip() + ISS_2[68:].encode() + b"\r\n"
    assert ingest(db, files(mended)).stored == 1
    assert stored_texts(db) == [GOOD]


def test_a_quarantine_file_that_cannot_be_written_stops_the_run(db, files, tmp_path):
    with pytest.raises(StorageError):
        ingest(db, files(BAD), quarantine=tmp_path / "absent" / "rejects.jsonl")


PACKED = (b"\x1f\x8b", b"\xfd7zXZ\0", b"PK\x03\x04", b"PK\x05\x06", b"\x28\xb5\x2f\xfd")
"""What packed inputs begin with: gzip, xz, zip, zstd."""


@given(
    st.lists(
        st.one_of(st.sampled_from([GOOD, BAD, ORPHAN, b"\n", b"x\n", *PACKED]), st.binary()),
        max_size=8,
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_input_balances_and_every_byte_is_stored_or_quarantined_or_blank(tmp_path, parts):
    data = b"".join(parts)
    path, rejects = tmp_path / "any.tle", tmp_path / "any.jsonl"
    path.write_bytes(data)
    rejects.unlink(missing_ok=True)
    db = FakeDB()
    report = ingest(db, [path], batch_sets=2, quarantine=rejects)
    assert_balanced(report)
    if data.startswith(PACKED):
        assert report.failures
        return
    sets, _ = split(parse(data))
    assert {elset.key for elset in sets} == {elset.key for elset in Registry(db).elements()}
    rest = data
    for entry in reversed(entries(report) if rejects.exists() else []):
        start, end = entry["offset"], entry["offset"] + entry["size"]
        assert data[start:end] == entry["raw"]
        rest = rest[:start] + rest[end:]
    for elset in sets:
        assert elset.text in rest
        rest = rest.replace(elset.text, b"", 1)
    assert not rest.strip(b" \t\r\n\\").removeprefix(b"\xef\xbb\xbf")


@pytest.mark.parametrize("name", ["stored", "already_there", "quarantined"])
def test_counts_that_do_not_add_up_raise(files, monkeypatch, name):
    module = importlib.import_module("oor.registry.ingest")
    real = module.FileReport

    class Off(real):
        def __setattr__(self, field, value):
            super().__setattr__(field, value + 1 if field == name and value else value)

    monkeypatch.setattr(module, "FileReport", Off)
    with pytest.raises(ImbalanceError, match="stored"):
        ingest(FakeDB(files(b"")[0]), files(GOOD + GOOD + BAD))


# ---- inputs ----


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        lzma.compress,
        lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]) + bytes(512),
        lambda data: lzma.compress(data[:100]) + bytes(8) + lzma.compress(data[100:]),
    ],
)
def test_plain_gzip_and_xz_are_told_by_content(db, files, pack):
    data = b"".join(SyntheticCatalogue(objects=40, issues=1).chunks())
    (path,) = files(pack(data))
    for size in (1, 7, 4096, 1 << 20):
        pieces = list(sources.chunks(str(path), size))
        assert b"".join(pieces) == data and max(map(len, pieces)) <= size
    assert ingest(db, [path]).stored == 40


def test_standard_input_is_read_when_the_path_is_a_dash(db, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(gzip.compress(GOOD))))
    report = ingest(db, ["-"])
    assert report.stored == 1 and report.files[0].path == "-"


def test_an_empty_file_holds_nothing(db, files):
    report = ingest(db, files(b"", gzip.compress(b"")))
    assert (report.read, report.failures) == (0, [])


def test_a_large_file_is_read_in_bounded_chunks(files):
    (path,) = files(lzma.compress(bytes(64 << 20)))
    assert max(len(chunk) for chunk in sources.chunks(str(path), 1 << 20)) == 1 << 20


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_cut_compressed_file_gives_what_it_holds_and_is_named_in_the_report(db, files, pack):
    data = b"".join(SyntheticCatalogue(objects=3000, issues=1).chunks())
    cut, whole = files(pack(data)[:-20], GOOD)
    report = ingest(db, [cut, whole])
    assert_balanced(report)
    (failure,) = report.failures
    assert isinstance(failure, InputError) and isinstance(failure, OorError)
    assert failure.path == str(cut) and failure.offset == report.files[0].size
    assert report.files[0].stored > 2000
    assert report.files[1].stored == 1


def zstd_packed(data):
    codec = pytest.importorskip("zstandard", reason="zstd is read by the extra zstandard")
    return codec.ZstdCompressor(write_checksum=True).compress(data)


def test_zstd_is_told_by_content_and_read_in_chunks(db, files):
    data = b"".join(SyntheticCatalogue(objects=3000, issues=1).chunks())
    path, frames, empty = files(
        zstd_packed(data), zstd_packed(data[:100]) + zstd_packed(data[100:]), zstd_packed(b"")
    )
    for name in (path, frames):
        for size in (4096, 1 << 20):
            pieces = list(sources.chunks(str(name), size))
            assert b"".join(pieces) == data and max(map(len, pieces)) <= size
    report = ingest(db, [path, empty])
    assert (report.stored, report.failures) == (data.count(b"\n2 "), [])


def test_a_zstd_file_that_is_cut_at_any_byte_is_named_and_gives_what_it_holds(files):
    data = b"".join(SyntheticCatalogue(objects=40, issues=1).chunks())
    packed = zstd_packed(data)
    for size in range(len(zstd_packed(b"")), len(packed), 97):
        (path,) = files(packed[:size])
        given = []
        with pytest.raises(InputError, match="too early"):
            given.extend(sources.chunks(str(path)))
        assert data.startswith(b"".join(given))


def test_a_damaged_or_inflated_zstd_file_is_named_and_takes_bounded_memory(db, files):
    packed = bytearray(zstd_packed(GOOD * 50))
    packed[len(packed) // 2] ^= 0x55
    report = ingest(db, files(bytes(packed)))
    assert len(report.failures) == 1
    assert_balanced(report)
    (path,) = files(zstd_packed(bytes(64 << 20)))
    assert max(len(chunk) for chunk in sources.chunks(str(path), 1 << 20)) == 1 << 20


def test_a_zstd_file_without_the_extra_is_named_with_what_to_install(db, files, monkeypatch):
    paths = files(zstd_packed(GOOD))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (failure,) = ingest(db, paths).failures
    assert "oor[zstandard]" in str(failure)


@pytest.mark.parametrize(
    "content", [gzip.compress(GOOD * 50)[:30] + b"\xff" * 40, lzma.compress(GOOD)[:-4] + b"abcd"]
)
def test_a_damaged_compressed_file_is_named_in_the_report(db, files, content):
    report = ingest(db, files(content))
    assert len(report.failures) == 1
    assert_balanced(report)


def test_an_input_that_is_not_there_is_named_and_the_others_are_read(db, files, tmp_path):
    report = ingest(db, [tmp_path / "absent.tle", *files(GOOD)])
    assert [error.path for error in report.failures] == [str(tmp_path / "absent.tle")]
    assert report.stored == 1
    assert "No such file" in str(report.failures[0])


def test_quarantine_lines_are_json_and_keep_every_byte(files):
    every = bytes(range(256)).replace(b"\n", b"") + b"\n"
    db = FakeDB(files(b"")[0])
    report = ingest(db, files(every))
    with open(report.quarantine_path, encoding="ascii") as file:
        raw = "".join(json.loads(line)["raw"] for line in file)
    assert raw.encode("latin-1") == every


def test_records_of_element_sets_keep_to_their_key_range(files):
    db = FakeDB()
    ingest(db, files(GOOD), source="a")
    kinds = keys.Kind
    assert sorted(key[0] for key in db.pairs) == [
        kinds.SOURCE, kinds.DELIVERY, kinds.CONTENT, kinds.ELEMENT_SET, kinds.NEWEST,
        kinds.DESIGNATOR, kinds.NAME,
    ]  # fmt: skip
