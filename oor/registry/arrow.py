"""Element sets as Arrow tables, and through them Parquet, pandas and Polars (extra `arrow`).

Columns are typed; the unit of each stands in the metadata of its field under `unit`. Numbers are
float64: TLE fields have at most 11 digits, so each reads back as its text. The epoch is exact.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from oor.registry.formats import Format
from oor.registry.line_arrays import line_arrays
from oor.registry.satellites import MissingExtraError
from oor.registry.tle_set import designator_of

if TYPE_CHECKING:
    from oor.registry.elset import ElementSet

ROWS = 65_536
"""Rows of a batch: what a stream of sets holds at once."""
_FEW = 2048
"""Sets that are read one by one if one of them has to be."""

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


_CODES = {"double": "d", "uint32": "I", "uint64": "Q", "timestamp[us, tz=UTC]": "q"}
_NAMES = tuple(name for name, _, _ in _COLUMNS)


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
    """`pyarrow.RecordBatch`es of at most `rows` sets each, in bounded memory.

    Cost: about 1 us a set of TLE, 50 us a message.
    """
    _pyarrow()
    rest = iter(elsets)
    while part := list(islice(rest, rows)):
        yield _batch(part)


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


def _batch(part: list[ElementSet]) -> Any:
    """The record batch of some sets: of lines by way of C, and set by set where that cannot."""
    pa = _pyarrow()
    wanted = schema()
    arrays = line_arrays(pa, part, wanted)
    if arrays is None and len(part) > _FEW:
        few = [_batch(part[at : at + _FEW]) for at in range(0, len(part), _FEW)]
        return pa.Table.from_batches(few).combine_chunks().to_batches()[0]
    if arrays is None:
        columns = zip(*map(_row, part), strict=True)
        arrays = [_array(pa, column, field) for column, field in zip(columns, wanted, strict=True)]
    return pa.record_batch(arrays, schema=wanted)


def _row(elset: ElementSet) -> tuple[Any, ...]:
    """The values of a set in the order of the columns; numbers with digits behind a point, floats.

    Lines are read in one go: a float that Python reads of a field's text is the one nearest to it,
    and so is that of a Decimal of the same text.
    """
    if elset.format is not Format.TLE:
        values = (getattr(elset, name if name != "epoch" else "epoch_us") for name in _NAMES)
        return tuple(float(x) if isinstance(x, Decimal) else x for x in values)
    one, two = elset.lines[-2:]
    return (
        elset.norad_cat_id, elset.object_name, designator_of(one[9:17]), one[7], elset.epoch_us,
        float(two[52:63]), float("0." + two[26:33].replace(" ", "0")), float(two[8:16]),
        float(two[17:25]), float(two[34:42]), float(two[43:51]), _whole(one[62]),
        _whole(one[64:68]), _whole(two[63:68]), _scaled(one[53:61]), float(one[33:43]),
        _scaled(one[44:52]), elset.source, elset.lsn,
    )  # fmt: skip


def _whole(text: str) -> int | None:
    return int(text) if text.strip() else None


def _scaled(text: str) -> float:
    """Eight columns: sign, five digits behind an implied point, signed exponent of ten."""
    exponent = text[6:8].replace(" ", "+", 1)
    return float(f"{text[0].strip()}.{text[1:6]}E{exponent}")


def _array(pa: Any, values: tuple[Any, ...], field: Any) -> Any:
    code = _CODES.get(str(field.type))
    if code is None or None in values:
        return pa.array(values, field.type)
    # The memory of the column as it is: pyarrow looks at each Python object for longer.
    memory = pa.py_buffer(array(code, values))
    return pa.Array.from_buffers(field.type, len(values), [None, memory])


def _pyarrow() -> Any:
    return _imported("pyarrow")


def _imported(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"this needs {name}: pip install 'oor[arrow]' {name}") from error
