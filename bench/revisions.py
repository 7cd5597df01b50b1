"""The tree as it is against an earlier revision, in one run.

    python -m bench.revisions REVISION        exits with 1 if something takes 1.25 times as long

Both are built into folders of their own and work in turns, so that what else the machine does meets
both alike; what a ratio is made of is said at `past_the_gate`, and when it is believed at
`believed`. Beside times, what is counted in the
log and at the door to the disk is compared, which is never noise.

`--plant slow` and `--plant sync` build this tree with a checksum that does its work twice, or with
a sync more for each write to the log: what the comparison must tell. `--prove` runs all three: no
plant is to pass, each plant is to be told by the figures that are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GATE = 1.25
"""How many times as long something may take: less is noise, even in one run."""
COUNTED = ", counted"
"""How the name of a figure ends that is no time and has no noise."""
COUNTED_GATE = 1.05
SIDES = ("head", "base")
ROUNDS = 7
SERIES = 3
"""How often what takes longer is measured before it is believed."""
WORK = "work: "
"""How a mark in a trace begins that says which work comes."""
RECORDS = 20_000
PLANTS = {
    "slow": (
        "csrc/crc32c.c",
        "    return ~atomic_load_explicit(&in_force, memory_order_relaxed)"
        "->run(~crc, data, size);\n",
        "    uint32_t (*run)(uint32_t, const uint8_t *, size_t) =\n"
        "        atomic_load_explicit(&in_force, memory_order_relaxed)->run;\n"
        "    volatile uint32_t twice = run(~crc, data, size);\n"
        "    (void)twice;\n"
        "    return ~run(~crc, data, size);\n",
    ),
    "sync": (
        "csrc/wal_drain.c",
        "    return oor_wal_file_write(wal, r->file, wal->private_copy, (size_t)(end - first),\n",
        "    if ((rc = oor_io_sync(r->file->fd, r->file->path)) < 0) return rc;\n"
        "    return oor_wal_file_write(wal, r->file, wal->private_copy, (size_t)(end - first),\n",
    ),
}
"""name -> file, what stands there, what is put in its place."""
Clock = Callable[[], float]
Found = dict[str, tuple[float, bool]]
"""name -> (head by base, whether that is past the gate)"""
TOLD_BY = {"slow": {"crc32c"}, "sync": {"calls of 50 durable puts, counted"}}
"""name -> the figures that must tell it, beside whatever else does."""


# ---- two builds ----------------------------------------------------------------------------------


def main() -> int:
    """Build both, measure in turns, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", help="what git knows it by")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plant", choices=sorted(PLANTS), help="build a fault into this tree")
    parser.add_argument("--dir", help="where the stores are made: the disk that is measured")
    parser.add_argument("--prove", action="store_true", help="no plant passes, each plant fails")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".revisions-", dir=asked.dir or ROOT) as folder:
        if asked.prove:
            return prove(asked.revision, asked.rounds, Path(folder))
        sides = {
            "base": _built(Path(folder), "base", asked.revision, None),
            "head": _built(Path(folder), "head", None, asked.plant),
        }
        return _judge(believed(lambda: past_the_gate(_measured(sides, asked.rounds, Path(folder)))))


def _measured(sides: dict[str, Path], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Rounds of all sides in turn, in an order that is drawn for each."""
    found = []
    for number in range(rounds):
        order = list(sides)
        random.Random(number).shuffle(order)
        found.append({side: _child(sides[side], folder) for side in order})
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return found


def _built(folder: Path, side: str, revision: str | None, plant: str | None) -> Path:
    """A folder that holds the package of one side, compiled."""
    tree, target = folder / f"{side}-tree", folder / side
    if revision is None:
        tree.mkdir()
        listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
    else:
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, tree], check=True)
        commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}").strip()
        subprocess.run(["git", "-C", tree, "checkout", "--quiet", commit], check=True)
    if plant is not None:
        name, before, after = PLANTS[plant]
        text = (tree / name).read_text()
        assert text.count(before) == 1, f"{name} is not what the plant was made for"
        (tree / name).write_text(text.replace(before, after))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-build-isolation", "--no-deps", "--target", target, tree],
        check=True,
    )  # fmt: skip
    return target


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", ROOT, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def _child(target: Path, folder: Path) -> dict[str, float]:
    """One round of one side, in a process that sees no other build of the package."""
    paths = [str(target), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    script = (
        f"import sys; sys.path[:0] = {paths!r}; sys.argv[1:] = [{str(folder)!r}]\n"
        f"exec(compile(open({str(Path(__file__))!r}).read(), 'child', 'exec'), "
        "{'__name__': 'child', '__file__': 'child'})\n"
    )
    # Neither this tree nor an editable install: -S leaves the .pth files of the environment out.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        check=True, cwd=folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


# ---- what a child does ---------------------------------------------------------------------------


def work(folder: str) -> dict[str, float]:
    """Times of some pieces of work, in seconds, and what they cost in syncs and bytes."""
    import oor

    path = tempfile.mkdtemp(dir=folder)
    keys = [b"%09d" % n for n in range(RECORDS)]
    random.Random(1).shuffle(keys)
    values = [(b"%d the lines of an element set, " % n * 5)[:138] for n in range(RECORDS)]
    found: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any], clock: Clock = time.perf_counter) -> Any:
        began = clock()
        result = call()
        found[name] = clock() - began
        return result

    # What waits for no disk is timed by the processor, which others cannot take away.
    spent = time.process_time

    def put_all(db: oor.DB) -> None:
        for key, value in zip(keys, values, strict=True):
            db.put(key, value)

    def put_durably(db: oor.DB) -> None:
        for key, value in zip(keys[:300], values, strict=False):
            db.put(key, value, durability="sync")

    def get_all(db: oor.DB) -> None:
        for key in keys:
            db.get(key)

    with oor.open(f"{path}/a", durability="os", background=False) as db:
        timed("fillrandom", lambda: put_all(db), spent)
        timed("flush", db.flush)
        timed("compact", db.compact)
        timed("readcold", lambda: db.get_many(keys), spent)
        timed("readrandom", lambda: get_all(db), spent)
        timed("readseq", lambda: sum(1 for _ in db.scan()), spent)
        for at in range(0, RECORDS, 1000):
            db.write(dict(zip(keys[at : at + 1000], values[at : at + 1000], strict=True)))
        timed("sync", db.sync)
        timed("fillsync", lambda: put_durably(db))
        log = db.stats().log
        found["drains, counted"] = log.syncs
        found["bytes to the log, counted"] = log.appended_bytes
        found["bytes to the device, counted"] = log.written_bytes
    found |= storage_calls(f"{path}/b")
    from oor.native import lib

    block = bytes(32 << 10)
    timed("crc32c", lambda: [lib.oor_crc32c(0, block, len(block)) for _ in range(4_000)], spent)
    shutil.rmtree(path)
    return found


def storage_calls(path: str) -> dict[str, float]:
    """What durable puts, a flush and an opening ask of the disk: writes, syncs, all that changes.

    The log has no threads of its own here, so that each call is where it belongs.
    """
    import oor
    from oor.trace import MUTATING, Op, Trace

    options: dict[str, Any] = {
        "durability": "sync", "background": False, "log_threads": False, "compression": "none",
    }  # fmt: skip
    with Trace(payloads=False) as trace:
        with oor.open(path, **options) as db:
            trace.mark(WORK + "50 durable puts")
            for n in range(50):
                db.put(b"%d" % n, b"the lines of an element set")
            trace.mark(WORK + "a flush")
            db.flush()
            trace.mark(WORK)
        trace.mark(WORK + "an opening")
        db = oor.open(path, **options)
        trace.mark(WORK)
        db.close()
    found: dict[str, float] = {}
    at = ""
    for event in trace.events:
        if event.op is Op.MARK:
            # The engine marks what it promises too.
            at = event.text.removeprefix(WORK) if event.text.startswith(WORK) else at
        elif at and event.op in MUTATING:
            name = f"calls of {at}, counted"
            found[name] = found.get(name, 0) + 1
    return found


# ---- the verdict ---------------------------------------------------------------------------------


def past_the_gate(rounds: list[dict[str, dict[str, float]]]) -> Found:
    """Name -> (head by base, whether that is past the gate).

    Of two ratios the smaller: the median over the rounds, which one disturbed round does not bend,
    and that of the best rounds, which no disturbance makes better. What is slower shows in both.
    """
    found = {}
    for name in rounds[0]["head"]:
        if any(name not in one["base"] for one in rounds):
            continue
        heads, bases = ([max(one[side][name], 1e-12) for one in rounds] for side in SIDES)
        middle = statistics.median(head / base for head, base in zip(heads, bases, strict=True))
        ratio = min(middle, min(heads) / min(bases))
        found[name] = (ratio, ratio > (COUNTED_GATE if name.endswith(COUNTED) else GATE))
    return found


def believed(measure: Callable[[], Found]) -> Found:
    """What `measure` finds past the gate each time, up to SERIES times; a look that finds no time
    past it ends the matter. What a busy machine does to one series it does not do to all of them.
    """
    found = measure()
    for _ in range(SERIES - 1):
        if not any(past and not name.endswith(COUNTED) for name, (_, past) in found.items()):
            break
        again = measure()
        found = {name: min(one, again[name]) for name, one in found.items()}
    return found


def _judge(found: Found) -> int:
    print(f"{'':<34} {'head / base':>12}")
    for name, (ratio, past) in found.items():
        print(f"{name:<34} {ratio:11.2f}x{'  <-- more' if past else ''}")
    more = sum(past for _, past in found.values())
    print(
        f"{more} past {GATE} x, or {COUNTED_GATE} x if counted" if more else "all within the gates"
    )
    return 1 if more else 0


def prove(revision: str, rounds: int, folder: Path) -> int:
    """This tree as it is passes against `revision`; with each plant it fails by the right names."""
    sides = {
        "base": _built(folder, "base", revision, None),
        "head": _built(folder, "head", None, None),
        **{plant: _built(folder, plant, None, plant) for plant in PLANTS},
    }
    print("built", file=sys.stderr)
    failed = 0
    for side in ("head", *PLANTS):
        pair = {"base": sides["base"], "head": sides[side]}
        found = believed(lambda pair=pair: past_the_gate(_measured(pair, rounds, folder)))
        told = {name for name, (_, past) in found.items() if past}
        wanted: set[str] = TOLD_BY.get(side, set())
        right = wanted <= told if wanted else not told
        failed += not right
        figures = ", ".join(f"{name} {found[name][0]:.2f}x" for name in sorted(told | wanted))
        print(f"{side:<5} {'as it must be' if right else 'WRONG'}: {figures or 'nothing is more'}")
    return 1 if failed else 0


if __name__ == "child":
    print(json.dumps(work(sys.argv[1])))
elif __name__ == "__main__":
    os.environ.setdefault("PIP_NO_INPUT", "1")
    sys.exit(main())
