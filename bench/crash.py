"""Writes records to a store and dies by SIGKILL before it can flush them: where `recover` starts.

python -m bench.crash STORE PATH RECORDS
"""

from __future__ import annotations

import os
import signal
import sys

from bench.stores import ALL
from bench.workloads import element_values, key_of

BATCH = 100


def main(name: str, path: str, records: int) -> None:
    """Write, and die."""
    kind = next(store for store in ALL if store.name == name)
    pairs = [(key_of(2 * i), value) for i, value in enumerate(element_values(records))]
    store = kind(path, False)
    store.keep_log()
    for at in range(0, records, BATCH):
        store.write(pairs[at : at + BATCH])
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
