"""Messages for tests, made by hand: one object in the styles of the two archives."""

from __future__ import annotations

FIELDS = {
    "OBJECT_NAME": "ISS (ZARYA)", "OBJECT_ID": "1998-067A", "EPOCH": "2008-09-20T12:25:40.104192",
    "MEAN_MOTION": "15.72125391", "ECCENTRICITY": "0.0006703", "INCLINATION": "51.6416",
    "RA_OF_ASC_NODE": "247.4627", "ARG_OF_PERICENTER": "130.5360", "MEAN_ANOMALY": "325.0288",
    "EPHEMERIS_TYPE": "0", "CLASSIFICATION_TYPE": "U", "NORAD_CAT_ID": "25544",
    "ELEMENT_SET_NO": "292", "REV_AT_EPOCH": "56353", "BSTAR": "-.11606E-4",
    "MEAN_MOTION_DOT": "-.00002182", "MEAN_MOTION_DDOT": "0",
}  # fmt: skip
FRAME = {
    "CENTER_NAME": "EARTH", "REF_FRAME": "TEME", "TIME_SYSTEM": "UTC", "MEAN_ELEMENT_THEORY": "SGP4",
}  # fmt: skip
TEXT_FIELDS = ("OBJECT_NAME", "OBJECT_ID", "EPOCH", "CLASSIFICATION_TYPE")
ARCHIVE = {
    "CCSDS_OMM_VERS": "3.0", "COMMENT": "MADE BY HAND", "CREATION_DATE": "2008-09-20T14:00:00",
    "ORIGINATOR": "NOBODY", **FRAME, **FIELDS, "SEMIMAJOR_AXIS": "6730.960", "GP_ID": "1234567",
    "DECAY_DATE": None, "TLE_LINE0": "0 ISS (ZARYA)",
}  # fmt: skip


def fields(**changes):
    """The fields of the set with some changed; None takes one away."""
    merged = {**FIELDS, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def kvn(**changes):
    """One message as lines, the way a list of them begins each."""
    head = {"CCSDS_OMM_VERS": "2.0", "CREATION_DATE": "", "ORIGINATOR": "", **FRAME}
    lines = {**head, **fields(**changes)}
    return "".join(f"{name} = {value}\r\n" for name, value in lines.items()).encode()


def xml(**changes):
    """One omm element, with line ends and blanks in it."""
    all_fields = {**FRAME, **fields(**changes)}
    tle = ("EPHEMERIS", "CLASS", "NORAD", "ELEMENT_SET", "REV", "BSTAR", "MEAN_MOTION_D")
    meta = ("OBJECT", "CENTER", "REF_", "TIME_", "MEAN_ELEMENT")

    def leaves(wanted):
        return "".join(f"\n      <{n}>{v}</{n}>" for n, v in all_fields.items() if wanted(n))

    return (
        '<omm id="CCSDS_OMM_VERS" version="2.0">\n  <header><CREATION_DATE/><ORIGINATOR/></header>'
        f"\n  <body><segment><metadata>{leaves(lambda n: n.startswith(meta))}\n    </metadata>"
        f"<data><meanElements>{leaves(lambda n: not n.startswith(tle + meta))}\n    </meanElements>"
        f"<tleParameters>{leaves(lambda n: n.startswith(tle) and not n.startswith(meta))}\n    "
        "</tleParameters></data></segment></body>\n</omm>"
    ).encode()


def json_object(**changes):
    """One object with bare numbers."""
    parts = [
        f'"{name}":"{value}"' if name in TEXT_FIELDS else f'"{name}":{_bare(value)}'
        for name, value in fields(**changes).items()
    ]
    return ("{" + ",".join(parts) + "}").encode()


def _bare(value):
    if value.startswith("-."):
        return value.replace("-.", "-0.")
    return f'"{value}"' if value[:1] == "0" and value[1:].isdigit() else value


def json_strings(**changes):
    """One object of nothing but texts, with fields that only one archive has."""
    merged = {**ARCHIVE, **changes}
    parts = [f'"{n}":' + ("null" if v is None else f'"{v}"') for n, v in merged.items()]
    return ("{" + ",".join(parts) + "}").encode()


def csv_header(names=tuple(FIELDS)):
    """The first row."""
    return (",".join(names) + "\r\n").encode()


def csv_row(names=tuple(FIELDS), quoted=False, **changes):
    """One row, with quotes around all cells or around none."""
    values = {**FIELDS, **changes}
    cells = [values[name] or "" for name in names]
    return (",".join(f'"{cell}"' if quoted else cell for cell in cells) + "\r\n").encode()


def documents(*changes):
    """The same sets as an input of each format: name -> bytes."""
    return {
        "kvn": b"".join(kvn(**one) for one in changes),
        "xml": b'<?xml version="1.0" encoding="UTF-8"?>\n<ndm>\n'
        + b"\n".join(xml(**one) for one in changes)
        + b"\n</ndm>\n",
        "json": b"[" + b",".join(json_object(**one) for one in changes) + b"]",
        "csv": csv_header() + b"".join(csv_row(**one) for one in changes),
    }
