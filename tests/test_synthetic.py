"""The synthetic catalogue keeps what it promises."""

import hashlib

import pytest
from support.tle import split

from oor.registry import parse
from oor.registry.synthetic import SyntheticCatalogue


def test_the_same_arguments_give_the_same_bytes_for_ever():
    text = b"".join(SyntheticCatalogue(objects=1000, issues=3, seed=7).chunks())
    assert text == b"".join(SyntheticCatalogue(objects=1000, issues=3, seed=7).chunks())
    assert text != b"".join(SyntheticCatalogue(objects=1000, issues=3, seed=8).chunks())
    assert (
        hashlib.sha256(text).hexdigest()
        == "6e31c59f5c01180a3b66f522e3cf3539196a3c60632cfc2566c7dfa7eacde2ca"
    )


def test_every_set_is_valid_and_different_and_counted():
    catalogue = SyntheticCatalogue(objects=2000, issues=3)
    sets, rejected = split(parse(catalogue.chunks()))
    assert rejected == []
    assert len({elset.key for elset in sets}) == len(sets) == catalogue.set_count == 6015
    pairs = {(elset.norad_cat_id, elset.epoch_us) for elset in sets}
    assert len(pairs) == len(sets) - catalogue.revised_count == 6000
    assert {elset.norad_cat_id for elset in sets} == set(catalogue.numbers)


def test_it_has_all_regimes_names_layouts_and_alpha5_numbers():
    sets, _ = split(parse(SyntheticCatalogue(objects=2000, issues=3).chunks()))
    turns = [float(elset.mean_motion) for elset in sets]
    assert sum(n > 11 for n in turns) > len(sets) / 2
    assert any(0.98 < n < 1.02 for n in turns) and any(1.8 < n < 2.2 for n in turns)
    assert any(elset.eccentricity > 0.5 for elset in sets)
    # One object in twenty, in three issues, one of them with revisions.
    assert sum(elset.norad_cat_id >= 100_000 for elset in sets) == 303
    assert {elset.named for elset in sets} == {True, False}
    assert any(elset.lines[0].startswith("0 ") for elset in sets)
    assert {elset.line1[33] for elset in sets} == {" ", "+"}
    assert {elset.line2[8] == "0" for elset in sets} == {True, False}


@pytest.mark.parametrize("objects", [0, 1, 2, 21, 75_000])
def test_any_number_of_objects_gets_different_catalog_numbers(objects):
    numbers = SyntheticCatalogue(objects=objects, issues=1).numbers
    assert len(set(numbers)) == len(numbers) == objects
    assert numbers == sorted(numbers)
    assert all(0 < number <= 339_999 for number in numbers)


def test_more_objects_than_numbers_are_refused():
    with pytest.raises(ValueError):
        SyntheticCatalogue(objects=300_001)
