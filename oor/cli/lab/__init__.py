"""`oor lab`: questions about durability, answered by trying. One module an experiment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module

import click

from oor.demo.scratch import scratch

EXPERIMENTS = {
    "loss-window": "Lose power at random instants and see how much is gone, in each mode.",
}
"""name -> what it answers. `oor lab a-b` is the command `a_b` of the module `oor.cli.lab.a_b`."""

directory_option = click.option(
    "--dir", "directory", type=click.Path(file_okay=False),
    help="Work here, and leave the stores there; otherwise in a scratch folder.",
)  # fmt: skip
png_option = click.option(
    "--png", type=click.Path(dir_okay=False), help="Draw a picture too (needs matplotlib)."
)


@contextlib.contextmanager
def place(directory: str | None) -> Iterator[str]:
    """The folder that was asked for, or one that goes when the experiment ends."""
    with contextlib.nullcontext(directory) if directory else scratch() as folder:
        yield folder


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
def lab() -> None:
    """Answer a question about durability by trying it on this machine."""
