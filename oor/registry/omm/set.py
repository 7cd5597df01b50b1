"""An element set that came as a message, and its fields read from it on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from oor.errors import FormatError
from oor.registry.elset import ElementSet, Maker, register
from oor.registry.formats import Format
from oor.registry.omm.forms import FORMS
from oor.registry.omm.model import Refused


@dataclass(frozen=True, slots=True)
class OmmSet(ElementSet):
    """One message. `text` is the original, byte for byte; for CSV the header and the row.

    The first field costs what reading the message does, 15 to 40 us; others cost less than 1 us.
    """

    form: Format = Format.KVN
    _read: Mapping[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def format(self) -> Format:
        """KVN, XML, JSON or CSV."""
        return self.form

    @property
    def fields(self) -> Mapping[str, str]:
        """Every value of the message by its upper-case CCSDS name, as it was written."""
        found = self._read
        if found is None:
            try:
                found = MappingProxyType(FORMS[self.form].read(self.text))
            except Refused as refused:
                raise FormatError(
                    f"the record {self.key.hex()} is no message that this build reads: {refused}"
                ) from None
            object.__setattr__(self, "_read", found)
        return found


def _maker(form: Format) -> Maker:
    def make(key: bytes, text: bytes, flags: int, source: str | None, lsn: int) -> OmmSet:
        return OmmSet(key, text, source, lsn, form)

    return make


for _form in FORMS:
    register(_form, _maker(_form))
