"""The manifest: the log of edits that says which tables are live and where redo starts.

    manifest := line*
    line     := crc:8 hex digits, space, JSON of one object, newline
    crc      =  masked CRC32C of the JSON
    first    := {"n": 0, "format": 1, "id": 32 hex digits, "edit": the whole state}
    other    := {"n": the line's index, "edit": a VersionEdit}
    CURRENT  := crc:8 hex digits, space, name of the manifest, newline

A line is synced before the next is written, so a line that does not verify is the torn end of the
file only if none behind it does. A new manifest is whole and durable, its name too, before CURRENT
names it. docs/formats/manifest.md has a worked example.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from oor import names, native
from oor.errors import (
    RESTORE,
    CorruptionError,
    DiskFullError,
    FailedError,
    FormatError,
    OorError,
    bare,
)
from oor.native import lib
from oor.table import TableMeta
from oor.version import VersionEdit

FORMAT = 1
ROLL_BYTES = 1 << 20
"""A manifest longer than this is written anew, if nobody says otherwise."""


def _crc(data: bytes) -> str:
    return f"{lib.oor_crc32c_mask(lib.oor_crc32c(0, data, len(data))):08x}"


def encode_line(content: dict[str, Any]) -> bytes:
    """One line: checksum, JSON with sorted keys, newline."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
    return _crc(text).encode("ascii") + b" " + text + b"\n"


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The object of a line without its newline, or None if it does not verify."""
    if len(line) < 10 or line[8:9] != b" ":
        return None
    if line[:8] != _crc(line[9:]).encode("ascii"):
        return None
    try:
        content = json.loads(line[9:])
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


@dataclass(slots=True)
class ManifestState:
    """What the edits add up to."""

    database_id: bytes
    epoch: int = 0
    next_number: int = 1
    """The next file number of tables and manifests; never one that was used."""
    flushed_lsn: int = 0
    """Everything up to here is in the live tables."""
    log_start: int = 1
    """The number of the oldest segment that redo may need."""
    next_lsn: int = 1
    """No LSN at or above this was given before the log that starts at `log_start`."""
    durable_lsn: int = 0
    """The log was durable up to here when the last edit was written."""
    checkpoint_lsn: int = 0
    closed: bool = False
    tables: dict[int, tuple[int, TableMeta]] = field(default_factory=dict)
    """Number -> (level, meta)."""

    def fold(self, edit: VersionEdit, where: str) -> None:
        """Apply one edit. CorruptionError if it adds what is there or removes what is not."""
        for number in edit.remove:
            if self.tables.pop(number, None) is None:
                raise CorruptionError(
                    f"the manifest removes table {number}, which is not live", path=where
                )
        for level, meta in edit.add:
            if meta.number in self.tables:
                raise CorruptionError(f"the manifest adds table {meta.number} twice", path=where)
            self.tables[meta.number] = (level, meta)
        for name in (
            "epoch",
            "next_number",
            "flushed_lsn",
            "log_start",
            "next_lsn",
            "durable_lsn",
            "checkpoint_lsn",
        ):
            value = getattr(edit, name)
            if value is not None:
                if value < getattr(self, name):
                    raise CorruptionError(f"the manifest sets {name} back to {value}", path=where)
                setattr(self, name, value)
        self.closed = edit.closed

    def whole(self) -> VersionEdit:
        """The edit that makes this state out of nothing."""
        return VersionEdit(
            add=tuple(sorted(self.tables.values(), key=lambda item: (item[0], item[1].number))),
            epoch=self.epoch,
            next_number=self.next_number,
            flushed_lsn=self.flushed_lsn,
            log_start=self.log_start,
            next_lsn=self.next_lsn,
            durable_lsn=self.durable_lsn,
            checkpoint_lsn=self.checkpoint_lsn,
            closed=self.closed,
        )


@dataclass(frozen=True, slots=True)
class ManifestRead:
    """What reading a manifest found."""

    state: ManifestState
    number: int
    lines: int
    torn_bytes: int
    """Bytes behind the last whole line: the end of a write that a crash cut off."""


def read_current(directory: str) -> int:
    """The number of the manifest that CURRENT names. CorruptionError if it does not verify."""
    path = os.path.join(directory, names.CURRENT)
    data = native.read_file(path)
    name = data[9:-1]
    if data[8:9] != b" " or data[-1:] != b"\n" or data[:8] != _crc(name).encode("ascii"):
        raise CorruptionError("CURRENT does not verify", path=path, offset=0, advice=RESTORE)
    kind, number = names.parse(name.decode("ascii", "replace"))
    if kind is not names.FileKind.MANIFEST:
        raise CorruptionError(
            f"CURRENT names {name!r}, which is no manifest", path=path, offset=0, advice=RESTORE
        )
    return number


def read_manifest(directory: str) -> ManifestRead:
    """Fold the manifest that CURRENT names.

    Raises CorruptionError(path, offset) for a line that does not verify before one that does
    or where CURRENT names a file that is not there, FormatError for a version this build does not
    read, StorageError if a file cannot be read.
    """
    number = read_current(directory)
    path = os.path.join(directory, names.manifest_name(number))
    if not native.exists(path):
        raise CorruptionError("CURRENT names a file that is not there", path=path, advice=RESTORE)
    return parse_manifest(path, native.read_file(path), number)


def parse_manifest(path: str, data: bytes, number: int) -> ManifestRead:
    """As `read_manifest`, of bytes that were read already."""
    lines, end = _whole_lines(path, data)
    if not lines:
        raise CorruptionError(
            "the first line of the manifest does not verify", path=path, offset=0, advice=RESTORE
        )
    return ManifestRead(_fold_lines(path, lines), number, len(lines), len(data) - end)


_DAMAGED = "a line of the manifest does not verify, and later ones do"


def _ends_in_a_line(line: bytes) -> bool:
    """Whether a line that verifies stands behind bytes that do not: the newline between them was
    damaged.
    """
    at = line.find(b" {", 9)
    while at >= 0:
        if at >= 8 and decode_line(line[at - 8 :]) is not None:
            return True
        at = line.find(b" {", at + 1)
    return False


def _whole_lines(path: str, data: bytes) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """The lines up to the torn end, each with its offset, and where that end begins."""
    lines: list[tuple[int, dict[str, Any]]] = []
    offset = end = 0
    bad: int | None = None
    for line in data.split(b"\n"):
        # The last piece is what stands behind the last newline: no line unless the newline is
        # there.
        whole = offset + len(line) < len(data)
        content = decode_line(line) if whole else None
        if content is None:
            bad = offset if bad is None else bad
            if whole and _ends_in_a_line(line):
                raise CorruptionError(_DAMAGED, path=path, offset=bad, advice=RESTORE)
        elif bad is not None:
            raise CorruptionError(_DAMAGED, path=path, offset=bad, advice=RESTORE)
        else:
            lines.append((offset, content))
            end = offset + len(line) + 1
        offset += len(line) + 1
    return lines, end


def _fold_lines(path: str, lines: list[tuple[int, dict[str, Any]]]) -> ManifestState:
    _, first = lines[0]
    if first.get("format") != FORMAT:
        raise FormatError(
            f"manifest format {first.get('format')!r}; this build reads {FORMAT}", path=path
        )
    offset = 0
    try:
        state = ManifestState(bytes.fromhex(first["id"]))
        if len(state.database_id) != 16:
            raise ValueError("an id has 16 bytes")
        for index, (at, content) in enumerate(lines):
            offset = at
            if content["n"] != index:
                raise ValueError(f"line {index} says it is line {content['n']}")
            state.fold(VersionEdit.from_json(content["edit"]), path)
    except OorError as error:
        error.path, error.offset, error.advice = path, offset, RESTORE
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptionError(
            f"a manifest line verifies and makes no sense: {error!r}",
            path=path, offset=offset, advice=RESTORE,
        ) from error  # fmt: skip
    return state


class Manifest:
    """The manifest in force, open for edits.

    Threads: `append` by one caller at a time (the engine's manifest lock); `new_number` by anyone.
    Invariant: `state` is what the durable lines add up to; a line that may be torn is never
    followed by another in the same file.
    """

    def __init__(
        self, directory: str, number: int, state: ManifestState, roll_bytes: int = ROLL_BYTES
    ) -> None:
        self._directory = directory
        self._roll_bytes = roll_bytes
        self.number = number
        self.state = state
        self.lines = 0
        self._file: native.File | None = None
        self._size = 0
        self._torn = False
        self._failure: OorError | None = None
        self._next_number = max(state.next_number, number + 1)
        self._number_lock = threading.Lock()

    @classmethod
    def create(
        cls, directory: str, number: int, state: ManifestState, roll_bytes: int = ROLL_BYTES
    ) -> Manifest:
        """Write a new manifest that holds `state` and make CURRENT name it: the commit point of an
        open.
        """
        state.next_number = max(state.next_number, number + 1)
        manifest = cls(directory, number, state, roll_bytes)
        manifest._write_anew(number)
        return manifest

    def new_number(self) -> int:
        """A file number for a table or a manifest, never given before and never again."""
        with self._number_lock:
            number = self._next_number
            self._next_number += 1
            return number

    def append(self, edit: VersionEdit) -> None:
        """Make one edit durable, with the file numbers given so far.

        DiskFullError leaves everything as it was, and the next append writes a new manifest. After
        any other failure the edit is indeterminate and every later append raises FailedError.
        """
        if self._failure is not None:
            raise FailedError(
                f"the manifest takes no more edits since: {self._failure}",
                path=self.path, errno=self._failure.errno,
            )  # fmt: skip
        rolls = self._torn or self._size > self._roll_bytes
        number = self.new_number() if rolls else self.number
        edit = replace(edit, next_number=self._next_number)
        state = replace(self.state, tables=dict(self.state.tables))
        state.fold(edit, self.path)
        before, self.state = self.state, state
        try:
            if rolls:
                self._roll(number)
            else:
                self._append_line(edit)
        except DiskFullError:
            self.state = before
            raise
        except OorError as error:
            self._failure = bare(error)
            raise FailedError(
                f"an edit of the manifest failed: {error}", path=self.path, errno=error.errno
            ) from error

    def _append_line(self, edit: VersionEdit) -> None:
        assert self._file is not None
        line = encode_line({"n": self.lines, "edit": edit.to_json()})
        try:
            self._file.write(line, self._size)
        except DiskFullError:
            self._torn = True
            raise
        self._sync()
        self._size += len(line)
        self.lines += 1

    def _sync(self) -> None:
        assert self._file is not None
        try:
            self._file.sync()
        except DiskFullError as error:
            # A failed sync is final, whatever it says the reason was.
            raise FailedError(
                f"a sync failed: {error}", path=self.path, errno=error.errno
            ) from error

    def _roll(self, number: int) -> None:
        old = self.path
        self._write_anew(number)
        # The edit is in force: a name that stays is an orphan, and undo removes it.
        with suppress(OorError):
            native.unlink(old)

    def _write_anew(self, number: int) -> None:
        path = os.path.join(self._directory, names.manifest_name(number))
        line = encode_line(
            {
                "n": 0,
                "format": FORMAT,
                "id": self.state.database_id.hex(),
                "edit": self.state.whole().to_json(),
            }
        )
        file = native.File(path, native.WRITE | native.CREATE | native.EXCLUSIVE)
        try:
            file.write(line, 0)
            file.sync()
            native.sync_dir(self._directory)
            name = names.manifest_name(number).encode("ascii")
            content = _crc(name).encode("ascii") + b" " + name + b"\n"
            native.replace_atomic(os.path.join(self._directory, names.CURRENT), content)
        except BaseException:
            file.close()
            raise
        if self._file is not None:
            self._file.close()
        self._file, self._size, self.lines, self.number, self._torn = (
            file,
            len(line),
            1,
            number,
            False,
        )

    @property
    def path(self) -> str:
        """The manifest's file."""
        return os.path.join(self._directory, names.manifest_name(self.number))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
