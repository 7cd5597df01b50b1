"""I13 and I14: rules about the order of operations that every recording of a store must keep.

I13: an acknowledgement (the mark "synced <lsn>") comes after a sync that began when the frame's
last byte was written, and after the sync of the directory that holds the segment's name.
I14: a segment loses its name only when a manifest that is durable says that redo starts behind it
or that tables hold all of its frames, and those tables and their names are durable.

Both are read off the durable disk that follows the recording: what oor.crashlab.model says cannot
be lost any more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from oor import names
from oor.crashlab.frames import frames_in
from oor.crashlab.invariants import fold
from oor.crashlab.model import Dir, Disk, File
from oor.crashlab.recording import Event, Op, Snapshot
from oor.manifest import ManifestState
from oor.names import FileKind

_WATCHED = frozenset(
    (Op.OPEN, Op.CLOSE, Op.WRITE, Op.STORE, Op.SYNC, Op.TRUNCATE, Op.ALLOCATE,
     Op.RENAME, Op.LINK, Op.UNLINK, Op.MAKE_DIR, Op.SYNC_DIR)
)  # fmt: skip


class OrderRules:
    """Follows the operations of one store; `broken` says which of them came too early.

    Paths are taken relative to `root`. Cost: a copy of what is written, and a walk over a segment
    for each acknowledgement and each release.
    """

    def __init__(self, root: str, start: Snapshot | None = None) -> None:
        self._root = root
        self._disk = Disk(Snapshot([""]) if start is None else start)
        self._durable_lsn: dict[int, tuple[bytes, int]] = {}
        self.acks: list[str] = []
        """Acknowledgements that came before durability."""
        self.releases: list[str] = []
        """Segments that went before tables held them."""

    def feed(self, event: Event) -> None:
        """Let one operation happen."""
        if event.op is Op.MARK:
            word, _, number = event.text.partition(" ")
            if word == "synced":
                self._check_ack(int(number))
            return
        if event.op not in _WATCHED:
            return
        path = self._relative(event.path)
        if event.effect and event.op in (Op.UNLINK, Op.RENAME) and path is not None:
            self._check_release(path)
        other = self._relative(event.other) if event.other else None
        self._disk.feed(event, path, other)

    def _relative(self, path: str) -> str | None:
        if path == self._root:
            return "."
        inside = path.startswith(self._root + "/")
        return path[len(self._root) + 1 :] if inside else None

    # ---- I13 ----

    def _check_ack(self, lsn: int) -> None:
        highest = 0
        for (_, name), node in self._disk.names(()).items():
            if isinstance(node, File) and names.parse(name)[0] is FileKind.SEGMENT:
                highest = max(highest, self._highest(node, bytes(node.base)))
        if highest < lsn:
            self.acks.append(f"LSN {lsn} is acknowledged, and durable is only {highest}")

    def _highest(self, node: File, content: bytes) -> int:
        known = self._durable_lsn.get(id(node))
        if known is None or known[0] != content:
            highest = max(
                (f.first_lsn + f.count - 1 for f in frames_in(content) if f.count), default=0
            )
            known = self._durable_lsn[id(node)] = content, highest
        return known[1]

    # ---- I14 ----

    def _check_release(self, path: str) -> None:
        folder, name = os.path.split(path)
        kind, number = names.parse(name)
        node = self._disk.find(path)
        if kind is not FileKind.SEGMENT or not isinstance(node, File):
            return
        frames = [frame for frame in frames_in(bytes(node.live)) if frame.count]
        if not frames:
            return
        state, missing = self._manifest(folder)
        last = max(frame.first_lsn + frame.count - 1 for frame in frames)
        if state is None:
            self.releases.append(f"segment {number} goes while no manifest is durable")
        elif frames[0].epoch > state.epoch:
            return  # of an epoch that was never begun
        elif number >= state.log_start and last > state.flushed_lsn:
            self.releases.append(
                f"segment {number} goes with LSN {last}; tables hold {state.flushed_lsn}"
            )
        elif missing:
            self.releases.append(f"segment {number} goes while {missing[0]} is not durable")

    def _manifest(self, folder: str) -> tuple[ManifestState | None, list[str]]:
        """What the durable manifest says, and the tables it names that are not durable."""
        place = self._disk.find(folder) if folder else self._disk.root
        durable = {
            name: node
            for (where, name), node in self._disk.names(()).items()
            if where is place and isinstance(node, File)
        }
        current = durable.get(names.CURRENT)
        if current is None or not isinstance(place, Dir):
            return None, []
        manifest = durable.get(bytes(current.base)[9:-1].decode("ascii", "replace"))
        state = fold(bytes(manifest.base)) if manifest is not None else None
        if state is None:
            return None, []
        tables = [names.table_name(number) for number in state.tables]
        return state, [name for name in tables if name not in durable or durable[name].pending()]


def broken_order(events: Sequence[Event], root: str, start: Snapshot) -> OrderRules:
    """The rules after all of a recording."""
    rules = OrderRules(root, start)
    for event in events:
        rules.feed(event)
    return rules
