"""Catalog numbers in five columns: digits, or Alpha-5.

In Alpha-5 a capital stands for the first two digits: A to Z without I and O are 10 to 33, so five
columns reach 339,999. Lower case is no Alpha-5.
"""

from __future__ import annotations

from oor.errors import LimitError

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
NUMBER_MAX = 339_999
"""The highest catalog number that a TLE can carry."""


def encode(number: int) -> str:
    """The five columns of a catalog number, zero-padded.

    Raises LimitError for a number below 0 or above 339,999.
    """
    if not 0 <= number <= NUMBER_MAX:
        raise LimitError(
            f"catalog number {number} does not fit into five columns (0 to {NUMBER_MAX})"
        )
    if number < 100_000:
        return f"{number:05d}"
    return f"{LETTERS[number // 10_000 - 10]}{number % 10_000:04d}"


def decode(text: str) -> int:
    """The catalog number of up to five columns, zero- or space-padded.

    Raises LimitError for anything else.
    """
    stripped = text.lstrip(" ")
    lead, rest = stripped[:1], stripped[1:]
    if len(stripped) == 5 and lead in LETTERS and rest.isascii() and rest.isdigit():
        return (LETTERS.index(lead) + 10) * 10_000 + int(rest)
    if 0 < len(stripped) <= 5 and stripped.isascii() and stripped.isdigit():
        return int(stripped)
    raise LimitError(f"{text!r} is no catalog number of five columns")
