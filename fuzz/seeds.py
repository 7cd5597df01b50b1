"""Inputs that a fuzzer starts from: small tables, blocks, logs and lines that are sound.

    python -m fuzz.seeds DIRECTORY        writes DIRECTORY/<target>/<name>

The first bytes of each say how the target lays out the rest; its .c file opens with the grammar.
"""

from __future__ import annotations

import itertools
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from oor.native import ffi, lib
from oor.registry.synthetic import SyntheticCatalogue
from oor.table import TableOptions, write_run

Pairs = dict[bytes, bytes | None]
NUMBER = 9
FOOTER = struct.Struct("<9QII8s")


def _some_pairs() -> Iterator[Pairs]:
    yield {b"a": b"1"}
    yield {b"key%03d" % i: b"v" * (i % 7) if i % 5 else None for i in range(40)}
    yield {bytes([i // 16, i % 16]) * (i % 9 + 1): bytes([i]) * 3 for i in range(60)}
    yield {b"long" * 40: b"x" * 300, b"long" * 40 + b"z": None}


def here(codec: int) -> bool:
    """Whether this machine has the library of a codec."""
    return bool(lib.oor_codec_require(codec, ffi.NULL) == 0)


def tables() -> Iterator[bytes]:
    """Whole table files of several shapes."""
    shapes = [
        TableOptions(block_size=64, restart_interval=2),
        TableOptions(block_size=128, restart_interval=16, filter_bits=0),
        TableOptions(block_size=256, restart_interval=3, prefix_size=2),
        *(TableOptions(block_size=512, codec=codec) for codec in (1, 2) if here(codec)),
    ]
    with tempfile.TemporaryDirectory() as directory:
        for at, (pairs, options) in enumerate(itertools.product(_some_pairs(), shapes)):
            path = f"{directory}/{at}"
            keys = sorted(pairs)
            write_run(path, NUMBER, [(keys, [pairs[key] for key in keys])], options, 1, 1)
            yield Path(path).read_bytes()


def table_inputs() -> Iterator[bytes]:
    for data in tables():
        version = FOOTER.unpack(data[-FOOTER.size :])[9]
        how = 7 | (8 if version == 2 else 0)
        yield bytes([how, 3]) + b"key" + data


def block_inputs() -> Iterator[bytes]:
    for data in tables():
        index_at = FOOTER.unpack(data[-FOOTER.size :])[2]
        block_size = struct.unpack_from("<I", data, index_at)[0]
        yield bytes([0, 0, 0, 2]) + b"ke" + data[: block_size - 5]
        yield bytes([2, 0, 0, 2]) + b"ke" + data[: block_size - 5]


def frame_inputs() -> Iterator[bytes]:
    op = struct.Struct("<BHI")
    body = op.pack(1, 3, 2) + b"abcde" + op.pack(2, 1, 0) + b"x" + op.pack(1, 0, 0)
    for how in (7, 3, 15, 11):
        header = struct.pack("<IIIIQQII", 0, 0, len(body), 3, 1, 0, 0, 0x464F4F52)
        yield bytes([how, 0]) + header + body + bytes(-len(body) % 8)
    yield bytes([11, 0]) + bytes(4096)


def segment_inputs() -> Iterator[bytes]:
    rng = random.Random(6)
    for how in (0, 1, 2, 4, 8, 16, 36):
        pieces = bytearray()
        for kind in (0, 0, 1, 0, 3, 5, 2, 0, 6, 4, 0):
            size = rng.randrange(8, 60)
            pieces += bytes([kind, rng.randrange(9), 0, rng.randrange(256), size, 0])
            pieces += rng.randbytes(size) + bytes([1, 3, 0, 8])
        yield bytes([how, 0]) + bytes(pieces)


def tle_inputs() -> Iterator[bytes]:
    text = b"".join(SyntheticCatalogue(objects=4, issues=1).chunks())
    yield bytes([60, 3]) + text
    yield bytes([200, 0]) + text.replace(b"\r\n", b"\n")
    yield bytes([9, 1]) + text[10:500] + b"\n\n" + text[200:]
    yield bytes([255, 9]) + b"x" * 1500 + b"\n" + text[:170]


SEEDS = {
    "frame": frame_inputs,
    "segment": segment_inputs,
    "block": block_inputs,
    "table": table_inputs,
    "tle": tle_inputs,
}


def write(directory: Path) -> int:
    """Write all of them; returns how many."""
    count = 0
    for target, inputs in SEEDS.items():
        (directory / target).mkdir(parents=True, exist_ok=True)
        for at, data in enumerate(inputs()):
            (directory / target / f"seed-{at:02d}").write_bytes(data)
            count += 1
    return count


if __name__ == "__main__":
    print(write(Path(sys.argv[1])), "seeds")
