"""The recording of crashlab, under the name that tests use."""

from __future__ import annotations

from oor.crashlab.recording import (
    ANY_OP,
    MUTATING,
    Event,
    How,
    Op,
    Recording,
    Snapshot,
    parse_events,
)

__all__ = ["ANY_OP", "MUTATING", "Event", "How", "Op", "Recording", "Snapshot", "parse_events"]
