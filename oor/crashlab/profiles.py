"""File systems: which of the states that POSIX allows after a power loss each may really leave.

`posix-strict` is what oor claims to withstand: whatever no sync covers may be there or not, in any
combination. The others are regression nets: each leaves fewer states, or lets a failed sync do more
harm. What they say of names and sizes are working assumptions about these file systems, not
measurements of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """What a file system adds to the strict reading of POSIX."""

    name: str
    sync_commits_name: bool = False
    """A sync of a file makes the names it got durable too."""
    names_in_order: bool = False
    """Changes of names reach the disk in the order they were made."""
    data_before_size: bool = False
    """A file never shows a size whose bytes did not reach the disk."""
    clean_after_error: bool = True
    """After a failed sync the pages count as clean: a later sync succeeds and writes nothing."""
    reverts_after_error: bool = False
    """After a failed sync a reader sees the bytes that were durable before."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("posix-strict"),
        Profile("ext4-ordered", True, True, True),
        Profile("ext4-journal", True, True, True),
        Profile("xfs", True, True, True),
        Profile("btrfs", True, False, True, True, True),
    )
}
STRICT = PROFILES["posix-strict"]
