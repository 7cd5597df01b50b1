"""Kill -9 in a loop loses nothing, and its oracle sees each thing that could be lost."""

from __future__ import annotations

import os
import signal

import pytest
from support.engine import kill

import oor
from oor.cli.app import run
from oor.torture import THREADS, Oracle, Torture, applied, operation


def test_killed_forty_times_everything_acknowledged_is_found(tmp_path):
    result = Torture(str(tmp_path), seed=7).run(40)
    assert (result.cycles, result.lost) == (40, 0), result.details
    assert result.recoveries > 15
    assert result.killed_in_recovery > 2
    assert result.acknowledged > 100
    assert set(result.machine) == {"kernel", "file_system", "device", "mount_options"}


@pytest.fixture
def tortured(tmp_path):
    """One with a history of some cycles."""
    found = Torture(str(tmp_path), seed=3)
    found.run(6)
    assert found.result.acknowledged and not found.result.lost
    return found


def path_of(tortured):
    return os.path.join(tortured.result.directory, "tortured.oor")


def one_cycle(tortured):
    """A cycle whose comparison is not cut short."""
    for _ in range(30):
        recoveries = tortured.result.recoveries
        tortured.cycle()
        if tortured.result.lost or tortured.result.recoveries > recoveries:
            return tortured.result.lost
    raise AssertionError("no recovery was compared")


def test_a_lost_pair_is_seen(tortured):
    with oor.open(path_of(tortured)) as db:
        del db[next(iter(db.keys()))]
    assert one_cycle(tortured)


def test_a_store_of_before_the_last_operations_is_seen(tortured):
    thread = max(range(THREADS), key=lambda n: tortured._oracle.counts[n])
    tortured._oracle.advance(thread, tortured._oracle.counts[thread] + 2)
    assert one_cycle(tortured)


def test_half_of_a_batch_is_seen():
    oracle = Oracle()
    count = next(n for n in range(100) if len([v for v in operation(0, n)[0].values() if v]) > 1)
    oracle.advance(0, count)
    pairs, _ = operation(0, count)
    whole = applied(oracle.states[0], pairs)
    half = dict(whole)
    del half[next(key for key, value in pairs.items() if value is not None)]
    assert oracle.resolve(0, whole) == count + 1
    assert oracle.resolve(0, oracle.states[0]) == count
    assert oracle.resolve(0, half) is None


def test_an_lsn_that_was_given_before_is_seen(tortured):
    tortured._oracle.last_lsn += 1 << 40
    assert one_cycle(tortured)


def test_the_command_prints_its_facts_and_ends_with_zero(tmp_path, capsys):
    assert run(["torture", "--dir", str(tmp_path), "--cycles", "3"]) == 0
    out = capsys.readouterr().out
    assert "lost" in out and "kernel" in out and "cycles" in out
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_stopped_loses_nothing_and_keeps_its_lock(tmp_path):
    """SIGSTOP is no death: nobody else may open the store meanwhile, and it goes on afterwards."""
    path = str(tmp_path / "store")
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            db = oor.open(path, durability="os")
            for i in range(1_000_000):
                db.put(b"%06d" % i, b"v")
                os.write(write_end, b".")
        finally:
            os._exit(1)
    os.close(write_end)
    told = len(os.read(read_end, 1 << 16))
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    with pytest.raises(oor.LockedError):
        oor.open(path)
    os.kill(pid, signal.SIGCONT)
    told += len(os.read(read_end, 100))
    os.kill(pid, signal.SIGKILL)
    while more := os.read(read_end, 1 << 16):
        told += len(more)
    os.waitpid(pid, 0)
    os.close(read_end)
    db = oor.open(path)
    assert len(list(db.keys())) >= told > 0
    kill(db)
