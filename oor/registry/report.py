"""What became of the inputs of an ingest, in numbers that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from oor.registry.sources import InputError


@dataclass(slots=True)
class FileReport:
    """What became of one input. Always: read == stored + already_there + quarantined.

    `read` counts sets and rejects, `size` bytes uncompressed. `failure` says why an input could not
    be read to its end; what came before that is counted as usual. An input that was delivered whole
    before is not read again: `skipped` says so, and its sets count as already there. One that was
    left in the middle is read from `resumed_at` on, and its counts are those of the whole input.
    """

    path: str
    read: int = 0
    stored: int = 0
    already_there: int = 0
    quarantined: int = 0
    size: int = 0
    failure: InputError | None = None
    format: str | None = None
    delivery_id: int | None = None
    """None where nothing was to be stored."""
    skipped: bool = False
    resumed_at: int | None = None


@dataclass(slots=True)
class IngestReport:
    """What became of all inputs of one ingest, so far or at its end."""

    source: str | None
    quarantine_path: str
    files: list[FileReport] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    """Rejects by rule id."""
    last_lsn: int = 0
    """Of the last set stored; 0 before the first."""
    seconds: float = 0.0

    @property
    def read(self) -> int:
        """Sets and rejects found in the inputs."""
        return sum(file.read for file in self.files)

    @property
    def stored(self) -> int:
        """Sets that were new."""
        return sum(file.stored for file in self.files)

    @property
    def already_there(self) -> int:
        """Sets that the database, or an earlier line of the inputs, had."""
        return sum(file.already_there for file in self.files)

    @property
    def quarantined(self) -> int:
        """Rejects, now in the quarantine file."""
        return sum(file.quarantined for file in self.files)

    @property
    def size(self) -> int:
        """Bytes read, uncompressed."""
        return sum(file.size for file in self.files)

    @property
    def skipped(self) -> int:
        """Inputs that were delivered whole before."""
        return sum(file.skipped for file in self.files)

    @property
    def failures(self) -> list[InputError]:
        """Inputs that could not be read to their end."""
        return [file.failure for file in self.files if file.failure is not None]
