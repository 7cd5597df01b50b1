"""`oor capstone`: the seven criteria on the reader's own machine, open to who has passed the
quizzes.
"""

from __future__ import annotations

import os
import platform

import click

from oor import __version__
from oor.cli import exits
from oor.cli.criteria import show_criteria
from oor.cli.output import emit, facts, json_option
from oor.course.progress import Progress
from oor.demo.scratch import scratch
from oor.doctor import examine
from oor.errors import OorError


@click.command()
@click.option(
    "--dir", "directory", type=click.Path(exists=True, file_okay=False),
    help="Make the stores in a new folder below this one; otherwise where temporary files go.",
)  # fmt: skip
@json_option
def capstone(directory: str | None, as_json: bool) -> int:
    """Measure the seven criteria of a durable element-set pipeline here, and print the report.

    It is unlocked by passing the quizzes of all lessons: `oor learn`. Exits with 1 if a criterion
    is not met. `oor demo --criteria` measures the same and is open to all.
    """
    if missing := Progress().missing():
        names = ", ".join(f"{lesson.number} {lesson.name}" for lesson in missing)
        raise OorError(
            f"the capstone opens when the quiz of each lesson is passed; still to pass: {names} "
            "(`oor learn quiz N`)"
        )
    with scratch(below=directory) as folder:
        _tell_machine(folder, as_json)
        code = show_criteria(folder, as_json)
    if not as_json and code == exits.FINE:
        print("This machine keeps what oor acknowledges, as far as seven experiments can tell.")
    return code


def _tell_machine(folder: str, as_json: bool) -> None:
    """Where it was measured: without that no figure means anything."""
    found = examine(folder, samples=100)
    machine = {
        "oor": __version__,
        "python": platform.python_version(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "file system": found.file_system.kind or "unknown",
        "the log goes by": found.sync_method,
        "a sync": "seems to reach the device"
        if found.reaches_device
        else "DOES NOT SEEM TO REACH A DEVICE",
    }
    if as_json:
        emit({"machine": machine})
        return
    facts(machine.items())
    print()
