"""The command `oor`. Each group of subcommands is a module, imported when one of them is called.

Data goes to stdout, progress and messages to stderr; `--json` makes the data JSON, one object a
line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code (oor.cli.exits)."""
    import sys

    from oor.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))
