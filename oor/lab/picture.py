"""Pictures of experiments, by matplotlib, which is an extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oor.errors import OorError


def save_png(path: str, draw: Callable[[Any], None], *, rows: int = 1, title: str = "") -> None:
    """Let `draw` fill an array of `rows` axes, one below the other, and save them as a PNG.

    Raises OorError if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise OorError("a picture needs matplotlib: pip install 'oor[plot]'") from None
    figure = Figure(figsize=(9, 3.2 * rows), layout="constrained")
    if title:
        figure.suptitle(title)
    draw(figure.subplots(rows, 1, squeeze=False)[:, 0])
    figure.savefig(path)
