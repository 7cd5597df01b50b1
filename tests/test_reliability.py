"""The page on reliability has the figures that are kept, and its generator sees a change."""

from __future__ import annotations

import json
import tomllib

from coverage_check import LISTED, ROOT

from bench import flip, reliability


def test_the_page_has_the_figures_that_are_kept():
    text = reliability.PAGE.read_text()
    assert reliability.page(text) == text, "run: make reliability"


def test_a_figure_that_changes_changes_the_page(tmp_path, monkeypatch):
    for path in reliability.FIGURES.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    torture = json.loads((tmp_path / "torture.json").read_text())
    (tmp_path / "torture.json").write_text(json.dumps(torture | {"lost": 3}))
    monkeypatch.setattr(reliability, "FIGURES", tmp_path)
    assert "**3 lost**" in reliability.figures()
    (tmp_path / "bytes.json").unlink()
    assert "not run here" in reliability.figures()


def test_one_flipped_byte_in_the_middle_of_a_log_of_2000_puts_is_refused_with_its_lsns(tmp_path):
    found = flip.examine("oor, without its tail", str(tmp_path))
    assert "first lsn" in found["refused"] and "last lsn 1999" in found["refused"]
    assert flip.examine("oor", str(tmp_path)) == {"opened": flip.COUNT}


def test_each_branch_that_no_test_takes_is_a_line_of_its_file_and_has_a_reason():
    for file, reasons in tomllib.loads(LISTED.read_text()).items():
        lines = {line.strip() for line in (ROOT / file).read_text().splitlines()}
        for reason, texts in reasons.items():
            assert reason and set(texts) <= lines, (file, set(texts) - lines)
