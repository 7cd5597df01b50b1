"""The names of the files in a store's directory: made and parsed here and nowhere else.

CURRENT           names the manifest in force
LOCK              locked by the process that has the store open for writing
TAIL              the shared tail of the log
MANIFEST-000...N  a manifest
000...N.wal       a segment of the log
000...N.spare     a freed segment waiting to be used again
000...N.sst       a table
*.tmp             half-made; removed by undo
"""

from __future__ import annotations

import enum
import re

CURRENT = "CURRENT"
LOCK = "LOCK"
TAIL = "TAIL"

_DIGITS = 12
_PATTERN = re.compile(
    rf"MANIFEST-(?P<manifest>\d{{{_DIGITS},20}})"
    rf"|(?P<number>\d{{{_DIGITS},20}})\.(?P<suffix>wal|spare|sst)"
)


class FileKind(enum.Enum):
    """What a name in the directory stands for."""

    CURRENT = "current"
    LOCK = "lock"
    TAIL = "tail"
    MANIFEST = "manifest"
    SEGMENT = "segment"
    SPARE = "spare"
    TABLE = "table"
    TEMPORARY = "temporary"
    FOREIGN = "foreign"


_SUFFIXES = {"wal": FileKind.SEGMENT, "spare": FileKind.SPARE, "sst": FileKind.TABLE}
_FIXED = {CURRENT: FileKind.CURRENT, LOCK: FileKind.LOCK, TAIL: FileKind.TAIL}


def segment_name(number: int) -> str:
    """`segment_name(12) == "000000000012.wal"`."""
    return f"{number:0{_DIGITS}d}.wal"


def spare_name(number: int) -> str:
    """`spare_name(12) == "000000000012.spare"`."""
    return f"{number:0{_DIGITS}d}.spare"


def table_name(number: int) -> str:
    """`table_name(12) == "000000000012.sst"`."""
    return f"{number:0{_DIGITS}d}.sst"


def manifest_name(number: int) -> str:
    """`manifest_name(12) == "MANIFEST-000000000012"`."""
    return f"MANIFEST-{number:0{_DIGITS}d}"


def parse(name: str) -> tuple[FileKind, int]:
    """What `name` stands for and its number; 0 where a kind has none.

    A name that none of the functions above makes is FOREIGN (or TEMPORARY, by its ending).
    """
    fixed = _FIXED.get(name)
    if fixed is not None:
        return fixed, 0
    if name.endswith(".tmp"):
        return FileKind.TEMPORARY, 0
    match = _PATTERN.fullmatch(name)
    if match is None:
        return FileKind.FOREIGN, 0
    digits = match["manifest"] or match["number"]
    if len(digits) > _DIGITS and digits[0] == "0":
        return FileKind.FOREIGN, 0
    kind = FileKind.MANIFEST if match["manifest"] else _SUFFIXES[match["suffix"]]
    return kind, int(digits)
