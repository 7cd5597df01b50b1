"""How the rooms tell what they do: one logger a room, and a span where the program traces.

Loggers, all of the standard library: `oor.recovery`, `oor.flush`, `oor.compaction`,
`oor.checkpoint`, and `oor.pressure` for writers that had to wait. A finished piece of work is one
record of level INFO (DEBUG if it was nothing); its facts stand in the text, and as a dict in the
record's attribute `facts`, for formatters that write JSON.

OpenTelemetry is never imported from here. A program that traces has imported it, and then each
piece of work is a span of the logger's name with the facts as attributes `oor.*`; a program that
does not pays one look into a dict for each flush.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Facts = Mapping[str, str | int | float | bool]
"""What a piece of work was, by name; names end in their unit."""


def reported(
    name: str, facts: Callable[[R], Facts | None]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make each call of a function a log record of logger `name`, and a span of that name.

    `facts` says what its result amounts to; None: nothing was done, which is told to nobody. An
    exception goes on as it was; the span has it.
    """
    logger = logging.getLogger(name)

    def decorate(work: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(work)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            began = time.time_ns()
            try:
                result = work(*args, **kwargs)
            except Exception as error:
                _span(name, began, {}, error)
                raise
            found = facts(result)
            if found is not None:
                seconds = (time.time_ns() - began) / 1e9
                _span(name, began, found, None)
                if logger.isEnabledFor(logging.INFO):
                    text = ", ".join(f"{key} {value}" for key, value in found.items())
                    told = {"facts": {**found, "seconds": seconds}}
                    logger.info("%s in %.1f ms", text, seconds * 1e3, extra=told)
            return result

        return wrapper

    return decorate


def _span(name: str, began_ns: int, facts: Facts, error: Exception | None) -> None:
    """One span, from `began_ns` to now, below the caller's own, if the program traces."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return
    attributes = {f"oor.{key}": value for key, value in facts.items()}
    span = trace.get_tracer("oor").start_span(name, start_time=began_ns, attributes=attributes)
    if error is not None:
        span.record_exception(error)
        span.set_status(trace.Status(trace.StatusCode.ERROR, str(error)))
    span.end()
