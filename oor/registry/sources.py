"""Input files as chunks of bytes: plain, gzip or xz (told by their first bytes), standard input.

Inputs are not files of the store: they may be pipes, so they are opened here and not through the
door to the disk. Memory is bounded by the chunk, whatever a compressed file claims to hold.
"""

from __future__ import annotations

import gzip
import lzma
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any

from oor.errors import OorError

CHUNK_SIZE = 4 << 20
"""Bytes of a chunk, uncompressed."""
STANDARD_INPUT = "-"

_GZIP_MAGIC = b"\x1f\x8b"
_XZ_MAGIC = b"\xfd7zXZ\x00"
_XZ_MEMORY_MAX = 512 << 20


class InputError(OorError):
    """An input cannot be opened, read or decompressed; `offset` says how far it went."""


def chunks(path: str, size: int = CHUNK_SIZE) -> Iterator[bytes]:
    """The content of an input, uncompressed, in chunks of at most `size` bytes.

    `path` "-" is standard input. Raises InputError, once all that could be read has been given out.
    """
    done = 0
    try:
        with _Opened(path) as stream:
            while chunk := stream.read(size):
                done += len(chunk)
                yield chunk
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        why = getattr(error, "strerror", None) or str(error) or "it ends too early"
        raise InputError(f"cannot read the input: {why}", path=path, offset=done) from error


class _Opened:
    """A stream of the uncompressed bytes; closes what it opened, which standard input is not."""

    __slots__ = ("_close", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._close: list[IO[bytes]] = []

    def __enter__(self) -> Any:
        if self._path == STANDARD_INPUT:
            raw: Any = sys.stdin.buffer
        else:
            raw = open(self._path, "rb")
            self._close.append(raw)
        head = raw.read(len(_XZ_MAGIC))
        joined: Any = _Rejoined(head, raw)
        if head.startswith(_GZIP_MAGIC):
            return _Lenient(gzip.GzipFile(fileobj=joined, mode="rb"))
        if head.startswith(_XZ_MAGIC):
            return _Lenient(_XzStream(joined))
        return joined

    def __exit__(self, *_: object) -> None:
        for file in self._close:
            file.close()


class _Rejoined:
    """A stream whose first bytes have been looked at. A pipe cannot go back, so they are kept."""

    __slots__ = ("_head", "_raw")

    def __init__(self, head: bytes, raw: Any) -> None:
        self._head = head
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none only at the end."""
        if not self._head:
            return bytes(self._raw.read(size))
        head, self._head = self._head, b""
        if 0 <= size < len(head):
            head, self._head = head[:size], head[size:]
            return head
        return head + bytes(self._raw.read(size - len(head) if size >= 0 else -1))


class _Lenient:
    """Gives out what decompression made before it failed, and raises then.

    One large read of a decompressor loses what it had when it meets damage; so it reads in pieces.
    """

    __slots__ = ("_failure", "_stream")

    _PIECE = 64 << 10

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._failure: Exception | None = None

    def read(self, size: int) -> bytes:
        if self._failure is not None:
            raise self._failure
        pieces: list[bytes] = []
        left = size
        try:
            while left and (piece := self._stream.read1(min(left, self._PIECE))):
                pieces.append(piece)
                left -= len(piece)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if not pieces:
                raise
            self._failure = error
        return b"".join(pieces)


class _XzStream:
    """Streams of one .xz file, one behind the other, with padding between; memory is limited."""

    __slots__ = ("_decoder", "_input", "_raw")

    def __init__(self, raw: _Rejoined) -> None:
        self._raw = raw
        self._decoder = self._new()
        self._input = b""

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_MAX)

    def read1(self, size: int) -> bytes:
        while True:
            if self._decoder.eof and not self._next_stream():
                return b""
            if self._decoder.needs_input and not self._input:
                self._input = self._raw.read(_Lenient._PIECE)
                if not self._input:
                    raise EOFError("the compressed data ends too early")
            given, self._input = self._input, b""
            out = self._decoder.decompress(given, size)
            if out:
                return out

    def _next_stream(self) -> bool:
        rest = self._decoder.unused_data
        while True:
            rest = rest.lstrip(b"\0")
            if rest:
                break
            rest = self._raw.read(_Lenient._PIECE)
            if not rest:
                return False
        self._decoder = self._new()
        self._input = rest
        return True
