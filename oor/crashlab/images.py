"""Every state of the disk that a crash may leave, built from a recording.

    with Recording(folder) as recording:
        ...                                   # the workload, with recording.mark("ack 7")
    for image in CrashImages(recording).all(Level.REORDERED, seed=1):
        image.write(fresh_folder)             # then open the store there, and look
        recording.events[: image.point]       # what had happened: acknowledgements are marks here

A crash point n lies after events[n - 1] and inside events[n]. Images are bounded in number, the
same for the same seed, and each is given once (for the same marks before it). An image of small
files costs 50 to 200 us to build and 30 us a file to write, into memory (/dev/shm).
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from oor import native
from oor.crashlab.levels import CRASHES, QUICK, Bounds, Level, prefixes, sector_masks, subsets
from oor.crashlab.model import SECTOR, Dir, Disk, File, Names, Unit, Variant, split, variant_of
from oor.crashlab.profiles import STRICT, Profile
from oor.crashlab.recording import Event, Op, Recording, Snapshot

__all__ = ["CrashImages", "Event", "Image", "Level", "Op", "Recording", "Snapshot"]

_NEW = native.WRITE | native.CREATE | native.EXCLUSIVE
CHANGES = frozenset(
    (Op.OPEN, Op.WRITE, Op.STORE, Op.SYNC, Op.TRUNCATE, Op.ALLOCATE,
     Op.RENAME, Op.LINK, Op.UNLINK, Op.MAKE_DIR, Op.SYNC_DIR)
)  # fmt: skip


CONTENT = frozenset((Op.WRITE, Op.STORE, Op.TRUNCATE, Op.ALLOCATE))


@dataclass(slots=True)
class Image:
    """One state of the directory tree."""

    point: int  # events[:point] had happened
    level: Level
    dirs: tuple[str, ...]
    files: dict[str, bytes]  # two names of one file are two equal entries
    digest: bytes
    intact: dict[str, bytes] | None = None
    """Where the device has lied: the files as they were before."""

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Put it into `folder`, which is empty or does not exist."""
        base = os.fspath(folder)
        for path in (os.path.dirname(os.path.abspath(base)), base):
            if not native.exists(path):
                native.make_dir(path)
        for path in self.dirs:
            native.make_dir(f"{base}/{path}")
        for path, content in self.files.items():
            with native.File(f"{base}/{path}", _NEW) as file:
                file.write(content.rstrip(b"\0"), 0)  # room reserved ahead of use stays a hole
                file.truncate(len(content))


@dataclass(slots=True)
class Layout:
    """A tree of names, ready for contents."""

    dirs: tuple[str, ...]
    head: bytes
    files: list[tuple[str, bytes, File]]


class CrashImages:
    """The states that a crash may leave at each point of a recording.

    `start` is what an earlier call of `after_kill` gave: changes that were pending when the first
    process died still are, so that a power loss during its recovery can take them.
    """

    def __init__(
        self,
        recording: Recording,
        start: Disk | None = None,
        *,
        profile: Profile = STRICT,
        bounds: Bounds = QUICK,
        without: frozenset[str] = frozenset(),
    ) -> None:
        """`without`: names of files whose content says nothing and is left out."""
        self.events: Sequence[Event] = recording.events
        self._root = recording.root
        self._profile = profile
        self._bounds = bounds
        self._without = without
        self._start = Disk(recording.snapshot, profile) if start is None else start.reborn()
        self._disk = self._start.copy()
        self._fed = 0
        self._paths: dict[str, str | None] = {}
        if start is not None and not without:
            live = self._layout(self._disk.live)
            found = self._image(0, Level.KILL, live, File.live_variant).files
            recorded = {path: content for path, (_, content) in recording.snapshot.files.items()}
            assert found == recorded, "the recording did not begin with what the kill left"

    # ---- what a caller asks for ----

    def points(self) -> list[int]:
        """Where a crash can leave something new: in each operation that changes, and at the end."""
        inside = [n for n, event in enumerate(self.events) if event.op in CHANGES]
        return [*inside, len(self.events)]

    def all(
        self,
        *levels: Level,
        points: Iterable[int] | None = None,
        seed: int = 0,
        per_point: int | None = None,
    ) -> Iterator[Image]:
        """Each image of these levels (none: all crashes) at these points, once.

        Two equal images are both given when another mark lies between them, since what had been
        acknowledged then differs.
        """
        seen: set[tuple[bytes, int]] = set()
        marks = [0, *itertools.accumulate(event.op is Op.MARK for event in self.events)]
        for point in self.points() if points is None else sorted(points):
            for level in levels or CRASHES:
                for image in self.at(point, level, seed=seed, limit=per_point):
                    key = image.digest, marks[point]
                    if key not in seen:
                        seen.add(key)
                        yield image

    def at(
        self, point: int, level: Level, *, seed: int = 0, limit: int | None = None
    ) -> Iterator[Image]:
        """The images of one level at one point, each once, at most `limit`."""
        limit = self._bounds.per_point if limit is None else limit
        rng = random.Random(f"{seed} {point} {level}")
        images = self._killed(point) if level is Level.KILL else self._cut(point, level, rng, limit)
        seen: set[bytes] = set()
        for image in images:
            if image.digest not in seen and len(seen) < limit:
                seen.add(image.digest)
                yield image

    def after_kill(self, point: int) -> Disk:
        """The disk when the process dies at this point, what is pending still pending."""
        return self._disk_at(point).reborn()

    # ---- getting there ----

    def _relative(self, path: str) -> str | None:
        if path not in self._paths:
            folder, name = os.path.split(os.path.abspath(path))
            full = os.path.join(os.path.realpath(folder), name)
            inside = full == self._root or full.startswith(self._root + os.sep)
            self._paths[path] = os.path.relpath(full, self._root) if inside else None
        return self._paths[path]

    def _feed(self, disk: Disk, event: Event) -> None:
        if self._without and os.path.basename(event.path) in self._without and event.op in CONTENT:
            return
        if event.op in CHANGES or event.op is Op.CLOSE:
            other = self._relative(event.other) if event.other else None
            disk.feed(event, self._relative(event.path) if event.path else None, other)

    def _disk_at(self, point: int) -> Disk:
        """The state after events[:point]. Going forward is cheap, going back starts again."""
        if point < self._fed:
            self._disk, self._fed = self._start.copy(), 0
        for event in self.events[self._fed : point]:
            self._feed(self._disk, event)
        self._fed = point
        return self._disk

    def _in_flight(self, point: int) -> Event | None:
        return self.events[point] if point < len(self.events) else None

    # ---- the death of the process ----

    def _killed(self, point: int) -> Iterator[Image]:
        disk = self._disk_at(point)
        yield self._image(point, Level.KILL, self._layout(disk.live), File.live_variant)
        event = self._in_flight(point)
        if event is None or event.op not in (Op.WRITE, Op.STORE) or len(event.payload) < 2:
            return
        size = len(event.payload)
        cuts = {1, size // 2, size - 1, *range(SECTOR - event.offset % SECTOR, size, SECTOR)}
        for cut in sorted(cut for cut in cuts if 0 < cut < size):
            partial = disk.copy(only=event.object)
            self._feed(partial, part_of(event, cut))
            yield self._image(point, Level.KILL, self._layout(partial.live), File.live_variant)

    # ---- the loss of power ----

    def _cut(self, point: int, level: Level, rng: random.Random, limit: int) -> Iterator[Image]:
        disk = self._disk_at(point)
        event = self._in_flight(point)
        if event is not None and event.op in CHANGES - {Op.SYNC, Op.SYNC_DIR}:
            # It may have reached the disk, in whole or in part, but nothing has promised so.
            by_number = event.op in (Op.WRITE, Op.STORE, Op.TRUNCATE, Op.ALLOCATE)
            disk = disk.copy(only=event.object if by_number else None)
            disk.forget_promises()
            self._feed(disk, event)
        trees = self._trees(disk, level, rng)
        reachable = {id(node) for tree in trees for node in tree.values()}
        variants = {
            id(file): self._variants(file, level, rng)
            for file in disk.files
            if id(file) in reachable
        }
        layouts = [self._layout(tree) for tree in trees]
        for layout, choice in combinations(layouts, variants, rng, limit):
            yield self._image(point, level, layout, chooser(choice))

    def _trees(self, disk: Disk, level: Level, rng: random.Random) -> list[Names]:
        pending = [change for change in disk.changes if not change.durable]
        if level is Level.ORDERED or self._profile.names_in_order:
            masks = prefixes(len(pending))
        else:
            masks = subsets(len(pending), rng, self._bounds.exact_names, self._bounds)
        trees: dict[frozenset[tuple[object, int]], Names] = {}
        for mask in masks:
            tree = disk.names(change for k, change in enumerate(pending) if mask >> k & 1)
            key = frozenset((place, id(node)) for place, node in tree.items())
            trees.setdefault(key, tree)
        return [*trees.values(), tree]

    def _variants(self, file: File, level: Level, rng: random.Random) -> list[Variant]:
        """What the file may hold: nothing of what is pending first, all of it last."""
        pending = file.pending()
        if not pending:
            return [file.base_variant()]
        writes = [unit for unit in pending if unit.page < 0]
        stores = [unit for unit in pending if unit.page >= 0]
        if level is Level.ORDERED:
            masks = prefixes(len(writes))
        else:
            masks = subsets(len(writes), rng, self._bounds.exact, self._bounds)
        if self._profile.data_before_size:
            masks = [mask for mask in masks if sizes_have_data(writes, mask)] or [0]
        contents = [
            file.content(any_of(chosen))
            for pages in page_choices(stores, rng)
            for mask in masks
            for chosen in [{id(u) for k, u in enumerate(writes) if mask >> k & 1} | pages]
        ]
        if level is Level.TORN:
            contents[-1:-1] = torn(file, writes, rng)
            if self._bounds.tears:
                contents[-1:-1] = garbled(file, writes, rng, self._bounds.tears)
        distinct = list(dict.fromkeys(contents))
        if distinct[-1] != contents[-1]:
            distinct.append(contents[-1])
        return [variant_of(content) for content in distinct]

    # ---- making images ----

    def _layout(self, names: Names) -> Layout:
        """The tree's directories and files by path, in one order whatever way it came about."""
        dirs: list[str] = []
        files: list[tuple[str, bytes, File]] = []
        below: dict[Dir, list[tuple[str, File | Dir]]] = {}
        for (folder, name), node in names.items():
            below.setdefault(folder, []).append((name, node))
        waiting = [("", self._start.root)]
        while waiting:
            prefix, folder = waiting.pop()
            for name, node in below.get(folder, ()):
                path = prefix + name
                if isinstance(node, Dir):
                    dirs.append(path)
                    waiting.append((path + "/", node))
                else:
                    files.append((path, os.fsencode(path) + b"\0", node))
        dirs.sort()
        files.sort(key=lambda entry: entry[0])
        return Layout(tuple(dirs), os.fsencode("/".join(dirs)) + b"\0", files)

    def _image(
        self, point: int, level: Level, layout: Layout, variant: Callable[[File], Variant]
    ) -> Image:
        files: dict[str, bytes] = {}
        parts = [layout.head]
        for path, raw, node in layout.files:
            files[path], digest = variant(node)
            parts += (raw, digest)
        whole = blake2b(b"".join(parts), digest_size=16).digest()
        return Image(point, level, layout.dirs, files, whole)


def sizes_have_data(writes: list[Unit], mask: int) -> bool:
    """Whether each growth that was chosen comes with the bytes of the write that caused it."""
    for k, unit in enumerate(writes[:-1]):
        follows = writes[k + 1].end == unit.end and writes[k + 1].data
        if unit.grow_to >= 0 and mask >> k & 1 and follows and not mask >> k + 1 & 1:
            return False
    return True


def chooser(choice: dict[int, Variant]) -> Callable[[File], Variant]:
    """Gives each file the variant that was chosen for it."""
    return lambda file: choice[id(file)]


def any_of(chosen: set[int]) -> Callable[[Unit], bool]:
    """Takes the units of these ids."""
    return lambda unit: id(unit) in chosen


def with_pieces(
    victim: Unit, kept: list[tuple[int, bytes]], before: set[int]
) -> Callable[[Unit], bool | list[tuple[int, bytes]]]:
    """Takes some pieces of one unit, and the units of these ids."""
    return lambda unit: kept if unit is victim else id(unit) in before


def part_of(event: Event, size: int) -> Event:
    """The same write or store, cut off after `size` bytes."""
    return replace(event, effect=size, result=size, payload=event.payload[:size])


def page_choices(stores: list[Unit], rng: random.Random, extra: int = 3) -> list[set[int]]:
    """Sets of store units by id: each page as it was, as it is, or as it was at some moment."""
    pages: dict[int, list[int]] = {}
    for unit in stores:
        pages.setdefault(unit.page, []).append(id(unit))
    if not pages:
        return [set()]
    choices: list[set[int]] = [set()]
    for _ in range(extra):
        chosen: set[int] = set()
        for units in pages.values():
            chosen.update(units[: rng.choice((0, len(units), rng.randrange(len(units) + 1)))])
        choices.append(chosen)
    return [*choices, {unit for units in pages.values() for unit in units}]


def torn(file: File, writes: list[Unit], rng: random.Random) -> Iterator[bytes]:
    """Contents in which one write is torn: those before it are there, those after it are not."""
    for k, victim in enumerate(writes):
        sectors = list(split(victim.offset, victim.data, SECTOR))
        before = {id(unit) for unit in writes[:k]}
        for mask in sector_masks(len(sectors), rng):
            kept = [sector for i, sector in enumerate(sectors) if mask >> i & 1]
            yield file.content(with_pieces(victim, kept, before))


def garbled(file: File, writes: list[Unit], rng: random.Random, unit: int) -> Iterator[bytes]:
    """Contents in which a torn sector of one write holds anything, and with a larger unit the bytes
    beside the write in the aligned unit around that sector too.
    """
    for k, victim in enumerate(writes):
        before = {id(write) for write in writes[: k + 1]}
        sectors = list(split(victim.offset, victim.data, SECTOR))
        for offset, piece in rng.sample(sectors, min(len(sectors), 3)):
            content = bytearray(file.content(any_of(before)))
            start, end = offset, offset + len(piece)
            if unit > SECTOR:
                start = offset // unit * unit
                end = min(start + unit, len(content))
            content[start:end] = rng.randbytes(end - start)
            yield bytes(content)


def combinations(
    trees: list[Layout], variants: dict[int, list[Variant]], rng: random.Random, limit: int
) -> Iterator[tuple[Layout, dict[int, Variant]]]:
    """Names with a content for each file: all when they are few, else a spread of them.

    The spread lets one file or the names vary while all others have nothing or all of what is
    pending; the rest of the limit is filled at random.
    """
    keys = list(variants)
    total = len(trees)
    for key in keys:
        total *= len(variants[key])
    if total <= limit:
        for tree in trees:
            for contents in itertools.product(*(variants[key] for key in keys)):
                yield tree, dict(zip(keys, contents, strict=True))
        return
    none, everything = ({key: variants[key][k] for key in keys} for k in (0, -1))
    corners = [(tree, rest) for tree in (trees[0], trees[-1]) for rest in (none, everything)]
    spread = [(tree, rest) for tree in trees for rest in (none, everything)]
    for key in keys:
        for content in variants[key]:
            spread += [(trees[-1], rest | {key: content}) for rest in (none, everything)]
    yield from corners
    yield from rng.sample(spread, min(len(spread), limit * 3 // 4))
    for _ in range(limit):
        yield rng.choice(trees), {key: rng.choice(variants[key]) for key in keys}
