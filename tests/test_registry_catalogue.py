"""Questions to the whole catalogue: at a time, by name, by source; and the indexes behind them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import omm, stores
from support.fakedb import FakeDB
from support.tle import ISS_1, ISS_2, edited, numbered, split, text_of

from oor.errors import LimitError
from oor.native import check, ffi, lib
from oor.registry import Registry, ingest, keys, parse
from oor.registry.synthetic import SyntheticCatalogue


@pytest.fixture(params=stores.KINDS)
def db(request, tmp_path):
    with stores.opened(request.param, tmp_path) as store:
        yield store


@pytest.fixture
def fill(db, tmp_path):
    """Stores texts, each as a delivery of its own."""
    made = []

    def store(*texts, source=None, batch_sets=4096):
        for text in texts:
            made.append(tmp_path / f"input-{len(made)}")
            made[-1].write_bytes(text)
            ingest(db, [made[-1]], source=source, batch_sets=batch_sets)
        return Registry(db)

    return store


def day_text(number, day, name=None, designator="98067A  ", **fields):
    one, two = numbered(f"{number:05d}", f"24{day:03d}.50000000", **fields)
    lines = [edited(one, 10, designator), two]
    return text_of(*([name] if name else []), *lines)


def day(number):
    return datetime(2024, 1, number, 12, tzinfo=UTC)


def order(elset):
    return elset.epoch_us, elset.lsn


def plain_answer(everything, moment):
    """The newest sets at a time, from a list."""
    found = {}
    for elset in sorted(everything, key=order):
        if elset.epoch_us <= moment:
            found[elset.norad_cat_id] = elset
    return [found[number] for number in sorted(found, reverse=True)]


def test_the_catalogue_at_a_time_is_that_of_a_plain_list(fill):
    issues = [b"".join(SyntheticCatalogue(objects=90, issues=6).issue(i)) for i in (3, 0, 5, 1)]
    registry = fill(*issues, batch_sets=50)
    everything = list(registry.elements())
    moments = sorted({elset.epoch_us for elset in everything})
    for moment in (moments[0] - 1, *moments[::37], moments[-1], 2**62):
        assert list(registry.catalogue_at(moment)) == plain_answer(everything, moment)
    assert registry.objects() == sorted({elset.norad_cat_id for elset in everything})
    assert list(registry.latest_all()) == list(registry.walk_latest())


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 5), st.sampled_from([" 10.0000", " 20.0000"])),
        max_size=12,
    ),
    st.integers(1, 5),
    st.integers(1, 12),
)
@settings(max_examples=120, deadline=None)
def test_the_index_of_newest_sets_is_right_whatever_the_order(tmp_path_factory, sets, batch, cut):
    directory = tmp_path_factory.mktemp("index")
    db = FakeDB(directory / "db")
    for number, part in enumerate((sets[:cut], sets[cut:])):
        path = directory / str(number)
        path.write_bytes(b"".join(day_text(n, d, _9=angle) for n, d, angle in part))
        ingest(db, [path], batch_sets=batch, source=f"s{number}")
        registry = Registry(db)
        walked = list(registry.walk_latest())
        assert list(registry.latest_all()) == walked
        assert [registry.latest(elset.norad_cat_id) for elset in walked] == walked
        assert keys.OPEN_KEY not in db.pairs
        for moment in (day(1), day(3), day(5)):
            us = int(moment.timestamp()) * 1_000_000
            found = list(registry.catalogue_at(moment))
            assert found == plain_answer(registry.elements(), us)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(1, 4),
            st.sampled_from([" 10.0000", " 20.0000", " 30.0000"]),
            st.sampled_from([None, "A", "0 A", "B c", "D\u00c9BRIS", "0 \u00dc X"]),
            st.sampled_from(["98067A  ", "98067B  ", "57001ABC", "  98 1  ", " " * 8]),
        ),
        max_size=24,
    ),
    st.lists(st.integers(0, 24), max_size=3),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_roster_tells_what_a_plain_list_tells(tmp_path_factory, sets, cuts, batch, one_source):
    """Files behind each other, cut anywhere: what is new, what is there, what each is called."""
    directory = tmp_path_factory.mktemp("roster")
    db, known, names, read = FakeDB(directory / "db"), {}, set(), 0
    bounds = [0, *sorted(cuts), len(sets)]
    paths = []
    for low, high in pairwise(bounds):
        paths.append(directory / str(len(paths)))
        text = b"".join(day_text(n, d, name, c, _9=a) for n, d, a, name, c in sets[low:high])
        paths[-1].write_bytes(text)
    half = len(paths) // 2
    for part, source in ((paths[:half], "a"), (paths[half:], "a" if one_source else "b")):
        fresh = 0
        for path in part:
            for elset in parse(path.read_bytes()):
                key = source, elset.key
                fresh += key not in known
                if key not in known:
                    known[key] = elset.text
                    number = elset.norad_cat_id
                    names |= {
                        (kind(text), number)
                        for kind, text in (
                            (keys.designator_prefix, elset.object_id),
                            (keys.name_prefix, elset.object_name),
                        )
                        if text
                    }
        report = ingest(db, part, source=source, batch_sets=batch, again=True)
        assert report.stored == fresh
        read += report.read
    registry = Registry(db)
    assert read == len(sets)
    assert sorted(e.text for e in registry.elements()) == sorted(known.values())
    assert list(registry.latest_all()) == list(registry.walk_latest())
    stored = {
        (key[:-5], int.from_bytes(key[-4:], "big"))
        for key in db.pairs
        if key[:1] in (b"\x21", b"\x22")
    }
    assert stored == names


def test_a_roster_grows_with_the_objects(tmp_path):
    text = b"".join(SyntheticCatalogue(objects=9000, issues=2).chunks())
    (tmp_path / "text").write_bytes(text)
    db = FakeDB(tmp_path / "db")
    assert ingest(db, [tmp_path / "text"], batch_sets=1000).stored == len(list(parse(text)))
    registry = Registry(db)
    assert list(registry.latest_all()) == list(registry.walk_latest())


def test_a_history_in_order_of_time_is_told_apart_without_asking_the_store(tmp_path):
    """Of each object the newest set is asked for once, and nothing else."""
    catalogue = SyntheticCatalogue(objects=50, issues=6)
    db, asked = FakeDB(tmp_path / "db"), []
    for issue in range(6):
        (tmp_path / str(issue)).write_bytes(b"".join(catalogue.issue(issue)))
    ingest(db, [tmp_path / "0"])
    get_many = db.get_many
    db.get_many = lambda names: asked.extend(names) or get_many(names)
    report = ingest(db, [tmp_path / str(issue) for issue in range(1, 6)], batch_sets=64)
    assert report.stored == report.read == 5 * len(catalogue.numbers) + report.already_there
    sets = [name for name in asked if name[0] in (keys.Kind.ELEMENT_SET, keys.Kind.NEWEST)]
    assert sorted(sets) == sorted(keys.newest_key(number) for number in catalogue.numbers)


def test_rosters_refuse_what_they_have_no_room_for():
    objects, larger = ffi.new("oor_tle_object[]", 4), ffi.new("oor_tle_object[]", 8)
    roster = ffi.new("oor_tle_roster *", {"objects": objects, "slots": 4})
    sets = ffi.new("oor_tle_set[]", [{"catalog_number": n} for n in (5, 6, 7)])
    numbers = ffi.new("uint32_t[]", 3)
    with pytest.raises(LimitError):
        check(lib.oor_tle_roster_meet(roster, 3, sets, numbers))
    with pytest.raises(LimitError, match="not met"):
        check(lib.oor_tle_roster_take(roster, 1, sets, 0, b"\1"))
    for slots in (4, 7):
        with pytest.raises(LimitError):
            check(lib.oor_tle_roster_grow(roster, larger, slots))
    check(lib.oor_tle_roster_grow(roster, larger, 8))
    assert check(lib.oor_tle_roster_meet(roster, 3, sets, numbers)) == 3
    for keys_of_sets in (b"\x10" * 22, keys.ElsetKey(8, 0, 0, 0).encode()):
        with pytest.raises(LimitError):
            check(lib.oor_tle_roster_learn(roster, keys_of_sets, len(keys_of_sets)))


# ---- names and designators ----


def test_objects_are_found_by_their_designator_and_the_beginning_of_it(fill):
    registry = fill(
        day_text(5, 1, designator="98067A  ") + day_text(6, 1, designator="98067AB "),
        day_text(7, 1, designator="98068A  ") + day_text(5, 2) + day_text(8, 1, designator=" " * 8),
    )
    assert [e.norad_cat_id for e in registry.by_designator("1998-067")] == [5, 6]
    assert [e.norad_cat_id for e in registry.by_designator("1998-067a")] == [5, 6]
    assert [e.norad_cat_id for e in registry.by_designator("1998-06")] == [5, 6, 7]
    assert [e.norad_cat_id for e in registry.by_designator("1998-067AB")] == [6]
    assert registry.by_designator("1998-067")[0].epoch == day(2)
    assert registry.by_designator("2001-001") == []


def test_objects_are_found_by_every_name_they_had_in_any_case(fill):
    registry = fill(
        day_text(5, 1, "0 Cosmos 1") + day_text(6, 1, "COSMOS 2 DEB") + day_text(7, 1),
        day_text(5, 2, "Renamed"),
    )
    registry = fill(omm.kvn(OBJECT_NAME="COSMO\u00df", NORAD_CAT_ID="9"))
    assert [e.norad_cat_id for e in registry.by_name("cosmos")] == [5, 6, 9]
    assert [e.object_name for e in registry.by_name("COSMOS 1")] == ["Renamed"]
    assert [e.norad_cat_id for e in registry.by_name("ren")] == [5]
    assert registry.by_name("osmos") == []


# ---- sources ----


def test_sources_stand_side_by_side_and_a_preferred_one_wins(fill):
    fill(day_text(5, 1), day_text(5, 9), day_text(6, 4), source="generic")
    fill(day_text(5, 7), day_text(5, 3), source="operator")
    registry = fill(day_text(5, 2), source="third")
    table = registry.by_source(5)
    assert [(name, e.epoch) for name, e in table.items()] == [
        ("generic", day(9)), ("operator", day(7)), ("third", day(2)),
    ]  # fmt: skip
    assert list(registry.by_source(5, day(6))) == ["operator", "third", "generic"]
    assert registry.by_source(99) == {}
    assert registry.latest(5).epoch == day(9)
    assert registry.latest(5, prefer=["operator"]).epoch == day(7)
    assert registry.latest(5, prefer=["nobody", "third", "operator"]).epoch == day(2)
    assert registry.latest(6, prefer=["operator"]).epoch == day(4)
    assert registry.at(5, day(6), prefer=["operator"]).epoch == day(3)
    assert registry.at(5, day(2), prefer=["operator"]).source == "third"
    assert registry.latest(99, prefer=["operator"]) is None
    chosen = {e.norad_cat_id: e.source for e in registry.latest_all(prefer=["operator"])}
    assert chosen == {5: "operator", 6: "generic"}
    chosen = [(e.norad_cat_id, e.epoch) for e in registry.catalogue_at(day(2), prefer=["generic"])]
    assert chosen == [(5, day(1))]


def test_of_one_epoch_a_source_gives_the_last_ingested(fill):
    fill(day_text(5, 1, _9=" 30.0000"), source="a")
    fill(day_text(5, 1, _9=" 10.0000"), source="b")
    registry = fill(day_text(5, 1, _9=" 20.0000"), source="a")
    assert str(registry.latest(5, prefer=["a"]).inclination) == "20.0000"
    assert [str(e.inclination) for e in registry.by_source(5).values()] == ["20.0000", "10.0000"]


# ---- freshness ----


def test_objects_without_an_update_are_stale_and_gaps_are_named(fill):
    registry = fill(*(day_text(5, d) for d in (1, 2, 9, 20)), day_text(6, 4), day_text(7, 19))
    stale = registry.stale(timedelta(days=1), day(20))
    assert [e.norad_cat_id for e in stale] == [6]
    assert [e.norad_cat_id for e in registry.stale(timedelta(0), day(21))] == [6, 7, 5]
    assert len(registry.stale(timedelta(days=1))) == 3
    gaps = registry.gaps(5, timedelta(days=7))
    assert [(one.epoch, two.epoch) for one, two in gaps] == [(day(9), day(20))]
    assert registry.gaps(6, timedelta(0)) == registry.gaps(99, timedelta(0)) == []


# ---- one moment ----


def test_all_questions_to_a_snapshot_are_answered_from_one_moment(fill):
    registry = fill(day_text(5, 1, "OLD") + day_text(6, 1))
    with registry.snapshot() as then:
        fill(day_text(5, 2, "NEW") + day_text(7, 1, "NEW"))
        assert then.objects() == [5, 6]
        assert then.latest(5).epoch == then.at(5, day(9)).epoch == day(1)
        assert [e.epoch for e in then.latest_all()] == [day(1), day(1)]
        assert then.by_name("new") == [] and len(then.history(5)) == 1
        assert len(list(then.elements())) == len(list(then.catalogue_at(day(9)))) == 2
    assert registry.objects() == [5, 6, 7]
    assert [e.norad_cat_id for e in registry.by_name("new")] == [5, 7]


def test_messages_and_lines_stand_in_one_history(fill):
    registry = fill(text_of(ISS_1, ISS_2), omm.kvn(), omm.xml(EPOCH="2009-01-01T00:00:00.000001"))
    formats = [elset.format.word for elset in registry.history(25544)]
    assert formats == ["tle", "kvn", "xml"]
    assert registry.latest(25544).epoch.year == 2009
    assert len(registry.revisions(25544, split(parse(omm.kvn()))[0][0].epoch_us)) == 2
