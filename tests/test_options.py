"""Options: known names within bounds, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest

import oor
from oor.options import Durability, Options, durability_of


def test_defaults_are_within_their_own_bounds():
    options = Options.of()
    assert options == Options()
    assert options.durability is Durability.SYNC


@pytest.mark.parametrize("given", [
    {"durability": "always"}, {"sync_interval": 0}, {"segment_bytes": 4096}, {"tail_bytes": 4096},
    {"max_immutables": 0}, {"filter_bits": 65}, {"recovery": "hope"}, {"l0_trigger": 0},
    {"l0_trigger": 50}, {"l0_slowdown": 40}, {"level_ratio": 1}, {"memtable": 5}, {"cache_bytes": -1},
])  # fmt: skip
def test_a_value_out_of_bounds_or_an_unknown_name_is_refused_and_named(given):
    (name,) = given
    with pytest.raises(oor.LimitError, match=name.split("_")[0]):
        Options.of(**given)


@pytest.mark.parametrize("mode", ["sync", "interval", "os"])
def test_a_mode_is_taken_by_name(mode):
    assert durability_of(mode) is Options.of(durability=mode).durability is Durability(mode)


def test_options_never_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options.of().memtable_bytes = 1
