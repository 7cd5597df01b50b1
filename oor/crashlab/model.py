"""What a disk may hold: files and directories with what is durable and what is still pending.

The model is the strict reading of POSIX. Of a file, only what a completed sync of that file covers
is durable, or what a write through an O_DSYNC descriptor put there itself. Of a directory, only the
names that a completed sync of that directory covers. A sync covers what ended before it began.
Everything else is pending: any of it may be on the disk after a power loss, in any combination. The
change of a file's size is pending apart from the data that caused it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from oor.crashlab.profiles import STRICT, Profile
from oor.crashlab.recording import Event, Op, Snapshot

T = TypeVar("T")
PAGE = 4096
SECTOR = 512

Variant = tuple[bytes, bytes]
"""One content that a file may have, and its digest."""


def variant_of(content: bytes) -> Variant:
    """The content with its digest, so that it is hashed once however many images share it."""
    return content, blake2b(content, digest_size=16).digest()


@dataclass(slots=True)
class Unit:
    """One change of a file that reaches the disk whole, apart from tears, or not at all."""

    end: int  # when the operation ended: a sync that began later covers it
    offset: int = 0
    data: bytes = b""
    grow_to: int = -1  # the size is at least this; -1: not about the size
    cut_to: int = -1  # the size is this; -1: not about the size
    page: int = -1  # stored through a shared map into this page; -1: written
    durable: bool = False
    clean: bool = False  # its sync failed, and no later one will write it

    def apply(self, content: bytearray, size: int) -> int:
        """Change `content`, which may be longer than the file, and return the new size."""
        if self.cut_to >= 0:
            del content[self.cut_to :]
            return self.cut_to
        if self.grow_to >= 0:
            return max(size, self.grow_to)
        put(content, self.offset, self.data)
        return size


def put(content: bytearray, offset: int, data: bytes) -> None:
    """Write into a growing buffer; a gap reads as zeros."""
    missing = offset - len(content)
    if missing > 0:
        content.extend(bytes(missing))
    content[offset : offset + len(data)] = data


def resized(content: bytearray, size: int) -> bytes:
    """The first `size` bytes, zeros where there are none."""
    return bytes(content[:size]).ljust(size, b"\0")


@dataclass(slots=True, eq=False)
class File:
    """A file itself, whatever its names."""

    base: bytearray  # durable, with every unit before units[0]
    live: bytearray  # as a reader sees it now
    units: list[Unit] = field(default_factory=list)
    _live_variant: Variant | None = None  # kept until the file changes
    _base_variant: Variant | None = None

    def write(self, end: int, offset: int, data: bytes, *, durable: bool) -> None:
        """A write of the data, and apart from it the growth it causes."""
        if offset + len(data) > len(self.live):
            self._add(Unit(end, grow_to=offset + len(data), durable=durable))
        self._add(Unit(end, offset=offset, data=data, durable=durable))
        put(self.live, offset, data)

    def store(self, end: int, offset: int, data: bytes) -> None:
        """A store through a shared map: the kernel writes its pages back when it likes."""
        for at, piece in split(offset, data, PAGE):
            self._add(Unit(end, offset=at, data=piece, page=at // PAGE))
        put(self.live, offset, data)

    def grow(self, end: int, size: int) -> None:
        """Room was reserved or the length set: zeros up to `size`."""
        if size > len(self.live):
            self._add(Unit(end, grow_to=size))
            self.live.extend(bytes(size - len(self.live)))

    def cut(self, end: int, size: int) -> None:
        """The length was set to less than before."""
        if size < len(self.live):
            self._add(Unit(end, cut_to=size))
            del self.live[size:]

    def sync(self, begin: int) -> None:
        """A sync that began then has completed."""
        for unit in self.units:
            if unit.end < begin and not unit.clean:
                unit.durable = True
        self._settle()

    def failed_sync(self, begin: int, *, reverts: bool = False) -> None:
        """A sync that began then has failed: its pages may be gone, and count as written.

        With `reverts` they are gone, and a reader sees what was there before them.
        """
        if reverts:
            self.units = [unit for unit in self.units if unit.durable or unit.end >= begin]
            self.live = bytearray(self.content(lambda unit: True))
            self._live_variant = None
        for unit in self.units:
            if unit.end < begin and not unit.durable:
                unit.clean = True

    def pending(self) -> list[Unit]:
        """What may or may not be on the disk."""
        return [unit for unit in self.units if not unit.durable]

    def live_variant(self) -> Variant:
        """What a reader sees."""
        if self._live_variant is None:
            self._live_variant = variant_of(bytes(self.live))
        return self._live_variant

    def base_variant(self) -> Variant:
        """What the disk holds when nothing is pending."""
        if self._base_variant is None:
            self._base_variant = variant_of(bytes(self.base))
        return self._base_variant

    def content(self, chosen: Callable[[Unit], bool | list[tuple[int, bytes]]]) -> bytes:
        """The file with the durable units and those `chosen`: whole, or these pieces of one."""
        content = bytearray(self.base)
        size = len(content)
        for unit in self.units:
            taken = unit.durable or chosen(unit)
            if taken is True:
                size = unit.apply(content, size)
            elif taken:
                for offset, piece in taken:
                    put(content, offset, piece)
        return resized(content, size)

    def _add(self, unit: Unit) -> None:
        self.units.append(unit)
        self._live_variant = None
        if unit.durable:
            self._settle()

    def _settle(self) -> None:
        settled = 0
        size = len(self.base)
        for unit in self.units:
            if not unit.durable:
                break
            size = unit.apply(self.base, size)
            settled += 1
        if settled:
            self.base = bytearray(resized(self.base, size))
            del self.units[:settled]
            self._base_variant = None

    def copy(self) -> File:
        """The same state, to go another way from here."""
        units = [Unit(u.end, u.offset, u.data, u.grow_to, u.cut_to, u.page, u.durable, u.clean)
                 for u in self.units]  # fmt: skip
        return File(bytearray(self.base), bytearray(self.live), units,
                    self._live_variant, self._base_variant)  # fmt: skip


def split(offset: int, data: bytes, unit: int) -> Iterator[tuple[int, bytes]]:
    """The pieces of `data` at `offset` that lie in one aligned unit each."""
    at = offset
    while at < offset + len(data):
        end = min((at // unit + 1) * unit, offset + len(data))
        yield at, data[at - offset : end - offset]
        at = end


@dataclass(slots=True, eq=False)
class Dir:
    """A directory itself."""


Node = File | Dir
Names = dict[tuple[Dir, str], Node]


@dataclass(slots=True)
class NameChange:
    """One change of names: it reaches the disk whole or not at all."""

    end: int
    edits: list[tuple[Dir, str, Node | None]]
    unsynced: set[Dir]  # durable once each of them was synced

    @property
    def durable(self) -> bool:
        return not self.unsynced

    def apply(self, names: Names) -> None:
        for folder, name, node in self.edits:
            if node is None:
                names.pop((folder, name), None)
            else:
                names[folder, name] = node


class Disk:
    """The state after the events fed so far, live and durable. Paths are relative to the root."""

    def __init__(self, snapshot: Snapshot, profile: Profile = STRICT) -> None:
        """Everything in the snapshot is durable."""
        self.profile = profile
        self.root = Dir()
        self.live: Names = {}
        self.base: Names = {}
        self.changes: list[NameChange] = []
        self.files: list[File] = []
        self._new_session()
        by_identity: dict[tuple[int, int], File] = {}
        for path in sorted(path for path in snapshot.dirs if path):
            self.live[self._place(path)] = Dir()
        for path, (identity, content) in snapshot.files.items():
            if identity not in by_identity:
                by_identity[identity] = File(bytearray(content), bytearray(content))
            self.live[self._place(path)] = by_identity[identity]
        self.files = list(by_identity.values())
        self.base = dict(self.live)

    def _new_session(self) -> None:
        self._by_number: dict[int, Node] = {}
        self._flags: dict[int, int] = {}

    def copy(self, only: int | None = None) -> Disk:
        """The same state, to go another way from here.

        With `only`, the number of an object, no other file's content can change in the copy: the
        other files are shared.
        """
        twin = object.__new__(Disk)
        one = self._by_number.get(only) if only is not None else None
        touched = [one] if isinstance(one, File) else self.files
        nodes: dict[Node, Node] = {file: file.copy() for file in touched}

        def same(node: T) -> T:
            twin_node: T = nodes.get(node, node)  # type: ignore[call-overload]
            return twin_node

        twin.root = self.root
        twin.profile = self.profile
        twin.files = [same(file) for file in self.files]
        twin.live = {place: same(node) for place, node in self.live.items()}
        twin.base = {place: same(node) for place, node in self.base.items()}
        twin.changes = [
            NameChange(c.end, [(d, n, same(node)) for d, n, node in c.edits], set(c.unsynced))
            for c in self.changes
        ]
        twin._by_number = {number: same(node) for number, node in self._by_number.items()}
        twin._flags = dict(self._flags)
        return twin

    def forget_promises(self) -> None:
        """From here on, no write counts as durable by itself."""
        self._flags = {}

    def reborn(self) -> Disk:
        """A copy for a next recording, in which numbers, descriptors and the clock start anew."""
        twin = self.copy()
        twin._new_session()
        for change in twin.changes:
            change.end = 0  # whatever happens next began after all of this
        for file in twin.files:
            for unit in file.units:
                unit.end = 0
        return twin

    # ---- names ----

    def _place(self, path: str) -> tuple[Dir, str]:
        folder: Dir = self.root
        *parents, name = path.split("/")
        for parent in parents:
            below = self.live[folder, parent]
            assert isinstance(below, Dir), path
            folder = below
        return folder, name

    def find(self, path: str) -> Node | None:
        """What the path names now."""
        if path in ("", "."):
            return self.root
        try:
            return self.live.get(self._place(path))
        except KeyError:
            return None

    def _change(self, end: int, *edits: tuple[tuple[Dir, str], Node | None]) -> None:
        flat = [(folder, name, node) for (folder, name), node in edits]
        change = NameChange(end, flat, {folder for folder, _, _ in flat})
        change.apply(self.live)
        self.changes.append(change)

    def _sync_names(self, folder: Dir, begin: int) -> None:
        for change in self.changes:
            if change.end < begin:
                change.unsynced.discard(folder)
        while self.changes and self.changes[0].durable:
            self.changes.pop(0).apply(self.base)

    def names(self, chosen: Iterable[NameChange]) -> Names:
        """The names on the disk: the durable ones, and the chosen pending changes."""
        wanted = {id(change) for change in chosen}
        names = dict(self.base)
        for change in self.changes:
            if change.durable or id(change) in wanted:
                change.apply(names)
        return names

    # ---- events ----

    def feed(self, event: Event, path: str | None, other: str | None) -> None:
        """Let one operation happen. The paths are relative to the root; None: outside of it."""
        if not event.effect:
            # It failed, whether or not the caller was told; an interrupted one has lost nothing.
            if event.op is Op.SYNC and event.result != -errno.EINTR:
                self._feed_failed_sync(event, path)
            return
        match event.op:
            case Op.OPEN:
                if path is not None:
                    self._open(event, path)
            case Op.CLOSE:
                self._flags.pop(event.fd, None)
            case Op.RENAME | Op.LINK | Op.UNLINK | Op.MAKE_DIR | Op.SYNC_DIR:
                if path is not None:
                    self._feed_names(event, path, other)
            case Op.WRITE | Op.STORE | Op.SYNC | Op.TRUNCATE | Op.ALLOCATE:
                file = self._file_of(event, path)
                if file is not None:
                    self._feed_file(event, file)

    def _open(self, event: Event, path: str) -> None:
        node = self.find(path)
        if node is None:
            assert event.flags & os.O_CREAT, f"{path} is opened and was never made"
            node = File(bytearray(), bytearray())
            self.files.append(node)
            self._change(event.end, (self._place(path), node))
        elif event.flags & os.O_TRUNC and isinstance(node, File):
            node.cut(event.end, 0)
        self._by_number[event.object] = node
        if event.fd >= 0:
            self._flags[event.fd] = event.flags

    def _file_of(self, event: Event, path: str | None) -> File | None:
        node = self._by_number.get(event.object)
        if node is None and path is not None:  # opened before the recording
            node = self.find(path)
            if node is not None:
                self._by_number[event.object] = node
        return node if isinstance(node, File) else None

    def _feed_failed_sync(self, event: Event, path: str | None) -> None:
        file = self._file_of(event, path)
        if file is not None and self.profile.clean_after_error:
            file.failed_sync(event.begin, reverts=self.profile.reverts_after_error)

    def _commit_names(self, node: File, begin: int) -> None:
        """The file's names, and with them all that came before where order is kept, are durable."""
        last = max(
            (
                k
                for k, change in enumerate(self.changes)
                if change.end < begin and any(to is node for _, _, to in change.edits)
            ),
            default=-1,
        )
        for k, change in enumerate(self.changes[: last + 1]):
            if self.profile.names_in_order or k == last:
                change.unsynced.clear()
        while self.changes and self.changes[0].durable:
            self.changes.pop(0).apply(self.base)

    def _feed_file(self, event: Event, file: File) -> None:
        match event.op:
            case Op.WRITE:
                assert len(event.payload) == event.effect, "the recording has no payloads"
                # A write that raised has promised nothing, though its bytes may be there.
                through = event.result >= 0 and bool(self._flags.get(event.fd, 0) & os.O_DSYNC)
                file.write(event.end, event.offset, event.payload, durable=through)
            case Op.STORE:
                file.store(event.end, event.offset, event.payload)
            case Op.SYNC:
                file.sync(event.begin)
                if self.profile.sync_commits_name:
                    self._commit_names(file, event.begin)
            case Op.TRUNCATE:
                file.cut(event.end, event.length)
                file.grow(event.end, event.length)
            case Op.ALLOCATE:
                file.grow(event.end, event.offset + event.effect)

    def _feed_names(self, event: Event, path: str, other: str | None) -> None:
        node = self.find(path)
        match event.op:
            case Op.MAKE_DIR:
                self._change(event.end, (self._place(path), Dir()))
            case Op.UNLINK:
                self._change(event.end, (self._place(path), None))
            case Op.LINK:
                assert other is not None
                self._change(event.end, (self._place(other), node))
            case Op.RENAME:
                assert other is not None
                if self.find(other) is not node:  # two names of one file: POSIX leaves them both
                    self._change(event.end, (self._place(path), None), (self._place(other), node))
            case Op.SYNC_DIR:
                assert isinstance(node, Dir), path
                self._sync_names(node, event.begin)
