"""Inputs as chunks of bytes: plain, gzip, xz, zstd or zip by their first bytes; standard input.

Inputs are not files of the store: they may be pipes, so they are opened here and not through the
door to the disk. Memory is bounded by the chunk, whatever a compressed file claims to hold.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oor.errors import OorError
from oor.registry import zstd

CHUNK_SIZE = 4 << 20
"""Bytes of a chunk, uncompressed."""
STANDARD_INPUT = "-"

_GZIP_MAGIC = b"\x1f\x8b"
_XZ_MAGIC = b"\xfd7zXZ\x00"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_XZ_MEMORY_MAX = 512 << 20


class InputError(OorError, OSError):
    """An input cannot be opened, read or decompressed; `offset` says how far it went."""


_ERRORS = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError,
    RuntimeError,
)  # fmt: skip
"""What opening, reading and decompressing raise; RuntimeError: a member of a zip is encrypted."""


Stamp = tuple[int, int] | None
"""Size and time of change of a file."""


@dataclass(frozen=True, slots=True)
class Input:
    """One stream of bytes: a file, a member of a zip archive, or standard input ("-")."""

    path: str
    member: str | None = None

    @property
    def name(self) -> str:
        """The path; of a member, the archive's path, "!" and its own."""
        return self.path if self.member is None else f"{self.path}!{self.member}"

    def sha256(self) -> str | None:
        """Of the file as it lies on disk, an archive as a whole; None for what can be read once.

        Raises InputError. Cost: about 0.5 ms a MB.
        """
        if self.path == STANDARD_INPUT or not os.path.isfile(self.path):
            return None
        try:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _failed(self.name, 0, error) from error

    def identity(self, sha256: str) -> bytes:
        """32 bytes that tell this content from all other."""
        if self.member is None:
            return bytes.fromhex(sha256)
        member = self.member.encode("utf-8", "replace")
        return hashlib.sha256(bytes.fromhex(sha256) + member).digest()

    def stamp(self) -> Stamp:
        """What changes when the file does; None for what is no file."""
        if self.path == STANDARD_INPUT or not os.path.isfile(self.path):
            return None
        status = os.stat(self.path)
        return status.st_size, status.st_mtime_ns

    def chunks(self, size: int = CHUNK_SIZE, skip: int = 0, since: Stamp = None) -> Iterator[bytes]:
        """The content, uncompressed, in chunks of at most `size` bytes, from byte `skip` on.

        Raises InputError, once all that could be read has been given out, and for a file that was
        changed meanwhile, or after it had the stamp `since`.
        """
        done = 0
        before = since or self.stamp()
        try:
            with _Opened(self.path, self.member) as stream:
                while chunk := stream.read(size):
                    done += len(chunk)
                    if done > skip:
                        fresh = done - skip
                        yield chunk if fresh >= len(chunk) else chunk[-fresh:]
        except _ERRORS as error:
            raise _failed(self.name, done, error) from error
        if self.stamp() != before:
            raise InputError("the input was changed while it was read", path=self.name, offset=done)


def chunks(path: str, size: int = CHUNK_SIZE) -> Iterator[bytes]:
    """The content of a file, or of standard input ("-"), as `Input.chunks` gives it."""
    return Input(path).chunks(size)


def inputs(path: str) -> Iterator[Input]:
    """What a path stands for: itself, the members of a zip archive, or the files of a directory.

    A directory is walked with all that is below it, in order of names. Raises nothing: what cannot
    be read is an input that fails when it is read.
    """
    if path != STANDARD_INPUT and os.path.isdir(path):
        for directory, names, files in os.walk(path):
            names.sort()
            for name in sorted(files):
                yield from inputs(os.path.join(directory, name))
        return
    members = _members(path)
    if members is None:
        yield Input(path)
    else:
        for member in members:
            yield Input(path, member)


def _members(path: str) -> list[str] | None:
    """The files in a zip archive; None for what is no archive that can be listed."""
    if path == STANDARD_INPUT or not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            if not file.read(4).startswith(_ZIP_MAGICS):
                return None
        with zipfile.ZipFile(path) as archive:
            return [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except _ERRORS:
        return None


def _failed(name: str, offset: int, error: BaseException) -> InputError:
    why = getattr(error, "strerror", None) or str(error) or "it ends too early"
    return InputError(
        f"cannot read the input: {why}",
        path=name, offset=offset, errno=getattr(error, "errno", None),
    )  # fmt: skip


class _Opened:
    """A stream of the uncompressed bytes; closes what it opened, which standard input is not."""

    __slots__ = ("_close", "_member", "_path")

    def __init__(self, path: str, member: str | None) -> None:
        self._path = path
        self._member = member
        self._close: list[Any] = []

    def __enter__(self) -> Any:
        if self._path == STANDARD_INPUT:
            raw: Any = sys.stdin.buffer
        elif self._member is not None:
            archive = zipfile.ZipFile(self._path)
            self._close.append(archive)
            raw = archive.open(self._member)
            self._close.append(raw)
        else:
            raw = open(self._path, "rb")
            self._close.append(raw)
        head = raw.read(len(_XZ_MAGIC))
        joined: Any = _Rejoined(head, raw)
        if head.startswith(_GZIP_MAGIC):
            return _Lenient(gzip.GzipFile(fileobj=joined, mode="rb"))
        if head.startswith(_ZIP_MAGICS):
            raise OSError("a zip archive with no readable directory, or in a pipe or an archive")
        if head.startswith(_XZ_MAGIC):
            return _Lenient(_XzStream(joined))
        if head.startswith(zstd.MAGIC):
            return _Lenient(zstd.ZstdStream(joined))
        return joined

    def __exit__(self, *_: object) -> None:
        for file in reversed(self._close):
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
