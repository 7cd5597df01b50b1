"""The command line: what it prints where, and with which code it ends."""

import contextlib
import gzip
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.tle import numbered, text_of

import oor
from oor.cli import exits
from oor.cli.app import COMMANDS, run
from oor.cli.lab import EXPERIMENTS
from oor.codec import missing
from oor.verify import verify

ROOT = Path(__file__).resolve().parent.parent

MAY_1 = numbered("25544", "24122.50000000")
MAY_2 = numbered("25544", "24123.50000000")
MAY_2_REVISED = numbered("25544", "24123.50000000", c44="200.0000")
OTHER = numbered("T0288", "24122.25000000")


@pytest.fixture
def files(tmp_path):
    named = text_of("ISS (ZARYA)", *MAY_1) + text_of(*MAY_2) + text_of(*MAY_2_REVISED)
    (tmp_path / "iss.tle").write_bytes(named)
    (tmp_path / "other.tle.gz").write_bytes(gzip.compress(text_of("0 OTHER", *OTHER)))
    return [str(tmp_path / "iss.tle"), str(tmp_path / "other.tle.gz")]


@pytest.fixture
def store(tmp_path, files):
    path = str(tmp_path / "catalog.oor")
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(["ingest", path, *files, "--source", "test"]) == exits.FINE
    return path


def oor_command(*arguments, **more):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "oor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


# ---- ingest --------------------------------------------------------------------------------------


def test_ingest_prints_a_balance_and_a_second_one_adds_nothing(tmp_path, files, capsys):
    path = str(tmp_path / "catalog.oor")
    assert run(["ingest", path, *files]) == exits.FINE
    first = capsys.readouterr()
    assert first.out.startswith("read 4 = stored 4 + already there 0 + quarantined 0\n")
    assert first.err == ""
    assert run(["ingest", path, *files]) == exits.FINE
    assert "read 4 = stored 0 + already there 4 + quarantined 0\n" in capsys.readouterr().out


def test_ingest_reads_standard_input(tmp_path, monkeypatch, capsys):
    stdin = io.TextIOWrapper(io.BytesIO(text_of(*MAY_1)))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run(["ingest", str(tmp_path / "catalog.oor"), "-", "--json"]) == exits.FINE
    content = json.loads(capsys.readouterr().out)
    assert (content["read"], content["stored"]) == (1, 1)
    assert content["durable_lsn"] >= content["last_lsn"] > 0


@pytest.mark.parametrize(
    ("limit", "code"),
    [([], 0), (["1"], 0), (["0"], 1), (["50%"], 0), (["49.9%"], 1), (["0%"], 1)],
)
def test_more_rejects_than_allowed_end_with_one(tmp_path, limit, code, capsys):
    (tmp_path / "in.tle").write_bytes(text_of(*MAY_1) + b"what is this\r\n")
    options = [f"--max-rejected={value}" for value in limit]
    path = str(tmp_path / "catalog.oor")
    assert run(["ingest", path, str(tmp_path / "in.tle"), *options]) == code
    out = capsys.readouterr().out
    assert "read 2 = stored 1 + already there 0 + quarantined 1\n" in out
    assert f"quarantine: {path}.quarantine.jsonl\n" in out


def test_a_limit_that_is_no_number_is_wrong_usage(tmp_path, capsys):
    assert run(["ingest", str(tmp_path / "c"), "x", "--max-rejected", "many"]) == exits.ERROR
    assert "neither a count nor a percentage" in capsys.readouterr().err


def test_an_input_that_is_not_there_is_named_and_the_others_are_stored(tmp_path, files, capsys):
    missing = str(tmp_path / "missing.tle")
    code = run(["ingest", str(tmp_path / "catalog.oor"), missing, *files, "--json"])
    captured = capsys.readouterr()
    assert code == exits.ERROR
    assert json.loads(captured.out)["stored"] == 4
    assert missing in captured.err


def test_an_interrupt_ends_with_130_and_keeps_what_was_acknowledged(
    tmp_path, files, monkeypatch, capsys
):
    def interrupted(store, *_, **__):
        store.put(b"k", b"v")
        raise KeyboardInterrupt

    monkeypatch.setattr("oor.cli.ingest.ingest_files", interrupted)
    path = str(tmp_path / "catalog.oor")
    assert run(["ingest", path, *files]) == exits.INTERRUPTED
    with oor.open(path) as db:
        assert db.recovery.clean
        assert db[b"k"] == b"v"


def test_progress_is_shown_on_a_terminal_and_nowhere_else(tmp_path, files):
    command = [sys.executable, "-m", "oor", "ingest", str(tmp_path / "catalog.oor"), *files]
    terminal, its_end = pty.openpty()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=its_end, check=True)
    os.close(its_end)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal that nobody writes to any more
        while piece := os.read(terminal, 4096):
            shown += piece
    os.close(terminal)
    assert b"durable LSN" in shown
    assert done.stdout.startswith(b"read 4 = stored 4")
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""


# ---- queries -------------------------------------------------------------------------------------


def test_latest_prints_the_lines_as_they_were_read(store, capsysbinary):
    assert run(["latest", store, "25544", "T0288"]) == exits.FINE
    assert capsysbinary.readouterr().out == text_of(*MAY_2_REVISED) + text_of("0 OTHER", *OTHER)


@pytest.mark.parametrize("command", [["latest"], ["history"], ["at", "2030-01-01"]])
def test_what_is_asked_for_comes_in_any_form(store, capsysbinary, command):
    name, *time = command
    assert run([name, store, "25544", *time, "--format", "2le"]) == exits.FINE
    lines = capsysbinary.readouterr().out
    assert lines.endswith("".join(f"{line}\n" for line in MAY_2_REVISED[-2:]).encode())
    assert run([name, store, "25544", *time, "--format", "csv"]) == exits.FINE
    head, *rows = capsysbinary.readouterr().out.splitlines()
    assert head.startswith(b"OBJECT_NAME,") or b"NORAD_CAT_ID" in head
    assert len(rows) == lines.count(b"\n") // 2


def test_an_object_that_is_not_there_is_named_and_the_others_are_printed(store, capsysbinary):
    assert run(["latest", store, "7", "270288"]) == exits.ERROR
    captured = capsysbinary.readouterr()
    assert captured.out == text_of("0 OTHER", *OTHER)
    assert captured.err == b"oor: no element set of 7\n"


def test_json_has_fields_source_and_lsn(store, capsys):
    assert run(["history", store, "25544", "--json"]) == exits.FINE
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["epoch"][:10] for one in found] == ["2024-05-01", "2024-05-02", "2024-05-02"]
    first = found[0]["lsn"]
    assert [one["lsn"] - first for one in found] == [0, 1, 2]
    assert {one["source"] for one in found} == {"test"}
    assert found[0]["object_name"] == "ISS (ZARYA)"
    assert found[2]["mean_anomaly"] == 200.0


@pytest.mark.parametrize(
    ("time", "lines"),
    [
        ("2024-05-02T11:59:59Z", ("ISS (ZARYA)", *MAY_1)),
        ("2024-05-02T12:00:00", MAY_2_REVISED),
        ("2024-05-02T14:00:00+02:00", MAY_2_REVISED),
        ("2024-05-02", ("ISS (ZARYA)", *MAY_1)),
    ],
)
def test_at_prints_the_newest_set_that_is_not_later(store, time, lines, capsysbinary):
    assert run(["at", store, "25544", time]) == exits.FINE
    assert capsysbinary.readouterr().out == text_of(*lines)


def test_at_before_the_first_set_is_an_error_and_so_is_a_time_that_is_none(store, capsys):
    assert run(["at", store, "25544", "2001-01-01"]) == exits.ERROR
    assert run(["at", store, "25544", "soon"]) == exits.ERROR
    assert "ISO 8601" in capsys.readouterr().err


def test_history_takes_a_range_whose_end_is_not_in_it(store, capsysbinary):
    between = ["--from", "2024-05-01T12:00Z", "--to", "2024-05-02T12:00Z"]
    assert run(["history", store, "25544", *between]) == exits.FINE
    assert capsysbinary.readouterr().out == text_of("ISS (ZARYA)", *MAY_1)


def test_a_reader_that_has_enough_is_no_error(store):
    command = f"{sys.executable} -m oor history {store} 25544 | true"
    done = subprocess.run(
        ["bash", "-c", command + "; exit ${PIPESTATUS[0]}"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_command_that_reads_makes_no_store(tmp_path, capsys):
    for path in (tmp_path / "nothing", tmp_path):
        before = sorted(tmp_path.iterdir())
        assert run(["latest", str(path), "5"]) == exits.ERROR
        assert sorted(tmp_path.iterdir()) == before
    assert "there is no store here" in capsys.readouterr().err


# ---- the store -----------------------------------------------------------------------------------


def picture(path):
    """Every file of a store, byte for byte."""
    return {name: Path(path, name).read_bytes() for name in sorted(os.listdir(path))}


RECORDS = 900


def crashed_store(path, records=RECORDS):
    """A store whose process has died. Its first records are no longer in the tail."""
    script = (
        "import oor, os, sys\n"
        f"db = oor.open({str(path)!r}, segment_bytes=65536, tail_bytes=16384, background=False)\n"
        f"for i in range({records}): db.put(b'%04d' % i, b'value %04d' % i)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    return str(path)


def test_stat_counts_and_json_has_the_same(store, capsys):
    assert run(["stat", store]) == exits.FINE
    text = capsys.readouterr().out
    assert re.search(r"^LSN +last (\d+), durable \1, in tables \1$", text, re.MULTILINE)
    assert re.search(r"^sources +test$", text, re.MULTILINE)
    assert run(["stat", store, "--json"]) == exits.FINE
    content = json.loads(capsys.readouterr().out)
    assert content["last_lsn"] == content["durable_lsn"] >= content["levels"][0]["entries"] > 5


@pytest.mark.parametrize("codec", ["none", "zstd", "lz4"])
def test_stat_says_what_the_tables_are_packed_with_whatever_the_options_are_now(
    codec, tmp_path, capsys
):
    if why := missing(codec):
        pytest.skip(why)
    path = str(tmp_path / "s.oor")
    with oor.open(path, compression=codec, background=False) as db:
        db.write({b"%04d" % n: b"the same value" * 9 for n in range(1000)})
        db.compact()
    assert run(["stat", path, "--json"]) == exits.FINE
    content = json.loads(capsys.readouterr().out)
    assert content["codecs"] == {codec: 1}
    assert content["payload_bytes"] == 1000 * (4 + 14 * 9)
    assert run(["stat", path]) == exits.FINE
    assert re.search(
        rf"^compression +{codec} in 1 table; 127.0 KiB of keys", capsys.readouterr().out, re.M
    )


def test_recover_dry_run_prints_the_plan_and_changes_nothing(tmp_path, capsys):
    path = crashed_store(tmp_path / "s.oor")
    before = picture(path)
    assert run(["recover", path, "--dry-run"]) == exits.FINE
    out = capsys.readouterr().out
    assert re.search(r"^redo +LSN 1 to 900: 900 frames", out, re.MULTILINE)
    assert run(["recover", path, "--dry-run", "--json"]) == exits.FINE
    assert json.loads(capsys.readouterr().out)["redo_frames"] == RECORDS
    assert picture(path) == before
    assert run(["recover", path]) == exits.FINE
    assert "900 mutations of 900 frames, LSN 1 to 900" in capsys.readouterr().out
    assert run(["recover", path, "--json"]) == exits.FINE
    assert json.loads(capsys.readouterr().out)["clean"] is True


def test_a_damaged_log_ends_with_three_and_salvage_says_what_is_lost(tmp_path, capsys):
    path = crashed_store(tmp_path / "s.oor")
    segment = Path(path, "000000000001.wal")
    data = bytearray(segment.read_bytes())
    data[data.index(b"value 0005")] ^= 1
    segment.write_bytes(data)
    assert run(["recover", path, "--dry-run"]) == exits.DAMAGED
    assert run(["latest", path, "5"]) == exits.DAMAGED
    assert "segment 1, offset" in capsys.readouterr().err
    assert run(["latest", path, "5", "--json"]) == exits.DAMAGED
    error = json.loads(capsys.readouterr().err)
    assert (error["error"], error["segment"], error["first_lsn"]) == ("CorruptionError", 1, 6)
    assert run(["recover", path, "--salvage"]) == exits.DAMAGE
    assert "000000000001.wal at offset" in capsys.readouterr().out
    with oor.open(path) as db:
        assert [key for key in db] == [b"%04d" % i for i in range(RECORDS) if i != 5]


def test_verify_of_a_whole_store_counts_and_changes_nothing(tmp_path, store, capsys):
    crashed = crashed_store(tmp_path / "s.oor")
    for path, log in ((store, "nothing in it is needed"), (crashed, "900 mutations up to LSN 900")):
        before = picture(path)
        assert run(["verify", path]) == exits.FINE
        out = capsys.readouterr().out
        assert log in out
        assert re.search(r"^damage +none$", out, re.MULTILINE)
        assert picture(path) == before


def test_verify_finds_damage_in_log_manifest_and_table_and_says_where(tmp_path, store, capsys):
    crashed = crashed_store(tmp_path / "s.oor")
    places = [
        (crashed, "000000000001.wal", b"value 0003"),
        (store, "MANIFEST-000000000001", b"flushed_lsn"),
        (store, "000000000002.sst", b"ISS (ZARYA)"),
        (store, "CURRENT", b"MANIFEST"),
    ]
    for path, name, part in places:
        file = Path(path, name)
        whole = file.read_bytes()
        file.write_bytes(whole.replace(part, part.swapcase(), 1))
        assert run(["verify", path, "--json"]) == exits.DAMAGE
        (damage,) = json.loads(capsys.readouterr().out)["damage"]
        assert damage["path"].endswith(name)
        assert damage["offset"] is not None
        file.write_bytes(whole)


def test_verify_finds_durable_frames_that_only_the_tail_still_has_whole(tmp_path, capsys):
    path = crashed_store(tmp_path / "s.oor", records=20)
    assert run(["verify", path]) == exits.FINE
    segment = Path(path, "000000000001.wal")
    data = bytearray(segment.read_bytes())
    data[data.index(b"value 0005")] ^= 1
    segment.write_bytes(data)
    capsys.readouterr()
    assert run(["verify", path, "--json"]) == exits.DAMAGE
    (damage,) = json.loads(capsys.readouterr().out)["damage"]
    assert "only in the shared tail" in damage["what"]
    assert (damage["segment"], damage["first_lsn"]) == (1, 6)


@pytest.mark.parametrize("durability", ["sync", "interval", "os"])
def test_verify_finds_no_damage_in_what_a_killed_process_leaves(tmp_path, durability):
    path = str(tmp_path / "s.oor")
    script = (
        "import oor, os, signal\n"
        "sizes = {'segment_bytes': 65536, 'tail_bytes': 16384}\n"
        f"db = oor.open({path!r}, durability={durability!r}, **sizes)\n"
        "for i in range(3000): db.put(b'%04d' % (i % 700), b'value %04d' % i)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    found = verify(path)
    assert found.damage == []
    assert found.last_lsn == 3000


def test_manifest_is_printed_edit_by_edit_and_a_bad_line_is_shown(store, capsys):
    assert run(["manifest", store]) == exits.FINE
    out = capsys.readouterr().out
    assert re.search(r"\+  000000000002.sst  level 0  \d+ entries", out)
    assert out.rstrip().endswith("closed")
    assert run(["manifest", store, "--json"]) == exits.FINE
    assert [json.loads(line)["n"] for line in capsys.readouterr().out.splitlines()] == [0, 1, 2]
    file = Path(store, "MANIFEST-000000000001")
    file.write_bytes(file.read_bytes().replace(b'"closed":true', b'"closed":tru3'))
    assert run(["manifest", store]) == exits.DAMAGE
    assert "does not verify" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["latest", "5"], ["verify"], ["manifest"], ["recover", "--dry-run"]]
)
def test_a_store_that_somebody_has_open_ends_with_four_and_names_him(tmp_path, command, capsys):
    path = str(tmp_path / "s.oor")
    with oor.open(path):
        assert run([command[0], path, *command[1:]]) == exits.LOCKED
    assert f"by process {os.getpid()} on " in capsys.readouterr().err


# ---- the command itself --------------------------------------------------------------------------


def test_help_and_version_load_no_engine():
    script = (
        "import sys\nfrom oor.cli.app import run\n"
        "assert run([{!r}]) == 0\n"
        "bad = [m for m in sys.modules if m in ('oor.native', 'oor.db', 'oor._native', 'rich')]\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    for flag in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", script.format(flag)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_every_command_has_help_and_takes_json(capsys):
    assert run(["--help"]) == exits.FINE
    listing = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", listing, re.MULTILINE)
        groups = {"lab": EXPERIMENTS}
        for command in [[name, each] for each in groups[name]] if name in groups else [[name]]:
            assert run([*command, "--help"]) == exits.FINE
            assert "--json" in capsys.readouterr().out


def test_wrong_usage_ends_with_two(capsys):
    assert run(["frobnicate"]) == exits.ERROR
    assert run(["latest"]) == exits.ERROR
    assert run(["latest", "x.oor", "no-number"]) == exits.ERROR


def test_python_dash_m_runs_the_command():
    done = oor_command("--version")
    assert (done.returncode, done.stdout) == (0, f"oor {oor.__version__}\n")


def test_the_exit_codes_of_the_readme_are_those_of_the_command():
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {int(code): text for code, text in rows} == exits.TABLE


@pytest.mark.parametrize("command", ["stat", "metrics", "top", "latest", "recover", "backup"])
def test_a_store_without_current_is_damaged_to_every_command(tmp_path, capsys, command):
    path = str(tmp_path / "s.oor")
    with oor.open(path) as db:
        db.put(b"a", b"1")
    os.unlink(os.path.join(path, "CURRENT"))
    more = {"latest": ["5"], "recover": ["--dry-run"], "backup": [str(tmp_path / "b.oor")]}
    assert run([command, path, *more.get(command, ())]) == exits.DAMAGED
    assert "a file of the store was removed" in capsys.readouterr().err
    with pytest.raises(oor.CorruptionError):
        oor.open(path, read_only=True)
