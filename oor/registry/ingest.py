"""Inputs of element sets into a database: each set once, each reject kept, and the count balanced.

path -> inputs -> chunks (sources) -> batches (parse) -> which are new? (roster) -> one write of
                                                     |     sets, labels and the delivery so far
                                                     `-> rejects -> quarantine file
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from oor.errors import OorError
from oor.registry import sources
from oor.registry.ahead import ahead
from oor.registry.delivery import Delivery, by_content, content_pair, next_id
from oor.registry.formats import Format, format_of, looked_at
from oor.registry.index import is_open, newest_records, record
from oor.registry.keys import OPEN_KEY
from oor.registry.parse import AnyBatch, AnyScanner, scanner_of
from oor.registry.quarantine import Quarantine, default_path
from oor.registry.registry import Registry
from oor.registry.report import FileReport, IngestReport
from oor.registry.roster import Roster
from oor.registry.rules import Rejected
from oor.registry.sources import Input, Stamp
from oor.registry.store import Columns, Pairs, Store, joined
from oor.registry.tle_scan import BATCH_SETS, Scanner

TAIL_BYTES = 8 << 20
"""The option `tail_bytes` for a store that takes millions of sets: with room for ten batches while
the log is written, an ingest waits for it half as long as with the default."""


class ImbalanceError(OorError):
    """What was read is not what was stored, there already or quarantined: a defect of oor."""


class StrictError(OorError):
    """A strict ingest met a reject; `rejected` is it. What came before it is stored."""

    rejected: Rejected

    @classmethod
    def of(cls, rejected: Rejected, path: str) -> StrictError:
        """The error of a reject."""
        error = cls(f"refused: {rejected.reason}", path=path, offset=rejected.offset)
        error.rejected = rejected
        return error


def ingest(
    db: Store,
    paths: Iterable[str | os.PathLike[str]],
    *,
    source: str | None = None,
    format: str | Format | None = None,
    durability: str | None = None,
    batch_sets: int = BATCH_SETS,
    progress: Callable[[IngestReport], object] | None = None,
    quarantine: str | os.PathLike[str] | None = None,
    expected: int | None = None,
    strict: bool = False,
    again: bool = False,
) -> IngestReport:
    """Store every element set of `paths` that is not there yet; "-" is standard input.

    A path is a file (plain, gzip, xz, zip, or zstd by the extra `zstandard`), or a directory of
    them. Each input is a delivery; one that is there whole already is skipped, unless `again`, and
    one that was left in the middle is resumed there. `format` names the format of all inputs; None:
    their content tells. `expected` is the number of sets of each input, if that is known: with
    another it is not whole.

    A batch of up to `batch_sets` sets is one atomic write. `progress` is called with the report so
    far after each batch is acknowledged. What does not parse goes to `quarantine` (default: beside
    the database); an input that cannot be read is named in the report. Neither ends the run, unless
    `strict`: the first reject then raises StrictError.

    Raises what the database raises, StorageError for the quarantine file, LimitError for an unknown
    format, and ImbalanceError should the counts not add up. One ingest at a time a database: two at
    once may both count one set. Cost: about 0.5 us a set of TLE and 50 us a message beside the
    database's own; memory for one chunk and one batch.

        >>> import oor, os, tempfile
        >>> from oor.registry import ingest
        >>> folder = tempfile.mkdtemp()
        >>> with open(folder + "/vanguard.tle", "w") as file:
        ...     _ = file.write(
        ...         "1 00005U 58002B   24001.50000000  .00000000  00000-0  00000-0 0  9992\\n"
        ...         "2 00005  34.2500 100.0000 1845000 200.0000 150.0000 10.85000000000013\\n"
        ...     )
        >>> with oor.open(folder + "/catalog.oor") as db:
        ...     for _ in range(2):
        ...         report = ingest(db, [folder + "/vanguard.tle"], again=True)
        ...         print(report.read, report.stored, report.quarantined)
        1 1 0
        1 0 0
    """
    form = None if format is None else format_of(format)
    path = default_path(db.path) if quarantine is None else os.fspath(quarantine)
    report = IngestReport(source, path)
    run = _Run(db, report, source, form, durability, batch_sets, progress, expected, strict, again)
    with Quarantine(path) as rejects:
        for name in paths:
            for one in sources.inputs(os.fspath(name)):
                run.take(one, rejects)
    report.seconds = time.perf_counter() - run.started
    return report


class _Run:
    """One call of `ingest`: what it was asked for, and where it stands."""

    def __init__(
        self, db: Store, report: IngestReport, source: str | None, form: Format | None,
        durability: str | None, batch_sets: int, progress: Callable[[IngestReport], object] | None,
        expected: int | None, strict: bool, again: bool,
    ) -> None:  # fmt: skip
        self.started = time.perf_counter()
        self._db = db
        self._report = report
        self._source = source
        self._form = form
        self._durability = durability
        self._batch_sets = batch_sets
        self._progress = progress
        self._expected = expected
        self._strict = strict
        self._again = again
        self._registry = Registry(db)
        self._source_id = self._registry.source_id(source, durability=durability)
        self._next_id: int | None = None
        if is_open(db):
            self._mend_index()
        self._roster = Roster(db)

    def take(self, one: Input, rejects: Quarantine) -> None:
        """Deliver one input, or what is left of it."""
        file = FileReport(one.name)
        self._report.files.append(file)
        stamp = one.stamp()
        try:
            sha256 = one.sha256()
        except sources.InputError as error:
            file.failure = error
            return
        before = None
        if sha256 is not None and not self._again:
            before = by_content(self._db, one.identity(sha256), self._source_id)
        if before is not None and before.whole:
            file.skipped = True
            _copy(before, file)
            self._report.rules.update(before.rules)
            return
        work = _Delivering(self, one, file, sha256, stamp, before)
        work.run(rejects)

    def _mend_index(self) -> None:
        """A run that did not end has left the index of newest sets behind what is stored."""
        pairs = newest_records(elset.key for elset in self._registry.walk_latest())
        for at in range(0, len(pairs), BATCH_SETS):
            self.write(pairs[at : at + BATCH_SETS])
        self.write([(OPEN_KEY, None)])

    def write(self, pairs: Pairs) -> int:
        """One atomic write of records; returns the last LSN."""
        return self.write_columns(joined(pairs))

    def write_columns(self, columns: Columns) -> int:
        """One atomic write; returns the last LSN."""
        return self._db.write_columns(*columns, stamp=True, durability=self._durability)

    def delivery_id(self) -> int:
        """The id of the next delivery. Only the first is looked for: a scan orders the memtable."""
        self._next_id = next_id(self._db) if self._next_id is None else self._next_id + 1
        return self._next_id

    def told(self) -> None:
        """Tell the caller how far it is."""
        self._report.seconds = time.perf_counter() - self.started
        if self._progress is not None:
            self._progress(self._report)


class _Delivering:
    """One input on its way into the database."""

    def __init__(
        self, run: _Run, one: Input, file: FileReport, sha256: str | None, stamp: Stamp,
        before: Delivery | None,
    ) -> None:  # fmt: skip
        self._stamp = stamp
        self._run = run
        self._input = one
        self._file = file
        self._sha256 = sha256
        self._hash = hashlib.sha256() if sha256 is None else None
        self._before = before if before is not None and before.state is not None else None
        self._delivery: Delivery
        self._scanner: AnyScanner
        self._opened = False

    def run(self, rejects: Quarantine) -> None:
        """Read, store and count, to the end of the input or to where it fails."""
        for batch in self._batches(self._open()):
            fault = batch.rejected[0] if batch.rejected and self._run._strict else None
            refused = batch.rejected if fault is None else [fault]
            rejects.add(refused, file=self._file.path, source=self._run._source)
            if fault is not None:
                self._store(batch, _before(batch, fault), refused)
                raise StrictError.of(fault, self._file.path)
            self._store(batch, None, refused)
            self._run.told()
        _check_balance(self._file, self._scanner)
        self._finish()

    def _batches(self, chunks: Iterator[bytes]) -> Iterator[AnyBatch]:
        """What is scanned; of a file of lines, on a second thread while this one stores.

        A pipe is asked for more only by who waits for it, and messages are read with the
        interpreter's lock.
        """
        scanner = self._scanner
        if self._stamp is None or not isinstance(scanner, Scanner):
            yield from scanner.batches(chunks)
            return
        with closing(ahead(scanner.batches(chunks))) as batches:
            yield from batches

    def _open(self) -> Iterator[bytes]:
        """Begin the delivery, or take it up where it was left; returns what is left to read."""
        run, before = self._run, self._before
        if before is not None and before.state is not None:
            self._delivery = before
            self._scanner = scanner_of(format_of(before.format), run._batch_sets)
            self._scanner.restore(before.state)
            self._file.resumed_at = self._scanner.offset
            run._report.rules.update(before.rules)
            _copy(before, self._file)
            return self._until_failure(self._scanner.offset)
        form, chunks = run._form, self._until_failure(0)
        if form is None:
            form, chunks = looked_at(chunks)
        self._scanner = scanner_of(form, run._batch_sets)
        self._delivery = Delivery(
            run.delivery_id(), run._source, self._file.path, self._sha256, form.word, time.time(),
            expected=run._expected,
        )  # fmt: skip
        self._file.delivery_id, self._file.format = self._delivery.id, form.word
        return chunks

    def _until_failure(self, skip: int) -> Iterator[bytes]:
        """The chunks of the input; a failure ends them as the end of it does, and is noted."""
        try:
            for chunk in self._input.chunks(skip=skip, since=self._stamp):
                self._file.size += len(chunk)
                if self._hash is not None:
                    self._hash.update(chunk)
                yield chunk
        except sources.InputError as error:
            self._file.failure = error

    def _store(self, batch: AnyBatch, limit: int | None, refused: list[Rejected]) -> None:
        """Write the sets of a batch that are new, the first `limit` of them if that is given."""
        run, file = self._run, self._file
        count = batch.count if limit is None else limit
        keep, fresh = run._roster.new_ones(batch, count, run._source_id)
        rules = Counter(one.rule for one in refused)
        run._report.rules.update(rules)
        file.stored += fresh
        file.already_there += count - fresh
        file.quarantined += len(refused)
        file.read += count + len(refused)
        if not fresh and not refused:
            return
        pairs = run._roster.labels(batch, keep) if fresh else []
        if limit is None:
            # A strict stop leaves the state of the last whole batch: nothing is passed over.
            self._delivery.rules.update(rules)
            self._note(batch.state["offset"])
            self._delivery.state = batch.state
        if not self._opened:
            pairs.extend(self._beginning())
        pairs.insert(0, self._delivery.to_pair(len(pairs) + fresh))
        lsn = run.write_columns(batch.columns(run._source_id, keep, pairs))
        self._delivery.wrote(lsn - len(pairs) - fresh + 1, lsn)
        if fresh:
            run._report.last_lsn = lsn
            run._roster.keep(batch, keep, run._source_id, lsn - fresh + 1)

    def _note(self, size: int) -> None:
        """The delivery's counts are the file's, in so many bytes of the input."""
        for name in ("read", "stored", "already_there", "quarantined"):
            setattr(self._delivery, name, getattr(self._file, name))
        self._delivery.size = size

    def _beginning(self) -> Pairs:
        """What the first write of a delivery says besides."""
        self._opened = True
        number = self._delivery.id
        pairs: Pairs = [(OPEN_KEY, record(number.to_bytes(4, "big")))]
        if self._sha256 is not None and self._before is None:
            identity = self._input.identity(self._sha256)
            pairs.append(content_pair(identity, self._run._source_id, number))
        return pairs

    def _finish(self) -> None:
        """Bring the index of newest sets up to date, and say whether all of the input is there."""
        run, delivery, file = self._run, self._delivery, self._file
        self._note(self._scanner.offset)
        delivery.finished = time.time()
        if self._hash is not None:
            delivery.sha256 = self._hash.hexdigest()
        delivery.state = None
        if file.failure is not None:
            delivery.failure = str(file.failure)
        elif self._scanner.cut:
            file.failure = sources.InputError(
                "the input ends before all that it opened is closed",
                path=file.path, offset=self._scanner.offset,
            )  # fmt: skip
            delivery.failure = str(file.failure)
        elif delivery.expected not in (None, delivery.read):
            delivery.failure = f"{delivery.expected} were expected and {delivery.read} were read"
        for part in run._roster.changed():
            run.write(part)
        last: Pairs = [delivery.to_pair()]
        if not self._opened:
            last.extend(self._beginning()[1:])
        run.write([*last, (OPEN_KEY, None)])


def _copy(delivery: Delivery, file: FileReport) -> None:
    """The counts of a delivery as those of its file."""
    file.delivery_id, file.format = delivery.id, delivery.format
    for name in ("read", "stored", "already_there", "quarantined", "size"):
        setattr(file, name, getattr(delivery, name))
    if file.skipped:
        file.stored, file.already_there = 0, delivery.stored + delivery.already_there


def _before(batch: AnyBatch, fault: Rejected) -> int:
    """How many sets of a batch lie before a reject."""
    return sum(offset < fault.offset for offset in batch.offsets())


def _check_balance(file: FileReport, scanner: AnyScanner) -> None:
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
