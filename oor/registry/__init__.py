"""The registry of element sets: parse, keys, ingest, queries. It knows no segment."""

from oor.registry.elset import ElementSet
from oor.registry.ingest import FileReport, ImbalanceError, IngestReport, ingest
from oor.registry.parse import Rejected, Scanner, parse
from oor.registry.registry import Registry
from oor.registry.sources import InputError

__all__ = [
    "ElementSet",
    "FileReport",
    "ImbalanceError",
    "IngestReport",
    "InputError",
    "Registry",
    "Rejected",
    "Scanner",
    "ingest",
    "parse",
]
