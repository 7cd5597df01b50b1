"""The page on element set records says what the code does."""

import re
from pathlib import Path

import pytest

import oor
from oor.errors import FormatError
from oor.registry import ElementSet, Registry, ingest, keys, parse
from oor.registry.parse import REASONS

PAGE = Path(__file__).parents[1] / "docs" / "formats" / "element-set.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="ascii")


def example(page, name):
    return bytes.fromhex(re.search(rf"```hex {name}\n(.*?)```", page, re.DOTALL)[1])


def test_the_worked_example_is_what_the_scanner_writes_and_the_registry_reads(page):
    key, value = example(page, "key"), example(page, "value")
    text = "\n".join(re.findall(r"^    (ISS.*|[12] 25544.*)$", page, re.MULTILINE)) + "\n"
    (parsed,) = parse(text.encode("ascii"))
    parts = keys.ElsetKey.decode(key)
    assert parts.source_id == 2
    assert parts._replace(source_id=0).encode() == parsed.key
    elset = ElementSet.from_record(key, value, "second")
    assert (elset.text, elset.named, elset.lsn) == (text.encode("ascii"), True, 7)
    assert (elset.norad_cat_id, elset.epoch_us) == (25544, parsed.epoch_us)


def ingested(tmp_path, page):
    """The store of the worked example, with its LSNs of another run."""
    text = "\n".join(re.findall(r"^    (ISS.*|[12] 25544.*)$", page, re.MULTILINE)) + "\n"
    (tmp_path / "iss.tle").write_text(text, encoding="ascii")
    db = oor.open(tmp_path / "store")
    Registry(db).source_id("first")
    ingest(db, [tmp_path / "iss.tle"], source="second")
    return db


def test_the_newest_record_of_the_page_is_what_an_ingest_leaves(tmp_path, page):
    wanted, key = example(page, "newest"), example(page, "key")
    with ingested(tmp_path, page) as db:
        found = db.get(keys.newest_key(25544))
        stored = db.get(key)
    assert (len(found), found[8:32], found[40:]) == (len(wanted), wanted[8:32], wanted[40:])
    assert found[9:] == key + stored and wanted[9:] == key + example(page, "value")


def test_a_newest_record_of_the_format_before_is_read_and_one_of_a_later_is_refused(tmp_path, page):
    key, name = example(page, "key"), keys.newest_key(25544)
    with ingested(tmp_path, page) as db:
        registry = Registry(db)
        (wanted,) = registry.latest_all()
        db.put(name, bytes(8) + b"\x01" + key)
        assert [registry.latest(25544), *registry.latest_all()] == [wanted, wanted]
        db.put(name, bytes(8) + b"\x03" + key)
        for question in (lambda: registry.latest(25544), lambda: list(registry.latest_all())):
            with pytest.raises(FormatError, match="20000063c8"):
                question()


def test_the_page_lists_every_rule_with_its_meaning(page):
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert listed == REASONS
