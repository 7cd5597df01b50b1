"""File names: made and parsed in one place, and nothing else parses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oor import names
from oor.names import FileKind

MAKERS = {
    FileKind.SEGMENT: names.segment_name,
    FileKind.SPARE: names.spare_name,
    FileKind.TABLE: names.table_name,
    FileKind.MANIFEST: names.manifest_name,
}


@given(
    kind=st.sampled_from(sorted(MAKERS, key=lambda kind: kind.value)), number=st.integers(1, 10**19)
)
def test_what_is_made_is_parsed_back(kind, number):
    assert names.parse(MAKERS[kind](number)) == (kind, number)


@pytest.mark.parametrize("name", [
    "", "CURRENT2", "1.wal", "00000000001.wal", "0000000000001.wal", "000000000001.log", "000000000001.wal~",
    "MANIFEST-1", "MANIFEST-0000000000012.x", "x000000000001.sst", "000000000001.sst\n", "notes.txt",
])  # fmt: skip
def test_any_other_name_is_foreign(name):
    assert names.parse(name) == (FileKind.FOREIGN, 0)


def test_fixed_names_and_temporary_files_are_known():
    assert names.parse("CURRENT")[0] is FileKind.CURRENT
    assert names.parse("LOCK")[0] is FileKind.LOCK
    assert names.parse("TAIL")[0] is FileKind.TAIL
    assert names.parse("CURRENT.tmp")[0] is FileKind.TEMPORARY


def test_names_sort_as_their_numbers():
    made = [names.segment_name(number) for number in (1, 9, 10, 999, 10**11)]
    assert made == sorted(made)
