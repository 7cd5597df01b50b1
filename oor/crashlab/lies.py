"""Level 4: a device that lies. Each image is one that was durable, with one thing wrong.

Rot: a byte of what was durable changed. Misdirected: a block that was written went to the place of
another. Stale: a block of a file reads as it was before its last durable write.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b

from oor.crashlab.images import CrashImages, Image
from oor.crashlab.levels import Level
from oor.names import LOCK, TAIL

BLOCK = 4096
_QUIET = (LOCK, TAIL)
"""Files that promise nothing about a loss of power."""


def lies(images: CrashImages, point: int, seed: int, count: int) -> Iterator[Image]:
    """Up to 3 x `count` images with a lie, of the state in which nothing pending arrived."""
    base = next(iter(images.at(point, Level.ORDERED, seed=seed)), None)
    if base is None:
        return
    rng = random.Random(f"{seed} {point} lies")
    victims = sorted(
        path
        for path, content in base.files.items()
        if path.rpartition("/")[2] not in _QUIET and any(content)
    )
    if not victims:
        return
    for _ in range(count):
        for lie in (rotten, misdirected, zeroed):
            path = rng.choice(victims)
            content = lie(base.files[path], rng)
            if content != base.files[path]:
                files = base.files | {path: content}
                whole = base.digest + path.encode() + content
                yield replace(
                    base,
                    level=Level.LYING,
                    files=files,
                    intact=base.files,
                    digest=blake2b(whole, digest_size=16).digest(),
                )


def rotten(content: bytes, rng: random.Random) -> bytes:
    """One bit of one byte that is not in a run of zeros."""
    used = [at for at in range(0, len(content), 7) if content[at]]
    at = rng.choice(used) if used else 0
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def misdirected(content: bytes, rng: random.Random) -> bytes:
    """One block of the file over another of it."""
    count = len(content) // BLOCK
    if count < 2:
        return content
    source, target = rng.sample(range(count), 2)
    block = content[source * BLOCK : (source + 1) * BLOCK]
    return content[: target * BLOCK] + block + content[(target + 1) * BLOCK :]


def zeroed(content: bytes, rng: random.Random) -> bytes:
    """One sector as it was before anything was written: zeros."""
    at = rng.randrange(-(-len(content) // 512)) * 512
    size = min(512, len(content) - at)
    return content[:at] + bytes(size) + content[at + size :]
