"""What must hold of every state that a crash may leave.

With H the batches in LSN order and S the state that an open finds:

I1   S is what some prefix of H adds up to
I2   the prefix holds every batch promised durable; after the death of the process alone, every one
     that was acknowledged
I3   it holds no batch that was never given
I4   of each batch all keys or none
I5   opening again finds the same, and changes nothing but the log's newest segment and the manifest
I6   what an open served is there after the next crash, however many recoveries were cut
I7   the next LSN is above every one that was given or stands in a frame that verifies
I8   a compaction, before or after the crash, changes no read; a snapshot never changes
I9   each table that the manifest names is there
I10  with bytes of the disk changed by the disk, S is as if they were not, or the open refuses
I11  an open ends: what it reads is bounded by what is there, and nothing stays open
I12  an open succeeds
I13  an acknowledgement follows the sync of what it acknowledges (see oor.crashlab.rules)
I14  the log is freed only when tables hold it, durably (see oor.crashlab.rules)
I15  a reader beside the writers sees what some prefix of H adds up to, which holds every batch that
     was acknowledged before it looked; and of batches that wait for their sync none that is not
     durable: from then on I2 asks for it
"""

from __future__ import annotations

from dataclasses import dataclass

from oor import names
from oor.crashlab.frames import frames_in
from oor.crashlab.history import History, Promise, State, apply
from oor.errors import OorError
from oor.manifest import ManifestState, decode_line
from oor.version import VersionEdit

READ_FACTOR = 8
READ_SLACK = 1 << 20
"""An open reads at most so many times the bytes on the disk, and so many more."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One state, or one operation, that breaks an invariant."""

    invariant: str
    text: str
    workload: str = ""
    level: str = ""
    point: int = 0
    depth: int = 1
    """How many crashes: 2 and more are crashes during the recovery from the one before."""

    def __str__(self) -> str:
        where = f"{self.level} at event {self.point}" if self.level else "in the trace"
        return f"{self.invariant}: {self.text} [{self.workload}, {where}, depth {self.depth}]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an open of one state found."""

    error: str = ""
    """Empty, or the class and text of what the open raised."""
    is_corruption: bool = False
    state: int = 0
    """Digest of the pairs."""
    next_lsn: int = 0
    left_open: int = 0
    bytes_read: int = 0


def prefix_broken(
    outcome: Outcome,
    found: State | None,
    history: History,
    lengths: dict[int, list[int]],
    promise: Promise,
    kill: bool,
) -> tuple[str, str] | None:
    """The first of I1 to I4 that what was found breaks, with a sentence."""
    required = promise.acked if kill else promise.durable
    prefixes = lengths.get(outcome.state, [])
    if any(required <= length <= promise.submitted for length in prefixes):
        return None
    if prefixes:
        if max(prefixes) < required:
            return "I2", f"batches 1 to {max(prefixes)} are there, {required} were promised"
        return "I3", f"batches 1 to {min(prefixes)} are there, {promise.submitted} were given"
    return (
        ("I1", "no prefix of the history adds up to this")
        if found is None
        else classify(found, history)
    )


def classify(found: State, history: History) -> tuple[str, str]:
    """Whether a state that no prefix adds up to has an invented value, half a batch, or a gap."""
    given = {(key, value) for batch in history.batches for key, value in batch.items()}
    for pair in found.items():
        if pair not in given:
            return "I3", f"key {pair[0]!r} has a value that was never given to it"
    state: State = {}
    for n, batch in enumerate(history.batches, 1):
        before = dict(state)
        apply(state, batch)
        if len(batch) > 1 and is_half(found, before, state, set(batch)):
            return "I4", f"a part of batch {n} is there"
    return "I1", "no prefix of the history adds up to this"


def is_half(found: State, before: State, after: State, keys: set[bytes]) -> bool:
    """Whether `found` is `before` with some of the changes of a batch of these keys."""
    others = (found.keys() | before.keys()) - keys
    return all(found.get(key) == before.get(key) for key in others) and all(
        found.get(key) in (before.get(key), after.get(key)) for key in keys
    )


_highest: dict[bytes, int] = {}


def highest_lsn(files: dict[str, bytes]) -> int:
    """The highest LSN of a frame that verifies in any segment, used or spare.

    A frame without operations, which marks a jump, gives no LSN away.
    """
    highest = 0
    for name, content in files.items():
        if name.endswith((".wal", ".spare")):
            known = _highest.get(content)
            if known is None:
                known = max(
                    (f.first_lsn + f.count - 1 for f in frames_in(content) if f.count), default=0
                )
                if len(_highest) > 2000:
                    _highest.clear()
                _highest[content] = known
            highest = max(highest, known)
    return highest


def promised_lsn(files: dict[str, bytes]) -> int:
    """Up to where the files themselves prove that the log was durable.

    What stands behind that cannot be told from a torn end when it is damaged: no store on one
    device can, and oor does not claim to.
    """
    highest = 0
    current = next((data for path, data in files.items() if path.endswith("/CURRENT")), b"")
    for path, content in files.items():
        name = path.rpartition("/")[2]
        kind, _ = names.parse(name)
        if kind is names.FileKind.SEGMENT:
            highest = max([highest, *(frame.durable_lsn for frame in frames_in(content))])
        elif kind is names.FileKind.MANIFEST and name.encode() in current:
            state = fold(content)
            if state is not None:
                highest = max(highest, state.durable_lsn, state.flushed_lsn)
    return highest


def fold(content: bytes) -> ManifestState | None:
    """What the whole lines of a manifest add up to; None if there are none."""
    state: ManifestState | None = None
    for line in content.split(b"\n")[:-1]:
        read = decode_line(line)
        if read is None:
            break
        try:
            if state is None:
                state = ManifestState(bytes.fromhex(read["id"]))
            state.fold(VersionEdit.from_json(read["edit"]), "")
        except (OorError, KeyError, ValueError):
            break
    return state
