"""What a build must be, whatever machine made it."""

from __future__ import annotations

import importlib.metadata
import importlib.resources

import oor
from oor.native import ffi, lib


def test_asserts_are_alive_in_this_build():
    assert lib.oor_asserts_alive() == 1


def test_the_package_says_that_it_is_typed():
    assert importlib.resources.files("oor").joinpath("py.typed").is_file()


def test_the_version_is_the_one_of_the_distribution():
    assert oor.__version__ == importlib.metadata.version("oor")


def test_the_limits_of_the_header_are_those_of_the_documentation():
    assert lib.OOR_KEY_SIZE_MAX == 65_535
    assert lib.OOR_VALUE_SIZE_MAX == 256 << 20
    assert ffi.sizeof("uint32_t") == 4
