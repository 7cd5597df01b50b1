"""I13 and I14: rules about the order of operations that every recording of a store must keep.

I13: what is said to be durable (the PROMISE of the log, and the mark "synced <lsn>" of whoever was
told) comes after a sync that began when the last byte of the frame was written, and after the
sync of the directory that holds the segment's name.
I14: a segment loses its name only when a manifest that is durable says that redo starts behind it
or that tables hold all of its frames, and those tables and their names are durable.

Of the log only the bytes behind the last whole frame are kept, so that a store with segments of any
size can be followed. What was there before the recording counts as durable.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from oor import names
from oor.crashlab.frames import Frames
from oor.crashlab.invariants import fold
from oor.crashlab.recording import Event, Op, Snapshot
from oor.manifest import ManifestState
from oor.names import FileKind


@dataclass(slots=True, eq=False)
class _File:
    """What is known of a file, whatever its names."""

    number: int = 0  # of the object; 0: not known yet
    written: int = 0  # when the last write ended
    synced: int = 0  # when the last successful sync began
    frames: Frames | None = None
    """Of a segment, once its header was written."""
    highest: list[tuple[int, int]] = field(default_factory=list)
    """Of a segment: when a write ended, and the highest LSN of a whole frame then."""
    durable_lsn: int = 0
    content: bytearray = field(default_factory=bytearray)  # of manifest and CURRENT: durable
    pending: list[tuple[int, int, bytes]] = field(default_factory=list)  # not yet

    @property
    def is_durable(self) -> bool:
        return self.written < self.synced or not self.written

    def sync(self, begin: int) -> None:
        self.synced = begin
        ended = bisect_left(self.highest, (begin, 0))
        if ended:
            self.durable_lsn = self.highest[ended - 1][1]
            del self.highest[: ended - 1]
        for end, offset, data in self.pending:
            if end < begin:
                self.content.extend(bytes(max(0, offset - len(self.content))))
                self.content[offset : offset + len(data)] = data
        self.pending = [write for write in self.pending if write[0] >= begin]


Names = dict[str, _File]


class OrderRules:
    """Follows the operations of stores below `root` ("": anywhere).

    Cost: 10 to 30 us an operation, and a copy of what is written to log and manifest.
    """

    def __init__(self, root: str, start: Snapshot | None = None) -> None:
        self._root = root
        self._files: dict[int, _File] = {}
        self._live: Names = {}
        self._durable: Names = {}
        self._changes: list[tuple[int, str, str, _File | None]] = []  # end, folder, path, what
        self._buffered: set[int] = set()  # descriptors whose writes need a sync
        self._gone: dict[str, int] = {}  # folder -> highest LSN durable in segments that went
        self.checked = 0
        """Promises and releases that were looked at."""
        self.acks: list[str] = []
        """Promises that came before durability."""
        self.releases: list[str] = []
        """Segments that went before tables held them."""
        for path, (_, content) in (start.files if start is not None else {}).items():
            self._take_start(f"{root}/{path}", content)

    def _take_start(self, path: str, content: bytes) -> None:
        file = self._live[path] = self._durable[path] = _File()
        kind = names.parse(os.path.basename(path))[0]
        if kind in (FileKind.MANIFEST, FileKind.CURRENT):
            file.content = bytearray(content)
        elif kind is FileKind.SEGMENT:
            file.frames = Frames()
            file.durable_lsn = file.frames.take(0, content)
            file.highest = [(0, file.durable_lsn)]

    def feed(self, event: Event) -> None:
        """Let one operation happen."""
        if event.op is Op.PROMISE:
            self._check_promise(event.path, event.length)
        elif event.op is Op.MARK:
            word, _, number = event.text.partition(" ")
            if word == "synced":
                self._check_promise("", int(number))
        elif event.effect and event.path.startswith(self._root):
            self._happen(event)

    def _happen(self, event: Event) -> None:
        match event.op:
            case Op.OPEN:
                self._open(event)
            case Op.CLOSE:
                self._buffered.discard(event.fd)
            case Op.WRITE:
                self._write(event)
            case Op.SYNC:
                self._file(event).sync(event.begin)
            case Op.SYNC_DIR:
                self._sync_names(event.path.rstrip("/"), event.begin)
            case Op.UNLINK:
                self._check_release(event.path)
                self._rename(event, event.path, None)
            case Op.RENAME | Op.LINK:
                file = self._live.get(event.path) or _File()
                if event.op is Op.RENAME:
                    self._check_release(event.path)
                    self._rename(event, event.path, None)
                self._rename(event, event.other, file)

    # ---- files and names ----

    def _file(self, event: Event) -> _File:
        file = self._files.get(event.object)
        if file is None:
            file = self._live.get(event.path) or _File()
            file.number = event.object
            self._files[event.object] = file
        return file

    def _open(self, event: Event) -> None:
        if not event.flags & os.O_DSYNC:
            self._buffered.add(event.fd)
        file = self._files.get(event.object) or self._live.get(event.path)
        if file is None or file.number not in (0, event.object):
            file = _File(event.object)
            if event.flags & os.O_CREAT:
                self._rename(event, event.path, file)
            else:  # it was there before, or came by another door
                self._live[event.path] = self._durable[event.path] = file
        file.number = event.object
        if event.flags & os.O_TRUNC:
            file.content.clear()
        self._files[event.object] = file

    def _rename(self, event: Event, path: str, file: _File | None) -> None:
        if file is None:
            self._live.pop(path, None)
        else:
            self._live[path] = file
        self._changes.append((event.end, os.path.dirname(path), path, file))

    def _sync_names(self, folder: str, begin: int) -> None:
        waiting = []
        for change in self._changes:
            end, where, path, file = change
            if where != folder or end >= begin:
                waiting.append(change)
            elif file is None:
                self._durable.pop(path, None)
            else:
                self._durable[path] = file
        self._changes = waiting

    def _write(self, event: Event) -> None:
        file = self._file(event)
        file.written = event.end
        kind = names.parse(os.path.basename(event.path))[0]
        # What was opened before the recording gets the benefit of the doubt.
        through = event.fd not in self._buffered and event.result >= 0
        if kind in (FileKind.MANIFEST, FileKind.CURRENT) or event.path.endswith("CURRENT.tmp"):
            file.pending.append((event.end, event.offset, event.payload))
        elif event.payload and event.path.endswith((".wal", ".spare")):
            if Frames.begin_with(event.offset, event.payload):
                file.frames, file.highest, file.durable_lsn = Frames(), [], 0
            if file.frames is not None:
                file.highest.append((event.end, file.frames.take(event.offset, event.payload)))
        if through:
            file.sync(event.end + 1)

    # ---- I13 ----

    def _check_promise(self, folder: str, lsn: int) -> None:
        """`folder`: of the log that has promised it; "": the one there is."""
        self.checked += 1
        durable = [
            file.durable_lsn
            for path, file in self._durable.items()
            if file.frames is not None
            and path.endswith(".wal")
            and (not folder or os.path.dirname(path) == folder)
        ]
        # Whoever was told may say so only when the segment has gone: what I14 is about.
        durable += [gone for where, gone in self._gone.items() if folder in ("", where)]
        if max(durable, default=0) < lsn and self._is_known(folder, lsn):
            self.acks.append(
                f"LSN {lsn} is acknowledged, and durable is only {max(durable, default=0)}"
            )

    def _is_known(self, folder: str, lsn: int) -> bool:
        """Whether the recording has seen the frames of this log: it may have begun after them."""
        return any(
            file.frames is not None and (not folder or os.path.dirname(path) == folder)
            for path, file in self._live.items()
        ) or bool(lsn and not folder)

    # ---- I14 ----

    def _check_release(self, path: str) -> None:
        folder, name = os.path.split(path)
        kind, number = names.parse(name)
        file = self._live.get(path)
        if kind is not FileKind.SEGMENT or file is None or file.frames is None:
            return
        if self._durable.get(path) is file:
            self._gone[folder] = max(self._gone.get(folder, 0), file.durable_lsn)
        last = file.frames.last_lsn
        if not last or f"{folder}/{names.CURRENT}" not in self._live:
            return  # nothing was logged, or it is a log by itself and no store's
        self.checked += 1
        state, missing = self._manifest(folder)
        if state is None:
            self.releases.append(f"segment {number} goes while no manifest is durable")
        elif file.frames.epoch > state.epoch:
            return  # of an epoch that was never begun
        elif number >= state.log_start and last > state.flushed_lsn:
            self.releases.append(
                f"segment {number} goes with LSN {last}; tables hold {state.flushed_lsn}"
            )
        elif missing:
            self.releases.append(f"segment {number} goes while {missing[0]} is not durable")

    def _manifest(self, folder: str) -> tuple[ManifestState | None, list[str]]:
        """What the durable manifest says, and the tables it names that are not durable."""
        current = self._durable.get(f"{folder}/{names.CURRENT}")
        if current is None:
            return None, []
        name = bytes(current.content)[9:-1].decode("ascii", "replace")
        manifest = self._durable.get(f"{folder}/{name}")
        state = fold(bytes(manifest.content)) if manifest is not None else None
        if state is None:
            return None, []
        tables = [f"{folder}/{names.table_name(number)}" for number in state.tables]
        return state, [os.path.basename(path) for path in tables if not self._is_durable(path)]

    def _is_durable(self, path: str) -> bool:
        """A table that the recording has never seen was there before it."""
        file = self._live.get(path)
        return file is None or (file.is_durable and self._durable.get(path) is file)


def broken_order(events: Sequence[Event], root: str, start: Snapshot) -> OrderRules:
    """The rules after all of a recording."""
    rules = OrderRules(root, start)
    for event in events:
        rules.feed(event)
    return rules
