"""`oor lab`: questions about durability, answered by trying."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

import click

from oor.cli import exits
from oor.cli.output import emit, json_option, note
from oor.demo.scratch import scratch
from oor.lab import loss_window


@click.command()
@click.argument("experiment", type=click.Choice(["loss-window"]))
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False),
    help="Work here, and leave the stores there.",
)
@click.option(
    "--mode", "modes", type=click.Choice(loss_window.MODES), multiple=True,
    default=loss_window.MODES, show_default=True, help="May be given more than once.",
)  # fmt: skip
@click.option(
    "--seconds",
    type=click.FloatRange(0.05, 600),
    default=1.0,
    show_default=True,
    help="Of each workload.",
)
@click.option(
    "--rate", type=click.FloatRange(1), default=5000.0, show_default=True, help="Records a second."
)
@click.option(
    "--instants",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="Losses of power, a mode.",
)
@click.option(
    "--sync-interval",
    type=click.FloatRange(0.001, 10),
    default=0.05,
    show_default=True,
    help="Seconds.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the instants.")
@click.option(
    "--png", type=click.Path(dir_okay=False), help="Draw a picture too (needs matplotlib)."
)
@json_option
def lab(
    experiment: str,
    directory: str | None,
    modes: tuple[str, ...],
    seconds: float,
    rate: float,
    instants: int,
    sync_interval: float,
    seed: int,
    png: str | None,
    as_json: bool,
) -> int:
    """Run an experiment. loss-window: lose power at random instants, recover, and see what is gone.

    The answer is the largest window that was lost in each mode, against the bound that the mode
    promises.
    """
    with contextlib.nullcontext(directory) if directory else scratch() as place:
        results = loss_window.run(
            place,
            modes=modes,
            seconds=seconds,
            rate=rate,
            instants=instants,
            sync_interval=sync_interval,
            seed=seed,
        )
    for result in results if as_json else ():
        emit(
            asdict(result)
            | {
                "worst_seconds": result.worst_seconds,
                "worst_records": result.worst_records,
                "holds": result.holds,
            }
        )
    if not as_json:
        print(loss_window.report(results))
    if png:
        loss_window.save_png(results, png)
        note(f"oor: drew {png}")
    return exits.FINE if all(result.holds for result in results) else exits.DAMAGE
