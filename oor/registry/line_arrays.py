"""Sets of lines as the columns of `arrow.schema`, read in C (csrc/tle_elements.c)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oor.native import check, ffi, lib
from oor.registry.tle_set import TleSet

if TYPE_CHECKING:
    from oor.registry.elset import ElementSet

_uncleared = ffi.new_allocator(should_clear_after_alloc=False)
_PLAIN = {
    "norad_cat_id": ("uint32_t", 4, "catalog_number"), "epoch": ("int64_t", 8, "epoch_us"),
    "lsn": ("uint64_t", 8, "lsn"),
} | {
    name: ("double", 8, name)
    for name in (
        "mean_motion", "eccentricity", "inclination", "ra_of_asc_node", "arg_of_pericenter",
        "mean_anomaly", "bstar", "mean_motion_dot", "mean_motion_ddot",
    )
}  # fmt: skip
"""Column -> C type, bytes of a value, name in C."""
_BLANKS = {
    "ephemeris_type": ("uint8_t", 1, "typed"), "element_set_no": ("uint32_t", 4, "numbered"),
    "rev_at_epoch": ("uint32_t", 4, "turned"),
}  # fmt: skip
"""Column of whole numbers that may be blank -> C type, bytes of a value, bitmap in C."""
_TEXTS = {
    "object_name": ("names", "name_ends", "named"),
    "object_id": ("designators", "designator_ends", "designated"),
    "classification_type": ("classification", "classification_ends", None),
}
"""Column of text -> its bytes, the end of each, and the bitmap of those that are not blank."""


def line_arrays(pa: Any, sets: Sequence[ElementSet], schema: Any) -> list[Any] | None:
    """The arrays of the schema's columns; None if C cannot read one of the sets.

    That is a message, or lines whose name is not printable ASCII. Numbers are those that Python
    makes of the same text, to the last bit.
    """
    if not all(type(one) is TleSet for one in sets):
        return None
    count = len(sets)
    keys = b"".join([one.key for one in sets])
    values = b"".join([one.record for one in sets])
    sizes = array("I", [len(one.record) for one in sets])
    raw, memory = _rooms(count, len(values))
    read = check(
        lib.oor_tle_read_elements(
            count, keys, len(keys), values, len(values), ffi.from_buffer("uint32_t[]", sizes), raw
        )
    )
    if read < count:
        return None

    def buffer(name: str, size: int) -> Any:
        return pa.py_buffer(ffi.buffer(memory[name], size))

    found = {"source": pa.array([one.source for one in sets], pa.string())}
    bits = (count + 7) // 8
    for field in schema:
        name = field.name
        if name in _PLAIN:
            _, size, inner = _PLAIN[name]
            buffers = [None, buffer(inner, count * size)]
        elif name in _BLANKS:
            _, size, marks = _BLANKS[name]
            buffers = [buffer(marks, bits), buffer(name, count * size)]
        elif name in _TEXTS:
            text, ends, some = _TEXTS[name]
            last = memory[ends][count]
            marked = None if some is None else buffer(some, bits)
            buffers = [marked, buffer(ends, 4 * (count + 1)), buffer(text, last)]
        else:
            continue
        found[name] = pa.Array.from_buffers(field.type, count, buffers)
    return [found[field.name] for field in schema]


def _rooms(count: int, values_size: int) -> tuple[Any, dict[str, Any]]:
    """An oor_tle_elements for so many sets, and what it points to by name."""
    memory = {inner: _uncleared(f"{kind}[]", count) for kind, _, inner in _PLAIN.values()}
    for name, (kind, _, marks) in _BLANKS.items():
        memory[name] = _uncleared(f"{kind}[]", count)
        memory[marks] = ffi.new("uint8_t[]", (count + 7) // 8)
    for _, ends, bitmap in _TEXTS.values():
        memory[ends] = _uncleared("int32_t[]", count + 1)
        if bitmap is not None:
            memory[bitmap] = ffi.new("uint8_t[]", (count + 7) // 8)
    memory["names"] = _uncleared("uint8_t[]", values_size)
    memory["designators"] = _uncleared("uint8_t[]", count * lib.OOR_TLE_DESIGNATOR_ROOM)
    memory["classification"] = _uncleared("uint8_t[]", count)
    raw = ffi.new("oor_tle_elements *")
    for name, pointer in memory.items():
        setattr(raw, name, pointer)
    return raw, memory
