"""Questions to the registry, against the plain answer from a list."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from support import stores
from support.tle import edited, numbered, split, text_of

from oor.errors import LimitError
from oor.registry import Registry, ingest, parse
from oor.registry.synthetic import SyntheticCatalogue


@pytest.fixture(params=stores.KINDS)
def db(request, tmp_path):
    with stores.opened(request.param, tmp_path) as store:
        yield store


@pytest.fixture
def filled(db, tmp_path):
    """A registry of sets that came in a mixed order, and all of them as a list."""

    def fill(*texts, source=None):
        path = tmp_path / "input.tle"
        path.write_bytes(b"".join(texts))
        ingest(db, [path], source=source)
        registry = Registry(db)
        return registry, list(registry.elements())

    return fill


def order(elset):
    return elset.epoch_us, elset.lsn


def day_text(number, day, **fields):
    one, two = numbered(number, f"24{day:03d}.50000000", **fields)
    return text_of(one, two)


def test_answers_are_those_of_a_plain_list(filled):
    issues = [
        b"".join(SyntheticCatalogue(objects=120, issues=6).issue(i)) for i in (3, 0, 5, 1, 4, 2)
    ]
    registry, everything = filled(*issues)
    numbers = {elset.norad_cat_id for elset in everything}
    moments = sorted({elset.epoch_us for elset in everything})[::41]
    for number in sorted(numbers)[::5]:
        mine = sorted((e for e in everything if e.norad_cat_id == number), key=order)
        assert registry.history(number) == mine
        assert registry.latest(number) == mine[-1]
        for moment in moments:
            before = [elset for elset in mine if elset.epoch_us <= moment]
            assert registry.at(number, moment) == (before[-1] if before else None)
            later = [elset for elset in mine if elset.epoch_us >= moment]
            assert registry.history(number, start=moment) == later
            assert registry.history(number, stop=moment) == [e for e in mine if e not in later]
    newest = {}
    for elset in sorted(everything, key=order):
        newest[elset.norad_cat_id] = elset
    latest = list(registry.latest_all())
    assert latest == [newest[number] for number in sorted(numbers, reverse=True)]


def test_objects_with_long_histories_are_skipped_over_and_none_is_missed(filled):
    texts = [day_text(f"{number:05d}", day) for number in (3, 4, 9) for day in range(1, 151)]
    texts += [day_text("00001", 7), day_text("00005", 9), day_text("00010", 1)]
    registry, _ = filled(*texts)
    found = [
        (elset.norad_cat_id, elset.epoch.timetuple().tm_yday) for elset in registry.latest_all()
    ]
    assert found == [(10, 1), (9, 150), (5, 9), (4, 150), (3, 150), (1, 7)]


@pytest.mark.parametrize(
    "mixed", list(itertools.permutations((" 10.0000", " 20.0000", " 30.0000")))
)
def test_of_sets_of_one_epoch_the_last_ingested_is_in_force(filled, mixed):
    texts = [day_text("00005", 10, _9=inclination) for inclination in mixed]
    registry, _ = filled(day_text("00005", 9), *texts)
    revisions = registry.revisions(5, datetime(2024, 1, 10, 12, tzinfo=UTC))
    assert [elset.text for elset in revisions] == texts
    assert registry.latest(5).text == texts[-1]
    assert registry.at(5, revisions[0].epoch).text == texts[-1]
    assert [elset.text for elset in registry.latest_all()] == texts[-1:]


def test_at_takes_the_epoch_itself_and_nothing_after_it(filled):
    registry, _ = filled(day_text("00005", 10), day_text("00005", 12))
    epoch = datetime(2024, 1, 12, 12, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    assert registry.at(5, epoch).epoch == epoch
    assert registry.at(5, epoch - tick).epoch == epoch - timedelta(days=2)
    assert registry.at(5, datetime(9999, 1, 1, tzinfo=UTC)).epoch == epoch
    assert registry.at(5, epoch - timedelta(days=2) - tick) is None
    assert registry.at(5, 2**70).epoch == epoch
    assert registry.at(5, -(2**70)) is None


def test_history_takes_its_start_and_leaves_its_stop(filled):
    registry, everything = filled(*(day_text("00005", day) for day in (10, 11, 12)))
    epochs = [elset.epoch for elset in everything]
    assert registry.history(5, epochs[0], epochs[2]) == everything[:2]
    assert registry.history(5, epochs[2], epochs[0]) == []


def test_neighbours_and_absent_objects_are_not_mixed_up(filled):
    registry, _ = filled(day_text("00004", 1), day_text("00006", 1))
    assert registry.latest(5) is None
    assert registry.at(5, 2**62) is None
    assert registry.history(5) == registry.revisions(5, 0) == []
    assert registry.latest(2**32 - 1) is None


def test_an_empty_registry_answers_with_nothing(db):
    registry = Registry(db)
    assert registry.latest(5) is None
    assert list(registry.latest_all()) == list(registry.elements()) == []
    assert registry.sources() == {}


def test_alpha5_objects_are_found_by_their_number(filled):
    registry, _ = filled(day_text("T0288", 1))
    assert registry.latest(270288).line1[2:7] == "T0288"


def test_a_datetime_without_a_zone_is_refused(filled):
    registry, _ = filled(day_text("00005", 1))
    with pytest.raises(ValueError, match="time zone"):
        registry.at(5, datetime(2024, 1, 1))


@pytest.mark.parametrize("walk", [Registry.latest_all, Registry.elements])
def test_the_whole_catalogue_is_read_from_one_moment(filled, db, tmp_path, walk):
    registry, _ = filled(*(day_text(f"{number:05d}", 1) for number in (1, 3, 5, 7, 9)))
    steps = walk(registry)
    first = next(steps).norad_cat_id
    path = tmp_path / "later.tle"
    path.write_bytes(b"".join(day_text(f"{number:05d}", 2) for number in range(1, 10)))
    ingest(db, [path])
    rest = [(elset.norad_cat_id, elset.epoch.day) for elset in steps]
    assert sorted([(first, 1), *rest]) == [(1, 1), (3, 1), (5, 1), (7, 1), (9, 1)]


# ---- sources ----


def test_sources_get_ids_once_and_keep_them(db):
    registry = Registry(db)
    assert registry.source_id(None) == 0
    assert registry.source_id("space-track") == 1
    assert registry.source_id("celestrak") == 2
    assert Registry(db).source_id("space-track") == 1
    assert Registry(db).sources() == {1: "space-track", 2: "celestrak"}


@pytest.mark.parametrize("name", ["", "x" * 256, "\u00e9" * 128])
def test_names_that_are_empty_or_too_long_are_refused(db, name):
    with pytest.raises(LimitError):
        Registry(db).source_id(name)


def test_a_source_registered_later_is_known_to_an_older_registry(db, filled):
    registry = Registry(db)
    filled(day_text("00005", 1), source="later")
    assert registry.latest(5).source == "later"


def test_what_comes_back_equals_what_was_parsed(filled):
    text = day_text("00005", 1) + text_of("NAME", *numbered("00006"))
    _, everything = filled(text)
    assert [elset.lines for elset in everything] == [e.lines for e in split(parse(text))[0]]
    assert [elset.object_name for elset in everything] == [None, "NAME"]
    assert edited(everything[0].line1, 3, "00005") == everything[0].line1


def test_one_set_number_with_two_states_is_a_conflict_and_nothing_is_dropped(filled):
    one, two = numbered("25544", "24010.50000000")
    other = edited(two, 9, " 51.9999")
    again = edited(one, 65, " 777")
    late = text_of(*numbered("25544", "24011.50000000"))
    registry, everything = filled(
        text_of(one, two), text_of(one, other), text_of(again, two), late, day_text("00005", 3)
    )
    assert len(everything) == 5
    (conflict,) = registry.conflicts()
    assert conflict == next(registry.conflicts(25544)) and not list(registry.conflicts(5))
    assert [str(elset.inclination) for elset in conflict.sets] == [two[8:16].strip(), "51.9999"]
    assert (conflict.norad_cat_id, conflict.epoch_us) == (25544, conflict.sets[0].epoch_us)
    assert conflict.element_set_no == int(one[64:68])
    assert conflict.sets[0].lsn < conflict.sets[1].lsn


def test_a_state_that_two_formats_write_is_no_conflict(filled):
    (tle,) = parse(day_text("00005", 3))
    registry, everything = filled(text_of(*tle.lines), source="lines")
    registry, everything = filled(tle.to_omm("kvn").encode(), source="messages")
    assert len({elset.digest for elset in everything}) == 2
    assert not list(registry.conflicts())
