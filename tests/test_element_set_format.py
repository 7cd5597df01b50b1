"""The page on element set records says what the code does."""

import re
from pathlib import Path

import pytest

from oor.registry import ElementSet, keys, parse
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


def test_the_page_lists_every_rule_with_its_meaning(page):
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert listed == REASONS
