"""The put of a store in its own mode, flat: the most frequent call of a store that is written to.

What `Commit.put` does where nothing is out of the ordinary, with a third of the steps: one crossing
logs the mutation, one store into a dict shows it. The log keeps count of what goes this way without
a wait (`Commit.allow`), so that a memtable's size is added up once in a while and not in each call.
In `sync` mode `Commit.put_durably` waits for the device in between.
"""

from __future__ import annotations

from functools import partial

from oor.batch import BytesLike
from oor.commit import Commit
from oor.memtable import ABSENT
from oor.native import lib
from oor.options import Durability
from oor.state import State

_put_easily = lib.oor_wal_put_easily


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
        if durability is None and type(key) is bytes and type(value) is bytes:
            state = self._state
            if state.easy:
                with state.lock:
                    lsn: int = 0
                    try:
                        if not state.hindered:
                            lsn = _put_easily(state.wal, key, len(key), value, len(value))
                            if lsn > 0:
                                memtable = state.view.active
                                data = memtable.data
                                if (note := memtable.note) is not None:
                                    note((key, data.get(key, ABSENT)))
                                data[key] = value
                                memtable.last_lsn = lsn
                                return lsn
                    except BaseException:
                        self._commit.settle(partial(dict, [(key, value)]), lsn, lsn)
                        raise
            elif not state.hindered:
                return self._commit.put_durably(key, value)
        return self._commit.put(key, value, durability)
