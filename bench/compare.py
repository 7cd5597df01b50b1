"""python -m bench.compare: all workloads on all stores that are installed, and a table.

Options: --quick (fewer records and rounds, about a minute), --only NAME (workloads whose names
contain it; may be repeated), --rounds N, --dir DIR (where the stores are made: the disk that is
measured), --json FILE, --markdown FILE.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence

from bench import measure, report, workloads
from bench.measure import Figures
from bench.stores import installed

ROUNDS = 15
QUICK_ROUNDS = 5
COMMAND = "make bench-peers"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save."""
    asked = _parser().parse_args(arguments)
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    records = workloads.QUICK_RECORDS if asked.quick else workloads.RECORDS
    kinds = installed()
    rows = []
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=asked.dir) as directory:
        where = report.machine(directory)
        for row in _measure(asked.only, records, rounds, directory):
            rows.append(row)
            print(
                f"{row.name}: "
                + "  ".join(f"{who} {report.figure(row.median(who))}" for who in row.rounds),
                row.unit,
                file=sys.stderr,
                flush=True,
            )
    done = report.Run(where, report.versions([kind.name for kind in kinds]), records, rounds, rows)
    print(report.as_text(rows))
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:
            json.dump(report.as_json(done), file, indent=1)
            file.write("\n")
    if asked.markdown:
        with open(asked.markdown, "w", encoding="utf-8") as file:
            file.write(report.as_markdown(done, COMMAND))
    return 0


def _measure(only: Sequence[str], records: int, rounds: int, directory: str) -> Iterator[Figures]:
    def asked(name: str) -> bool:
        return not only or any(part in name for part in only)

    data = workloads.Data(records)
    for workload in workloads.ALL:
        if asked(workload.name):
            probes = measure.device_probes(directory, workload.probe_bytes)
            yield measure.run(workload, installed(), data, rounds, directory, probes)
    if asked("disk"):
        yield from measure.disk_bytes(installed(), data, directory)
    if asked("crc32c"):
        yield from measure.checksums(directory, rounds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records and rounds")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--dir", default=".", help="where the stores are made")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
