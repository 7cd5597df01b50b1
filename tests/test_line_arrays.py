"""Columns that C reads of lines hold what Python reads of them, to the last bit."""

from __future__ import annotations

import random
import struct

import pytest
from support import omm
from support.tle import ISS_1, ISS_2, SHARED, edited, split, text_of

from oor.registry import parse
from oor.registry.synthetic import SyntheticCatalogue

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from oor.registry import arrow


def sets_of(data):
    sets, rejected = split(parse(data))
    assert not rejected
    return sets


def bits(value):
    return struct.pack("<d", value) if isinstance(value, float) else value


def assert_alike(sets):
    names = arrow.schema().names
    for row, elset in zip(arrow.table(sets).to_pylist(), sets, strict=True):
        wanted = dict(zip(names, arrow._row(elset), strict=True))
        wanted["epoch"] = elset.epoch
        assert {k: bits(v) for k, v in row.items()} == {k: bits(v) for k, v in wanted.items()}


def drawn(draw):
    """The lines of the station with other digits in every column of a number."""

    def digits(count):
        return "".join(draw.choice("0123456789") for _ in range(count))

    sign = draw.choice("+- ")
    one = edited(ISS_1, 34, f"{sign}.{digits(8)}")
    one = edited(one, 45, f"{draw.choice('+- ')}{digits(5)}{draw.choice('+-')}{digits(1)}")
    one = edited(one, 54, f"{draw.choice('+- ')}{digits(5)}{draw.choice('+-')}{digits(1)}")
    one = edited(one, 63, draw.choice("0 4"))
    one = edited(one, 65, draw.choice(["    ", " " + digits(3), digits(4), "   7"]))
    one = edited(one, 10, draw.choice(["        ", "98067A  ", "21035ABC", "98067   "]))
    two = edited(ISS_2, 9, f"{draw.randrange(180):3d}.{digits(4)}")
    two = edited(two, 18, f"{draw.randrange(360):03d}.{digits(4)}")
    two = edited(two, 27, digits(7))
    two = edited(two, 35, f"{draw.randrange(360):3d}.{digits(4)}")
    two = edited(two, 44, f"{draw.randrange(360):3d}.{digits(4)}")
    two = edited(two, 53, f"{draw.randrange(1, 17):2d}.{digits(8)}")
    two = edited(two, 64, draw.choice(["     ", digits(5), " " + digits(4)]))
    name = draw.choice([None, "ISS (ZARYA)", "0 ISS (ZARYA)", "0 X Y \\", "  0", "ISS\\ A"])
    return (one, two) if name is None else (name, one, two)


def test_every_number_name_and_blank_of_lines_is_read_as_python_reads_it():
    draw = random.Random(5)
    sets = []
    for _ in range(800):
        found, _ = split(parse(text_of(*drawn(draw), end=draw.choice(["\n", "\r\n", " \\\n"]))))
        sets += found
    assert len(sets) > 600
    assert_alike(sets)
    assert arrow.line_arrays(arrow._pyarrow(), sets, arrow.schema()) is not None


def test_lines_with_other_names_and_messages_among_them_come_in_their_order(monkeypatch):
    monkeypatch.setattr(arrow, "_FEW", 4)
    sets = sets_of(b"".join(SyntheticCatalogue(objects=30, issues=1).chunks()))
    sets[5:5] = sets_of("SAT\u00c9LITE".encode() + b"\n" + text_of(ISS_1, ISS_2))
    sets[17:17] = sets_of("LATIN \xe9".encode("latin-1") + b"\n" + text_of(ISS_1, ISS_2))
    sets[21:21] = sets_of(omm.json_object())
    assert_alike(sets)
    assert arrow.table(sets).column("object_name")[5].as_py() == "SAT\u00c9LITE"
    assert arrow.table(sets).num_rows == 33


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real catalogues are not on this machine")
def test_real_lines_are_read_as_python_reads_them():
    import lzma

    for path in sorted(SHARED.glob("*.xz")):
        sets, _ = split(parse(lzma.decompress(path.read_bytes())))
        assert_alike(sets[::7])
