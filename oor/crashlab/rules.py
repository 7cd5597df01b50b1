"""Rules that a recording must keep, whatever the disk then does. Each returns what breaks it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence

from oor.crashlab.recording import Event, Op


def acks_follow_durability(
    events: Sequence[Event], lsns_in: Callable[[Event], Iterable[int]], word: str = "ack durable"
) -> list[str]:
    """Each mark `<word> <lsn>` follows the durability of the write that holds that LSN.

    `lsns_in(write)` gives the LSNs whose last byte this WRITE puts on the disk. Durable means:
    written through an O_DSYNC descriptor, or followed by a successful sync of the same object that
    began after the write ended and ended before the mark; and, for a file made in this recording, a
    successful sync of its directory that began after it got the name that it has at the mark.
    """
    broken = []
    durable: set[int] = set()
    waiting: dict[int, list[tuple[int, int]]] = {}  # object -> (end of the write, LSN)
    object_of: dict[int, int] = {}
    descriptors: dict[int, int] = {}
    nameless: dict[int, tuple[str, int]] = {}  # object -> its directory, when it got its name
    for event in events:
        if event.op is Op.MARK and event.text.startswith(word + " "):
            lsn = int(event.text.rsplit(" ", 1)[1])
            if lsn not in object_of:
                broken.append(f"LSN {lsn} is acknowledged and was never written")
            elif lsn not in durable:
                broken.append(f"LSN {lsn} is acknowledged before its write is durable")
            elif object_of[lsn] in nameless:
                broken.append(f"LSN {lsn} is acknowledged before its file's name is durable")
        if not event.effect:
            continue
        match event.op:
            case Op.OPEN:
                descriptors[event.fd] = event.flags
                new = event.object not in waiting
                if new and event.flags & os.O_CREAT:
                    nameless[event.object] = os.path.dirname(event.path), event.end
                waiting.setdefault(event.object, [])
            case Op.RENAME | Op.LINK if event.object in waiting:
                nameless[event.object] = os.path.dirname(event.other), event.end
            case Op.WRITE:
                for lsn in lsns_in(event):
                    object_of[lsn] = event.object
                    if descriptors.get(event.fd, 0) & os.O_DSYNC:
                        durable.add(lsn)
                    else:
                        durable.discard(lsn)
                        waiting.setdefault(event.object, []).append((event.end, lsn))
            case Op.SYNC if event.result >= 0:
                mine = waiting.get(event.object, [])
                durable.update(lsn for end, lsn in mine if end < event.begin)
                waiting[event.object] = [pair for pair in mine if pair[0] >= event.begin]
            case Op.SYNC_DIR if event.result >= 0:
                for object_, (folder, since) in list(nameless.items()):
                    if folder == event.path.rstrip("/") and since < event.begin:
                        del nameless[object_]
    return broken


def failed_syncs_are_final(events: Sequence[Event]) -> list[str]:
    """After a failed sync of a file nothing reads, writes or syncs it again.

    An interrupted sync has not failed: it is made again.
    """
    broken = []
    failed: dict[int, str] = {}
    for event in events:
        if event.op in (Op.READ, Op.WRITE, Op.SYNC) and event.object in failed:
            broken.append(f"{event.op.name} of {failed[event.object]} after its sync had failed")
        if event.op is Op.SYNC and event.result < 0 and event.result != -errno.EINTR:
            failed[event.object] = event.path
    return broken
