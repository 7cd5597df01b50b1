"""What the demonstration ingests: the bytes, and which sets they are, to hold a store to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from oor.registry import Scanner, sources
from oor.registry.synthetic import SyntheticCatalogue

OBJECTS = 30_000
ISSUES = 8


@dataclass(slots=True)
class Catalogue:
    """Element sets as text, in order.

    Set i of the input has `keys[i]` and starts at `offsets[i]`; `texts` has the lines of each
    different key, those that came first.
    """

    data: bytes
    title: str
    keys: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    texts: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for batch in Scanner().batches([self.data]):
            self.offsets += batch.offsets()
            for elset in batch.element_sets(0):
                self.keys.append(elset.key)
                self.texts.setdefault(elset.key, elset.text)

    @property
    def count(self) -> int:
        """Sets in the input, repeated ones too."""
        return len(self.keys)

    def rest_from(self, index: int) -> bytes:
        """The input from set `index` on."""
        return self.data[self.offsets[index] :] if index < self.count else b""


def synthetic(objects: int = OBJECTS, issues: int = ISSUES) -> Catalogue:
    """A catalogue that never was: the same bytes every time."""
    data = b"".join(SyntheticCatalogue(objects, issues).chunks())
    return Catalogue(
        data,
        f"a synthetic catalogue, {objects:,} objects over LEO, MEO and GEO, {issues} epochs each",
    )


def from_files(paths: Sequence[str]) -> Catalogue:
    """The sets of files, one file behind the other. Raises InputError."""

    def pieces() -> Iterable[bytes]:
        for path in paths:
            yield from sources.chunks(path)
            yield b"\n"

    files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
    return Catalogue(b"".join(pieces()), files)
