"""Real catalogues, 1997 to 2025, when they lie beside the project."""

import itertools
import lzma

import pytest
from support import stores
from support.tle import SHARED

from oor.registry import Registry, ingest, keys
from oor.registry.quarantine import decode

FILES = sorted(SHARED.glob("*.xz"))
pytestmark = pytest.mark.skipif(not FILES, reason="the real catalogues are not on this machine")

SETS = 286_277
DIFFERENT = 285_293
"""Different sets by object, epoch and text; 35 pairs of them share object and epoch."""
# One set of the corpus, object 27169 of March 2002, has wrong check digits in both lines.
DAMAGED = 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with stores.opened(stores.KINDS[-1], tmp_path_factory.mktemp("real")) as db:
        first = ingest(db, FILES, source="real")
        yield db, first, ingest(db, FILES, source="real")


def test_every_real_set_is_stored_or_there_already_but_the_one_with_wrong_check_digits(run):
    _, report, _ = run
    assert report.read == SETS
    assert report.stored == DIFFERENT - DAMAGED
    assert report.quarantined == DAMAGED
    assert report.rules == {"checksum": DAMAGED}
    assert report.already_there == SETS - DIFFERENT
    with open(report.quarantine_path, "rb") as file:
        (entry,) = decode(file.read())
    assert b"\r\n1 27169U" in entry["raw"]


def test_a_second_ingest_of_the_same_files_adds_nothing(run):
    _, _, second = run
    assert second.stored == 0
    assert second.already_there == SETS - DAMAGED


def test_all_pairs_of_object_and_epoch_are_there_and_35_have_two_different_sets(run):
    db, _, _ = run
    stored = [keys.ElsetKey.decode(key) for key, _ in db.scan(prefix=keys.ELSET_PREFIX)]
    pairs = {key[:2] for key in stored}
    assert len(stored) == DIFFERENT - DAMAGED
    assert len(pairs) == 285_258 - DAMAGED
    assert len(stored) - len(pairs) == 35


def test_every_set_reads_back_as_its_lines(run):
    db, _, _ = run
    found = {elset.lines[-2:] for elset in Registry(db).elements()}
    for path in FILES:
        lines = lzma.decompress(path.read_bytes()).decode("ascii").split("\r\n")
        for one, two in itertools.pairwise(lines):
            if one.startswith("1 ") and len(one) == 69 and one[:7] != "1 27169":
                assert (one, two) in found
