"""An element set that came as a message, and its fields read from it on demand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from oor.errors import FormatError
from oor.registry.elset import ElementSet, register
from oor.registry.formats import Format
from oor.registry.omm.forms import FORMS
from oor.registry.omm.model import Refused


class OmmSet(ElementSet):
    """One message. `text` is the original, byte for byte; for CSV the header and the row.

    The first field costs what reading the message does, 15 to 40 us; others cost less than 1 us.
    """

    __slots__ = ("_read",)

    _read: Mapping[str, str]

    @property
    def format(self) -> Format:
        """KVN, XML, JSON or CSV."""
        return Format(self.record[8])

    @property
    def fields(self) -> Mapping[str, str]:
        """Every value of the message by its upper-case CCSDS name, as it was written."""
        found: Mapping[str, str] | None = getattr(self, "_read", None)
        if found is None:
            try:
                found = MappingProxyType(FORMS[self.format].read(self.text))
            except Refused as refused:
                raise FormatError(
                    f"the record {self.key.hex()} is no message that this build reads: {refused}"
                ) from None
            object.__setattr__(self, "_read", found)
        return found


for _form in FORMS:
    register(_form, OmmSet)
