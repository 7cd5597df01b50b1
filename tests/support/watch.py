"""I13 and I14 hold in every test: what goes through the door is followed, and judged at its end.

A module with UNWATCHED says why it is not. A test that records the disk itself, or has one in
memory, ends the watch; what it records with all bytes is judged instead, unless a sync lied in it.
OOR_WATCH=0 watches nothing; OOR_WATCH=FILE writes there what was watched: test, how many promises
and releases were looked at, and why no more.
"""

from __future__ import annotations

import os

from oor.crashlab.memory import MemoryDisk
from oor.crashlab.order import OrderRules, broken_order
from oor.crashlab.recording import Recording
from oor.trace import Op, Trace

SETTING = os.environ.get("OOR_WATCH", "1")


class Watch:
    """Of one test at a time."""

    def __init__(self):
        self._trace = None
        self._entered = Trace.__enter__
        self._exited = Trace.__exit__
        self._memory = MemoryDisk.__enter__
        self.checked = 0
        self.broken = []
        self.why = ""

    def begin(self):
        """Watch from here on."""
        self.checked, self.broken, self.why = 0, [], ""
        self._trace = Trace(order=True)
        self._entered(self._trace)

    def end(self, why=""):
        """Judge what was seen, and see no more."""
        if self._trace is None:
            return
        trace, self._trace = self._trace, None
        self.why = why
        cut_off = trace.is_cut_off
        events = trace.take()
        self._exited(trace, None, None, None)
        if cut_off:
            self.why = "more bytes than are kept"
        rules = OrderRules("")
        for event in events:
            rules.feed(event)
        self._note(rules)

    def _note(self, rules):
        self.checked += rules.checked
        self.broken += [f"I13: {text}" for text in rules.acks]
        self.broken += [f"I14: {text}" for text in rules.releases]

    def install(self):
        """From here on a test's own recording takes the watch's place."""
        watch = self

        def entered(trace):
            watch.end("records the disk itself")
            return watch._entered(trace)

        def exited(trace, *error):
            watch._exited(trace, *error)
            if (
                isinstance(trace, Recording)
                and trace.has_payloads
                and not any(map(lies, trace.events))
            ):
                watch._note(broken_order(trace.events, trace.root, trace.snapshot))

        def in_memory(disk):
            watch.end("has a disk in memory")
            return watch._memory(disk)

        Trace.__enter__, Trace.__exit__, MemoryDisk.__enter__ = entered, exited, in_memory


def lies(event):
    """Whether it is a sync that was told as made and was not."""
    return event.op is Op.SYNC and event.result >= 0 and not event.effect


def report(name, watch):
    """A line of what was watched, where it is wanted."""
    if SETTING not in ("0", "1"):
        with open(SETTING, "a", encoding="utf-8") as file:
            file.write(f"{name}\t{watch.checked}\t{watch.why}\n")
