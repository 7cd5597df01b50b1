"""The quarantine file: what an ingest refused, one JSON object a line, nothing dropped.

    {"file": ..., "source": ..., "rule": ..., "reason": ..., "line": n, "fault_line": n,
     "column": n, "offset": n, "size": n, "raw": "..."}                  and "field" of a message

`raw` holds the bytes as Latin-1 text, one character a byte, so it stays readable and reads back
exactly: json.loads(line)["raw"].encode("latin-1"). Lines are appended; an ingest that is repeated
finds its own among the last 64 MiB and does not append them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from oor import native
from oor.registry.rules import Rejected

_LOOK_BACK = 64 << 20
_PART = 4 << 20
_SEEN_MAX = 1_000_000


def default_path(db_path: str) -> str:
    """Where the rejects of a database go: beside it, as NAME.quarantine.jsonl."""
    return os.path.abspath(db_path) + ".quarantine.jsonl"


class Quarantine:
    """Appends to one quarantine file, which is made with the first reject and not before."""

    __slots__ = ("_end", "_file", "_seen", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: native.File | None = None
        self._end = 0
        self._seen: set[int] = set()

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, rejected: Iterable[Rejected], *, file: str, source: str | None) -> None:
        """Append those rejects that are not there, and make them durable. Raises StorageError."""
        lines = [encode(one, file=file, source=source) for one in rejected]
        if not lines:
            return
        if self._file is None:
            self._open()
        assert self._file is not None
        fresh = [line for line in lines if hash(line) not in self._seen]
        if not fresh:
            return
        if len(self._seen) < _SEEN_MAX:
            self._seen.update(map(hash, fresh))
        data = b"".join(fresh)
        self._file.write(data, self._end)
        self._file.sync()
        self._end += len(data)

    def close(self) -> None:
        """Make the file's name durable and close."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
            native.sync_dir(os.path.dirname(os.path.abspath(self.path)))

    def _open(self) -> None:
        file = native.File(self.path, native.READ | native.WRITE | native.CREATE)
        self._file = file
        self._end = file.size()
        # A crash may have cut the last line: what follows must not be glued to it.
        if self._end and file.read(1, self._end - 1) != b"\n":
            file.write(b"\n", self._end)
            self._end += 1
        self._seen = set(map(hash, _last_lines(file, self._end)))


def _last_lines(file: native.File, size: int) -> Iterator[bytes]:
    """The whole lines of the last _LOOK_BACK bytes, with their ends."""
    at = max(0, size - _LOOK_BACK)
    rest, first = b"", at > 0
    while at < size:
        part = file.read(min(_PART, size - at), at)
        at += len(part)
        *lines, rest = (rest + part).split(b"\n")
        yield from (line + b"\n" for line in lines[first:])
        first = False


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
    if rejected.field:
        fields["field"] = rejected.field
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
