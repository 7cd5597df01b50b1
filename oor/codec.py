"""Codecs of table blocks: which there are, and which are on this machine.

The work is in C (csrc/codec.c), which opens the libraries of the system by name.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from oor.errors import CodecError
from oor.native import check, ffi, lib
from oor.options import Options

NUMBERS: Final[dict[str, int]] = {
    "none": lib.OOR_CODEC_NONE,
    "zstd": lib.OOR_CODEC_ZSTD,
    "lz4": lib.OOR_CODEC_LZ4,
}
"""Name -> what stands in the files."""


@cache
def missing(name: str) -> str | None:
    """Why a codec cannot be used here, with its library and package; None if it can."""
    try:
        check(lib.oor_codec_require(NUMBERS[name], ffi.NULL))
    except CodecError as error:
        return error.message
    return None


def codec_at(options: Options, level: int) -> int:
    """The number of the codec that tables of a level are written with on this machine."""
    name = options.codec_of(level)
    return NUMBERS["none"] if missing(name) else NUMBERS[name]


def wanted_and_missing(options: Options) -> list[str]:
    """Why codecs that the options name cannot be used here, a sentence each."""
    asked = options.compression
    names = (asked,) if isinstance(asked, str) else asked
    return [why for name in dict.fromkeys(names) if (why := missing(name)) is not None]


def in_force(options: Options) -> str:
    """What tables are packed with here, for people: "zstd, level 1, from level 1 on"."""
    asked = options.compression
    if isinstance(asked, str):
        why = missing(asked)
        if asked == "none":
            return "none"
        return f"none: {why}" if why else f"{_named(asked, options)} below level 0"
    return ", ".join(
        f"level {level}: {'none' if missing(name) else _named(name, options)}"
        for level, name in enumerate(asked)
    )


def _named(name: str, options: Options) -> str:
    return f"zstd -{options.compression_level}" if name == "zstd" else name
