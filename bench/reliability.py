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


def runs(name: str) -> list[dict[str, Any]]:
    """The explorations of a file of figures."""
    found: list[dict[str, Any]] = (read(name) or {"runs": []})["runs"]
    return found


def _added(found: list[dict[str, Any]], name: str) -> dict[str, int]:
    """The counts of one field, added up over explorations."""
    total: dict[str, int] = {}
    for run in found:
        for key, count in run[name].items():
            total[key] = total.get(key, 0) + count
    return total


def _listed(counts: dict[str, int], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name.lower()} {count:,}" for name, count in counts.items())


def crash_states() -> str:
    found = [run for run in runs("crashlab") if not run.get("tears")]
    if not found:
        return "not run here"
    raw = sum(_added(found, "states_raw").values())
    seeds = ", ".join(str(run["seed"]) for run in found)
    engines = "; ".join(sorted({run["commit"] for run in found if run["commit"]}))
    return (
        f"{raw:,} states, {sum(run['states'] for run in found):,} of them distinct in their run: "
        f"{_listed(_added(found, 'states_distinct'))}; crashes one after another: "
        f"{_listed(_added(found, 'by_depth'), 'depth ')}; "
        f"{sum(run['workloads'] for run in found):,} workloads, "
        f"{sum(run['recoveries'] for run in found):,} recoveries; seeds {seeds}; "
        f"engine: {engines or 'unknown'}; "
        f"{', '.join(sorted({run['profile'] for run in found}))}: "
        f"**{sum(run['violations'] for run in found)} violations**"
    )


def other_file_systems() -> str:
    found = [run for run in runs("crashlab-apart") if not run.get("tears")]
    return "; ".join(
        f"{run['profile']}: {run['states']:,} states, {run['violations']} violations"
        for run in found
    ) or "not run here"  # fmt: skip


def torn_to_anything() -> str:
    """What is no claim: a sector that is neither old nor new, and writes that harm others."""
    what = {512: "a torn sector may be anything", 4096: "so may its block of 4 KiB (psow=0)"}
    found = [run for run in runs("crashlab-apart") if run.get("tears")]
    return "; ".join(
        f"{what[run['tears']]}: {run['states']:,} states, {run['refusals']:,} refused as damage, "
        f"{run['violations'] - run['refusals']:,} opened without the end of the log"
        for run in found
    ) or "not run here"  # fmt: skip


def planted() -> str:
    of = read("mutants")
    if of is None:
        return "not run here"
    killed = [name for name, one in of.items() if one["killed_by"]]
    hidden = {name: one["hidden"] for name, one in of.items() if not one["killed_by"]}
    return f"{len(of)} built and executed, {len(killed)} killed; alive, and why: " + "; ".join(
        f"{name}: {why}" for name, why in hidden.items()
    )


def fault_loops() -> str:
    of = read("faults")
    if of is None:
        return "not run here"
    every = "each call" if of["every"] == 1 else f"every {of['every']}th call"
    return (
        f"{every} of a workload with direct and with buffered writes, {len(of['profiles'])} ways "
        f"to fail: {of['calls']:,} failed calls ({_listed(of['by_operation'])}), "
        f"{of['states']:,} distinct states opened afterwards, **{of['violations']} violations**"
    )


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
    ("Crash states", "oor crashlab --figures", crash_states),
    ("File systems that keep more order", "oor crashlab --profile", other_file_systems),
    ("Not claimed: torn to anything", "oor crashlab --tears", torn_to_anything),
    ("Planted durability bugs", "make mutants RECORD=1", planted),
    ("Errors at every call", "make faults", fault_loops),
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


def mutants() -> list[str]:
    """Mutant, the smallest level that shows it, and the invariant that fails."""
    of = read("mutants")
    if of is None:
        return []
    lines = [
        "", "Planted durability bugs (`make mutants`): the smallest level and workload at which "
        "each is seen; one that is seen in the trace needs no crash.", "",
        "| mutant | what it does | executed | killed by | level | workload |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, one in sorted(of.items(), key=lambda item: _mutant_order(item[0])):
        lines.append(
            f"| {name} | {one['what']} | {one['executed']:,} | {one['killed_by'] or 'alive'} | "
            f"{one['level'].lower()} | {one['workload']} |"
        )
    return lines


def _mutant_order(name: str) -> tuple[int, str]:
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits), name


def errors() -> list[str]:
    """Way to fail, calls that met it, states that were opened afterwards."""
    of = read("faults")
    if of is None:
        return []
    lines = [
        "", "Errors at every call (`make faults`):", "",
        "| way to fail | calls | states | violations |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    return lines + [
        f"| {name} | {one['calls']:,} | {one['states']:,} | {one['violations']} |"
        for name, one in of["profiles"].items()
    ]


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
    return "\n".join([*lines, *flips(), *mutants(), *errors(), *red_proofs(), "", END])


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
