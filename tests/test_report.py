"""The page of a store: what it says is what the store holds, and a browser shows it, offline."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import oor
from oor.cli.app import run
from oor.registry import Registry, ingest
from oor.report import gather, page
from oor.report.facts import Orbit, altitudes
from tests.support.tle import numbered, text_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
NOW = datetime(2008, 9, 21, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    """A store with three objects of two sources, a reject, and a delivery that was left half-way."""
    sets = [line for number in ("25544", "00005") for line in numbered(number)]
    (tmp_path / "one.tle").write_bytes(text_of("0 <ISS & CO>", *sets) + b"FOO\r\n")
    (tmp_path / "two.tle").write_bytes(text_of(*numbered("T0288", "08260.50000000")))
    with oor.open(tmp_path / "s.oor") as db:
        ingest(db, [tmp_path / "one.tle"], source="<operator>")
        ingest(db, [tmp_path / "two.tle"], source="archive", expected=2)
    return tmp_path / "s.oor"


@pytest.fixture
def html(path, tmp_path):
    pytest.importorskip("matplotlib", reason="a report needs matplotlib")
    assert run(["report", str(path), "-o", str(tmp_path / "r.html"), "--now", str(NOW)]) == 0
    return tmp_path / "r.html"


def test_the_facts_are_those_of_the_registry(path):
    with oor.open(path) as db:
        facts = gather(db, NOW)
        newest = {one.norad_cat_id: one for one in Registry(db).latest_all()}
    assert {one.number for one in facts.orbits} == set(newest) == {5, 25544, 270288}
    assert facts.sets == 3 and facts.rules == {"name-alone": 1}
    assert [one.whole for one in facts.deliveries] == [True, False]
    for orbit in facts.orbits:
        assert orbit.epoch_us == newest[orbit.number].epoch_us
        age = NOW - newest[orbit.number].epoch
        assert facts.age_days(orbit) == pytest.approx(age / timedelta(days=1))


def test_altitudes_are_keplers():
    # One turn a sidereal day is the geostationary radius, 42,164 km from the center of the Earth.
    perigee, apogee = altitudes(1.00273791, 0.0)
    assert perigee == apogee == pytest.approx(42_164.17 - 6378.137, abs=0.5)
    perigee, apogee = altitudes(2.00562, 0.74)
    axis = (perigee + apogee) / 2 + 6378.137
    assert (apogee - perigee) / (2 * axis) == pytest.approx(0.74)


@pytest.mark.parametrize(
    ("perigee", "apogee", "regime"),
    [(400, 420, "LEO"), (600, 39_700, "HEO"), (20_180, 20_200, "MEO"), (35_780, 35_790, "GEO"),
     (5_000, 36_000, "MEO"), (36_100, 36_400, "beyond")],
)  # fmt: skip
def test_regimes_go_by_perigee_and_apogee(perigee, apogee, regime):
    assert Orbit(1, "", None, 0, perigee, apogee).regime == regime


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(html):
    text = html.read_text()
    assert "default-src 'none'" in text and "<script" not in text
    targets = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')>]*)""", text)
    assert targets and all(target.startswith(("#", "data:")) for target in targets)
    assert "&lt;ISS &amp; CO&gt;" in text and "&lt;operator&gt;" in text
    assert "<ISS" not in text and "<operator" not in text


def test_the_same_store_and_moment_give_the_same_page(path, html):
    with oor.open(path) as db:
        facts = gather(db, NOW)
        assert page(facts) == page(facts)


def test_an_empty_store_has_a_page_that_says_so(tmp_path):
    pytest.importorskip("matplotlib", reason="a report needs matplotlib")
    with oor.open(tmp_path / "s.oor") as db:
        text = page(gather(db))
    for words in ("no deliveries", "no objects", "nothing was refused"):
        assert words in text


def test_a_missing_extra_is_named_and_nothing_is_written(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["report", str(path), "-o", str(tmp_path / "r.html")]) == 2
    assert "pip install 'oor[plot]'" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


# ---- in a browser ----


def browse(html, *arguments):
    """What a headless browser prints of a page, cut off from every network."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={html.parent / 'profile'}",
            "--window-size=1200,3000", *arguments, html.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_browser_reads_every_section_chart_and_number(html):
    dom = browse(html, "--dump-dom")
    sections = re.findall(r'<section id="(\w+)">(.*?)</section>', dom, re.S)
    assert [name for name, _ in sections] == [
        "deliveries",
        "ages",
        "orbits",
        "quarantine",
        "shapes",
    ]
    for name, content in sections:
        assert content.count("<svg") == 1 and content.count("</svg>") == 1, name
    parts = dict(sections)
    assert "one.tle" in parts["deliveries"] and "2 were expected and 1 were read" in dom
    assert "&lt;ISS &amp; CO&gt;" in parts["ages"]
    assert "LEO 3" in parts["orbits"]
    assert "name-alone" in parts["quarantine"]
    assert "memtable" in parts["shapes"] and "level 0" in parts["shapes"]


def test_a_browser_draws_bars_points_and_rejects_in_their_colours(html, tmp_path):
    picture = tmp_path / "r.png"
    browse(html, f"--screenshot={picture}")
    from matplotlib.image import imread

    pixels = (imread(picture)[:, :, :3] * 255).round().astype(int)

    def share(red, green, blue):
        near = abs(pixels - (red, green, blue)).max(axis=2) < 12
        return near.mean()

    assert pixels.shape[:2] == (3000, 1200)
    assert share(255, 255, 255) > 0.3, "the sections are white"
    assert share(0x2A, 0x6F, 0xB0) > 0.001, "bars of sets and bytes are blue"
    assert share(0xC8, 0x44, 0x2F) > 0.001, "what was refused is red"
