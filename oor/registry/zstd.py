"""Streams of zstd, one behind the other, by the extra `zstandard`, in bounded memory."""

from __future__ import annotations

from typing import Any

MAGIC = b"\x28\xb5\x2f\xfd"

_WINDOW_MAX = 128 << 20
_PIECE = 1 << 10
"""Bytes given to the decoder at once: 4 of them can stand for 128 KiB."""


class ZstdStream:
    """What a raw stream holds. OSError for damage and where the extra is not there, EOFError for a
    stream that is cut off.
    """

    __slots__ = ("_at", "_codec", "_decoder", "_input", "_out", "_raw")

    def __init__(self, raw: Any) -> None:
        try:
            import zstandard
        except ImportError:
            raise OSError(
                'a file of zstd is read by the extra: pip install "oor[zstandard]"'
            ) from None
        self._codec: Any = zstandard
        self._raw = raw
        self._decoder = self._new()
        self._input = b""
        self._out = b""
        self._at = 0

    def _new(self) -> Any:
        return self._codec.ZstdDecompressor(max_window_size=_WINDOW_MAX).decompressobj()

    def read1(self, size: int) -> bytes:
        """At most `size` bytes; none only at the end."""
        while self._at == len(self._out):
            if not self._input:
                self._input = self._raw.read(_PIECE)
            if not self._input:
                if not self._decoder.eof:
                    raise EOFError("the compressed data ends too early")
                return b""
            if self._decoder.eof:
                self._decoder = self._new()
            given, self._input = self._input, b""
            try:
                self._out = self._decoder.decompress(given)
            except self._codec.ZstdError as error:
                raise OSError(f"damaged: {error}") from None
            self._at = 0
            if self._decoder.eof:
                self._input = self._decoder.unused_data
        out = self._out[self._at : self._at + size]
        self._at += len(out)
        return out
