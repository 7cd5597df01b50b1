"""How the commands print: numbers for people, JSON for programs, progress for those who watch."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON on stdout, one object a line."
)
store_argument = click.argument("db", type=click.Path(file_okay=False))


def emit(content: Any) -> None:
    """One JSON object on a line of stdout."""
    print(json.dumps(content, default=_plain))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def note(text: str) -> None:
    """A message for whoever sits there."""
    print(text, file=sys.stderr)


def count(number: int, one: str, many: str | None = None) -> str:
    """`count(1234, "set") == "1,234 sets"`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(number: float) -> str:
    """Bytes with a unit that keeps them short."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"


def milliseconds(seconds: float) -> str:
    """A time as milliseconds."""
    return f"{seconds * 1000:,.1f} ms"


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values in two columns."""
    rows = [(name, str(value)) for name, value in pairs]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}".rstrip())


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, text_columns: int = 1) -> None:
    """Aligned columns: the first `text_columns` to the left, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            f"{cell:<{width}}" if i < text_columns else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    print(line(head))
    print("  ".join("-" * width for width in widths))
    for row in cells:
        print(line(row))


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
