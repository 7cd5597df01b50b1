"""Packed blocks: what went in comes out, damage is told, and a library that is not there is named."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.engine import TINY, content
from support.tables import (
    FOOTER,
    TRAILER_SIZE,
    Store,
    live,
    resealed,
    resealed_footer,
    sections,
)

import oor
from oor import codec
from oor.compaction import CompactionOptions, Job, Running, run
from oor.errors import CodecError, CorruptionError, FormatError, OorError
from oor.iterator import scan
from oor.table import Table, TableOptions
from oor.version import LEVELS, Version

FIXTURES = Path(__file__).parent / "fixtures"
NUMBERS = {name: number for name, number in codec.NUMBERS.items() if name != "none"}
NAMES = [
    pytest.param(
        name, marks=pytest.mark.skipif(bool(codec.missing(name)), reason=str(codec.missing(name)))
    )
    for name in NUMBERS
]
packed_only = pytest.mark.skipif(
    bool(codec.missing("zstd") or codec.missing("lz4")),
    reason="needs both libraries: libzstd.so.1 and liblz4.so.1",
)
VALUES = st.one_of(
    st.none(), st.binary(max_size=30), st.builds(lambda n: b"the same " * n, st.integers(0, 30))
)
MODELS = st.dictionaries(st.binary(max_size=8), VALUES, min_size=1, max_size=60)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def repetitive(count=60):
    return {b"object-%03d" % i: b"line %d of an element set " % i * 4 for i in range(count)}


def shape(name, **more):
    return TableOptions(block_size=512, restart_interval=3, codec=NUMBERS[name], **more)


def codecs_of(path):
    """The codec of each block, as its trailer has it."""
    data = Path(path).read_bytes()
    return [data[at + size - TRAILER_SIZE] for kind, at, size in sections(data) if kind == "block"]


def version_of(path):
    return FOOTER.unpack(Path(path).read_bytes()[-FOOTER.size :])[9]


# ---- what goes in comes out ----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(model=MODELS, level=st.integers(1, 19))
def test_a_packed_table_answers_like_a_dict(store, name, model, level):
    table = store.table(model, shape(name, codec_level=level))
    table.verify()
    version = Version([[table]])
    assert list(scan(version)) == list(live(model).items())
    assert list(scan(version, reverse=True)) == list(live(model).items())[::-1]
    assert {key: version.get(key) for key in model} == model
    assert version.get_many(list(model)) == list(model.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_value_larger_than_a_block_is_packed_and_comes_back_whole(store, name):
    model = {b"a": b"0123456789abcdef" * (3 << 16), b"b": b"", b"c": b"x" * 70_000}
    table = store.table(model, shape(name))
    assert table.meta.size < 100_000
    assert dict(scan(Version([[table]]))) == model


@pytest.mark.parametrize("name", NAMES)
def test_a_block_that_does_not_become_an_eighth_smaller_stays_as_it_is(store, name):
    noise = random.Random(1)
    model = {b"%03d" % i: noise.randbytes(60) for i in range(50)}
    plain, tried = store.write(model), store.write(model, shape(name))
    assert set(codecs_of(store.path(tried.number))) == {0}
    assert version_of(store.path(tried.number)) == version_of(store.path(plain.number)) == 1
    half = model | {b"z%03d" % i: b"the same all along " * 3 for i in range(50)}
    mixed = store.write(half, shape(name))
    assert set(codecs_of(store.path(mixed.number))) == {0, NUMBERS[name]}
    assert version_of(store.path(mixed.number)) == 3
    assert dict(scan(Version([[store.open(mixed)]]))) == half


@packed_only
def test_packed_with_a_prefix_filter_a_table_has_both(store):
    model = repetitive()
    meta = store.write(model, shape("zstd", prefix_size=7))
    assert version_of(store.path(meta.number)) == 3
    table = store.open(meta)
    table.verify()
    assert dict(scan(Version([[table]]))) == model


# ---- damage --------------------------------------------------------------------------------------


def with_payload(store, meta, change):
    """The table, opened, with its first block's payload changed under a checksum that fits."""
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    _, offset, size = sections(data)[0]
    payload = change(bytearray(data[offset : offset + size - TRAILER_SIZE]))
    assert len(payload) == size - TRAILER_SIZE
    changed = data[:offset] + bytes(payload) + data[offset + len(payload) :]
    Path(path).write_bytes(resealed(changed, meta.number, offset, size))
    return store.open(meta)


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_under_a_fitting_checksum_is_an_error_or_other_bytes_never_a_crash(
    store, name
):
    meta = store.write(repetitive(20), shape(name))
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    _, offset, size = sections(data)[0]
    refused = 0
    for at in range(size - TRAILER_SIZE):
        for bit in range(8):
            changed = bytearray(data)
            changed[offset + at] ^= 1 << bit
            Path(path).write_bytes(resealed(bytes(changed), meta.number, offset, size))
            table = store.open(meta)
            try:
                list(scan(Version([[table]])))
                Version([[table]]).get(b"object-000")
            except CorruptionError as error:
                assert error.path == path
                refused += 1
            table.close()
    assert refused > size


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("claim", [0, 1, 511, (256 << 20) + (1 << 20), 0xFFFFFFFF])
def test_a_size_that_the_content_does_not_have_is_refused(store, name, claim):
    meta = store.write(repetitive(), shape(name))

    def lie(payload):
        payload[:4] = struct.pack("<I", claim)
        return payload

    table = with_payload(store, meta, lie)
    with pytest.raises(CorruptionError, match=f"packed with {name}"):
        Version([[table]]).get(b"object-000")
    with pytest.raises(CorruptionError, match=f"packed with {name}"):
        list(scan(Version([[table]])))
    with pytest.raises(CorruptionError, match=f"packed with {name}"):
        table.verify()


@packed_only
def test_a_block_of_another_codec_than_the_properties_say_is_damage(store):
    meta = store.write(repetitive(), shape("zstd"))
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    _, offset, size = sections(data)[0]
    at = offset + size - TRAILER_SIZE
    changed = data[:at] + bytes([NUMBERS["lz4"]]) + data[at + 1 :]
    Path(path).write_bytes(resealed(changed, meta.number, offset, size))
    with pytest.raises(CorruptionError, match="codec 2, the properties say 1"):
        Version([[store.open(meta)]]).get(b"object-000")


@packed_only
def test_a_section_that_is_no_block_is_never_packed(store):
    meta = store.write(repetitive(), shape("zstd"))
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    _, offset, size = next(found for found in sections(data) if found[0] == "index")
    at = offset + size - TRAILER_SIZE
    changed = data[:at] + bytes([NUMBERS["zstd"]]) + data[at + 1 :]
    Path(path).write_bytes(resealed(changed, meta.number, offset, size))
    with pytest.raises(FormatError, match="only blocks are packed"):
        store.open(meta)


@packed_only
def test_a_codec_that_nobody_knows_is_named_when_the_table_is_opened(store):
    meta = store.write(repetitive(), shape("zstd"))
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    _, offset, size = sections(data)[-1]
    changed = data[: offset + 64] + struct.pack("<I", 77) + data[offset + 68 :]
    Path(path).write_bytes(resealed_footer(resealed(changed, meta.number, offset, size)))
    with pytest.raises(FormatError, match="codec 77 is not in this build"):
        store.open(meta)


def test_a_table_is_not_begun_with_a_codec_that_is_not_there(store):
    with pytest.raises(FormatError, match="codec 77"):
        store.write(repetitive(), TableOptions(codec=77))


# ---- without the libraries -----------------------------------------------------------------------

WITHOUT = """
import sys, logging, oor
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
path, name, fresh = sys.argv[1:]
with oor.open(fresh, compression=name) as db:
    db.write({b"%03d" % i: b"the same all along " * 3 for i in range(100)})
    db.compact()
    assert len(list(db.scan())) == 100
    print("STATS", db.stats().compression)
try:
    oor.open(path, compression="none")
except oor.CodecError as error:
    print("ERROR", error)
"""


def without_libraries(tmp_path, name, path):
    """What a process says whose loader finds files of these names that are no libraries."""
    empty = tmp_path / "empty"
    empty.mkdir()
    for soname in ("libzstd.so.1", "liblz4.so.1"):
        (empty / soname).write_bytes(b"no library")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(path), name, str(tmp_path / "fresh")],
        env={"LD_LIBRARY_PATH": str(empty), "PATH": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "soname", "package"),
    [("zstd", "libzstd.so.1", "libzstd1"), ("lz4", "liblz4.so.1", "liblz4-1")],
)
def test_without_its_library_new_tables_stay_plain_and_packed_ones_say_what_they_need(
    tmp_path, name, soname, package
):
    if codec.missing(name):
        pytest.skip(str(codec.missing(name)))
    with oor.open(tmp_path / "packed", compression=name) as db:
        db.write({b"%03d" % i: b"the same all along " * 3 for i in range(100)})
        db.compact()
        assert name in db.stats().compression
    said = without_libraries(tmp_path, name, tmp_path / "packed")
    (error,) = [line for line in said if line.startswith("ERROR")]
    for word in (f"({name})", soname, f"install the package {package}", ".sst"):
        assert word in error
    (stats,) = [line for line in said if line.startswith("STATS")]
    assert soname in stats and "none" in stats
    assert sum(line.startswith("LOG") and soname in line for line in said) == 1


# ---- the store -----------------------------------------------------------------------------------


def table_codecs(path):
    """Level -> the set of codecs of its tables' blocks."""
    with oor.open(path, read_only=True) as db:
        levels = db._state.view.version.levels
        return {
            level: {found for table in tables for found in codecs_of(table.path)}
            for level, tables in enumerate(levels)
            if tables
        }


def fill(db, tag):
    db.write({b"%04d" % i: b"%s %d " % (tag, i) + b"the same all along " * 5 for i in range(300)})


@packed_only
def test_level_0_is_plain_and_deeper_levels_are_packed_as_the_option_says(tmp_path):
    path = tmp_path / "s"
    roomy = {"background": False}
    with oor.open(path, **roomy) as db:
        fill(db, b"first")
        db.compact()
        fill(db, b"second")
        db.flush()
        whole = content(db)
    assert table_codecs(path) == {0: {0}, LEVELS - 1: {NUMBERS["zstd"]}}
    for option, expected in (
        ("lz4", {LEVELS - 1: {NUMBERS["lz4"]}}),
        ("none", {LEVELS - 1: {0}}),
        (("lz4", "zstd"), {LEVELS - 1: {NUMBERS["zstd"]}}),
    ):
        with oor.open(path, compression=option, **roomy) as db:
            db.put(b"0150 between", b"")
            db.compact()
            db.delete(b"0150 between")
            db.compact()
            assert content(db) == whole
        assert table_codecs(path) == expected
    with oor.open(path, compression=("lz4", "zstd"), **roomy) as db:
        fill(db, b"third")
        db.flush()
        assert db.stats().compression == "level 0: lz4, level 1: zstd -1"
    assert table_codecs(path)[0] == {NUMBERS["lz4"]}


@pytest.mark.parametrize("asked", ["gzip", ("zstd", "brotli"), (), 3])
def test_a_codec_that_there_is_not_is_refused_with_those_there_are(asked):
    with pytest.raises(oor.LimitError, match="compression"):
        oor.Options.of(compression=asked)


@packed_only
def test_the_fastest_level_packs_what_only_has_few_kinds_of_bytes(store):
    """Hexadecimal digits repeat nowhere: a stride that leaves literals out would keep them all."""
    digits = random.Random(1).randbytes
    model = {b"%05d" % i: digits(40).hex().encode() for i in range(2000)}
    meta = store.write(model, shape("zstd", codec_level=1))
    assert set(codecs_of(store.path(meta.number))) == {NUMBERS["zstd"]}
    assert meta.size < 0.75 * sum(len(k) + len(v) for k, v in model.items())


@packed_only
def test_a_harder_level_makes_no_larger_tables(tmp_path, store):
    values = [b"%d the elements %d " % (i * 7919 % 1000, i) * 3 for i in range(2000)]
    model = {b"%05d" % i: value for i, value in enumerate(values)}
    sizes = [store.write(model, shape("zstd", codec_level=level)).size for level in (1, 19)]
    assert sizes[1] < sizes[0]


def test_a_store_of_the_first_format_reads_as_ever_and_is_written_on(tmp_path):
    """Tables of versions 1 and 2, a manifest, a segment and a tail that an older build left."""
    with zipfile.ZipFile(FIXTURES / "format_1.zip") as archive:
        archive.extractall(tmp_path / "s")
    expected = {b"%05d" % n: b"value %d " % n * 3 for n in range(10, 30)}
    expected |= {b"%05d" % n: b"newer %d " % n * 2 for n in range(30, 60)}
    expected |= {b"%05d" % n: b"logged %d" % n for n in range(60, 64)}
    with oor.open(tmp_path / "s", read_only=True) as db:
        assert content(db) == expected
        versions = {version_of(table.path) for table in db._state.view.version.tables()}
        assert versions == {1, 2}
    with oor.open(tmp_path / "s", **TINY) as db:
        assert db.recovery.records == 4
        db.compact()
        assert content(db) == expected


def test_unpacking_needs_the_library_only_of_tables_that_are_packed(store):
    """CodecError is a FormatError: who catches that catches both."""
    assert issubclass(CodecError, FormatError) and issubclass(CodecError, OorError)
    assert isinstance(store.table(repetitive(), TableOptions()), Table)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_that_pack_to_next_to_nothing_are_cut_by_what_they_hold(store, name):
    """Memory of a table that is written, or open, grows with its keys and not with its file."""
    model = {b"%06d" % i: bytes(100) for i in range(20_000)}
    version = Version([[store.table(model)]])
    options = CompactionOptions(table_bytes=64 << 10, tables=(shape(name),))
    edit = run(Running(Job(tuple(version.tables()), 1)), version, store.directory, store.number,
               options)  # fmt: skip
    assert sum(meta.entries for _, meta in edit.add) == len(model)
    assert max(meta.entries for _, meta in edit.add) * 106 < 3 * (64 << 10) + 4096
    assert max(meta.size for _, meta in edit.add) < 64 << 10
