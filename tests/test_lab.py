"""The laboratory: what is durable at an instant, and how much a loss of power then takes."""

from __future__ import annotations

import json
import os
import random

import pytest
from support.recording import Recording

import oor
from oor.cli import exits
from oor.cli.app import run as run_command
from oor.crashlab.images import CrashImages, Level
from oor.lab import loss_window
from oor.lab.durable import DurableDisk
from oor.lab.loss_window import Instant, ModeResult, draw, report, run, text_plot
from oor.lab.picture import save_png
from oor.stats import LossWindow
from oor.trace import Event, Op


@pytest.mark.parametrize("direct_io", [True, False])
def test_what_is_durable_agrees_with_the_model_of_crashes(tmp_path, direct_io):
    folder = tmp_path / "store"
    folder.mkdir()
    options = {
        "segment_bytes": 64 << 10,
        "tail_bytes": 16 << 10,
        "background": False,
        "direct_io": direct_io,
    }
    with Recording(folder) as recording, oor.open(folder, durability="os", **options) as db:
        for n in range(300):
            db.put(b"%d" % n, bytes(200))
            if n % 50 == 49:
                db.sync()
            if n == 200:
                db.checkpoint()
    images = CrashImages(recording)
    rng = random.Random(1)
    disk, fed = DurableDisk(str(folder)), 0
    for step, point in enumerate(sorted(rng.sample(range(len(recording.events)), 40))):
        for event in recording.events[fed:point]:
            disk.feed(event)
        fed = point
        target = tmp_path / str(step)
        target.mkdir()
        disk.write(str(target))
        found = {path.name: path.read_bytes() for path in target.iterdir()}
        # The first image of a point is the one in which nothing of what is pending arrived.
        assert found == next(images.at(point, Level.ORDERED)).files


def event(op, begin, end, *, path="", number=0, payload=b"", flags=0, effect=1):
    return Event(op, 3, flags, begin, end, 1, number, 0, len(payload), effect, 0, path, "", payload)


def test_a_sync_covers_only_what_had_ended_when_it_began(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    disk = DurableDisk(str(folder))
    made = lambda name, number, at: event(
        Op.OPEN, at, at, path=str(folder / name), number=number, flags=os.O_CREAT
    )
    wrote = lambda data, at: event(Op.WRITE, at, at, number=1, payload=data, effect=len(data))
    events = [
        made("a", 1, 1),
        wrote(b"old", 2),
        made("b", 2, 4),
        event(Op.SYNC_DIR, 3, 5, path=str(folder)),
        wrote(b"new", 7),
        event(Op.SYNC, 6, 8, number=1),
    ]
    for each in events:
        disk.feed(each)
    target = tmp_path / "image"
    target.mkdir()
    disk.write(str(target))
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"a": b"old"}


def test_each_mode_keeps_its_promise_at_random_instants(tmp_path):
    results = run(str(tmp_path / "lab"), seconds=0.15, instants=10, rate=3000, sync_interval=0.02)
    sync, interval, os_mode = results
    assert [result.mode for result in results] == ["sync", "interval", "os"]
    assert sync.worst_records == 0 and sync.holds and sync.records > 0
    assert interval.holds and interval.syncs > 0
    assert os_mode.worst_records > 0 and os_mode.bound_seconds is None
    assert len(sync.instants) == 10


def test_a_store_that_acknowledges_too_early_is_caught(tmp_path, monkeypatch):
    put = oor.DB.put
    monkeypatch.setattr(oor.DB, "put", lambda db, key, value: put(db, key, value, durability="os"))
    (result,) = run(str(tmp_path / "lab"), modes=["sync"], seconds=0.1, instants=10, rate=3000)
    assert not result.holds


def made_up(bound=0.05):
    instants = (Instant(0.1, 10, 0, 0.0), Instant(0.5, 50, 4, 0.04), Instant(0.9, 90, 6, 0.06))
    return ModeResult("interval", instants, bound, 100, 1.0, 20, LossWindow(0.055, 960, 6))


def test_the_report_names_the_largest_window_and_says_when_the_bound_is_exceeded():
    text = report([made_up()])
    assert "largest window lost  60.0 ms, 6 records" in text
    assert "EXCEEDED" in text
    assert "EXCEEDED" not in report([made_up(0.07)])
    assert "bound                none" in report([made_up(None)])


def test_the_plot_has_a_column_for_each_time_and_a_line_at_the_bound():
    lines = text_plot(made_up(0.045), width=10, height=6).splitlines()
    assert lines[0] == "    60.0 ms |         #"
    assert lines[1] == "    50.0 ms |---------#"
    assert lines[2] == "    40.0 ms |     #   #"
    assert all(len(line) <= 100 for line in text_plot(made_up()).splitlines())


def test_the_picture_says_what_it_needs_or_is_written(tmp_path):
    path = tmp_path / "loss.png"
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        with pytest.raises(oor.OorError, match="matplotlib"):
            save_png(str(path), lambda axes: draw([made_up()], axes))
    else:
        both = [made_up(), made_up(None)]
        save_png(str(path), lambda axes: draw(both, axes), rows=2)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_what_recovery_yields_must_be_a_prefix(tmp_path):
    with oor.open(tmp_path / "s") as db:
        db.put(b"%012d" % 1, b"the first one is missing")
    with pytest.raises(oor.CorruptionError, match="prefix"):
        loss_window._recovered(str(tmp_path / "s"))


def test_the_command_prints_the_report_or_json_and_says_by_its_code_whether_bounds_held(
    tmp_path, capsys, monkeypatch
):
    short = ["--seconds", "0.05", "--instants", "2", "--mode", "sync"]
    assert run_command(["lab", "loss-window", *short]) == exits.FINE
    assert "sync: 2 power losses" in capsys.readouterr().out
    where = str(tmp_path / "kept")
    assert run_command(["lab", "loss-window", *short, "--json", "--dir", where]) == exits.FINE
    content = json.loads(capsys.readouterr().out)
    assert content["mode"] == "sync" and content["holds"] and len(content["instants"]) == 2
    assert (tmp_path / "kept" / "sync").is_dir()
    monkeypatch.setattr(loss_window, "run", lambda place, **options: [made_up()])
    assert run_command(["lab", "loss-window"]) == exits.DAMAGE
