"""Short scans over memtables and tables: the pairs that a walk would give, and one view for all."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.engine import UNHINDERED

import oor
from oor import short_scans
from oor.iterator import AT_ONCE, scan
from oor.short_scans import ShortScan, few_pairs

KEYS = st.integers(0, 40).map(lambda n: b"%02d" % n)
BATCHES = st.lists(
    st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=25), min_size=2, max_size=4
)
BOUND = st.none() | KEYS | st.just(b"1")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=BATCHES, lower=BOUND, upper=BOUND, reverse=st.booleans(), limit=st.integers(1, 30),
    flushed=st.integers(0, 2),
)  # fmt: skip
def test_a_short_scan_gives_what_a_walk_gives(
    tmp_path_factory, batches, lower, upper, reverse, limit, flushed
):
    path = tmp_path_factory.mktemp("s") / "s"
    with oor.open(path, durability="os", background=False, **UNHINDERED) as db:
        for number, batch in enumerate(batches):
            db.write(batch)
            if number < flushed:
                db.flush()
            else:
                with db._state.lock:
                    db._state.rotate_memtable()
        db.write({b"%02d" % n: b"last" for n in range(0, 40, 7)})
        moment = db._now()
        walked = list(
            scan(moment.version, moment.views, lower, upper, reverse=reverse, limit=limit)
        )
        assert list(db.scan(lower, upper, reverse=reverse, limit=limit)) == walked
        assert few_pairs(moment, lower, upper, reverse, limit) in (None, walked)


@pytest.mark.parametrize("reverse", [False, True])
def test_deletions_in_a_memtable_make_a_short_scan_look_further(tmp_path, reverse):
    keys = [b"%03d" % n for n in range(300)]
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write(dict.fromkeys(keys, b"v"))
        db.flush()
        db.write(dict.fromkeys(keys[10:290:2]))
        left = keys[:10] + keys[11:290:2] + keys[290:]
        for limit in (1, 15, 100, 160):
            found = db.scan(reverse=reverse, limit=limit)
            assert type(found) is ShortScan
            expected = list(reversed(left))[:limit] if reverse else left[:limit]
            assert [key for key, _ in found] == expected


@pytest.mark.parametrize("limit", [50, 100, 101, 102, 200])
def test_few_entries_of_a_memtable_take_their_places_among_many_pairs(tmp_path, limit):
    model = {b"%03d" % n: b"v" for n in range(100)}
    newer = {b"017": None, b"018": b"new", b"018x": b"new", b"998": None, b"\0": b"", b"999": b"x"}
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write(model)
        db.flush()
        db.write(newer)
        expected = sorted((k, v) for k, v in {**model, **newer}.items() if v is not None)
        found = db.scan(limit=limit)
        assert type(found) is ShortScan and list(found) == expected[:limit]


def test_what_needs_more_than_one_look_takes_is_walked(tmp_path):
    keys = [b"%04d" % n for n in range(3 * AT_ONCE)]
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write(dict.fromkeys(keys, b"v"))
        db.flush()
        db.write(dict.fromkeys(keys[: 2 * AT_ONCE]))
        moment = db._now()
        assert few_pairs(moment, None, None, False, AT_ONCE) is None
        assert few_pairs(moment, None, None, False, 5) is None, "the window is full of deletions"
        for limit in (5, AT_ONCE):
            found = db.scan(limit=limit)
            assert type(found) is not ShortScan
            assert [key for key, _ in found] == keys[2 * AT_ONCE :][:limit]


def test_a_memtable_is_asked_for_no_more_than_the_tables_leave_open(tmp_path, monkeypatch):
    asked = []
    newest = short_scans._newest
    monkeypatch.setattr(
        short_scans, "_newest", lambda *given: asked.append(given[1:3]) or newest(*given)
    )
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write({b"%03d" % n: b"v" for n in range(300)})
        db.flush()
        db.put(b"007", b"new")
        assert [key for key, _ in db.scan(b"005", limit=3)] == [b"005", b"006", b"007"]
        assert list(db.scan(stop=b"009", limit=3, reverse=True))[1] == (b"007", b"new")
    assert asked == [(b"005", b"007\0"), (b"006", b"009")]


def test_a_seek_of_a_short_scan_over_a_memtable_stays_in_its_view(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write({b"%02d" % n: b"old" for n in range(0, 40, 2)})
        db.flush()
        db.write({b"%02d" % n: b"old" for n in range(1, 40, 2)})
        found = db.scan(limit=3)
        assert type(found) is ShortScan
        db.write({b"%02d" % n: b"new" for n in range(40)} | {b"30": None})
        db.flush()
        db.compact()
        assert list(found) == [(b"00", b"old"), (b"01", b"old"), (b"02", b"old")]
        found.seek(b"29")
        assert list(found) == [(b"29", b"old"), (b"30", b"old"), (b"31", b"old")]
        found.close()
        assert all(pin.owner != "scan" for pin in db.pins())
        assert db._state.view.active.noted is None


def test_what_waits_for_its_flush_is_seen_under_an_empty_memtable(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write({b"2": b"table", b"3": b"table"})
        db.flush()
        db.write({b"1": b"waits", b"2": b"waits", b"3": None})
        with db._state.lock:
            db._state.rotate_memtable()
        assert db.first() == (b"1", b"waits") and db.first(b"2") == (b"2", b"waits")
        assert db.first(reverse=True) == (b"2", b"waits") and db.first(b"3") is None
        assert list(db.scan(limit=5)) == [(b"1", b"waits"), (b"2", b"waits")]
        assert db.scan_many([(b"1", b"4")], limit=5) == [[(b"1", b"waits"), (b"2", b"waits")]]
