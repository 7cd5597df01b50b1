"""The names of the files in a store's directory."""

from __future__ import annotations


def table_name(number: int) -> str:
    """`table_name(12) == "000000000012.sst"`."""
    return f"{number:012d}.sst"
