"""Five sources side by side, merged by DuckDB over the Arrow export of one store.

    python examples/five_sources.py [objects]        needs: pip install 'oor[sgp4,arrow]' duckdb

Each source publishes a catalogue of the same objects, some of them later than the others. SQL then
takes of each object the newest set, says which source it came from, and how many sources have it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import duckdb

import oor
from oor.registry import Registry, arrow, ingest
from oor.registry.synthetic import SyntheticCatalogue

QUERY = """
    select norad_cat_id, max_by(source, epoch) as source, max(epoch) as epoch,
           max_by(mean_motion, epoch) as mean_motion, count(distinct source) as sources
    from sets group by norad_cat_id order by norad_cat_id
"""


def main(objects: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        catalogue = SyntheticCatalogue(objects, issues=5)
        with oor.open(Path(folder) / "five.oor", durability="interval") as db:
            for issue, source in enumerate(("north", "south", "east", "west", "operator")):
                path = Path(folder) / f"{source}.tle"
                # Later sources publish fewer objects, so each wins for some.
                text = b"".join(catalogue.issue(issue))
                path.write_bytes(text[: (text.rfind(b"\n", 0, len(text) * (5 - issue) // 5)) + 1])
                ingest(db, [path], source=source)
            with Registry(db).snapshot() as snapshot:
                began = time.perf_counter()
                connection = duckdb.connect()
                connection.register("sets", arrow.reader(snapshot.elements()))
                merged = connection.sql(QUERY).fetchall()
                seconds = time.perf_counter() - began
        wins: dict[str, int] = {}
        for _, source, *_ in merged:
            wins[source] = wins.get(source, 0) + 1
        print(f"{len(merged):,} objects merged in {seconds:.2f} s; newest set from: {wins}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
