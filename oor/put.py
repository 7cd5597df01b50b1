"""The put of a store in its own mode, flat: the most frequent call of a store that is written to.

What `Commit.put` does where nothing is out of the ordinary, in a third of the time. Where no sync
is waited for, C does all of it as one step of the interpreter (csrc/native_put.h), with no need of
the commit lock as long as nobody holds it. The log keeps count of what goes this way
(`Commit.allow`), so that a memtable's size is added up once in a while and not in each call. In
`sync` mode C logs, waits for the device without the interpreter's lock, and shows the pair where no
other mutation waits (csrc/native_commit.h).
"""

from __future__ import annotations

from oor.batch import BytesLike
from oor.commit import Commit
from oor.options import Durability
from oor.state import State


class Puts:
    """`put` of an open store."""

    _state: State
    _commit: Commit
    _mode: Durability

    def put(self, key: BytesLike, value: BytesLike, *, durability: str | None = None) -> int:
        """Set `key` to `value` and return the LSN of the mutation.

        On return it is as durable as `durability` (or the store's own mode) says; see
        `oor.Durability`. Raises LimitError; DiskFullError: nothing was acknowledged, go on when
        there is room (a `sync` write that was logged already becomes visible with the next sync
        that succeeds); FailedError: the outcome is not known until the store is opened again;
        ClosedError. Cost: one crossing and a copy; in `sync` mode a device write, shared with all
        who wait for one.
        """
        if durability is None:
            commit = self._commit
            if answer := commit.put_shortly(self._state, key, value):
                lsn: int = answer if type(answer) is int else commit.finish_put(answer, key, value)
                return lsn
        return self._commit.put(key, value, durability)
