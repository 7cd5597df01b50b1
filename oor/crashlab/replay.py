"""A violation as a file: the state, what had been promised, and how it came about.

It holds the image itself, so that it shows the same whatever the workload does by then. It is JSON:
contents are deflated and in base 64, keys and values too.
"""

from __future__ import annotations

import base64
import json
import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from oor import native
from oor.crashlab.history import History, Promise
from oor.crashlab.images import Image
from oor.crashlab.invariants import Violation
from oor.crashlab.judge import Judge
from oor.crashlab.levels import Level
from oor.crashlab.memory import ROOT, MemoryDisk
from oor.crashlab.recording import Recording, Snapshot
from oor.crashlab.run import Recorded
from oor.errors import LimitError

if TYPE_CHECKING:
    from oor.crashlab.explorer import Found

FORMAT = 1


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode("ascii")


def _unpack(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def replay_of(found: Found) -> dict[str, Any]:
    """The content of a replay file."""
    violation, recorded, image = found.violation, found.recorded, found.image
    promise = recorded.promises[image.point if image else -1]
    batches = recorded.history.batches[: promise.submitted]
    return {
        "format": FORMAT,
        "invariant": violation.invariant,
        "text": violation.text,
        "workload": violation.workload,
        "level": violation.level,
        "point": violation.point,
        "depth": violation.depth,
        "options": recorded.options,
        "promise": list(promise),
        "lsns": recorded.history.lsns[: promise.submitted],
        "uncertain": sorted(recorded.history.uncertain),
        "batches": [
            [[_pack(key), None if value is None else _pack(value)] for key, value in batch.items()]
            for batch in batches
        ],
        "dirs": list(image.dirs) if image else [],
        "files": {path: _pack(data) for path, data in image.files.items()} if image else {},
        "intact": {path: _pack(data) for path, data in image.intact.items()}
        if image and image.intact
        else None,
    }


def load(content: dict[str, Any]) -> tuple[Recorded, Image]:
    """What a replay file holds. LimitError if it is none, or of a format that is not known."""
    if content.get("format") != FORMAT:
        raise LimitError(f"not a replay of format {FORMAT}: {content.get('format')!r}")
    history = History(
        batches=[
            {_unpack(key): None if value is None else _unpack(value) for key, value in batch}
            for batch in content["batches"]
        ],
        lsns=list(content["lsns"]),
        uncertain=set(content["uncertain"]),
    )
    files = {path: _unpack(data) for path, data in content["files"].items()}
    intact = content["intact"]
    dirs = tuple(content["dirs"])
    digest = blake2b(repr((dirs, sorted(files.items()))).encode(), digest_size=16).digest()
    image = Image(
        0,
        Level[content["level"]],
        dirs,
        files,
        digest,
        None if intact is None else {path: _unpack(data) for path, data in intact.items()},
    )
    recorded = Recorded(
        content["workload"],
        Recording(ROOT, start=Snapshot([""])),
        history,
        dict(content["options"]),
        [Promise(*content["promise"])],
        history.lengths(),
    )
    return recorded, image


def replay(content: dict[str, Any]) -> Violation | None:
    """Judge the state of a replay file again; None: it breaks nothing (any more)."""
    recorded, image = load(content)
    with MemoryDisk() as disk:
        return Judge(disk, closely=1).judge(recorded, image, content["depth"])


def save(path: str, content: dict[str, Any]) -> None:
    """Write a replay file."""
    text = json.dumps(content, indent=1) + "\n"
    with native.File(path, native.WRITE | native.CREATE | native.TRUNCATE) as file:
        file.write(text.encode("ascii"), 0)


def read(path: str) -> dict[str, Any]:
    """Read a replay file."""
    content = json.loads(native.read_file(path))
    if not isinstance(content, dict):
        raise LimitError(f"{path} is no replay")
    return content
