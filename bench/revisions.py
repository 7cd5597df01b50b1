"""The tree as it is against an earlier revision, in one run.

    python -m bench.revisions REVISION        exits with 1 if something takes 1.25 times as long

Both are built into folders of their own and work in turns, so that what else the machine does meets
both alike; a figure is the median over the rounds of this tree's time by the other's of the same
round. Beside times, the counters of `bench.counters` are compared, which are never noise.

`--plant slow` and `--plant sync` build this tree with a checksum that does its work twice, or with
a second sync of each write to the log: what the comparison must tell.
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
ROUNDS = 7
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
        "    rc = oor_wal_file_write(wal, r->file, wal->private_copy, (size_t)(end - first),\n"
        "                            r->base + first);\n"
        "    if (rc < 0) return rc;\n"
        "    return oor_wal_file_write(wal, r->file, wal->private_copy, (size_t)(end - first),\n",
    ),
}
"""name -> file, what stands there, what is put in its place."""


# ---- two builds ----------------------------------------------------------------------------------


def main() -> int:
    """Build both, measure in turns, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", help="what git knows it by")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plant", choices=sorted(PLANTS), help="build a fault into this tree")
    parser.add_argument("--dir", help="where the stores are made: the disk that is measured")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".revisions-", dir=asked.dir or ROOT) as folder:
        sides = {
            "base": _built(Path(folder), "base", asked.revision, None),
            "head": _built(Path(folder), "head", None, asked.plant),
        }
        rounds: list[dict[str, dict[str, float]]] = []
        for number in range(asked.rounds):
            order = list(sides)
            random.Random(number).shuffle(order)
            rounds.append({side: _child(sides[side], folder) for side in order})
            print(f"round {number + 1} of {asked.rounds}", file=sys.stderr)
    return _judge(rounds)


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


def _child(target: Path, folder: str) -> dict[str, float]:
    """One round of one side, in a process that sees no other build of the package."""
    paths = [str(target), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    script = (
        f"import sys; sys.path[:0] = {paths!r}; sys.argv[1:] = [{folder!r}]\n"
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

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = call()
        found[name] = time.perf_counter() - began
        return result

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
        timed("fillrandom", lambda: put_all(db))
        timed("flush", db.flush)
        timed("compact", db.compact)
        timed("readcold", lambda: db.get_many(keys))
        timed("readrandom", lambda: get_all(db))
        timed("readseq", lambda: sum(1 for _ in db.scan()))
        for at in range(0, RECORDS, 1000):
            db.write(dict(zip(keys[at : at + 1000], values[at : at + 1000], strict=True)))
        timed("sync", db.sync)
        timed("fillsync", lambda: put_durably(db))
        log = db.stats().log
        found["syncs, counted"] = log.syncs
        found["bytes to the log, counted"] = log.appended_bytes
        found["bytes to the device, counted"] = log.written_bytes
    from oor.native import lib

    block = bytes(4096)
    timed("crc32c", lambda: [lib.oor_crc32c(0, block, 4096) for _ in range(20_000)])
    shutil.rmtree(path)
    return found


# ---- the verdict ---------------------------------------------------------------------------------


def _judge(rounds: list[dict[str, dict[str, float]]]) -> int:
    slower = []
    print(f"{'':<30} {'head / base':>12}")
    for name in rounds[0]["head"]:
        ratio = statistics.median(
            one["head"][name] / max(one["base"].get(name, 0.0), 1e-12)
            for one in rounds
            if name in one["base"]
        )
        print(f"{name:<30} {ratio:11.2f}x{'  <-- slower' if ratio > GATE else ''}")
        slower += [name] if ratio > GATE else []
    print(f"{len(slower)} past {GATE} x" if slower else f"all within {GATE} x")
    return 1 if slower else 0


if __name__ == "child":
    print(json.dumps(work(sys.argv[1])))
elif __name__ == "__main__":
    os.environ.setdefault("PIP_NO_INPUT", "1")
    sys.exit(main())
