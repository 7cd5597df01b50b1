"""A table gives back what was written, or says that it cannot."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import (
    FOOTER,
    SMALL,
    Model,
    Store,
    live,
    resealed,
    resealed_footer,
    sections,
)

from oor.errors import CorruptionError, FormatError, LimitError, OorError, StorageError
from oor.iterator import scan
from oor.table import BlockCache, Table, TableMeta, TableOptions, write_run
from oor.version import Version

KEYS = st.one_of(
    st.binary(max_size=6),
    st.builds(
        lambda head, tail: head + tail,
        st.sampled_from([b"same-prefix-", b"\0" * 9]),
        st.binary(max_size=9),
    ),
)
VALUES = st.one_of(st.none(), st.binary(max_size=40))
MODELS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=60)
SHAPES = st.builds(
    TableOptions,
    block_size=st.integers(64, 600),
    restart_interval=st.integers(1, 20),
    filter_bits=st.sampled_from([0, 1, 10]),
)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def small_model() -> Model:
    model: Model = {b"object-%03d" % i: b"line %d " % i * (i % 4) for i in range(0, 60, 2)}
    model[b"object-010"] = None
    return model


def answers(table: Table, probes: list[bytes]) -> list[object]:
    """Everything that can be read of a table."""
    version = Version([[table]])
    return [
        list(scan(version)),
        list(scan(version, reverse=True)),
        [version.get(key) for key in probes],
        version.get_many(probes),
    ]


@quick
@given(model=MODELS, options=SHAPES)
def test_a_table_answers_like_a_dict(store, model, options):
    table = store.table(model, options)
    table.verify()
    version = Version([[table]])
    assert list(scan(version)) == list(live(model).items())
    probes = [*model, b"", b"absent", b"same-prefix-", *(key + b"\0" for key in model)]
    assert [version.get(key) for key in probes] == [model.get(key) for key in probes]
    assert version.get_many(probes) == [model.get(key) for key in probes]


@quick
@given(model=MODELS, options=SHAPES, first_lsn=st.integers(0, 1 << 63))
def test_meta_says_what_is_in_the_table(store, model, options, first_lsn):
    number = store.number()
    meta = write_run(
        store.path(number),
        number,
        [(list(model), list(model.values()))],
        options,
        first_lsn,
        first_lsn + 7,
    )
    assert (meta.number, meta.first_lsn, meta.last_lsn) == (number, first_lsn, first_lsn + 7)
    assert meta.size == os.path.getsize(store.path(number))
    assert meta.entries == len(model)
    assert meta.tombstones == sum(value is None for value in model.values())
    assert meta.key_bytes == sum(map(len, model))
    assert meta.value_bytes == sum(len(value) for value in model.values() if value is not None)
    assert (meta.smallest, meta.largest) == (min(model), max(model))
    assert TableMeta.from_json(meta.to_json()) == meta


def test_values_larger_than_a_block_and_than_the_readers_room_come_back_whole(store):
    model: Model = {
        b"k%d" % i: os.urandom(size)
        for i, size in enumerate((0, 1, 127, 128, 255, 256, 4095, 4096, 4097, 70_000, 3_000_000))
    }
    model[b"K" * 65_535] = b"the longest key"
    table = store.table(model)
    table.verify()
    version = Version([[table]])
    assert {key: version.get(key) for key in model} == model
    assert dict(zip(model, version.get_many(list(model)), strict=True)) == model
    assert dict(scan(version)) == model
    assert dict(scan(version, reverse=True)) == model


def test_the_same_pairs_make_the_same_bytes_and_another_number_other_ones(tmp_path):
    model = small_model()
    files = []
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        path = str(tmp_path / name)
        meta = write_run(path, number, [(list(model), list(model.values()))], SMALL, 1, 9)
        files.append(((tmp_path / name).read_bytes(), meta.uid))
    assert files[0] == files[1]
    assert files[0][1] != files[2][1]


def test_every_flipped_byte_is_an_error(store):
    meta = store.write(small_model())
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    probes = [*small_model(), b"absent"]
    with open(path, "r+b") as file:
        for offset in range(len(data)):
            file.seek(offset)
            file.write(bytes([data[offset] ^ 0x41]))
            file.flush()
            with pytest.raises((CorruptionError, FormatError)):
                table = store.open(meta)
                table.verify()
            file.seek(offset)
            file.write(data[offset : offset + 1])
            file.flush()
    assert answers(store.open(meta), probes)[2] == [small_model().get(key) for key in probes]


def test_a_flipped_byte_never_gives_a_wrong_answer(store):
    meta = store.write(small_model())
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    probes = [*small_model(), b"absent"]
    right = answers(store.open(meta), probes)
    for offset in range(0, len(data), 7):
        with open(path, "wb") as file:
            file.write(data[:offset] + bytes([data[offset] ^ 0x80]) + data[offset + 1 :])
        with pytest.raises(CorruptionError) as caught:
            assert answers(store.open(meta), probes) == right
            raise CorruptionError("not met by any read", path=path)
        assert caught.value.path == path


def test_a_table_cut_at_any_byte_is_an_error(store):
    meta = store.write(small_model())
    path = store.path(meta.number)
    for size in range(meta.size - 1, -1, -1):
        os.truncate(path, size)
        with pytest.raises(CorruptionError):
            store.open(meta)
        shortened = TableMeta.from_json({**meta.to_json(), "size": size})
        with pytest.raises(CorruptionError):
            store.open(shortened)


def test_bytes_behind_the_footer_are_an_error(store):
    meta = store.write(small_model())
    with open(store.path(meta.number), "ab") as file:
        file.write(b"\0")
    with pytest.raises(CorruptionError):
        store.open(meta)


def test_damage_under_valid_checksums_is_an_error_or_harmless_never_a_crash(store):
    meta = store.write({b"key-%02d" % i: b"v" * i for i in range(24)})
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    probes = [b"key-%02d" % i for i in range(24)]
    refused = 0
    for _, offset, size in sections(data):
        for at in range(offset, offset + size - 4):
            for value in {0, 0x7F, 0x80, 0xFF, data[at] ^ 1, data[at] + 1 & 0xFF} - {data[at]}:
                broken = data[:at] + bytes([value]) + data[at + 1 :]
                with open(path, "wb") as file:
                    file.write(resealed(broken, meta.number, offset, size))
                try:
                    table = store.open(meta)
                    answers(table, probes)
                    with pytest.raises((CorruptionError, FormatError)):
                        table.verify()
                except (CorruptionError, FormatError):
                    refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    ("entry", "field", "value", "message"),
    [
        (0, 0, 1, "broken restart"),
        (1, 0, 7, "broken prefix"),
        (1, 0, 127, "broken prefix"),
        (2, 1, 100, "entry past its end"),
        (2, 2, 100, "entry past its end"),
        (2, 2, 0, "bytes behind its entries"),
    ],
)
def test_an_entry_that_points_outside_its_block_is_named(store, entry, field, value, message):
    """One block of `key-N` = `v`: entries of 3 + 6 + 1, 3 + 1 + 1 and 3 + 1 + 1 bytes."""
    model: Model = {b"key-%02d" % i: b"v" for i in range(3)}
    meta = store.write(model, TableOptions(restart_interval=16))
    path = store.path(meta.number)
    data = bytearray(Path(path).read_bytes())
    data[(0, 10, 15)[entry] + field] = value
    kind, offset, size = sections(bytes(data))[0]
    assert (kind, offset, size) == ("block", 0, 20 + 8 + 5)
    Path(path).write_bytes(resealed(bytes(data), meta.number, offset, size))
    version = Version([[store.open(meta)]])
    for read in (lambda: version.get(b"key-01"), lambda: list(scan(version))):
        with pytest.raises(CorruptionError, match=message):
            read()


def test_fences_that_agree_in_their_first_bytes_lead_to_the_right_block(store):
    """Keys differ behind a run of zeros, so whole fences decide and not their first 8 bytes."""
    model: Model = {
        b"%02d" % group + b"\0" * 10 + b"%03d" % i: b"%d" % i
        for group in range(3)
        for i in range(90)
    }
    version = Version([[store.table(model)]])
    assert [version.get(key) for key in model] == list(model.values())
    assert version.get_many(list(model)) == list(model.values())
    for key in model:
        assert next(scan(version, start=key)) == (key, model[key])
        assert version.get(key + b"\0") is None


def test_a_footer_that_lies_under_a_valid_checksum_is_an_error(store):
    meta = store.write(small_model())
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    start = len(data) - FOOTER.size
    for at in range(start, start + 76):
        for value in {0, 0x7F, 0xFF, data[at] ^ 1} - {data[at]}:
            with open(path, "wb") as file:
                file.write(resealed_footer(data[:at] + bytes([value]) + data[at + 1 :]))
            with pytest.raises((CorruptionError, FormatError)):
                store.open(meta)


def test_a_newer_format_version_is_a_format_error(store):
    meta = store.write(small_model())
    path = store.path(meta.number)
    data = bytearray(Path(path).read_bytes())
    struct.pack_into("<I", data, len(data) - 16, 4)
    with open(path, "wb") as file:
        file.write(resealed_footer(bytes(data)))
    with pytest.raises(FormatError, match="table format 4"):
        store.open(meta)


def test_a_packed_block_in_a_table_that_is_not_is_damage(store):
    meta = store.write(small_model())
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    _, offset, size = sections(data)[0]
    at = offset + size - 5
    with open(path, "wb") as file:
        file.write(resealed(data[:at] + b"\1" + data[at + 1 :], meta.number, offset, size))
    with pytest.raises(CorruptionError, match="codec 1, the properties say 0"):
        Version([[store.open(meta)]]).get(b"object-000")


def test_a_block_of_another_place_does_not_verify(store):
    """Two blocks exchanged: each checksum is right for its bytes and wrong for its place."""
    meta = store.write({b"key-%02d" % i: b"v" * 40 for i in range(24)})
    path = store.path(meta.number)
    data = Path(path).read_bytes()
    first, second = [section for section in sections(data) if section[0] == "block"][1:3]
    assert first[2] == second[2]
    size = first[2]
    swapped = bytearray(data)
    swapped[first[1] : first[1] + size] = data[second[1] : second[1] + size]
    swapped[second[1] : second[1] + size] = data[first[1] : first[1] + size]
    with open(path, "wb") as file:
        file.write(swapped)
    version = Version([[store.open(meta)]])
    for i in range(4, 8):
        with pytest.raises(CorruptionError, match="section crc"):
            version.get(b"key-%02d" % i)


def test_another_table_under_the_name_is_refused(store):
    wanted = store.write({b"a": b"1", b"b": b"2"})
    other = store.write({b"a": b"1", b"b": b"3"})
    assert wanted.size == other.size
    os.replace(store.path(other.number), store.path(wanted.number))
    with pytest.raises(CorruptionError, match="this is table"):
        store.open(wanted)
    rewritten = write_run(store.path(9), wanted.number, [([b"a", b"b"], [b"1", b"3"])], SMALL, 1, 1)
    os.replace(store.path(9), store.path(wanted.number))
    assert rewritten.size == wanted.size
    with pytest.raises(CorruptionError, match="table uid"):
        store.open(wanted)
    found = TableMeta.from_json({**rewritten.to_json(), "value_bytes": 3})
    with pytest.raises(CorruptionError, match="the manifest says"):
        store.open(found)


def test_a_missing_file_is_a_storage_error(store):
    meta = store.write({b"a": b"1"})
    os.unlink(store.path(meta.number))
    with pytest.raises(StorageError):
        store.open(meta)


def test_what_no_table_can_hold_is_a_limit_error(store):
    for chunks in (
        [],
        [([], [])],
        [([b"a"], [b"1"]), ([b"a"], [b"2"])],
        [([b"a" * 65_536], [b""])],
    ):
        number = store.number()
        with pytest.raises(LimitError):
            write_run(store.path(number), number, chunks, SMALL, 1, 1)
    with pytest.raises(LimitError):
        write_run(store.path(99), 99, [([b"a"], [b"1"])], SMALL, 2, 1)
    for options in (
        TableOptions(block_size=1),
        TableOptions(restart_interval=0),
        TableOptions(block_size=65_537),
    ):
        with pytest.raises(LimitError):
            write_run(store.path(98), 98, [([b"a"], [b"1"])], options, 1, 1)


def test_a_table_is_never_written_over_a_file_that_is_there(store):
    meta = store.write({b"a": b"1"})
    with pytest.raises(StorageError):
        write_run(store.path(meta.number), meta.number, [([b"a"], [b"2"])], SMALL, 1, 1)
    assert Version([[store.open(meta)]]).get(b"a") == b"1"


@pytest.mark.parametrize("nonsense", [
    None, [], {}, {"number": 1}, "smallest=zz", "smallest=5", "number=0", "number=-1", "size=1.5",
    "entries=0", "tombstones=99", "first_lsn=9", "largest=", "uid=true", "extra=1",
])  # fmt: skip
def test_a_description_that_no_table_has_is_corruption(nonsense):
    sound = TableMeta(1, 200, 3, 2, 1, 4, 5, 6, 7, b"a", b"b").to_json()
    content = nonsense
    if isinstance(nonsense, str):
        name, value = nonsense.split("=")
        parsed = {"zz": "zz", "": "", "true": True, "1.5": 1.5}.get(value)
        content = {**sound, name: int(value) if parsed is None else parsed}
    assert TableMeta.from_json(sound).to_json() == sound
    with pytest.raises(CorruptionError):
        TableMeta.from_json(content)


def test_filters_skip_more_than_95_percent_of_absent_probes(store):
    model: Model = {b"%08d" % (2 * i): b"v" for i in range(5000)}
    version = Version([[store.table(model, TableOptions())]])
    before = store.cache.stats()
    for i in range(4999):
        assert version.get(b"%08d" % (2 * i + 1)) is None
    after = store.cache.stats()
    assert after.filter_checks - before.filter_checks == 4999
    assert after.filter_skips - before.filter_skips > 4999 * 0.97
    assert after.filter_misses - before.filter_misses < 4999 * 0.03


def test_the_cache_stays_within_its_budget_and_gives_all_back(tmp_path):
    store = Store(str(tmp_path), cache_bytes=64 << 10, options=TableOptions(block_size=1024))
    model: Model = {b"%06d" % i: b"v" * 100 for i in range(3000)}
    table = store.table(model)
    version = Version([[table]])
    for key in [*model, *reversed(list(model))]:
        assert version.get(key) == model[key]
        stats = store.cache.stats()
        assert stats.used + stats.pinned <= stats.capacity
    assert stats.evictions > 0
    assert stats.used > stats.capacity // 2
    del version
    table.close()
    stats = store.cache.stats()
    assert (stats.used, stats.pinned) == (0, 0)


def test_a_cache_too_small_for_anything_still_answers(tmp_path):
    store = Store(str(tmp_path), cache_bytes=0)
    table = store.table(small_model())
    version = Version([[table]])
    assert list(scan(version)) == list(live(small_model()).items())
    assert version.get(b"object-002") == small_model()[b"object-002"]
    assert store.cache.stats().used == 0


def test_a_full_scan_leaves_what_was_found_often_in_the_cache(tmp_path):
    store = Store(str(tmp_path), cache_bytes=96 << 10, options=TableOptions(block_size=1024))
    model: Model = {b"%06d" % i: b"v" * 100 for i in range(5000)}
    version = Version([[store.table(model)]])
    hot = [b"%06d" % i for i in range(100)]
    for _ in range(3):
        assert version.get_many(hot) == [model[key] for key in hot]
    before = store.cache.stats()
    assert len(list(scan(version))) == len(model)
    assert len(list(scan(version, reverse=True))) == len(model)
    assert store.cache.stats().evictions == before.evictions
    misses = store.cache.stats().misses
    version.get_many(hot)
    assert store.cache.stats().misses == misses


def test_threads_that_share_a_small_cache_agree(tmp_path):
    store = Store(str(tmp_path), cache_bytes=24 << 10, options=TableOptions(block_size=512))
    model: Model = {b"%06d" % i: b"value %d " % i * 9 for i in range(1500)}
    version = Version([[store.table(model)]])
    keys, wrong = list(model), []

    def read(seed: int) -> None:
        try:
            for turn in range(3):
                order = keys[seed * 31 + turn :] + keys[: seed * 31 + turn]
                if any(version.get(key) != model[key] for key in order[:: seed + 1]):
                    wrong.append("get")
                if version.get_many(order) != [model[key] for key in order]:
                    wrong.append("get_many")
                if dict(scan(version, reverse=bool(seed & 1))) != model:
                    wrong.append("scan")
        except OorError as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    stats = store.cache.stats()
    assert stats.used + stats.pinned <= stats.capacity


def test_a_closed_table_stays_readable_for_the_versions_that_have_it(store):
    table = store.table({b"a": b"1"})
    version = Version([[table]])
    walk = scan(version)
    get = version.get
    table.close()
    table.close()
    del version
    assert get(b"a") == b"1"
    assert list(walk) == [(b"a", b"1")]
    with pytest.raises(AssertionError):
        table.verify()


def test_a_cache_outlives_its_handle_while_tables_use_it(tmp_path):
    store = Store(str(tmp_path))
    version = Version([[store.table({b"a": b"1"})]])
    store.cache = BlockCache(0)
    assert version.get(b"a") == b"1"
