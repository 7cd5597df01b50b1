"""Element sets for tests: made by hand, and decoded by a second, slow reading of the columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from oor.registry import ElementSet, parse

ISS_1 = "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927"
ISS_2 = "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537"
SHARED = Path(__file__).parents[3] / "shared" / "data"


def check_digit(columns):
    """The check digit of the first 68 columns, by the rule's own words."""
    return str(sum(int(x) if x.isdigit() else x == "-" for x in columns[:68]) % 10)


def sealed(columns):
    """A line with its right check digit, whatever it held."""
    return columns[:68] + check_digit(columns)


def edited(line, column, text):
    """A line with `text` from that column (from 1) on and the check digit made right."""
    return sealed(line[: column - 1] + text + line[column - 1 + len(text) :])


def numbered(number, epoch="08264.51782528", **at):
    """The two lines of a set of this catalog number (five columns) and epoch (14 columns)."""
    one = edited(edited(ISS_1, 3, number), 19, epoch)
    two = edited(ISS_2, 3, number)
    for column, text in at.items():
        two = edited(two, int(column[1:]), text)
    return one, two


def text_of(*lines, end="\r\n"):
    """Lines as the bytes of a file."""
    return "".join(line + end for line in lines).encode("latin-1")


def split(items):
    """Element sets and rejects, apart."""
    items = list(items)
    sets = [item for item in items if isinstance(item, ElementSet)]
    return sets, [item for item in items if not isinstance(item, ElementSet)]


def rules(data):
    """Rule ids of what a text is refused for, in order."""
    return [item.rule for item in split(parse(data))[1]]


def decoded(line1, line2):
    """Every field of a set, by Fraction and datetime: shares no code with what it checks."""

    def scaled(text):
        sign = -1 if text[0] == "-" else 1
        return (
            sign
            * Fraction(int(text[1:6]), 100_000)
            * Fraction(10) ** int(text[6:].replace(" ", "+"))
        )

    def fraction(text):
        return Fraction(text.strip().replace("+", ""))

    lead = line1[2]
    if lead.isalpha():
        number = "ABCDEFGHJKLMNPQRSTUVWXYZ".index(lead) * 10_000 + 100_000 + int(line1[3:7])
    else:
        number = int(line1[2:7])
    year = int(line1[18:20])
    year += 1900 if year >= 57 else 2000
    day = fraction(line1[20:32])
    epoch = datetime(year, 1, 1, tzinfo=UTC) - timedelta(days=1)
    epoch_us = (epoch - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    epoch_us = epoch_us + day * 86_400_000_000
    assert epoch_us.denominator == 1
    return {
        "norad_cat_id": number,
        "epoch_us": int(epoch_us),
        "classification_type": line1[7],
        "mean_motion_dot": fraction(line1[33:43]),
        "mean_motion_ddot": scaled(line1[44:52]),
        "bstar": scaled(line1[53:61]),
        "ephemeris_type": int(line1[62]),
        "element_set_no": int(line1[64:68]),
        "inclination": fraction(line2[8:16]),
        "ra_of_asc_node": fraction(line2[17:25]),
        "eccentricity": Fraction(int(line2[26:33]), 10_000_000),
        "arg_of_pericenter": fraction(line2[34:42]),
        "mean_anomaly": fraction(line2[43:51]),
        "mean_motion": fraction(line2[52:63]),
        "rev_at_epoch": int(line2[63:68]),
    }
