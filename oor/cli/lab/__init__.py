"""`oor lab`: questions about durability, answered by trying. One module an experiment."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import click

from oor.cli.output import emit, note
from oor.demo.scratch import scratch

EXPERIMENTS = {
    "fsync-cost": "Measure what a durable write costs here, and how a batch shares it.",
    "frame": "Show a frame of the log field by field, and what one flipped bit does.",
    "loss-window": "Lose power at random instants and see how much is gone, in each mode.",
    "aries": "Crash a process and show analysis, redo and undo, step by step.",
    "crash-compaction": "Crash a compaction at each operation: old tables or new ones?",
    "checkpoints": "Write with and without checkpoints, and compare log and redo.",
    "replay-time": "Replay logs of growing length: how long can a replay take?",
}
"""name -> what it answers. `oor lab a-b` is the command `a_b` of the module `oor.cli.lab.a_b`."""

FIGURES = "oor.lab.figures"
"""Where a click context keeps the name of that file."""

directory_option = click.option(
    "--dir", "directory", type=click.Path(file_okay=False),
    help="Work here, and leave the stores there; otherwise in a scratch folder.",
)  # fmt: skip
png_option = click.option(
    "--png", type=click.Path(dir_okay=False), help="Draw a picture too (needs matplotlib)."
)


@contextlib.contextmanager
def place(directory: str | None) -> Iterator[str]:
    """The folder that was asked for, made if need be, or one that goes when the experiment
    ends."""
    from oor import native

    if directory and not native.exists(directory):
        native.make_dir(directory)
    with contextlib.nullcontext(directory) if directory else scratch() as folder:
        yield folder


def show(
    found: Any,
    report: Callable[[Any], str],
    as_json: bool,
    png: str | None = None,
    draw: Callable[[Any, Any], None] | None = None,
    rows: int = 1,
) -> None:
    """Print what an experiment found, its `figures()` as one JSON object or its report, and draw
    it."""
    note_figures(found.figures())
    if as_json:
        emit(found.figures())
    else:
        print(report(found))
    if png and draw is not None:
        from oor.lab.picture import save_png

        save_png(png, lambda axes: draw(found, axes), rows=rows)
        note(f"oor: drew {png}")


def note_figures(figures: dict[str, Any]) -> None:
    """Write the figures to the file that `oor lab --figures FILE` names, for who compares them."""
    path = click.get_current_context().meta.get(FIGURES)
    if path:
        with click.open_file(path, "w", encoding="utf-8") as file:
            json.dump(figures, file)


class _Experiments(click.Group):
    """A group whose experiments are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(EXPERIMENTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in EXPERIMENTS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"oor.cli.lab.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Experiments"):
            formatter.write_dl(list(EXPERIMENTS.items()))


@click.group(cls=_Experiments)
@click.option(
    "--figures", type=click.Path(dir_okay=False), help="Write the figures to this file too."
)
@click.pass_context
def lab(ctx: click.Context, figures: str | None) -> None:
    """Answer a question about durability by trying it on this machine."""
    ctx.meta[FIGURES] = figures
