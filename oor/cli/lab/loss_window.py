"""`oor lab loss-window`: how much can a loss of power take?"""

from __future__ import annotations

from dataclasses import asdict

import click

from oor.cli import exits
from oor.cli.lab import directory_option, note_figures, place, png_option
from oor.cli.output import emit, json_option, note
from oor.lab import loss_window as experiment
from oor.lab.picture import save_png


@click.command("loss-window")
@directory_option
@click.option(
    "--mode", "modes", type=click.Choice(experiment.MODES), multiple=True,
    default=experiment.MODES, show_default=True, help="May be given more than once.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(0.05, 600), default=1.0, show_default=True,
    help="Of each workload.",
)  # fmt: skip
@click.option(
    "--rate", type=click.FloatRange(1), default=5000.0, show_default=True, help="Records a second."
)
@click.option(
    "--instants", type=click.IntRange(1, 100_000), default=100, show_default=True,
    help="Losses of power, a mode.",
)  # fmt: skip
@click.option(
    "--sync-interval", type=click.FloatRange(0.001, 10), default=0.05, show_default=True,
    help="Seconds.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the instants.")
@png_option
@json_option
def loss_window(
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
    """Lose power at random instants, recover, and see what is gone.

    The answer is the largest window that was lost in each mode, against the bound that the mode
    promises. Exits with 1 if a bound was exceeded.
    """
    with place(directory) as folder:
        results = experiment.run(
            folder,
            modes=modes,
            seconds=seconds,
            rate=rate,
            instants=instants,
            sync_interval=sync_interval,
            seed=seed,
        )
    note_figures(experiment.figures(results))
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
        print(experiment.report(results))
    if png:
        save_png(png, lambda axes: experiment.draw(results, axes), rows=len(results))
        note(f"oor: drew {png}")
    return exits.FINE if all(result.holds for result in results) else exits.DAMAGE
