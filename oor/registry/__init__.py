"""The registry of element sets: parse, keys, ingest, queries. It knows no segment."""

from oor.registry.elset import ElementSet
from oor.registry.formats import Format
from oor.registry.ingest import FileReport, ImbalanceError, IngestReport, ingest
from oor.registry.parse import parse
from oor.registry.registry import Registry
from oor.registry.rules import Rejected
from oor.registry.sources import InputError
from oor.registry.tle_scan import Scanner

__all__ = [
    "ElementSet",
    "FileReport",
    "Format",
    "ImbalanceError",
    "IngestReport",
    "InputError",
    "Registry",
    "Rejected",
    "Scanner",
    "ingest",
    "parse",
]
