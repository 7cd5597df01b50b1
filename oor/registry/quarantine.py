"""The quarantine file: what an ingest refused, one JSON object a line, nothing dropped.

    {"file": ..., "source": ..., "rule": ..., "reason": ..., "line": n, "fault_line": n,
     "column": n, "offset": n, "size": n, "raw": "..."}

`raw` holds the bytes as Latin-1 text, one character a byte, so it stays readable and reads back
exactly: json.loads(line)["raw"].encode("latin-1"). Lines are appended; an ingest that is repeated
appends again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from oor import native
from oor.registry.rules import Rejected


def default_path(db_path: str) -> str:
    """Where the rejects of a database go: beside it, as NAME.quarantine.jsonl."""
    return os.path.abspath(db_path) + ".quarantine.jsonl"


class Quarantine:
    """Appends to one quarantine file, which is made with the first reject and not before."""

    __slots__ = ("_end", "_file", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: native.File | None = None
        self._end = 0

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, rejected: Iterable[Rejected], *, file: str, source: str | None) -> None:
        """Append rejects. Raises StorageError; written is not yet durable, see `close`."""
        lines = [encode(one, file=file, source=source) for one in rejected]
        if not lines:
            return
        if self._file is None:
            self._open()
        assert self._file is not None
        data = b"".join(lines)
        self._file.write(data, self._end)
        self._end += len(data)

    def close(self) -> None:
        """Make what was added durable and close."""
        file, self._file = self._file, None
        if file is not None:
            with file:
                file.sync()
            native.sync_dir(os.path.dirname(os.path.abspath(self.path)))

    def _open(self) -> None:
        file = native.File(self.path, native.READ | native.WRITE | native.CREATE)
        self._file = file
        self._end = file.size()
        # A crash may have cut the last line: what follows must not be glued to it.
        if self._end and file.read(1, self._end - 1) != b"\n":
            file.write(b"\n", self._end)
            self._end += 1


def encode(rejected: Rejected, *, file: str, source: str | None) -> bytes:
    """One reject as one line of the file."""
    fields = {
        "file": file,
        "source": source,
        "rule": rejected.rule,
        "reason": rejected.reason,
        "line": rejected.line,
        "fault_line": rejected.fault_line,
        "column": rejected.column,
        "offset": rejected.offset,
        "size": len(rejected.raw),
        "raw": rejected.raw.decode("latin-1"),
    }
    return json.dumps(fields, ensure_ascii=True).encode("ascii") + b"\n"


def decode(data: bytes) -> Iterator[dict[str, Any]]:
    """The entries of a quarantine file's content, `raw` as bytes. A cut line is passed over."""
    for line in data.split(b"\n"):
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        fields["raw"] = fields["raw"].encode("latin-1")
        yield fields
