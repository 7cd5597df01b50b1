"""Runs the fuzz targets and adds up what they have executed.

    python -m fuzz.run --seconds 60 [--record]     each target in turn, until the time is over
    python -m fuzz.run --replay                    the committed corpus only, once

The C targets are linked with libFuzzer where clang has it; without it they replay the corpus under
gcc's sanitizers, and the report says so. The manifest is read by Python and fuzzed by
fuzz/manifest.py. A finding is left in build/fuzz-found/ and ends the run with code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz import manifest, seeds

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
FIGURES = ROOT / "docs" / "figures" / "fuzz.json"
FOUND = ROOT / "build" / "fuzz-found"
SANITIZERS = "address,undefined"
SHARES = {"frame": 3, "block": 3, "table": 3, "segment": 2, "tle": 2, "manifest": 1}
"""How many parts of the time each target gets."""
LENGTHS = {"frame": 200, "block": 300, "table": 1600, "segment": 1200, "tle": 800}
# Short-lived memory is checked at once; a long memory of freed blocks only costs time.
ASAN = "quarantine_size_mb=4:malloc_context_size=2:detect_leaks=0"


def libfuzzer() -> bool:
    """Whether clang is here and links libFuzzer."""
    if shutil.which("clang") is None:
        return False
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "t.c"
        source.write_text("int LLVMFuzzerTestOneInput(const void *d, long n){return d && n < 0;}")
        command = ["clang", f"-fsanitize=fuzzer,{SANITIZERS}", str(source), "-o", f"{directory}/t"]
        return subprocess.run(command, capture_output=True).returncode == 0


def build(with_libfuzzer: bool) -> Path:
    """Compile the targets; returns their directory."""
    directory = ROOT / "build" / ("fuzz" if with_libfuzzer else "fuzz-replay")
    options = [
        f"-DOOR_SANITIZE={SANITIZERS}",
        "-DOOR_TOOLS=ON",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
    ]
    if with_libfuzzer:
        options += ["-DOOR_LIBFUZZER=ON", "-DCMAKE_C_COMPILER=clang"]
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for command in (["-S", str(ROOT), "-B", str(directory), *options], ["--build", str(directory)]):
        subprocess.run([str(cmake), *command], check=True, stdout=subprocess.DEVNULL)
    return directory / "fuzz"


def fuzz_c(target: str, programs: Path, corpus: Path, seconds: float) -> dict[str, int]:
    """One slice of one target; executions, edges covered, findings."""
    FOUND.mkdir(parents=True, exist_ok=True)
    own = corpus / target
    own.mkdir(parents=True, exist_ok=True)
    command = [
        str(programs / f"fuzz_{target}"), f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={LENGTHS[target]}", f"-artifact_prefix={FOUND}/{target}-",
        "-print_final_stats=1", str(own), str(CORPUS / target),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"ASAN_OPTIONS": ASAN},
    )
    executed = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    edges = [int(found) for found in re.findall(r"cov: (\d+)", done.stderr)]
    if done.returncode:
        print(done.stderr[-6000:])
    return {
        "executions": int(executed[1]) if executed else 0,
        "edges": max(edges, default=0),
        "findings": int(done.returncode != 0),
    }


def replay_c(programs: Path) -> None:
    """Every input of the committed corpus, once; CalledProcessError at the first finding."""
    for target in LENGTHS:
        inputs = [str(CORPUS / target)]
        if programs.parent.name == "fuzz":
            inputs = ["-runs=0", *inputs]
        subprocess.run(
            [str(programs / f"fuzz_{target}"), *inputs],
            check=True, env=os.environ | {"ASAN_OPTIONS": ASAN}, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def record(path: Path, target: str, seconds: float, result: dict[str, int]) -> None:
    """Add one slice to the figures."""
    figures = json.loads(path.read_text()) if path.exists() else {"targets": {}}
    of = figures["targets"].setdefault(target, {"executions": 0, "seconds": 0, "edges": 0})
    of["executions"] += result["executions"]
    of["seconds"] = round(of["seconds"] + seconds)
    of["edges"] = max(of["edges"], result["edges"])
    figures["executions"] = sum(one["executions"] for one in figures["targets"].values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def run(
    targets: list[str], seconds: float, slice_seconds: float, figures: Path | None, corpus: Path
) -> int:
    """Slices of the targets until the time is over; returns the findings."""
    with_libfuzzer = libfuzzer()
    programs = build(with_libfuzzer)
    seeds.write(corpus)
    if not with_libfuzzer:
        print("no clang with libFuzzer (Debian: clang libclang-rt-dev): the corpus is replayed")
        replay_c(programs)
    deadline = time.monotonic() + seconds
    shares = sum(SHARES[target] for target in targets)
    findings = 0
    while time.monotonic() < deadline and not findings:
        for target in targets:
            if findings:
                break
            if target != "manifest" and not with_libfuzzer:
                continue
            length = min(slice_seconds, seconds) * SHARES[target] / shares
            began = time.monotonic()
            if target == "manifest":
                result = manifest.fuzz(length, seed=time.time_ns())
            else:
                result = fuzz_c(target, programs, corpus, length)
            findings += result["findings"]
            took = time.monotonic() - began
            print(f"{target:9}{result['executions']:>12,} executions, {result['edges']:>5} edges, "
                  f"{took:6.1f} s", flush=True)  # fmt: skip
            if figures is not None:
                record(figures, target, took, result)
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--slice", type=float, default=600, help="of all targets, seconds")
    parser.add_argument("--targets", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--record", action="store_true", help=f"add to {FIGURES.name}")
    parser.add_argument("--figures", type=Path, help="add to this file instead")
    parser.add_argument("--corpus", type=Path, help="keep what is found interesting here")
    parser.add_argument("--replay", action="store_true")
    arguments = parser.parse_args()
    if arguments.replay:
        with_libfuzzer = libfuzzer()
        replay_c(build(with_libfuzzer))
        return 0
    figures = arguments.figures or (FIGURES if arguments.record else None)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = arguments.corpus or Path(scratch)
        return min(run(arguments.targets, arguments.seconds, arguments.slice, figures, corpus), 1)


if __name__ == "__main__":
    sys.exit(main())
