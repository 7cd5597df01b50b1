"""Analysis: the first phase of recovery. It only reads, and ends in a plan that can be printed.

Where does the log end? At the first frame that is not there, if nothing proves that it once was.
Proof is: a later frame that states a higher durable LSN, the header of a later segment (it is
written only when the segment before is durable), or the manifest's own durable LSN. With proof it
is not a torn tail but corruption: an acknowledged write is gone, and the plan carries the error
instead of an end.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from oor import names, native
from oor.errors import RESTORE, CorruptionError, FormatError
from oor.log import SegmentInfo, SegmentScan, Tail
from oor.manifest import ManifestRead, ManifestState, read_manifest
from oor.names import FileKind
from oor.native import lib

SCANS_BYTES: Final = 64 << 20
"""Of segments, kept in memory from analysis to redo; what is beyond is read twice."""


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What is on disk and what recovery will do with it."""

    directory: str
    manifest: ManifestRead
    segments: tuple[SegmentInfo, ...]
    """The live ones, oldest first."""
    orphans: tuple[str, ...]
    """Names that undo removes: half-made segments, tables no manifest names, temporary files."""
    tail: Tail = field(repr=False)
    log_end_lsn: int
    """The last LSN that redo reaches; at least the flushed one."""
    next_lsn: int
    """The first LSN that is given after recovery: above every one that ever was."""
    next_segment: int
    next_number: int
    redo_frames: int
    redo_bytes: int
    """At most so many bytes of frames are read by redo."""
    torn_bytes: int
    """Bytes behind the end of the log that are no frames: what a crash cut off."""
    problem: CorruptionError | None
    """Why a strict open refuses."""

    scans: dict[int, SegmentScan] = field(default_factory=dict, repr=False, compare=False)
    """Segments that were read for redo too, not started; by their numbers."""

    @property
    def state(self) -> ManifestState:
        """What the manifest adds up to."""
        return self.manifest.state

    @property
    def clean(self) -> bool:
        """Whether the store was closed in order, so that there is nothing to redo."""
        return self.state.closed and self.log_end_lsn == self.state.flushed_lsn

    @property
    def redo_lsn(self) -> int:
        """Where redo starts."""
        return self.state.flushed_lsn + 1


def refuse_without_current(directory: str) -> None:
    """CorruptionError if a directory without CURRENT has what only comes after it: a table, a tail,
    a second manifest. A crash while a store is made leaves none of them.
    """
    for name in native.list_dir(directory):
        kind, number = names.parse(name)
        if kind in (FileKind.TABLE, FileKind.TAIL) or (kind is FileKind.MANIFEST and number > 1):
            raise CorruptionError(
                f"there is no CURRENT, but {name}: a file of the store was removed",
                path=os.path.join(directory, names.CURRENT),
                advice=RESTORE,
            )


def analyze(directory: str, *, keep_scans: bool = False) -> RecoveryPlan:
    """Read the manifest and every live segment; change nothing.

    With `keep_scans` the plan holds what was read, so that redo need not read it again.

    Raises CorruptionError if CURRENT or the manifest is damaged or gone, FormatError for a version
    that this build does not read, StorageError if a file cannot be read (which is never taken for
    the end of the log). Cost: one pass over the live log.
    """
    if not native.exists(os.path.join(directory, names.CURRENT)):
        refuse_without_current(directory)
    manifest = read_manifest(directory)
    state = manifest.state
    listing = native.list_dir(directory)
    found = _numbers_by_kind(listing)
    tail = Tail(directory, state.database_id, state.epoch)
    # Closed in order, the tables hold everything and nothing of the log is needed.
    needed = not state.closed or state.flushed_lsn < state.durable_lsn
    numbers = sorted(
        number for number in found[FileKind.SEGMENT] if needed and number >= state.log_start
    )
    infos, scans = _inspect(directory, state, numbers, tail, SCANS_BYTES if keep_scans else 0)
    _check_formats(directory, infos)
    chain = _Chain(directory, state, needed)
    chain.follow(infos)
    live, problem = chain.live, chain.problem
    end = max(live[-1].next_lsn - 1 if live else 0, state.flushed_lsn)
    if problem is None:
        problem = _missing_tables(directory, state, found[FileKind.TABLE])
    spared = {names.segment_name(info.number) for info in live}
    spared |= {names.table_name(number) for number in state.tables}
    spared |= {names.manifest_name(manifest.number), names.CURRENT, names.LOCK, names.TAIL}
    orphans = [
        name
        for name in listing
        if name not in spared and names.parse(name)[0] is not FileKind.FOREIGN
    ]
    return RecoveryPlan(
        directory=directory,
        manifest=manifest,
        segments=tuple(live),
        orphans=tuple(orphans),
        tail=tail,
        log_end_lsn=end,
        next_lsn=_next_lsn(state, live, infos, end),
        next_segment=max({state.log_start} | found[FileKind.SEGMENT] | found[FileKind.SPARE]) + 1,
        next_number=max({state.next_number - 1} | found[FileKind.TABLE] | found[FileKind.MANIFEST])
        + 1,
        redo_frames=sum(info.frames for info in live if info.next_lsn - 1 > state.flushed_lsn),
        redo_bytes=sum(
            info.end - lib.OOR_SEGMENT_HEADER_SIZE
            if problem is None
            else max(info.end, info.file_size)
            for info in live
            if info.next_lsn - 1 > state.flushed_lsn or problem is not None
        ),
        torn_bytes=live[-1].file_size - live[-1].end
        if live and live[-1].ended == lib.OOR_END_BAD
        else 0,
        problem=problem,
        scans=scans,
    )


def _inspect(
    directory: str, state: ManifestState, numbers: list[int], tail: Tail, room: int
) -> tuple[list[SegmentInfo], dict[int, SegmentScan]]:
    """All segments; the scans of those that redo will want, as far as `room` bytes go."""
    infos, scans = [], {}
    for number in numbers:
        info, scan = SegmentScan.inspected(directory, number, state.database_id, state.epoch, tail)
        infos.append(info)
        if info.records and info.next_lsn - 1 > state.flushed_lsn and info.file_size <= room:
            room -= info.file_size
            scans[number] = scan
        else:
            scan.close()
    return infos, scans


def _check_formats(directory: str, infos: list[SegmentInfo]) -> None:
    for info in infos:
        if info.header == lib.OOR_HEADER_FORMAT:
            raise FormatError(
                "a log segment of a format that this build does not read",
                path=os.path.join(directory, names.segment_name(info.number)),
                segment=info.number,
            )


class _Chain:
    """The segments that continue each other from the manifest's log start on, and the first thing
    that is wrong with them, if anything.

    `needed`: the log was not closed in order, so its first segment must be there, with its header.
    """

    def __init__(self, directory: str, state: ManifestState, needed: bool) -> None:
        self.live: list[SegmentInfo] = []
        self.problem: CorruptionError | None = None
        self._directory = directory
        self._state = state
        self._needed = needed

    def follow(self, infos: list[SegmentInfo]) -> None:
        """Take the segments that are on disk, in the order of their numbers."""
        state = self._state
        begun = [info.number for info in infos if info.begun and not info.header_in_tail]
        last_begun = max(begun, default=state.log_start if self._needed else 0)
        if self._needed and (not infos or infos[0].number != state.log_start):
            first = infos[0].first_lsn - 1 if infos and infos[0].begun else state.durable_lsn
            self._wrong(state.log_start, "a segment is missing", state.flushed_lsn + 1, first)
        for info in infos:
            if not info.begun:
                self._take_without_header(info, last_begun)
                continue
            before = self.live[-1] if self.live else None
            # The tail's pages reach the disk in any order: where this one did and those of the log
            # before it did not, the segment has not begun.
            if info.header_in_tail and not _continues(before, info):
                continue
            self._check_place(info, before)
            if info.promised_lsn >= info.next_lsn:
                self._wrong(info.number, _GONE, info.next_lsn, info.promised_lsn, info.end)
            self.live.append(info)
        self._check_end()

    def _take_without_header(self, info: SegmentInfo, last_begun: int) -> None:
        """One that was made ahead and never used is nothing; any other has lost its header."""
        is_start = self._needed and info.number == self._state.log_start
        if not (info.frames_found or info.number < last_begun or is_start):
            return
        expected = self.live[-1].next_lsn if self.live else self._state.flushed_lsn + 1
        what = f"the segment's header is {info.header_text}, and the log goes on"
        self._wrong(info.number, what, expected, info.highest_lsn)
        self.live.append(info)

    def _check_place(self, info: SegmentInfo, before: SegmentInfo | None) -> None:
        """Whether it continues the one before; its header was written when that one was durable."""
        state = self._state
        if before is None:
            floor = max(state.flushed_lsn + 1, state.next_lsn)
            if info.number != state.log_start or info.first_lsn > floor:
                last = info.first_lsn - 1
                self._wrong(state.log_start, "a segment is missing", state.flushed_lsn + 1, last)
        elif info.previous_segment != before.number:
            missing = info.previous_segment
            self._wrong(missing, "a segment is missing", before.next_lsn, info.first_lsn - 1)
        elif before.begun and before.next_lsn - 1 < info.previous_last_lsn:
            last = info.previous_last_lsn
            self._wrong(before.number, _GONE, before.next_lsn, last, before.end)

    def _check_end(self) -> None:
        state = self._state
        end = max(self.live[-1].next_lsn - 1 if self.live else 0, state.flushed_lsn)
        if end < state.durable_lsn:
            number = self.live[-1].number if self.live else state.log_start
            offset = self.live[-1].end if self.live else 0
            what = "the log ends before what the manifest says was durable"
            self._wrong(number, what, end + 1, state.durable_lsn, offset)

    def _wrong(self, number: int, what: str, first: int, last: int, offset: int = 0) -> None:
        if self.problem is None:
            self.problem = CorruptionError(
                what,
                path=os.path.join(self._directory, names.segment_name(number)),
                segment=number,
                offset=offset,
                first_lsn=first or None,
                last_lsn=last if last >= max(first, 1) else None,
            )


_GONE = "frames that were durable do not verify"


def _continues(before: SegmentInfo | None, info: SegmentInfo) -> bool:
    """Whether the log reaches the start of `info`; proof that it once did must be elsewhere."""
    if before is None or info.previous_segment != before.number:
        return False
    return before.next_lsn > info.previous_last_lsn or info.promised_lsn >= before.next_lsn


def _numbers_by_kind(listing: list[str]) -> dict[FileKind, set[int]]:
    found: dict[FileKind, set[int]] = {kind: set() for kind in FileKind}
    for name in listing:
        kind, number = names.parse(name)
        found[kind].add(number)
    return found


def _missing_tables(
    directory: str, state: ManifestState, found: set[int]
) -> CorruptionError | None:
    missing = sorted(set(state.tables) - found)
    if not missing:
        return None
    _, meta = state.tables[missing[0]]
    return CorruptionError(
        f"table {missing[0]} is missing, and {len(missing) - 1} more",
        path=os.path.join(directory, names.table_name(missing[0])),
        first_lsn=meta.first_lsn,
        last_lsn=meta.last_lsn,
    )


def _next_lsn(
    state: ManifestState, live: list[SegmentInfo], infos: list[SegmentInfo], end: int
) -> int:
    """Above every LSN that was given, also by frames that never reached the disk."""
    candidates = [end + 1, state.next_lsn, state.durable_lsn + 1]
    if not state.closed:
        candidates += [info.highest_lsn + 1 for info in infos]
        candidates += [info.lsn_bound for info in live]
    return max(candidates)
