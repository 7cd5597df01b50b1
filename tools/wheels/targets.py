"""The four wheels, and the two folders and one clock that make them reproducible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "wheels"
DIST = ROOT / "dist"
SIZE_MAX = 600_000
"""Bytes of a wheel, so that it stays a small thing to depend on."""


@dataclass(frozen=True)
class Target:
    """A system that a wheel is for."""

    name: str
    zig: str
    """What zig calls it; with the oldest glibc that it must run on."""
    machine: str
    platforms: str
    """The platform tags of the wheel, joined by dots."""

    @property
    def musl(self) -> bool:
        return "musl" in self.zig


TARGETS = (
    Target("manylinux x86_64", "x86_64-linux-gnu.2.17", "x86_64",
           "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    Target("manylinux aarch64", "aarch64-linux-gnu.2.17", "aarch64",
           "manylinux_2_17_aarch64.manylinux2014_aarch64"),
    Target("musllinux x86_64", "x86_64-linux-musl", "x86_64", "musllinux_1_2_x86_64"),
    Target("musllinux aarch64", "aarch64-linux-musl", "aarch64", "musllinux_1_2_aarch64"),
)  # fmt: skip
