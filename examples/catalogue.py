"""A catalogue from two sources: what is newest, what was in force then, what has gone stale.

python examples/catalogue.py
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import oor
from oor.registry import Registry, ingest
from oor.registry.synthetic import SyntheticCatalogue


def main() -> None:
    catalogue = SyntheticCatalogue(objects=200, issues=10)
    with tempfile.TemporaryDirectory() as folder, oor.open(Path(folder) / "catalog.oor") as db:
        for day in range(10):
            path = Path(folder) / f"day-{day}.tle"
            path.write_bytes(b"".join(catalogue.issue(day)))
            source = "operator" if day == 6 else "survey"
            report = ingest(db, [path], source=source, expected=report_of(path))
            assert report.read == report.stored + report.already_there + report.quarantined

        registry = Registry(db)
        number = registry.objects()[0]
        newest = registry.latest(number)
        preferred = registry.latest(number, prefer=["operator"])
        assert newest is not None and preferred is not None
        print(f"object {number}: newest {newest.epoch:%Y-%m-%d} from {newest.source}, "
              f"preferred {preferred.epoch:%Y-%m-%d} from {preferred.source}")  # fmt: skip

        # One moment for all questions, and only deliveries that came whole.
        then = newest.epoch - timedelta(days=3)
        with registry.snapshot(whole=True) as snapshot:
            screened = list(snapshot.catalogue_at(then))
            late = snapshot.stale(timedelta(days=2), now=newest.epoch + timedelta(days=1))
            gaps = snapshot.gaps(number, timedelta(hours=36))
        print(f"at {then:%Y-%m-%d}: {len(screened)} objects; stale: {len(late)}; gaps: {len(gaps)}")
        assert all(elset.epoch <= then for elset in screened)

        last = registry.last_whole("survey")
        assert last is not None
        began = datetime.fromtimestamp(last.started, UTC)
        print(f"last whole delivery: {Path(last.file).name}, {last.read} sets, in {began:%Y}")
        print(newest.to_omm("kvn").splitlines()[0])


def report_of(path: Path) -> int:
    """How many sets a file should have: whoever sends it may say so."""
    return path.read_bytes().count(b"\n1 ") + path.read_bytes().startswith(b"1 ")


if __name__ == "__main__":
    main()
