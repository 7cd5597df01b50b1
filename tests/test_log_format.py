"""The pages docs/formats/segment.md and manifest.md are right: their examples are decoded from the
page.
"""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path

import pytest
from support.engine import files, read, write
from support.tables import masked_crc
from test_log import ID, open_log

from oor.log import SegmentScan, Tail, inspect_segment
from oor.manifest import Manifest, ManifestState, read_manifest
from oor.native import Columns, lib
from oor.version import VersionEdit

DOCS = Path(__file__).parent.parent / "docs" / "formats"


def page(name):
    return (DOCS / name).read_text(encoding="ascii")


def dump(text, base):
    """The bytes of the hex dump of a page that begins at this offset."""
    data = b""
    for offset, line in re.findall(
        r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+) *\|", text, flags=re.MULTILINE
    ):
        if int(offset, 16) == base + len(data):
            data += bytes.fromhex(line)
    return data


def rows(text, title):
    """offset, size and name of the fields of the table under a heading."""
    section = text.split(f"## {title}")[1].split("\n## ")[0]
    return [
        (int(a), int(b), c.strip())
        for a, b, c in re.findall(r"^\| (\d+) \| (\d+) \| ([^|]+)", section, re.MULTILINE)
    ]


def example():
    text = page("segment.md").split("## Example")[1]
    return dump(text, 0), dump(text, 4096)


def test_the_header_of_the_page_is_decoded_by_its_own_table():
    header, _ = example()
    fields = {}
    end = 0
    for offset, size, name in rows(page("segment.md"), "Header copy"):
        assert offset == end
        fields[name] = header[offset : offset + size]
        end = offset + size
    assert end == len(header) == 100
    number = lambda name: int.from_bytes(fields[name], "little")
    assert fields["magic"] == b"OORWAL\0\1" and fields["database id"] == ID
    assert (number("version"), number("header size"), number("epoch"), number("number")) == (
        1,
        4096,
        1,
        1,
    )
    assert (number("first LSN"), number("new LSN"), number("previous segment")) == (1, 1, 0)
    assert number("crc") == masked_crc(header[:96])


def test_the_frames_of_the_page_are_decoded_by_its_own_table():
    _, data = example()
    layout = rows(page("segment.md"), "Frame")
    salt = lib.oor_crc32c(0, ID + struct.pack("<QQ", 1, 1), 32)
    found, at = [], 0
    while at < len(data):
        fields = {
            name: int.from_bytes(data[at + o : at + o + s], "little") for o, s, name in layout
        }
        body = data[at + 40 : at + 40 + fields["body size"]]
        covered = struct.pack("<Q", 4096 + at) + data[at + 4 : at + 40]
        assert fields["header crc"] == lib.oor_crc32c_mask(
            lib.oor_crc32c(salt, covered, len(covered))
        )
        assert fields["body crc"] == lib.oor_crc32c_mask(lib.oor_crc32c(salt, body, len(body)))
        ops, place = [], 0
        while place < len(body):
            kind, key_size, value_size = struct.unpack_from("<BHI", body, place)
            key = body[place + 7 : place + 7 + key_size]
            place += 7 + key_size + value_size
            ops.append((key, body[place - value_size : place] if kind == 1 else None))
        assert len(ops) == fields["op count"]
        found.append((fields["first LSN"], fields["durable LSN"], fields["flags"], ops))
        at += -(-(40 + len(body)) // 8) * 8
    assert found == [
        (1, 0, 0, [(b"25544", b"ISS"), (b"gone", None)]), (3, 2, 0, [(b"k", b"v")]), (4, 3, 1, []),
    ]  # fmt: skip


def test_the_engine_reads_the_segment_of_the_page_and_writes_the_same_bytes(tmp_path):
    header, frames = example()
    copy = header.ljust(2048, b"\0")
    write(str(tmp_path / "000000000001.wal"), (copy + copy + frames).ljust(32 << 10, b"\0"))
    tail = Tail(str(tmp_path), ID, 999)
    info = inspect_segment(str(tmp_path), 1, ID, 1, tail)
    assert (info.records, info.last_lsn, info.promised_lsn, info.ended_text) == (3, 3, 3, "seal")
    scan = SegmentScan(str(tmp_path), 1, ID, 1, tail, 0)
    assert scan.next().pairs == {b"25544": b"ISS", b"gone": None, b"k": b"v"}
    made = tmp_path / "made"
    made.mkdir()
    log = open_log(made)
    log.append(Columns([b"25544", b"gone"], [b"ISS", None]))
    log.sync(2)
    log.put(b"k", b"v")
    log.seal()
    log.close()
    data = read(files(str(made), ".wal")[0])
    assert data[:100] == header and data[4096 : 4096 + len(frames)] == frames


def test_the_manifest_of_the_page_is_read_and_written_by_the_engine(tmp_path):
    text = page("manifest.md").split("## Example")[1]
    current, lines, first_bytes = re.findall(r"```\n(.*?\n)```", text, flags=re.DOTALL)[:3]
    write(str(tmp_path / "CURRENT"), current.encode())
    write(str(tmp_path / "MANIFEST-000000000001"), lines.encode())
    found = read_manifest(str(tmp_path))
    assert found.state.database_id == ID
    assert (found.state.flushed_lsn, found.state.log_start, found.lines) == (3, 2, 2)
    for line in lines.splitlines():
        crc, content = line.split(" ", 1)
        assert int(crc, 16) == masked_crc(content.encode())
        assert set(json.loads(content)["edit"]) <= set(
            re.findall(r"^\| (\w+) \|", page("manifest.md"), re.MULTILINE)
        )
    made = tmp_path / "made"
    made.mkdir()
    manifest = Manifest.create(str(made), 1, ManifestState(ID, epoch=1))
    manifest.append(VersionEdit(flushed_lsn=3, durable_lsn=3, log_start=2))
    manifest.close()
    assert read(str(made / "MANIFEST-000000000001")) == lines.encode()
    assert read(str(made / "CURRENT")) == current.encode()
    assert dump(first_bytes, 0) == lines.splitlines()[1].encode()[:16]


@pytest.mark.parametrize("name", ["segment.md", "manifest.md"])
def test_a_page_has_all_its_parts(name):
    text = page(name)
    for part in (
        "## Grammar",
        "## Example",
        "## What a reader does with damage",
        "## What is assumed",
        "## Versions",
    ):
        assert part in text
    assert os.path.exists(DOCS / name)
