"""The process that dies: ingests standard input into a store and reports each acknowledged batch.

    python -m oor.demo.child PATH MODE BATCH MEMTABLE
    MODE   := sync | interval | os | memory                 memory: a dict, and no log
    report := LSN, space, sets so far, space, seconds so far, newline        one for each batch

It never closes the store: at the end of its input it waits for its death, by SIGKILL or because its
parent is gone.
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from collections.abc import Iterator
from typing import Any

from oor.registry import IngestReport, ingest
from oor.registry.store import ABSENT_SIZE


class MemoryStore:
    """What the incident had: a memtable and nothing else."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._data: dict[bytes, bytes] = {}
        self._lsn = 0

    def put(self, key: bytes, value: bytes, *, durability: str | None = None) -> int:
        self._data[key] = value
        self._lsn += 1
        return self._lsn

    def get(self, key: bytes) -> bytes | None:
        return self._data.get(key)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self._data.get(key) for key in keys]

    def scan(self, *_: Any, **__: Any) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def write_columns(
        self, keys: bytes, key_sizes: array[int], values: bytes, value_sizes: array[int], **_: Any
    ) -> int:
        at = value_at = 0
        for key_size, value_size in zip(key_sizes, value_sizes, strict=True):
            key = bytes(keys[at : at + key_size])
            at += key_size
            if value_size == ABSENT_SIZE:
                self._data.pop(key, None)
                continue
            self._data[key] = bytes(values[value_at : value_at + value_size])
            value_at += value_size
        self._lsn += len(key_sizes)
        return self._lsn


def run(path: str, mode: str, batch_sets: int, memtable_bytes: int) -> None:
    """Ingest until killed."""
    parent = os.getppid()
    store: Any
    if mode == "memory":
        store = MemoryStore(path)
    else:
        import oor

        store = oor.open(path, durability=mode, memtable_bytes=memtable_bytes)
    last = 0

    def tell(report: IngestReport) -> None:
        nonlocal last
        # A batch that was there already has no LSN of its own: it is as safe as the last one.
        last = report.last_lsn or last or store.last_lsn
        sets = report.read - report.quarantined
        print(last, sets, f"{report.seconds:.6f}", flush=True)

    ingest(store, ["-"], batch_sets=batch_sets, progress=tell)
    print("end", flush=True)
    while os.getppid() == parent:
        time.sleep(0.1)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
