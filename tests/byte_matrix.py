"""Every byte of a corpus of logs, manifests and tables, flipped and cut at: the deep form.

    python tests/byte_matrix.py [--record]        minutes; counts go to docs/figures/bytes.json

A store is opened with each change of each of its files. The outcome is the full state, or an error
that says where, or, where nothing that is left on the disk promised more, an exact prefix: a log that
was cut off with all that promised it, and the end of the last group of a log that was not sealed,
whose loss cannot be told from a torn write. Anything else is a silent difference.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))

from support.engine import TINY, content, copy_of, files, kill, read, scratch, write  # noqa: E402

import oor  # noqa: E402

States = list[dict[bytes, bytes]]
FIGURES = ROOT / "docs" / "figures" / "bytes.json"
ROOMY = TINY | {"memtable_bytes": 1 << 20, "segment_bytes": 32 << 10, "tail_bytes": 16 << 10}


def stores(folder: str) -> Iterator[tuple[str, str, States, States]]:
    """(name, path, the states that it may show when its log is cut, and else) of small stores."""

    def history(path: str, batches: list[dict[bytes, bytes]], **options: Any) -> oor.DB:
        db = oor.open(path, **ROOMY | options)
        for batch in batches:
            db.write(batch)
        return db

    batches = [{b"%02d.%d" % (n, i): b"v" * (30 + n) for i in range(1 + n % 3)} for n in range(12)]
    whole: dict[bytes, bytes] = {}
    prefixes = [dict(whole)]
    for batch in batches:
        whole |= batch
        prefixes.append(dict(whole))
    sealed = f"{folder}/sealed"
    db = history(sealed, batches)
    db._state.log.seal()
    kill(db)
    yield "a sealed log", sealed, prefixes, [whole]
    killed = f"{folder}/killed"
    kill(history(killed, batches))
    # What the last write was is promised by nothing behind it.
    yield "the log of a killed process", killed, prefixes, prefixes[-2:]
    flushed = f"{folder}/flushed"
    db = history(flushed, batches)
    db.flush()
    db.checkpoint()
    kill(db)
    yield "a flushed store", flushed, [whole], [whole]
    for compression in ("none", "lz4", "zstd"):
        closed = f"{folder}/closed-{compression}"
        db = history(closed, batches, compression=(compression,))
        db.compact()
        db.close()
        yield f"a closed store, tables {compression}", closed, [whole], [whole]


def changes(data: bytes) -> Iterator[tuple[bool, bytes]]:
    """(whether it was cut, the bytes): each byte inverted, and the file cut at each byte.

    Of the zeros at its end only some.
    """
    end = min(len(data), len(data.rstrip(b"\0")) + 64)
    for at in range(end):
        yield False, data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        yield True, data[:at]


def outcome(path: str, allowed: States) -> str:
    """What opening and reading the store gives."""
    try:
        db = oor.open(path, **ROOMY)
    except oor.OorError as error:
        return "refused" if error.path else "an error without its place"
    try:
        found = content(db)
    except oor.CorruptionError as error:
        return "refused" if error.path else "an error without its place"
    finally:
        kill(db)
    if found == allowed[-1]:
        return "whole"
    return "prefix" if found in allowed else "silent"


def run() -> dict[str, Any]:
    """All of it; counts by store and kind of file."""
    rows: dict[str, dict[str, int]] = {}
    silent: list[str] = []
    with scratch() as folder:
        for name, origin, when_cut, usual in stores(folder):
            # The shared tail hides damage of a log's end from a start; a power loss takes it along.
            tail = os.path.join(origin, "TAIL")
            write(tail, bytes(os.path.getsize(tail)))
            for path in files(origin, ".wal", ".sst", "CURRENT") + [
                each for each in files(origin) if "MANIFEST" in each
            ]:
                kind = os.path.basename(path)
                counts: Counter[str] = Counter()
                data = read(path)
                twin = copy_of(origin, f"{folder}/twin")
                clean = {each: read(each) for each in files(twin)}
                for at, (was_cut, changed) in enumerate(changes(data)):
                    for each in set(files(twin)) - set(clean):
                        os.unlink(each)
                    for each, bytes_ in clean.items():
                        if not os.path.exists(each) or read(each) != bytes_:
                            write(each, bytes_)
                    write(f"{twin}/{kind}", changed)
                    allowed = when_cut if was_cut and kind.endswith(".wal") else usual
                    counts[outcome(twin, allowed)] += 1
                    if counts["silent"] > len(silent):
                        silent.append(f"{name}, {kind}, change {at}")
                shutil.rmtree(twin)
                rows[f"{name}, {kind}"] = dict(counts)
                print(f"{name}, {kind}: {dict(counts)}", flush=True)
    total: Counter[str] = Counter()
    for counts_of in rows.values():
        total.update(counts_of)
    return {
        "changes": sum(total.values()),
        "outcomes": dict(total),
        "files": rows,
        "silent": silent,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help=f"write {FIGURES.name}")
    arguments = parser.parse_args()
    began = time.monotonic()
    result = run()
    result["seconds"] = round(time.monotonic() - began)
    print(f"{result['changes']:,} changes: {result['outcomes']}")
    if arguments.record:
        FIGURES.write_text(json.dumps(result, indent=1) + "\n")
    wrong = result["outcomes"].keys() - {"whole", "refused", "prefix"}
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
