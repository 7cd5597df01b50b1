"""The registry of element sets: parse, keys, ingest, queries. It knows no segment."""

from oor.registry.delivery import Delivery
from oor.registry.elset import ElementSet
from oor.registry.formats import Format
from oor.registry.ingest import TAIL_BYTES, ImbalanceError, StrictError, ingest
from oor.registry.parse import parse
from oor.registry.registry import Registry
from oor.registry.report import FileReport, IngestReport
from oor.registry.rules import Rejected
from oor.registry.sources import InputError
from oor.registry.tle_scan import Scanner

__all__ = [
    "TAIL_BYTES",
    "Delivery",
    "ElementSet",
    "FileReport",
    "Format",
    "ImbalanceError",
    "IngestReport",
    "InputError",
    "Registry",
    "Rejected",
    "Scanner",
    "StrictError",
    "ingest",
    "parse",
]
