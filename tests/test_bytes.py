"""A byte that is cut off or flipped: the full state, an exact prefix, or an error that says
where.
"""

from __future__ import annotations

import contextlib
import os
import shutil

import pytest
from support.engine import (
    ROOMY,
    content,
    copy_of,
    files,
    flip,
    frames_of,
    kill,
    read,
    scratch,
    without_tail,
    write,
)

import oor
from oor import codec

ZEROS_STEP = 61 if os.environ.get("OOR_EXPLORE", "1") == "1" else 1


def put_some(path, count, **options):
    db = oor.open(path, **ROOMY | options)
    for i in range(count):
        db.put(b"%02d" % i, b"v" * 40)
    return db


def outcome(path):
    """The content, or the error; never anything else."""
    try:
        db = oor.open(path, **ROOMY)
    except oor.OorError as error:
        assert error.path, f"{error!r} does not say where"
        return error
    try:
        return content(db)
    except oor.CorruptionError as error:
        assert error.path
        return error
    finally:
        kill(db)


def variants(origin, folder, target, changes):
    """Opens a copy of the store for each change of the file `target`; yields (change, outcome)."""
    original = read(f"{origin}/{target}")
    for change, data in changes(original):
        twin = copy_of(origin, f"{folder}/twin")
        write(f"{twin}/{target}", data)
        yield change, outcome(twin)
        shutil.rmtree(twin)


def flips(first, last):
    """Every byte of a range, each inverted."""

    def changes(data):
        for at in range(first, min(last, len(data))):
            yield at, data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]

    return changes


def test_a_log_cut_at_every_byte_of_its_last_three_frames_opens_with_the_exact_prefix():
    with scratch() as folder:
        origin = f"{folder}/origin"
        kill(put_some(origin, 12))
        without_tail(origin)
        (name,) = [n.rsplit("/", 1)[1] for n in files(origin, ".wal")][:1]
        frames = [frame for frame in frames_of(f"{origin}/{name}") if frame[3]][-3:]
        assert frames[-1][2] == 12
        first, end = frames[0][0], frames[-1][0] + frames[-1][1]
        ends = {offset + size: lsn for offset, size, lsn, _ in frames}

        def cuts(data):
            for at in range(first, end + 1):
                yield at, data[:at]
                yield at, data[:at] + bytes(len(data) - at)

        for at, found in variants(origin, folder, name, cuts):
            whole = max([lsn for place, lsn in ends.items() if place - 8 < at], default=9)
            lengths = {whole, whole - 1} if not isinstance(found, Exception) else set()
            # Bytes of padding behind a frame are zeros whether they are there or not.
            assert not isinstance(found, Exception), f"cut at {at}: {found}"
            assert sorted(found) == [b"%02d" % i for i in range(len(found))], f"cut at {at}"
            assert len(found) in lengths, f"cut at {at}: {len(found)} of {whole}"
            assert len(found) >= max([lsn for place, lsn in ends.items() if place <= at], default=9)


def log_flips(end):
    """Every byte of header and frames; of the zeros that fill the header up, only some unless
    exploring.
    """

    def changes(data):
        for first, last, step in (
            (0, 110, 1),
            (110, 2040, ZEROS_STEP),
            (2040, 2160, 1),
            (2160, 4090, ZEROS_STEP),
        ):
            for at in range(first, last, step):
                yield from flips(at, at + 1)(data)
        yield from flips(4090, end)(data)

    return changes


@pytest.mark.parametrize("closed", [True, False])
def test_every_flipped_byte_of_a_log_gives_the_full_state_or_an_error_that_says_where(closed):
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = put_some(origin, 6)
        full = content(db)
        if closed:
            db._state.log.seal()  # what a close does before it needs the log no more
        kill(db)
        without_tail(origin)
        name = files(origin, ".wal")[0].rsplit("/", 1)[1]
        frames = frames_of(f"{origin}/{name}")
        last = max(offset for offset, _, _, count in frames if count)
        end = frames[-1][0] + frames[-1][1]
        shorter = 0
        for at, found in variants(origin, folder, name, log_flips(end)):
            if isinstance(found, Exception):
                assert at < 2148 or at >= 4096
                assert found.segment == 1 or isinstance(found, oor.FormatError), (
                    f"byte {at}: {found}"
                )
            elif found != full:
                shorter += 1
                # The end of the last group, which no later frame promises, cannot be told from a
                # torn tail.
                assert not closed and at >= last, f"byte {at}: a shorter state in silence"
                assert found == {k: v for k, v in full.items() if k != b"05"}
        assert closed == (shorter == 0)


def test_every_flipped_byte_of_a_closed_stores_segments_changes_nothing():
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = put_some(origin, 6)
        full = content(db)
        db.close()
        name = files(origin, ".wal")[0].rsplit("/", 1)[1]
        for at, found in variants(
            origin, folder, name, lambda d: [*flips(0, 120)(d), *flips(4096, 4300)(d)]
        ):
            assert found == full, f"byte {at}"


@pytest.mark.parametrize("target", ["MANIFEST", "CURRENT"])
@pytest.mark.parametrize("closed", [True, False])
def test_every_flipped_byte_of_manifest_and_current_gives_the_full_state_or_an_error(
    target, closed
):
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = put_some(origin, 20)
        db.flush()
        db.put(b"logged", b"1")
        full = content(db)
        if closed:
            db.close()
        else:
            kill(db)
        name = next(n for n in (f.rsplit("/", 1)[1] for f in files(origin)) if n.startswith(target))
        changes = lambda d: [*flips(0, len(d))(d), *((f"cut {n}", d[:n]) for n in range(len(d)))]
        errors = 0
        for at, found in variants(origin, folder, name, changes):
            if isinstance(found, Exception):
                errors += 1
                assert isinstance(found, (oor.CorruptionError, oor.FormatError)), (
                    f"byte {at}: {found!r}"
                )
            else:
                assert found == full, f"byte {at}"
        assert errors > 10


@pytest.mark.parametrize("compression", ["none", "zstd", "lz4"])
def test_every_flipped_byte_of_a_table_gives_the_full_state_or_an_error_that_says_where(
    compression,
):
    if codec.missing(compression):
        pytest.skip(str(codec.missing(compression)))
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = put_some(origin, 20, compression=(compression,))
        full = content(db)
        db.close()
        name = files(origin, ".sst")[0].rsplit("/", 1)[1]
        size = len(read(f"{origin}/{name}"))
        errors = 0
        for at, found in variants(origin, folder, name, flips(0, size)):
            if isinstance(found, Exception):
                errors += 1
                assert name in found.path
            else:
                assert found == full, f"byte {at}"
        assert errors > size * 9 // 10


def test_flips_in_the_tail_never_show_what_was_not_written():
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = oor.open(origin, **ROOMY)
        for i in range(6):
            db.put(b"%02d" % i, b"v" * 40, durability="os")
        full = content(db)
        kill(db)
        half = len(read(f"{origin}/TAIL")) // 2
        changes = lambda d: [
            *flips(0, 110)(d),
            *flips(4096, 4096 + 6 * 96)(d),
            *flips(half, half + 20)(d),
        ]
        for at, found in variants(origin, folder, "TAIL", changes):
            assert not isinstance(found, Exception), f"byte {at}: {found}"
            assert list(found.items()) == list(full.items())[: len(found)], f"byte {at}"


def test_a_flip_is_seen_twice_if_it_is_there_twice():
    with scratch() as folder, contextlib.suppress(FileExistsError):
        write(f"{folder}/a", b"abc")
        flip(f"{folder}/a", 1)
        assert read(f"{folder}/a") == bytes([97, 98 ^ 0xFF, 99])
