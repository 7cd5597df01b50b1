"""One byte of a log flipped: who notices?

    python -m bench.flip [--record]

Each store takes 2,000 acknowledged puts in a process that is killed; one byte in the middle of its
log is inverted; then it is opened with its defaults. Either it refuses, and says what is lost, or
it opens, and the pairs that are there are counted. The others come with the extra `bench`.

oor is shown twice: after a killed process its shared tail still has the newest bytes of the log, so
that nothing is missing; a power loss takes the tail along.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "figures" / "flip.json"
COUNT = 2000


def _key(n: int) -> bytes:
    return b"%08d" % n


def _value(n: int) -> bytes:
    return b"%08d" % n * 17


def write_oor(path: str) -> Any:
    import oor

    db = oor.open(path)
    for n in range(COUNT):
        db.put(_key(n), _value(n))
    return db


def count_oor(path: str) -> int:
    import oor

    with oor.open(path) as db:
        return len(list(db.keys()))


def write_rocksdb(path: str) -> Any:
    from rocksdict import Options, Rdict, WriteOptions

    options = Options(raw_mode=True)
    options.create_if_missing(True)
    db = Rdict(path, options)
    durable = WriteOptions()
    durable.sync = True
    db.set_write_options(durable)
    for n in range(COUNT):
        db[_key(n)] = _value(n)
    return db


def count_rocksdb(path: str) -> int:
    from rocksdict import Options, Rdict

    db = Rdict(path, Options(raw_mode=True))
    try:
        return len(list(db.keys()))
    finally:
        db.close()


def write_leveldb(path: str) -> Any:
    import plyvel

    db = plyvel.DB(path, create_if_missing=True)
    for n in range(COUNT):
        db.put(_key(n), _value(n), sync=True)
    return db


def count_leveldb(path: str) -> int:
    import plyvel

    db = plyvel.DB(path)
    try:
        return sum(1 for _ in db)
    finally:
        db.close()


def write_sqlite(path: str) -> Any:
    os.makedirs(path)
    db = sqlite3.connect(f"{path}/db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute("CREATE TABLE t (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")
    for n in range(COUNT):
        db.execute("INSERT INTO t VALUES (?, ?)", (_key(n), _value(n)))
    return db


def count_sqlite(path: str) -> int:
    db = sqlite3.connect(f"{path}/db")
    try:
        (count,) = db.execute("SELECT count(*) FROM t").fetchone()
        return int(count)
    finally:
        db.close()


STORES: dict[str, tuple[Callable[[str], Any], Callable[[str], int], tuple[str, ...]]] = {
    "oor": (write_oor, count_oor, (".wal",)),
    "oor, without its tail": (write_oor, count_oor, (".wal",)),
    "RocksDB": (write_rocksdb, count_rocksdb, (".log",)),
    "LevelDB": (write_leveldb, count_leveldb, (".log",)),
    "SQLite": (write_sqlite, count_sqlite, ("db-wal",)),
}


def lose_the_tail(path: str) -> None:
    """What a power loss leaves of oor's shared tail at the worst."""
    tail = Path(path) / "TAIL"
    tail.write_bytes(bytes(tail.stat().st_size))


def flip_in_the_middle(path: str, suffixes: tuple[str, ...]) -> None:
    """Invert one byte in the middle of the bytes that the log has."""
    log = max(
        (each for each in Path(path).iterdir() if each.name.endswith(suffixes)),
        key=lambda each: len(each.read_bytes().rstrip(b"\0")),
    )
    data = bytearray(log.read_bytes())
    # Zeros at the end are room, and no log yet.
    at = len(bytes(data).rstrip(b"\0")) // 2
    data[at] ^= 0xFF
    log.write_bytes(bytes(data))


def examine(name: str, folder: str) -> dict[str, Any]:
    """What one store does; {"skipped": why} where it is not installed."""
    write, count, suffixes = STORES[name]
    path = f"{folder}/{name}"
    call = f"db = bench.flip.{write.__name__}({path!r})"
    code = f"import bench.flip, os; {call}; os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != -signal.SIGKILL:
        return {"skipped": done.stderr.strip().splitlines()[-1]}
    if "tail" in name:
        lose_the_tail(path)
    flip_in_the_middle(path, suffixes)
    try:
        found = count(path)
    except Exception as error:
        return {"refused": str(error).replace(f"{folder}/", "")}
    return {"opened": found}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.flip", description=__doc__)
    parser.add_argument("--record", action="store_true", help=f"write {FIGURES.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {name: examine(name, folder) for name in STORES}
    for name, outcome in found.items():
        print(f"{name:8} {outcome}")
    if arguments.record:
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps({"puts": COUNT, "stores": found}, indent=1) + "\n")
    refused = "refused" in found["oor, without its tail"]
    return 0 if refused and found["oor"].get("opened", COUNT) == COUNT else 1


if __name__ == "__main__":
    sys.exit(main())
