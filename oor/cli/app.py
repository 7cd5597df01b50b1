"""The tree of subcommands, each with its home and one line of help, and how a run of one ends."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

import click

from oor import __version__
from oor.cli import exits
from oor.errors import OorError

# name -> (module, what it does). The modules are imported on demand: `oor --help` loads no engine.
COMMANDS = {
    "ingest": ("ingest", "Store the element sets of files; rejects go to a quarantine file."),
    "latest": ("query", "Print the newest element set of each object."),
    "at": ("query", "Print the newest element set at or before a time."),
    "history": ("query", "Print all element sets of an object, oldest first."),
    "export": ("export", "Write the catalogue as TLE, OMM, Arrow or Parquet."),
    "convert": ("convert", "Convert element sets from any form to any other, without a store."),
    "report": ("report", "Draw a store on one HTML page: deliveries, ages, orbits, levels."),
    "stat": ("monitor", "Show at a glance what a store holds; a writer may be at work."),
    "top": ("monitor", "Show the same live, with rates, until interrupted."),
    "metrics": ("monitor", "Print the metrics of a store as Prometheus text."),
    "recover": ("store", "Recover a store after a crash, or show what recovery would do."),
    "verify": ("store", "Read every byte of a store and say what is damaged; change nothing."),
    "manifest": ("store", "Print the manifest, edit by edit."),
    "backup": ("backup", "Make a second store of all that a store holds, verified."),
    "doctor": ("doctor", "Measure what a sync costs in a directory, and what it does there."),
    "lab": ("lab", "Answer a question about durability by trying it on this machine."),
    "learn": ("learn", "Three lessons on write-ahead logging, with labs and quizzes."),
    "capstone": ("capstone", "Measure the seven criteria here, when the lessons are passed."),
    "torture": ("torture", "Kill a writing process again and again; nothing told may be lost."),
    "crashlab": ("crashlab", "Try every state that a crash may leave, and check what is there."),
    "demo": ("demo", "Kill a process in the middle of an ingest and lose nothing; see it happen."),
}


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"oor.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in exits.TABLE.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # Whoever reads our output has enough. Python would complain once more at exit.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            return exits.FINE


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="oor", message="%(prog)s %(version)s")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="Log records from this level on go to stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How they are written: a line of text or one JSON object a line.",
)
def app(log_level: str, log_format: str) -> None:
    """A durable store of orbital element sets."""
    from oor.cli.logs import configure

    configure(log_level, as_json=log_format == "json")


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code and has told stderr about what went wrong."""
    as_json = "--json" in arguments
    try:
        code = app.main(args=arguments, prog_name="oor", standalone_mode=False)
        return code if isinstance(code, int) else exits.FINE
    except click.ClickException as error:
        error.show()
        return exits.ERROR
    except (click.Abort, KeyboardInterrupt):
        print("oor: interrupted", file=sys.stderr)
        return exits.INTERRUPTED
    except OorError as error:
        _tell(error, as_json)
        return exits.code_of(error)


def _tell(error: OorError, as_json: bool) -> None:
    if not as_json:
        print(f"oor: {error}", file=sys.stderr)
        return
    content: dict[str, Any] = {"error": type(error).__name__, "message": error.message}
    for name in ("path", "segment", "offset", "first_lsn", "last_lsn"):
        if getattr(error, name) is not None:
            content[name] = getattr(error, name)
    print(json.dumps(content), file=sys.stderr)
