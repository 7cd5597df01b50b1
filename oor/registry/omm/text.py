"""Text of inputs whose encoding nobody names."""

from __future__ import annotations


def decoded(raw: bytes) -> str:
    """UTF-8, or Latin-1 where it is not, as names in TLE files are read. Never fails."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
