"""Metrics, logs and spans: what a store tells, in words that monitoring knows."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import oor
from oor import metrics
from oor.cli.app import run
from oor.survey import survey

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"


@pytest.fixture
def store(tmp_path):
    with oor.open(tmp_path / "s.oor", background=False) as db:
        db.write({b"%04d" % n: b"v" * 50 for n in range(400)})
        db.flush()
        db.put(b"more", b"x")
        db.sync()
        yield db


def values(text):
    return {
        name: float(value)
        for name, value in re.findall(r"^([a-z_]+)\{[^}]*\} (\S+)$", text, re.MULTILINE)
    }


def test_the_page_lists_every_metric_with_its_kind_unit_and_origin_and_no_other():
    rows = re.findall(r"^\| `(oor_\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$",
                      PAGE.read_text(encoding="ascii"), re.MULTILINE)  # fmt: skip
    origin = {(True, True): "both", (True, False): "open store", (False, True): "files"}
    assert rows == [
        (m.name, m.kind, m.unit, origin[m.stats is not None, m.survey is not None], m.help)
        for m in metrics.TABLE
    ]


def test_the_text_is_what_prometheus_parses_and_counts_what_was_done(store):
    text = metrics.render(metrics.of_stats(store.stats()), store.path)
    found = values(text)
    assert found["oor_last_lsn"] == found["oor_durable_lsn"] == 401
    assert found["oor_flushed_lsn"] == 400
    assert found["oor_memtable_entries"] == found["oor_unflushed_records"] == 1
    assert found["oor_level_entries"] == 0 or 'level="0"} 400' in text
    for line in text.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) oor_\w+ .+|oor_\w+\{store="[^"]+"(,level="\d")?\} [\d.e+-]+', line
        ), line


def test_labels_are_escaped():
    sample = metrics.Sample(metrics.TABLE[0], (("", 1.0),))
    assert 'store="a\\"b\\\\c\\n"' in metrics.render([sample], 'a"b\\c\n')


def test_another_process_reads_the_metrics_of_a_store_that_is_written_to(store, capsys):
    before = {name: os.stat(Path(store.path, name)).st_mtime_ns for name in os.listdir(store.path)}
    assert run(["metrics", store.path]) == 0
    found = values(capsys.readouterr().out)
    assert found["oor_last_lsn"] == 401
    assert found["oor_flushed_lsn"] == 400
    assert found["oor_open"] == 1
    assert found["oor_damaged"] == 0
    after = {name: os.stat(Path(store.path, name)).st_mtime_ns for name in os.listdir(store.path)}
    assert after == before
    store.put(b"the writer", b"was not disturbed")


def test_the_survey_tells_what_a_power_loss_could_take(tmp_path):
    with oor.open(tmp_path / "s.oor", background=False, durability="os", sync_interval=3600) as db:
        db.write({b"%d" % n: b"v" for n in range(10)})
        db.sync()
        db.put(b"a", b"1")  # its frame states that 10 are durable
        db.put(b"b", b"2")
        found = survey(db.path)
        assert (found.last_lsn, found.durable_lsn, found.at_risk_records) == (12, 10, 2)
    closed = survey(tmp_path / "s.oor")
    assert closed.closed
    assert (closed.at_risk_records, closed.log_segments) == (0, 0)


def test_the_survey_knows_who_writes_and_forgets_the_dead(tmp_path):
    script = (
        "import oor, os\n"
        f"db = oor.open({str(tmp_path / 's.oor')!r})\n"
        "db.put(b'k', b'v')\nprint(os.getpid(), flush=True)\ninput()\nos._exit(9)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = child.stdout.readline().strip()
    assert survey(tmp_path / "s.oor").owner.startswith(f"process {pid} on ")
    child.communicate("\n")
    found = survey(tmp_path / "s.oor")
    assert (found.owner, found.closed, found.unflushed_records) == (None, False, 1)


def test_top_shows_rates_between_two_pictures(store, capsys, monkeypatch):
    monkeypatch.setattr("oor.cli.monitor.time.sleep", lambda seconds: store.put(b"n", b"1"))
    assert run(["top", store.path, "--count", "2", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert "mutations_per_second" not in first
    assert second["mutations_per_second"] > 0
    assert (first["last_lsn"], second["last_lsn"]) == (401, 402)
    assert run(["top", store.path, "--count", "1"]) == 0
    assert re.search(r"^loss window +at most 1 mutation", capsys.readouterr().out, re.MULTILINE)


def test_each_long_piece_of_work_is_one_record_of_its_rooms_logger(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="oor")
    with oor.open(tmp_path / "s.oor", background=False) as db:
        for _ in range(2):
            db.put(b"k", b"v")
            db.flush()
        db.compact()
        db.put(b"k", b"v")
        db.checkpoint()
        db._state.log.sync(db.last_lsn)
    with oor.open(tmp_path / "s.oor", background=False):
        pass
    told = {record.name: record for record in caplog.records}
    assert set(told) == {"oor.flush", "oor.compaction", "oor.checkpoint"}
    assert told["oor.compaction"].facts["inputs"] == 2
    assert told["oor.flush"].facts["entries"] == 1
    assert "entries 1" in told["oor.flush"].getMessage()


def test_a_recovery_that_replayed_says_so_as_json_on_stderr(tmp_path):
    path = str(tmp_path / "s.oor")
    script = f"import oor, os\ndb = oor.open({path!r})\ndb.put(b'k', b'v')\nos._exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "oor", "--log-level", "info", "--log-format", "json", "recover", path],
        capture_output=True, text=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (line,) = (line for line in lines if line["logger"] == "oor.recovery")
    assert (line["level"], line["records"], line["recovered_lsn"]) == ("info", 1, 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_opentelemetry_is_not_imported_and_traced_programs_get_a_span_each(tmp_path, monkeypatch):
    spans = []

    class Span:
        def end(self):
            spans.append(self)

    class Tracer:
        def start_span(self, name, start_time, attributes):
            span = Span()
            span.name, span.attributes = name, attributes
            return span

    script = "import oor, sys; oor.open; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
    fake = types.SimpleNamespace(get_tracer=lambda name: Tracer())
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", fake)
    with oor.open(tmp_path / "s.oor", background=False) as db:
        db.put(b"k", b"v")
        db.flush()
    assert [(s.name, s.attributes["oor.entries"]) for s in spans] == [("oor.flush", 1)]


def test_the_real_tracer_gets_spans(tmp_path):
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import set_tracer_provider

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    set_tracer_provider(provider)
    with oor.open(tmp_path / "s.oor", background=False) as db:
        db.put(b"k", b"v")
        db.flush()
    assert [span.name for span in kept.get_finished_spans()] == ["oor.flush"]


def test_a_collector_gives_a_registry_the_same(store):
    client = pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")
    from oor.prometheus import Collector

    registry = client.CollectorRegistry()
    registry.register(Collector(store))
    text = client.generate_latest(registry).decode()
    assert f'oor_last_lsn{{store="{store.path}"}} 401.0' in text
    assert f'oor_level_entries{{level="0",store="{store.path}"}} 400.0' in text
    assert "oor_log_syncs_total{" in text
