"""What is on the disk for certain, the least that a loss of power can leave; and the most.

Of a file, what a completed sync of it covers, or a write through an O_DSYNC descriptor put there.
Of a directory, the names that a completed sync of it covers. Everything else is taken to be lost.
The most is all that was done: what a kill of the process leaves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from oor import native
from oor.trace import Event, Op


@dataclass(slots=True)
class _Pending:
    end: int
    apply: Callable[[bytearray], None]


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[_Pending] = field(default_factory=list)

    def change(self, end: int, apply: Callable[[bytearray], None]) -> None:
        self.pending.append(_Pending(end, apply))

    def settle(self, before: int) -> None:
        """A sync that began at `before` has completed."""
        for change in self.pending:
            if change.end < before:
                change.apply(self.durable)
        self.pending = [change for change in self.pending if change.end >= before]


class DurableDisk:
    """Follows a recording that began before anything below `root` was there.

    Not for two threads at once. Cost: a copy of what each sync makes durable.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)
        self._files: dict[int, _File] = {}
        self._through: set[int] = set()
        self._live: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._changes: list[tuple[int, str, int | None]] = []
        """When, which name, and the file it has from then on; None: it is gone."""

    def feed(self, event: Event) -> None:
        """Let one operation happen."""
        if not event.effect:
            return
        match event.op:
            case Op.OPEN:
                self._open(event)
            case Op.CLOSE:
                self._through.discard(event.fd)
            case Op.WRITE:
                self._change(event, lambda data: _put(data, event.offset, event.payload))
                if event.fd in self._through:
                    # The descriptor makes this write durable; of the others it says nothing.
                    change = self._files[event.object].pending.pop()
                    change.apply(self._files[event.object].durable)
            case Op.STORE:
                self._change(event, lambda data: _put(data, event.offset, event.payload))
            case Op.TRUNCATE:
                self._change(event, lambda data: _resize(data, event.length))
            case Op.ALLOCATE:
                self._change(
                    event, lambda data: _resize(data, max(len(data), event.offset + event.effect))
                )
            case Op.SYNC if event.object in self._files:
                self._files[event.object].settle(event.begin)
            case Op.RENAME:
                source, target = self._path(event.path), self._path(event.other)
                self._name(event.end, target, self._live.get(source))
                self._name(event.end, source, None)
            case Op.LINK:
                self._name(
                    event.end, self._path(event.other), self._live.get(self._path(event.path))
                )
            case Op.UNLINK:
                self._name(event.end, self._path(event.path), None)
            case Op.SYNC_DIR:
                self._sync_names(self._path(event.path), event.begin)

    def write(self, folder: str, *, everything: bool = False) -> None:
        """Put what is durable into `folder`, which is there and empty, or all that was done.
        Directories below it are left out."""
        for name, content in self.files(everything=everything).items():
            with native.File(os.path.join(folder, name), native.WRITE | native.CREATE) as copy:
                if body := content.rstrip(b"\0"):
                    copy.write(body, 0)
                copy.truncate(len(content))

    def files(self, *, everything: bool = False) -> dict[str, bytes]:
        """Name and content of each file that is durable, or of all, with all that was done to
        them."""
        found = {}
        for name, number in (self._live if everything else self._names).items():
            file = self._files[number]
            content = bytearray(file.durable)
            if everything:
                for change in file.pending:
                    change.apply(content)
            found[os.path.basename(name)] = bytes(content)
        return found

    def _path(self, path: str) -> str:
        folder, name = os.path.split(os.path.abspath(path))
        return os.path.join(os.path.realpath(folder), name)

    def _open(self, event: Event) -> None:
        path = self._path(event.path)
        if os.path.dirname(path) != self._root or event.fd < 0:
            return
        if event.object not in self._files:
            self._files[event.object] = _File()
        if self._live.get(path) != event.object:
            self._name(event.end, path, event.object)
        if event.flags & os.O_TRUNC:
            self._change(event, lambda data: _resize(data, 0))
        self._through.discard(event.fd)
        if event.flags & os.O_DSYNC:
            self._through.add(event.fd)

    def _change(self, event: Event, apply: Callable[[bytearray], None]) -> None:
        file = self._files.get(event.object)
        if file is not None:
            file.change(event.end, apply)

    def _name(self, end: int, path: str, number: int | None) -> None:
        if os.path.dirname(path) != self._root:
            return
        if number is None:
            self._live.pop(path, None)
        else:
            self._live[path] = number
        self._changes.append((end, path, number))

    def _sync_names(self, folder: str, before: int) -> None:
        if folder != self._root:
            return
        for end, path, number in self._changes:
            if end < before:
                if number is None:
                    self._names.pop(path, None)
                else:
                    self._names[path] = number
        self._changes = [change for change in self._changes if change[0] >= before]


def _resize(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


def _put(data: bytearray, offset: int, payload: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(payload)] = payload
