"""The page docs/formats/table.md is right: its example is decoded here without the C half."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from support.tables import FOOTER, TRAILER_SIZE, Store, masked_crc, section_crc, sections

from oor.codec import missing
from oor.iterator import scan
from oor.names import table_name
from oor.native import lib
from oor.table import BlockCache, Table, TableMeta, TableOptions, write_run
from oor.version import Version

PAGE = Path(__file__).parent.parent / "docs" / "formats" / "table.md"
EXAMPLE = {b"sat-25544": b"ISS", b"sat-25545": None, b"sat-43013": b"NOAA 20"}
MASK = (1 << 64) - 1


def example(heading: str = "## A worked example") -> bytes:
    """The bytes of the hex dump below a heading of the page."""
    section = PAGE.read_text(encoding="ascii").split(heading)[1].split("\n- ")[0]
    lines = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+) *\|", section, flags=re.MULTILINE)
    data = b"".join(bytes.fromhex(text) for _, text in lines)
    assert [int(offset, 16) for offset, _ in lines] == list(range(0, len(data), 16))
    return data


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def entries(payload: bytes) -> dict[bytes, bytes | None]:
    """A data block, decoded by the grammar of the page."""
    count, interval = struct.unpack("<II", payload[-8:])
    found: dict[bytes, bytes | None] = {}
    at, restart = 0, b""
    for i in range(count):
        shared, at = varint(payload, at)
        suffix_size, at = varint(payload, at)
        value, at = varint(payload, at)
        key = restart[:shared] + payload[at : at + suffix_size]
        if i % interval == 0:
            assert shared == 0
            restart = key
        at += suffix_size
        found[key] = payload[at : at + value - 1] if value else None
        at += max(0, value - 1)
    assert at == len(payload) - 8
    return found


def mix(a: int, b: int) -> int:
    product = a * b
    return (product >> 64) ^ (product & MASK)


def key_hash(key: bytes) -> int:
    h = (len(key) * 0x6A09E667F3BCC909 & MASK) ^ 0xBB67AE8584CAA73B
    while len(key) > 8:
        h = mix(h ^ int.from_bytes(key[:8], "little"), 0x3C6EF372FE94F82B)
        key = key[8:]
    h = mix(h ^ int.from_bytes(key, "little"), 0xA54FF53A5F1D36F1)
    return mix(h, 0x510E527FADE682D1)


def may_hold(payload: bytes, key: bytes) -> bool:
    """A filter's answer, by the page."""
    line_count, probes, hash_kind, zero = struct.unpack("<IBBH", payload[-8:])
    assert (hash_kind, zero, len(payload)) == (1, 0, line_count * 64 + 8)
    h = key_hash(key)
    line = payload[((h >> 32) * line_count >> 32) * 64 :][:64]
    g = h & 0xFFFFFFFF
    for _ in range(probes):
        bit = g >> 23
        if not line[bit >> 3] >> (bit & 7) & 1:
            return False
        g = g * 0x9E3779B9 & 0xFFFFFFFF
    return True


def unpacked_lz4(payload: bytes) -> bytes:
    """The content of a payload of codec 2, by the page and the public format of LZ4 blocks."""
    size = struct.unpack_from("<I", payload)[0]
    out = bytearray()
    at = 4

    def length(nibble: int, at: int) -> tuple[int, int]:
        while nibble >= 15:
            nibble += payload[at]
            at += 1
            if payload[at - 1] != 255:
                break
        return nibble, at

    while at < len(payload):
        token = payload[at]
        literals, at = length(token >> 4, at + 1)
        out += payload[at : at + literals]
        at += literals
        if at == len(payload):
            break
        (distance,) = struct.unpack_from("<H", payload, at)
        count, at = length(token & 15, at + 2)
        for _ in range(count + 4):
            out.append(out[-distance])
    assert len(out) == size
    return bytes(out)


def payloads(data: bytes, kind: str) -> list[bytes]:
    return [
        data[at : at + size - TRAILER_SIZE] for found, at, size in sections(data) if found == kind
    ]


def test_the_example_on_the_page_is_what_the_writer_makes(tmp_path):
    path = tmp_path / "table"
    meta = write_run(
        str(path), 7, [(list(EXAMPLE), list(EXAMPLE.values()))], TableOptions(), 1001, 1003
    )
    assert path.read_bytes() == example()
    assert meta.size == len(example())


def test_the_example_decodes_by_the_page():
    data = example()
    *_, number, size, uid, version, crc, magic = FOOTER.unpack(data[-FOOTER.size :])
    assert (number, size, version, magic) == (7, len(data), 1, b"oortable")
    footer = data[-FOOTER.size :]
    assert crc == masked_crc(footer[:76] + footer[80:])
    found = sections(data)
    assert [kind for kind, _, _ in found] == ["block", "filter", "index", "properties"]
    assert found[-1][1] + found[-1][2] == len(data) - FOOTER.size
    expected_uid = number ^ 0x1F83D9ABFB41BD6B
    for _, offset, section_size in found:
        body, stored = (
            data[offset : offset + section_size - 4],
            data[offset + section_size - 4 :][:4],
        )
        assert stored == section_crc(7, offset, body)
        assert body[-1] == 0
        expected_uid = (
            mix(expected_uid ^ int.from_bytes(stored, "little"), 0x5BE0CD19137E2179) + 1
        ) & MASK
    assert uid == expected_uid
    assert entries(payloads(data, "block")[0]) == EXAMPLE
    assert all(may_hold(payloads(data, "filter")[0], key) for key in EXAMPLE)
    properties = payloads(data, "properties")[0]
    assert struct.unpack("<7Q2I", properties[:64]) == (3, 1, 27, 10, 1, 1001, 1003, 9, 9)
    assert properties[64:] == b"sat-25544sat-43013"


def test_a_table_of_many_blocks_decodes_by_the_page(tmp_path):
    store = Store(str(tmp_path))
    model = {b"key-%04d" % i: None if i % 7 == 0 else b"v" * (i % 60) for i in range(500)}
    meta = store.write(model, TableOptions(block_size=300, restart_interval=4))
    data = Path(store.path(meta.number)).read_bytes()
    decoded: dict[bytes, bytes | None] = {}
    for payload in payloads(data, "block"):
        decoded.update(entries(payload))
    assert decoded == model
    assert list(decoded) == sorted(decoded)
    filter_payload = payloads(data, "filter")[0]
    assert all(may_hold(filter_payload, key) for key in model)
    assert sum(may_hold(filter_payload, b"absent %d" % i) for i in range(2000)) < 60


def test_masking_is_as_the_page_says():
    for data in (b"", b"oor", bytes(range(200))):
        crc = lib.oor_crc32c(0, data, len(data))
        rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
        assert masked_crc(data) == (rotated + 0xA282EAD8) & 0xFFFFFFFF


def test_the_hash_never_changes():
    """Filters on disk hang on it: these values are part of format 1."""
    hashes = [key_hash(key) >> 48 for key in (b"", b"a", b"12345678", b"123456789")]
    assert hashes == [33856, 51053, 28391, 47261]


def test_an_example_opened_by_the_reader_answers(tmp_path):
    store = Store(str(tmp_path))
    table = store.table(EXAMPLE)
    assert list(scan(Version([[table]]))) == [(b"sat-25544", b"ISS"), (b"sat-43013", b"NOAA 20")]


PACKED = {b"sat-%05d" % n: b"1 %05dU 98067A   08264.51782528" % n for n in (25544, 25545, 25546)}


def test_the_packed_example_decodes_by_the_page_and_by_the_reader(tmp_path):
    data = example("### A packed one")
    *_, number, size, uid, version, _, _ = FOOTER.unpack(data[-FOOTER.size :])
    assert (number, size, version) == (8, len(data), 3)
    kind, offset, block_size = sections(data)[0]
    assert kind == "block" and data[offset + block_size - 5] == 2
    assert entries(unpacked_lz4(payloads(data, "block")[0])) == PACKED
    properties = payloads(data, "properties")[0]
    assert struct.unpack("<7Q3I", properties[:68]) == (3, 0, 27, 96, 1, 1001, 1003, 9, 9, 2)
    assert properties[68:] == b"sat-25544sat-25546"
    if missing("lz4"):
        pytest.skip(str(missing("lz4")))
    (tmp_path / table_name(8)).write_bytes(data)
    meta = TableMeta(8, size, uid, 3, 0, 27, 96, 1001, 1003, b"sat-25544", b"sat-25546")
    table = Table.open(str(tmp_path), meta, BlockCache(1 << 20))
    table.verify()
    assert dict(scan(Version([[table]]))) == PACKED
