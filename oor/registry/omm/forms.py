"""The formats of messages, each with its doors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from oor.registry.formats import Format
from oor.registry.omm import csv, json, kvn, xml
from oor.registry.omm.model import Fields
from oor.registry.omm.split import Splitter


class Form(NamedTuple):
    """One format: how an input is split, a message read, and fields written."""

    splitter: Callable[[], Splitter]
    read: Callable[[bytes], Fields]
    write: Callable[[Mapping[str, str]], str]


FORMS: dict[Format, Form] = {
    Format.KVN: Form(kvn.Splitter, kvn.read, kvn.write),
    Format.XML: Form(xml.Splitter, xml.read, xml.write),
    Format.JSON: Form(json.Splitter, json.read, json.write),
    Format.CSV: Form(csv.Splitter, csv.read, csv.write),
}
