"""Fuzzes the manifest: sound lines, changed in any way, most with their checksum made right.

Whatever the bytes, reading them gives a state or CorruptionError or FormatError, and reading what
was read again gives the same state.
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

from oor.errors import CorruptionError, FormatError
from oor.manifest import encode_line, parse_manifest

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 1e308, 0.5, "", "0",
    "a" * 40, "\ud800", [], [[]], [1], {}, {"n": 0}, "00" * 16, "zz" * 16,
]  # fmt: skip
NAMES = ("add", "remove", "epoch", "next_number", "flushed_lsn", "log_start", "next_lsn",
         "durable_lsn", "checkpoint_lsn", "closed")  # fmt: skip


def _table(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "number": number, "size": rng.randrange(1 << 20), "uid": rng.randrange(1 << 60),
        "entries": 3, "tombstones": 0, "key_bytes": 9, "value_bytes": 9,
        "first_lsn": 1, "last_lsn": 9, "smallest": "61", "largest": "62",
    }  # fmt: skip


def _edit(rng: random.Random, at: int) -> dict[str, Any]:
    edit: dict[str, Any] = {name: at + 1 for name in NAMES[2:9] if rng.random() < 0.3}
    if rng.random() < 0.5:
        edit["add"] = [[rng.randrange(3), _table(rng, at + 1)]]
    if at and rng.random() < 0.2:
        edit["remove"] = [rng.randrange(at)]
    return edit


def sound_lines(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """The objects of a manifest that is mostly sound."""
    first = {"n": 0, "format": 1, "id": "ab" * 16, "edit": _edit(rng, 0)}
    return [first, *({"n": at, "edit": _edit(rng, at)} for at in range(1, count))]


def _change_value(rng: random.Random, content: Any) -> Any:
    """The same JSON with one value or key anywhere in it changed."""
    if isinstance(content, dict) and content and rng.random() < 0.9:
        key = rng.choice(list(content))
        changed = dict(content)
        if rng.random() < 0.1:
            del changed[key]
        elif rng.random() < 0.1:
            changed[rng.choice(NAMES)] = rng.choice(ODD)
        else:
            changed[key] = _change_value(rng, content[key])
        return changed
    if isinstance(content, list) and content and rng.random() < 0.8:
        at = rng.randrange(len(content))
        return [*content[:at], _change_value(rng, content[at]), *content[at + 1 :]]
    return rng.choice(ODD)


def _change_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    match rng.randrange(4):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 2:
            return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]
        case _:
            return data[:at] + data[min(len(data), at + rng.randrange(1, 40)) :]


def one_input(rng: random.Random) -> bytes:
    """A manifest with none, one or several things wrong."""
    lines = sound_lines(rng, rng.randrange(1, 6))
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(lines))
        lines[at] = _change_value(rng, lines[at])
    try:
        data = b"".join(encode_line(line) for line in lines)
    except (UnicodeEncodeError, ValueError):
        data = encode_line({"n": 0})
    return _change_bytes(rng, data) if rng.random() < 0.3 else data


def check(data: bytes) -> None:
    """Raises what it must not."""
    try:
        read = parse_manifest("MANIFEST", data, 1)
    except (CorruptionError, FormatError) as error:
        assert error.path == "MANIFEST"
        return
    state = read.state
    first = {"n": 0, "format": 1, "id": state.database_id.hex(), "edit": state.whole().to_json()}
    again = encode_line(first)
    assert parse_manifest("MANIFEST", again, 1).state == read.state
    assert json.loads(again[9:])["format"] == 1
    assert 0 <= read.torn_bytes <= len(data)


def fuzz(seconds: float, seed: int) -> dict[str, int]:
    """Inputs until the time is over."""
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        for _ in range(200):
            data = one_input(rng)
            try:
                check(data)
            except BaseException:
                print("a manifest that breaks the reader:", data)
                raise
            count += 1
    return {"executions": count, "edges": 0, "findings": 0}
