"""Log records of the package on stderr: a line of text or one JSON object a line."""

from __future__ import annotations

import json
import logging
import time


class JsonLines(logging.Formatter):
    """time (UTC), level, logger and message; the facts of a piece of work as members of their own.

    >>> import logging
    >>> record = logging.makeLogRecord({"name": "oor.flush", "msg": "done", "created": 0.0,
    ...     "levelname": "INFO", "facts": {"entries": 3}})
    >>> JsonLines().format(record)
    '{"time": "1970-01-01T00:00:00.000Z", "level": "info", "logger": "oor.flush", \
"message": "done", "entries": 3}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        content = {
            "time": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content)


def utc(seconds: float) -> str:
    """Seconds since 1970 as UTC with milliseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


def configure(level: str, *, as_json: bool) -> None:
    """Send the package's records to stderr, once, whatever was configured before."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if as_json else logging.Formatter("%(name)s: %(levelname)s: %(message)s")
    )
    logger = logging.getLogger("oor")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
