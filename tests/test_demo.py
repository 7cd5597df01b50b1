"""The demonstration: what it ingests, that it finds what is lost, and how it ends."""

import json
import random

import pytest
from support.tle import numbered, text_of

import oor
from oor.cli import exits
from oor.cli.app import run
from oor.demo.catalogue import Catalogue, from_files, synthetic
from oor.demo.child import MemoryStore
from oor.demo.incident import WITHOUT_LOG, Incident, Replay, _sets_in
from oor.registry import ingest


@pytest.fixture(scope="module")
def catalogue():
    return synthetic(6000, 2)


def replay(catalogue, tmp_path, mode, rounds=2):
    return Replay(catalogue, str(tmp_path), mode, rounds, random.Random(1))


def test_the_catalogue_knows_every_set_where_it_starts_and_its_lines(catalogue):
    assert catalogue.count == len(catalogue.texts) == 2 * (6000 + 6000 // 400)
    at = 4321
    text = catalogue.texts[catalogue.keys[at]]
    assert catalogue.rest_from(at).startswith(text)
    assert catalogue.rest_from(catalogue.count) == b""


def test_files_are_joined_and_rejects_in_them_are_no_sets(tmp_path):
    (tmp_path / "one.tle").write_bytes(text_of(*numbered("00005")).rstrip())
    (tmp_path / "two.tle").write_bytes(b"no element set at all\r\n" + text_of(*numbered("00006")))
    found = from_files([str(tmp_path / "one.tle"), str(tmp_path / "two.tle")])
    assert found.count == 2


@pytest.mark.parametrize("mode", ["interval", "sync"])
def test_killed_twice_every_acknowledged_set_is_found_byte_for_byte(catalogue, tmp_path, mode):
    replaying = replay(catalogue, tmp_path, mode)
    incident = Incident(mode, [replaying.round(1), replaying.round(2)])
    for one in incident.rounds:
        assert one.acknowledged > 0
        assert one.found == one.checked
        assert one.recovery.recovered_lsn >= one.acknowledged_lsn
        assert not one.recovery.clean
    assert incident.lost == 0
    assert incident.found == incident.acknowledged > incident.rounds[0].acknowledged


def test_without_a_log_everything_acknowledged_is_lost(catalogue, tmp_path):
    one = replay(catalogue, tmp_path, WITHOUT_LOG).round(1)
    assert one.lost == one.acknowledged > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["delete", "change"])
def test_one_set_missing_or_changed_after_the_crash_is_counted_as_lost(
    catalogue, tmp_path, monkeypatch, harm
):
    live_and_die = Replay._live_and_die

    def harmed(self, one, target, delay):
        live_and_die(self, one, target, delay)
        with oor.open(self._path) as db:
            key = catalogue.keys[7]
            if harm == "delete":
                db.delete(key)
            else:
                db.put(key, db[key][:-1] + b"?")

    monkeypatch.setattr(Replay, "_live_and_die", harmed)
    one = replay(catalogue, tmp_path, "interval").round(1)
    assert one.lost == 1


def test_the_command_ends_with_one_when_a_set_is_lost(monkeypatch, capsys):
    monkeypatch.setattr("oor.cli.demo.synthetic", lambda: synthetic(2000, 1))
    monkeypatch.setattr(
        Replay, "_is_whole", lambda self, key, value: key != self._catalogue.keys[3]
    )
    assert run(["demo", "--rounds", "1", "--durability", "os", "--json"]) == exits.DAMAGE
    assert json.loads(capsys.readouterr().out)["lost"] == 1


def test_the_command_prints_seed_rounds_and_table(monkeypatch, capsys):
    monkeypatch.setattr("oor.cli.demo.synthetic", lambda: synthetic(2000, 1))
    arguments = ["demo", "--rounds", "2", "--durability", "interval", "--seed", "11"]
    assert run(arguments) == exits.FINE
    out = capsys.readouterr().out
    assert "Seed 11." in out
    assert out.count("SIGKILL") == 3
    assert out.count("recovery  LSN") == 2
    last = [line for line in out.splitlines() if line.startswith("interval")][-1].split()
    assert last[1] == "2" and last[2] == last[3] and last[4] == "0"
    assert out.endswith("Nothing that was acknowledged is lost.\n")


def test_a_report_that_was_cut_off_does_not_count():
    assert _sets_in(b"10 256 0.1\n20 512 0.2\n30 76") == 512
    assert _sets_in(b"10 25") == 0


def test_the_memory_store_takes_what_a_store_takes(tmp_path):
    (tmp_path / "c.tle").write_bytes(text_of(*numbered("00005"), *numbered("00006")))
    store = MemoryStore(str(tmp_path / "x"))
    assert ingest(store, [str(tmp_path / "c.tle")]).stored == 2
    assert ingest(store, [str(tmp_path / "c.tle")]).stored == 0


def test_an_input_without_a_set_is_an_error(tmp_path, capsys):
    (tmp_path / "empty.tle").write_bytes(b"")
    assert run(["demo", str(tmp_path / "empty.tle")]) == exits.ERROR
    assert isinstance(from_files([str(tmp_path / "empty.tle")]), Catalogue)
