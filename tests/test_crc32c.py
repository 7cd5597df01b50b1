"""CRC32C: each implementation is the polynomial's remainder at every size, alignment and split."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from oor.native import ffi, lib

POLYNOMIAL = 0x82F63B78
NAMES = ("avx512", "sse42", "armv8", "portable")
VECTORS = (  # RFC 3720 B.4, and the check value of the catalogues of CRCs
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (b"123456789", 0xE3069283),
    (b"", 0),
)


def crc32c(data: bytes, crc: int = 0) -> int:
    return lib.oor_crc32c(crc, data, len(data))


def name_in_force() -> str:
    return ffi.string(lib.oor_crc32c_name()).decode()


@pytest.fixture(params=NAMES)
def implementation(request):
    before = lib.oor_crc32c_name()
    if not lib.oor_crc32c_force(request.param.encode()):
        pytest.skip(f"this CPU or this build has no {request.param}")
    yield request.param
    assert lib.oor_crc32c_force(before)


class Model:
    """The remainder of any range of one buffer, a byte at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        # A table of one byte's eight steps, made by those steps.
        self.step = []
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
            self.step.append(byte)

    def crc(self, start: int, stop: int, crc: int = 0) -> int:
        state = crc ^ 0xFFFFFFFF
        for byte in self.data[start:stop]:
            state = state >> 8 ^ self.step[(state ^ byte) & 0xFF]
        return state ^ 0xFFFFFFFF


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(random.Random(20).randbytes(20_000))


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_published_vectors_hold(implementation, data, expected):
    assert crc32c(data) == expected


def test_every_size_to_600_agrees_with_the_model_at_every_alignment_tried(implementation, model):
    rng = random.Random(1)
    buffer = ffi.from_buffer("uint8_t[]", model.data)
    for size in range(601):
        for start in (rng.randrange(64), rng.randrange(1000)):
            crc = rng.getrandbits(32)
            got = lib.oor_crc32c(crc, buffer + start, size)
            assert got == model.crc(start, start + size, crc), (size, start, crc)


def test_sizes_around_each_change_of_method_agree_with_the_model(implementation, model):
    rng = random.Random(2)
    buffer = ffi.from_buffer("uint8_t[]", model.data)
    edges = [k * unit for unit in (64, 136, 256, 4096, 8160) for k in (1, 2, 3, 4, 5)]
    for edge in (edge for edge in edges if edge < 17_000):
        for size in range(max(edge - 2, 0), edge + 3):
            start = rng.randrange(1000)
            assert lib.oor_crc32c(0, buffer + start, size) == model.crc(start, start + size), size


def test_a_split_anywhere_gives_the_crc_of_the_whole(implementation, model):
    rng = random.Random(3)
    for _ in range(2000):
        size = rng.choice((40, 100, 300, 1000, 9000))
        cut, start = rng.randrange(size + 1), rng.randrange(64)
        whole = model.data[start : start + size]
        assert crc32c(whole[cut:], crc32c(whole[:cut])) == crc32c(whole), (size, cut, start)


def test_bytes_outside_the_range_are_not_read_into_the_result(implementation, model):
    rng = random.Random(4)
    for size in (*range(1, 80), 200, 300, 513, 1000):
        inner = rng.randbytes(size)
        seen = set()
        for fill in (b"\x00", b"\xff", b"\x5a"):
            framed = ffi.from_buffer("uint8_t[]", fill * 128 + inner + fill * 128)
            seen.add(lib.oor_crc32c(7, framed + 128, size))
        assert len(seen) == 1, size


def test_an_unknown_name_changes_nothing():
    before = name_in_force()
    assert lib.oor_crc32c_force(b"md5") == 0
    assert name_in_force() == before


def name_of_a_fresh_process(value: str | None) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "OOR_CRC32C"}
    if value is not None:
        environment["OOR_CRC32C"] = value
    code = (
        "from oor.native import ffi, lib;"
        "assert lib.oor_crc32c(0, b'123456789', 9) == 0xE3069283;"
        "print(ffi.string(lib.oor_crc32c_name()).decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


def test_the_environment_chooses_and_what_cannot_be_had_leaves_the_best():
    best = name_of_a_fresh_process(None)
    assert best in NAMES
    assert name_of_a_fresh_process("portable") == "portable"
    assert name_of_a_fresh_process("no-such-name") == best
    assert name_of_a_fresh_process("") == best


def test_the_stored_form_can_be_undone_and_is_never_the_crc_itself_in_practice():
    rng = random.Random(5)
    for crc in [0, 1, 0xFFFFFFFF, *(rng.getrandbits(32) for _ in range(10_000))]:
        stored = lib.oor_crc32c_mask(crc)
        turned = (stored - 0xA282EAD8) & 0xFFFFFFFF
        assert (turned >> 17 | turned << 15) & 0xFFFFFFFF == crc
        assert stored != crc


# ---- the constants ------------------------------------------------------------------------------


def remainder(exponent: int) -> int:
    """x^exponent mod P by long division, in the reflected form that the C half uses."""
    plain = int(f"{POLYNOMIAL:032b}"[::-1], 2) | 1 << 32
    value = 1
    for _ in range(exponent):
        value <<= 1
        if value >> 32:
            value ^= plain
    return int(f"{value:032b}"[::-1], 2)


@pytest.mark.parametrize("exponent", [0, 1, 31, 32, 63, 64, 127, 191, 511, 575, 2047, 2111, 14000])
def test_the_powers_behind_the_folding_constants_are_those_of_the_polynomial(exponent):
    """A message of one set bit has a power of x as its remainder, so the CRC tells every power."""
    size = exponent // 8 + 8  # the bit, and room so that it is not the first byte of all
    message = bytearray(size)
    index = size * 8 - 1 - exponent
    message[index // 8] = 1 << index % 8  # reflected: the first bit of a byte is its lowest
    zeros = crc32c(bytes(size))
    assert crc32c(bytes(message)) ^ zeros == remainder(exponent + 32)
