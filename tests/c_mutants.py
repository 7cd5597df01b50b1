"""Mutants of the C half: bugs that only the code that reads and writes the bytes can have.

python tests/c_mutants.py             prints the table of tests/mutants.py for them
python tests/c_mutants.py --one M13   one mutant, as JSON; --clean: the same run without its bug

Each is a switch in a copy of the tree below build/, built once; what is installed and released has
none. A child process with that copy turns one on, or a pair, and explores as tests/mutants.py does.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from classes import Copy, Edit
from mutants import MASKED, Count, Mutant, Patch, Verdict, run, show, swapped

import oor
from oor import recovery
from oor.crashlab.explorer import Explorer
from oor.crashlab.frames import frames_in
from oor.crashlab.history import digest
from oor.crashlab.images import Image
from oor.crashlab.invariants import Violation
from oor.crashlab.levels import Level
from oor.crashlab.memory import ROOT, STORE
from oor.crashlab.recording import Recording, Snapshot
from oor.crashlab.run import NeutralityError, Recorded, Run, kill
from oor.crashlab.scripts import SCRIPTS
from oor.native import lib
from oor.trace import Op

PAYLOAD, HEADER, SEGMENT, LSN, RECOVERED, STUCK, READ, RETRY, TOMBSTONE = range(9)

DECLARATION = """
void oor_mutant_choose(uint32_t switches);
uint64_t oor_mutant_hits(void);
int oor_mutant(uint32_t which);
"""
DEFINITION = """
static uint32_t mutants;
static uint64_t mutant_hits;
void oor_mutant_choose(uint32_t switches) { mutants = switches, mutant_hits = 0; }
uint64_t oor_mutant_hits(void) { return mutant_hits; }
int oor_mutant(uint32_t which) {
    if (!(mutants >> which & 1)) return 0;
    __atomic_fetch_add(&mutant_hits, 1, __ATOMIC_RELAXED);
    return 1;
}
"""


def guard(file: str, condition: str, which: int) -> Edit:
    """A condition of an `if` that never holds while the switch is on."""
    return Edit(file, f"if ({condition})", f"if ({condition} && !oor_mutant({which}))")


SWITCHES = (
    Edit("csrc/oor.h", "\n/* cdef: end */", DECLARATION + "\n/* cdef: end */"),
    Edit("csrc/core.c", "static _Thread_local oor_error last_error;\n",
         "static _Thread_local oor_error last_error;\n" + DEFINITION),
    guard("csrc/frame.c", "body_crc != oor_crc32c_mask(oor_crc32c(salt, body, body_size))", PAYLOAD),
    guard("csrc/frame.c",
          "oor_load32(data + FRAME_HEADER_CRC) != header_crc(data, salt, offset)", HEADER),
    Edit("csrc/frame.c", "uint32_t oor_segment_salt(const oor_segment_id *id) {\n",
         "uint32_t oor_segment_salt(const oor_segment_id *id) {\n"
         f"    if (oor_mutant({SEGMENT})) return 0;\n"),
    Edit("csrc/walscan.c", "if (out->first_lsn == expected_lsn) return source;",
         f"if (out->first_lsn == expected_lsn || oor_mutant({LSN})) return source;"),
    Edit("csrc/wal_segment.c", "OOR_OPEN_CREATE | OOR_OPEN_EXCLUSIVE);",
         f"OOR_OPEN_CREATE | (oor_mutant({RECOVERED}) ? 0 : OOR_OPEN_EXCLUSIVE));"),
    Edit("csrc/frame.c", "oor_store64(out + FRAME_DURABLE_LSN, durable_lsn);",
         f"oor_store64(out + FRAME_DURABLE_LSN, oor_mutant({STUCK}) ? 0 : durable_lsn);"),
    Edit("csrc/walscan.c", "    oor_io_close(fd, path);\n    if (got < 0) {",
         "    oor_io_close(fd, path);\n"
         f"    if (got < 0 && oor_mutant({READ})) got = 0;\n    if (got < 0) {{"),
    Edit("csrc/wal_segment.c", "    rc = oor_io_sync(file->fd, file->path);\n    /* What",
         "    rc = oor_io_sync(file->fd, file->path);\n"
         f"    if (rc < 0 && oor_mutant({RETRY})) rc = oor_io_sync(file->fd, file->path);\n"
         "    /* What"),
    Edit("csrc/compaction.c", "!may_be_below(work, top->key, top->key_size)",
         f"(!may_be_below(work, top->key, top->key_size) || oor_mutant({TOMBSTONE}))"),
)  # fmt: skip


def switched(*which: int) -> Patch:
    """With these switches on."""

    @contextlib.contextmanager
    def patch(count: Count) -> Iterator[None]:
        native: Any = lib
        native.oor_mutant_choose(sum(1 << one for one in which))
        try:
            yield
        finally:
            count(native.oor_mutant_hits())
            native.oor_mutant_choose(0)

    return patch


@contextlib.contextmanager
def goes_on_in_the_recovered_segment(count: Count) -> Iterator[None]:
    """The log of the new epoch begins in the newest segment of the old one."""

    def mutated_plan(analyze: Any) -> Any:
        def body(*arguments: Any, **named: Any) -> Any:
            plan = analyze(*arguments, **named)
            return replace(plan, next_segment=plan.segments[-1].number) if plan.segments else plan

        return body

    def mutated_undo(undo: Any) -> Any:
        def body(plan: Any, manifest: Any) -> None:
            others = [info for info in plan.segments if info.number != plan.next_segment]
            undo(replace(plan, segments=tuple(others)), manifest)

        return body

    with (
        swapped(recovery, "analyze", mutated_plan),
        swapped(recovery, "_undo", mutated_undo),
        switched(RECOVERED)(count),
    ):
        yield


# ---- trials --------------------------------------------------------------------------------------


def flipped_headers(explorer: Explorer, recorded: Recorded) -> None:
    """Every bit of every frame's header, in what was durable at the end."""
    images = explorer.images_of(recorded)
    last = images.points()[-1]
    base = next(iter(images.at(last, Level.ORDERED, seed=1)))
    for path, content in base.files.items():
        if not path.endswith(".wal"):
            continue
        for frame in frames_in(content):
            for bit in range(8 * 40):
                at = frame.offset + bit // 8
                byte = bytes([content[at] ^ 1 << bit % 8])
                explorer.try_state(recorded, lied(base, path, content, at, byte))


def lied(base: Image, path: str, content: bytes, at: int, byte: bytes) -> Image:
    """The image with one byte that the disk changed."""
    files = base.files | {path: content[:at] + byte + content[at + 1 :]}
    name = base.digest + path.encode() + at.to_bytes(4, "little") + byte
    return replace(base, level=Level.LYING, files=files, intact=base.files, digest=name)


def lost_promises(explorer: Explorer, recorded: Recorded) -> None:
    """Each frame damaged that a later durable one promises, in what was durable at the end."""
    images = explorer.images_of(recorded)
    image = next(iter(images.at(images.points()[-1], Level.ORDERED, seed=1)))
    required = recorded.promises[image.point].durable
    for path, content in image.files.items():
        frames = frames_in(content) if path.endswith(".wal") else []
        for frame in frames[:-1]:
            at = frame.offset + 40
            files = image.files | {path: content[:at] + b"\xff" + content[at + 1 :]}
            if opens_with_less(explorer, recorded, replace(image, files=files), required):
                text = f"the frame at {frame.offset} is gone, and nothing says so"
                explorer.note(Violation("I10", text, recorded.name, Level.LYING.name))


def refused_reads(explorer: Explorer, recorded: Recorded) -> None:
    """An open of what a kill left, in which the nth read fails, for every n."""
    images = explorer.images_of(recorded)
    image = next(iter(images.at(images.points()[-1], Level.KILL)))
    required = recorded.promises[image.point].acked
    met = 1
    for nth in range(1, 1000):
        if not met:
            break
        with Recording(ROOT, start=Snapshot([""])) as recording:
            recording.fail(Op.READ, nth=nth, errno=errno.EIO)
            less = opens_with_less(explorer, recorded, image, required)
            met = recording.faults_met
        if less:
            text = f"read {nth} fails and the store opens with less"
            explorer.note(Violation("I2", text, recorded.name, Level.KILL.name))


def opens_with_less(explorer: Explorer, recorded: Recorded, image: Image, required: int) -> bool:
    """Whether the store opens without the first `required` batches."""
    explorer.tally.distinct[image.level.name] += 1
    explorer.disk.put(image.dirs, image.files)
    try:
        db = oor.open(STORE, **recorded.options)
    except oor.OorError:
        return False
    try:
        return max(recorded.lengths.get(digest(dict(db.scan())), [-1])) < required
    finally:
        kill(db)


def tombstones(run: Run) -> None:
    """Deletes above a level that holds their keys, merged into the level between."""
    rng = random.Random(1)
    db = run.open(l0_trigger=1, level_base_bytes=4 << 10, compression="none")
    for n in range(40):
        db.put(b"key%02d" % n, rng.randbytes(1500), durability="os")
    db.flush()
    while db.db._background.compactor.once():
        pass
    for n in range(6):
        db.write({b"key": b"%d" % n, b"key%02d" % (7 * n): None, b"kez": None}, durability="os")
        db.flush()
        before = db.content()
        db.db._background.compactor.once()
        if db.content() != before:
            raise NeutralityError("a compaction changed what is read")
    db.close()


SCRIPTS["tombstones"] = (tombstones, {})

C_MUTANTS = (
    Mutant("M13", "no checksum of a frame's body", ("I1", "I3", "I4", "I12"), "W-E",
           patch=switched(PAYLOAD)),
    Mutant("M14", "no checksum of a frame's header", ("I10", "I1"),
           "put,batch,reopen,put", patch=switched(HEADER), trial=flipped_headers),
    Mutant("M15a", "any segment's frame is this one's", ("I1", "I12"), "W-C",
           patch=switched(SEGMENT)),
    Mutant("M15b", "any LSN goes on", ("I1",), "W-C", patch=switched(LSN)),
    Mutant("M15", "any segment's frame, with any LSN", ("I1", "I12"), "W-C",
           patch=switched(SEGMENT, LSN)),
    Mutant("M17", "the log goes on in a recovered segment", ("I6", "I2", "I1", "I12"), "W-E",
           patch=goes_on_in_the_recovered_segment),
    Mutant("M19", "frames promise nothing", ("I10",), "put,put,put,put",
           patch=switched(STUCK), trial=lost_promises),
    Mutant("M20", "a read that fails ends the log", ("I2", "I10"),
           "put,batch,sync,delete", patch=switched(READ), trial=refused_reads),
    Mutant("M21", "a failed sync is tried again", ("I13", "I2", "I12"),
           "W-E-buffered", patch=switched(RETRY),
           fault=lambda recording: recording.fail(
               Op.SYNC, nth=9, path_part=".wal", errno=errno.EIO)),
    Mutant("M23", "a tombstone goes above what it hides", ("I8",), "tombstones",
           patch=switched(TOMBSTONE)),
)  # fmt: skip

MASKED["M15b"] = (
    "a frame of an earlier use of the segment has another salt (M15 takes both away), and one of "
    "this use stands where its LSN is the next one"
)


# ---- the copy with switches ----------------------------------------------------------------------


class Lab:
    """A copy of the tree whose C half has the switches, and child processes that import it."""

    def __init__(self) -> None:
        self.copy = Copy("mutants")
        self.copy.plant(SWITCHES)

    def run(self, mutant: Mutant, *, planted: bool = True) -> Verdict:
        """As `mutants.run`, in a process of its own."""
        command = [sys.executable, "tests/c_mutants.py", "--one", mutant.name]
        done = subprocess.run(
            command if planted else [*command, "--clean"], cwd=self.copy.root,
            env=self.copy.environment(), capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return Verdict(**answer | {"invariants": tuple(answer["invariants"])})


def main() -> int:
    """Print the table; fails if a mutant lives."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--one", metavar="MUTANT")
    parser.add_argument("--clean", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        chosen = next(mutant for mutant in C_MUTANTS if mutant.name == arguments.one)
        print(json.dumps(asdict(run(chosen, planted=not arguments.clean))))
        return 0
    lab = Lab()
    as_expected = [show(mutant, lab.run(mutant)) for mutant in C_MUTANTS]
    return 0 if all(as_expected) else 1


if __name__ == "__main__":
    sys.exit(main())
