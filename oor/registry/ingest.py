"""Files of element sets into a database: each set once, each reject kept, and the count balanced.

file -> chunks (sources) -> batches (parse) -> which are new? (get_many) -> write_columns
                                           `-> rejects -> quarantine file
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from oor.errors import OorError
from oor.registry import sources
from oor.registry.quarantine import Quarantine, default_path
from oor.registry.registry import Registry
from oor.registry.store import Store
from oor.registry.tle_scan import BATCH_SETS, Batch, Scanner


class ImbalanceError(OorError):
    """What was read is not what was stored, there already or quarantined: a defect of oor."""


@dataclass(slots=True)
class FileReport:
    """What became of one input. Always: read == stored + already_there + quarantined.

    `read` counts sets and rejects, `size` bytes uncompressed. `failure` says why an input could not
    be read to its end; what came before that is counted as usual.
    """

    path: str
    read: int = 0
    stored: int = 0
    already_there: int = 0
    quarantined: int = 0
    size: int = 0
    failure: sources.InputError | None = None


@dataclass(slots=True)
class IngestReport:
    """What became of all inputs of one ingest, so far or at its end."""

    source: str | None
    quarantine_path: str
    files: list[FileReport] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    """Rejects by rule id."""
    last_lsn: int = 0
    """Of the last batch acknowledged; 0 before the first."""
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
    def failures(self) -> list[sources.InputError]:
        """Inputs that could not be read to their end."""
        return [file.failure for file in self.files if file.failure is not None]


def ingest(
    db: Store,
    paths: Iterable[str | os.PathLike[str]],
    *,
    source: str | None = None,
    durability: str | None = None,
    batch_sets: int = BATCH_SETS,
    progress: Callable[[IngestReport], object] | None = None,
    quarantine: str | os.PathLike[str] | None = None,
) -> IngestReport:
    """Store every element set of `paths` that is not there yet; "-" is standard input.

    A batch of up to `batch_sets` sets is one atomic write. `progress` is called with the report so
    far after each batch is acknowledged. Lines that do not parse go to `quarantine` (default:
    beside the database); an input that cannot be read is named in the report. Neither ends the run.

    Raises what the database raises, StorageError for the quarantine file, and ImbalanceError should
    the counts not add up. One ingest at a time a database: two at once may both count one set.
    Cost: about 0.4 us a set beside the database's own; memory for one chunk and one batch.
    """
    started = time.perf_counter()
    path = default_path(db.path) if quarantine is None else os.fspath(quarantine)
    report = IngestReport(source, path)
    source_id = Registry(db).source_id(source, durability=durability)
    with Quarantine(path) as rejects:
        for name in map(str, paths):
            file = FileReport(name)
            report.files.append(file)
            scanner = Scanner(batch_sets)
            for batch in scanner.batches(_until_failure(file)):
                rejects.add(batch.rejected, file=name, source=source)
                file.quarantined += len(batch.rejected)
                report.rules.update(one.rule for one in batch.rejected)
                lsn, stored = _store(db, batch, source_id, durability)
                file.stored += stored
                file.already_there += batch.count - stored
                file.read += batch.count + len(batch.rejected)
                report.last_lsn = lsn or report.last_lsn
                report.seconds = time.perf_counter() - started
                if progress is not None:
                    progress(report)
            _check_balance(file, scanner)
    report.seconds = time.perf_counter() - started
    return report


def _until_failure(file: FileReport) -> Iterator[bytes]:
    """The chunks of an input; a failure ends them as the end of the file does, and is noted."""
    try:
        for chunk in sources.chunks(file.path):
            file.size += len(chunk)
            yield chunk
    except sources.InputError as error:
        file.failure = error


def _store(db: Store, batch: Batch, source_id: int, durability: str | None) -> tuple[int, int]:
    """Write the sets of a batch that are new; returns the last LSN (0: none) and their count."""
    if not batch.count:
        return 0, 0
    names = batch.keys(source_id)
    found = list(db.get_many(names))
    keep: bytes | None = None
    if found.count(None) < len(names) or len(set(names)) < len(names):
        seen: set[bytes] = set()
        flags = bytearray(len(names))
        for index, (name, value) in enumerate(zip(names, found, strict=True)):
            if value is None and name not in seen:
                seen.add(name)
                flags[index] = 1
        if not seen:
            return 0, 0
        keep = bytes(flags)
    columns = batch.columns(source_id, keep)
    lsn = db.write_columns(
        columns.keys,
        columns.key_sizes,
        columns.values,
        columns.value_sizes,
        stamp=True,
        durability=durability,
    )
    return lsn, len(columns.key_sizes)


def _check_balance(file: FileReport, scanner: Scanner) -> None:
    """Compare counts that were made apart: the scanner's, this module's, and the bytes read."""
    found = scanner.set_count + scanner.reject_count
    accounted = file.stored + file.already_there + file.quarantined
    if not (file.read == found == accounted) or scanner.offset != file.size:
        raise ImbalanceError(
            f"read {file.read} and found {found}, but stored {file.stored} + already there "
            f"{file.already_there} + quarantined {file.quarantined} = {accounted}; scanned "
            f"{scanner.offset} of {file.size} bytes",
            path=file.path,
        )
