"""Element sets as Arrow tables, and through them Parquet, pandas and Polars (extra `arrow`).

Columns are typed; the unit of each stands in the metadata of its field under `unit`. Numbers are
float64: TLE fields have at most 11 digits, so each reads back as its text. The epoch is exact.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from oor.registry.satellites import MissingExtraError

if TYPE_CHECKING:
    from oor.registry.elset import ElementSet

ROWS = 65_536
"""Rows of a batch: what a stream of sets holds at once."""

_COLUMNS = (
    ("norad_cat_id", "uint32", ""),
    ("object_name", "string", ""),
    ("object_id", "string", ""),
    ("classification_type", "string", ""),
    ("epoch", "timestamp", "us since 1970-01-01 UTC"),
    ("mean_motion", "float64", "rev/day"),
    ("eccentricity", "float64", "1"),
    ("inclination", "float64", "deg"),
    ("ra_of_asc_node", "float64", "deg"),
    ("arg_of_pericenter", "float64", "deg"),
    ("mean_anomaly", "float64", "deg"),
    ("ephemeris_type", "uint8", ""),
    ("element_set_no", "uint32", ""),
    ("rev_at_epoch", "uint32", "rev"),
    ("bstar", "float64", "1/earth radius"),
    ("mean_motion_dot", "float64", "rev/day^2"),
    ("mean_motion_ddot", "float64", "rev/day^3"),
    ("source", "string", ""),
    ("lsn", "uint64", ""),
)


def schema() -> Any:
    """The `pyarrow.Schema` of the tables. Raises MissingExtraError without `pyarrow`."""
    pa = _pyarrow()
    types = {"timestamp": pa.timestamp("us", "UTC")}
    return pa.schema(
        [
            pa.field(
                name,
                types[kind] if kind in types else getattr(pa, kind)(),
                nullable=name not in ("norad_cat_id", "epoch"),
                metadata={"unit": unit} if unit else None,
            )
            for name, kind, unit in _COLUMNS
        ]
    )


def batches(elsets: Iterable[ElementSet], rows: int = ROWS) -> Iterator[Any]:
    """`pyarrow.RecordBatch`es of at most `rows` sets each, in bounded memory. About 35 us a set."""
    pa = _pyarrow()
    wanted = schema()
    rest = iter(elsets)
    while part := list(islice(rest, rows)):
        yield pa.record_batch([_column(pa, part, field) for field in wanted], schema=wanted)


def table(elsets: Iterable[ElementSet]) -> Any:
    """A `pyarrow.Table` of all sets."""
    return _pyarrow().Table.from_batches(list(batches(elsets)), schema())


def reader(elsets: Iterable[ElementSet]) -> Any:
    """A `pyarrow.RecordBatchReader`, which DuckDB and Polars stream from."""
    return _pyarrow().RecordBatchReader.from_batches(schema(), batches(elsets))


def to_parquet(elsets: Iterable[ElementSet], path: str | os.PathLike[str]) -> int:
    """Write sets to a Parquet file, row group by row group; returns how many there were."""
    _pyarrow()
    from pyarrow import parquet

    count = 0
    with parquet.ParquetWriter(os.fspath(path), schema(), compression="zstd") as writer:
        for batch in batches(elsets):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def to_file(elsets: Iterable[ElementSet], path: str | os.PathLike[str]) -> int:
    """Write sets to an Arrow IPC file, batch by batch; returns how many there were."""
    pa = _pyarrow()
    count = 0
    with pa.OSFile(os.fspath(path), "wb") as file, pa.ipc.new_file(file, schema()) as writer:
        for batch in batches(elsets):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def to_pandas(elsets: Iterable[ElementSet]) -> Any:
    """A `pandas.DataFrame`. Raises MissingExtraError without `pandas`."""
    _imported("pandas")
    return table(elsets).to_pandas()


def to_polars(elsets: Iterable[ElementSet]) -> Any:
    """A `polars.DataFrame`. Raises MissingExtraError without `polars`."""
    return _imported("polars").from_arrow(table(elsets))


def _column(pa: Any, elsets: list[ElementSet], field: Any) -> Any:
    if field.name == "epoch":
        return pa.array([elset.epoch_us for elset in elsets], pa.int64()).cast(field.type)
    values: list[Any] = [getattr(elset, field.name) for elset in elsets]
    if field.type == pa.float64():
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, field.type)


def _pyarrow() -> Any:
    return _imported("pyarrow")


def _imported(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"this needs {name}: pip install 'oor[arrow]' {name}") from error
