"""Writes the figures of docs/reliability.md from docs/figures/*.json.

    python -m bench.reliability           after the quick counts: classes and the fuzz corpus
    python -m bench.reliability --check   only says whether the page has the figures that are kept

Each figure's row names the command that makes it. What was never run has no numbers, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
FIGURES = ROOT / "docs" / "figures"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
CLASSES = 81


def read(name: str) -> Any:
    """A file of figures; None where nobody has made it."""
    path = FIGURES / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def numbers(content: Any, prefix: str = "") -> list[str]:
    """The plain numbers of a report, by their names."""
    found = []
    for name, value in content.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, bool | str | list) or value is None:
            continue
        found += numbers(value, f"{label} ") if isinstance(value, dict) else [f"{label} {value:,}"]
    return found


def crash_states() -> str:
    content = read("crashlab")
    return "not run here" if content is None else "; ".join(numbers(content)[:14])


def classes() -> str:
    proofs = read("classes") or {}
    return (
        f"{len(proofs)} of {CLASSES} turned red by a planted bug, the others impossible by design"
    )


def kills() -> str:
    of = read("torture")
    if of is None:
        return "not run here"
    where = of["machine"]
    return (
        f"{of['cycles']:,} cycles, {of['killed_in_recovery']:,} of them in a recovery; "
        f"{of['acknowledged']:,} acknowledged operations, {of['pairs_checked']:,} pairs compared: "
        f"**{of['lost']} lost**. {where['kernel']}, {where['file_system']} on {where['device']} "
        f"({where['mount_options']})"
    )


def fuzzing() -> str:
    of = read("fuzz")
    if of is None:
        return "not run here"
    each = ", ".join(
        f"{name} {target['executions'] / 1e6:,.1f} M ({target['edges']} edges)"
        if target["edges"] else f"{name} {target['executions'] / 1e6:,.1f} M"
        for name, target in of["targets"].items()
    )  # fmt: skip
    return f"{of['executions']:,} executions: {each}"


def byte_matrix() -> str:
    of = read("bytes")
    if of is None:
        return "not run here"
    outcomes = of["outcomes"]
    return (
        f"{of['changes']:,} changes of {len(of['files'])} files: {outcomes.get('whole', 0):,} give "
        f"the full state, {outcomes.get('refused', 0):,} are refused with their place, "
        f"{outcomes.get('prefix', 0):,} an exact prefix that nothing left on the disk contradicts, "
        f"**{outcomes.get('silent', 0)} silent**"
    )


def sanitizers() -> str:
    of = read("sanitize")
    if of is None:
        return "not run here"
    return "; ".join(
        f"{name}: " + ", ".join(f"{count:,} {what}" for what, count in done.items())
        for name, done in of["stress"].items()
    ) + f"; {of['findings']} findings"  # fmt: skip


def branches() -> str:
    of = read("coverage")
    if of is None:
        return "not run here"
    return "; ".join(
        f"{name}: {one['branches'] - one['not_taken']:,} of {one['branches']:,} taken"
        for name, one in of.items()
    ) + "; the others with their reasons in tests/coverage.toml"  # fmt: skip


ROWS = (
    ("Crash states, violations, mutants", "oor crashlab, make mutants", crash_states),
    ("Classes of bugs", "make classes, make red", classes),
    ("kill -9 with an oracle outside", "oor torture", kills),
    ("Fuzzing", "make fuzz RECORD=1", fuzzing),
    ("Every byte flipped, every cut", "make bytes", byte_matrix),
    ("Threads under sanitizers", "make sanitize", sanitizers),
    ("Branches of log, recovery, manifest, commit", "make coverage", branches),
)


def flips() -> list[str]:
    """What each store says of one flipped byte."""
    of = read("flip")
    if of is None:
        return []
    lines = [
        "", f"One byte inverted in the middle of a log of {of['puts']:,} acknowledged puts "
        "(`python -m bench.flip`; each store with its defaults):", "",
        "| store | what it does |", "| --- | --- |",
    ]  # fmt: skip
    for name, outcome in of["stores"].items():
        if "refused" in outcome:
            text = f"refuses: {outcome['refused']}"
        elif "opened" in outcome:
            missing = of["puts"] - outcome["opened"]
            text = f"opens with {outcome['opened']:,}" + (", says nothing" if missing else "")
        else:
            text = "not installed here"
        lines.append(f"| {name} | {text} |")
    return lines


def red_proofs() -> list[str]:
    """Class, and the test that the planted bug turned red."""
    proofs = read("classes") or {}
    order = sorted(proofs, key=lambda name: (name[0], int(name[1:])))
    lines = ["", "Red proofs (`make red`):", "", "| class | test that failed under its bug |",
             "| --- | --- |"]  # fmt: skip
    return lines + [f"| {name} | `{proofs[name].removeprefix('tests/')}` |" for name in order]


def figures() -> str:
    """The part of the page between the marks."""
    lines = [BEGIN, "", "| what | command | figures |", "| --- | --- | --- |"]
    lines += [f"| {what} | `{command}` | {make()} |" for what, command, make in ROWS]
    return "\n".join([*lines, *flips(), *red_proofs(), "", END])


def page(text: str) -> str:
    """The page with its figures brought up to date."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + figures() + after


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reliability", description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = PAGE.read_text()
    new = page(text)
    if arguments.check:
        return int(new != text)
    for command in (["tests/classes.py"], ["-m", "fuzz.run", "--replay"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=os.environ, capture_output=True, text=True
        )
        print(f"{' '.join(command)}: {(done.stdout or done.stderr).strip().splitlines()[-1]}")
        if done.returncode:
            return 1
    PAGE.write_text(new)
    print(f"{PAGE.relative_to(ROOT)} is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
