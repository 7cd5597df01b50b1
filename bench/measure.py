"""How it is measured: all stores in turn, round by round; what disturbs one disturbs all."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from bench import probe
from bench.stores import Store
from bench.workloads import Data, Workload, loaded

WARM_ROUNDS = 1
IMAGES = "settled"
"""Where in the directory of a run the settled stores lie that its workloads copy."""
PAUSE_SECONDS = 0.06
"""After a round of logged writes: a store that syncs behind the writer's back does it in this
pause, and not in its neighbour's round."""


@dataclass
class Figures:
    """The rounds of one workload: a list of figures a store, and one a probe."""

    name: str
    what: str
    unit: str
    rounds: dict[str, list[float]] = field(default_factory=dict)
    higher_is_better: bool = False

    def add(self, who: str, figure: float) -> None:
        """One more round."""
        self.rounds.setdefault(who, []).append(figure)

    def median(self, who: str) -> float | None:
        """The median of the rounds; None if there were none."""
        figures = self.rounds.get(who)
        return median(figures) if figures else None

    def spread(self, who: str) -> float:
        """How far the quartiles are apart, as a part of the median."""
        figures = self.rounds[who]
        if len(figures) < 4:
            return 0.0
        low, middle, high = quantiles(figures, n=4)
        return (high - low) / middle if middle else 0.0

    def ratio(self, other: str, to: str = "oor") -> float | None:
        """How many times `to` is better than `other`: the median over rounds of both."""
        ours, theirs = self.rounds.get(to), self.rounds.get(other)
        if not ours or not theirs:
            return None
        each = [b / a for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]
        if not each:
            return None
        return 1 / median(each) if self.higher_is_better else median(each)


Probes = Mapping[str, Callable[[], float]]


def run(
    workload: Workload,
    kinds: Sequence[type[Store]],
    data: Data,
    rounds: int,
    directory: str,
    probes: Probes,
) -> Figures:
    """Interleaved rounds of one workload; stores take turns in an order drawn for each round."""
    figures = Figures(workload.name, workload.what, workload.unit)
    kinds = [kind for kind in kinds if workload.takes(kind)]
    draw = random.Random(11)
    pause = PAUSE_SECONDS if not (workload.durable or workload.settled) else 0
    with contextlib.ExitStack() as stack:
        room = stack.enter_context(tempfile.TemporaryDirectory(dir=directory))
        sessions = {}
        for kind in kinds:
            own = os.path.join(room, kind.name)
            os.mkdir(own)
            images = os.path.join(directory, IMAGES)
            sessions[kind.name] = workload.open(kind, own, data, images)
            stack.callback(sessions[kind.name].close)
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        for number in range(rounds + WARM_ROUNDS):
            names = [*sessions, *probes]
            draw.shuffle(names)
            for name in names:
                if name in sessions:
                    work = sessions[name].prepare(number)
                    since = time.perf_counter()
                    work()
                    spent = time.perf_counter() - since
                    figure = spent * workload.scale / workload.operations(data)
                    time.sleep(pause)
                else:
                    figure = probes[name]()
                if number >= WARM_ROUNDS:
                    figures.add(name, figure)
    return figures


def disk_bytes(kinds: Sequence[type[Store]], data: Data, directory: str) -> Iterator[Figures]:
    """Bytes a record on the disk once all is settled: the records' files, then all files."""
    kept = Figures("diskbytes", "bytes of table files a record, settled", "B")
    whole = Figures("diskwhole", "bytes of all files a record, closed", "B")
    for kind in kinds:
        with tempfile.TemporaryDirectory(dir=directory) as room:
            path = os.path.join(room, "store")
            loaded(kind, path, data).close()
            sizes = {file.name: file.stat() for file in Path(path).iterdir()}
            records = len(data.pairs)
            kept.add(
                kind.name,
                sum(s.st_size for n, s in sizes.items() if n.endswith(kind.data_suffixes))
                / records,
            )
            whole.add(kind.name, sum(s.st_blocks * 512 for s in sizes.values()) / records)
    yield kept
    yield whole


def checksums(directory: str, rounds: int) -> Iterator[Figures]:
    """Gigabytes a second of the engine's CRC32C beside those of a plain read from memory."""
    library = probe.build(directory)
    if library is None:
        return
    memory = probe.memory_probe(library)
    for size in probe.CRC_SIZES:
        figures = Figures(f"crc32c-{size}", f"CRC32C of {size:,} bytes", "GB/s")
        figures.higher_is_better = True
        checksum = probe.crc32c_probe(library, size)
        for _ in range(rounds):
            figures.add("oor", checksum())
            figures.add("memory", memory())
        yield figures


def device_probes(directory: str, size: int) -> Probes:
    """The probes that this file system takes, by name: microseconds a durable write of `size`."""
    library = probe.build(directory) if size else None
    found: dict[str, Callable[[], float]] = {}
    if library is None:
        return found
    count = max(4, min(100, PROBE_BYTES // size))
    for name, direct in (("direct", True), ("fdatasync", False)):
        try:
            device = probe.DeviceProbe(library, directory, direct, size)
        except OSError:
            continue
        found[name] = lambda device=device: device(count)  # type: ignore[misc]
    return found


PROBE_BYTES = 4 << 20
"""What a round of a device probe writes, but at least 4 and at most 100 writes."""
