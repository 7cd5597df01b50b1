"""Settings that hold for every test, and the classes of bugs that tests reveal."""

from __future__ import annotations

import classes
import pytest
from hypothesis import HealthCheck, settings
from support import watch

settings.register_profile(
    "oor", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("oor")
WATCH = watch.Watch()
if watch.SETTING != "0":
    WATCH.install()


@pytest.fixture(autouse=True)
def rules_of_order(request):
    """No test lets the store promise what is not durable, or free the log too early."""
    if watch.SETTING == "0" or hasattr(request.module, "UNWATCHED"):
        yield
        return
    WATCH.begin()
    yield
    WATCH.end()
    watch.report(request.node.nodeid, WATCH)
    assert not WATCH.broken, "\n".join(WATCH.broken[:5])


def pytest_collection_modifyitems(items):
    """Each test carries the ids of its classes: `pytest -m bug_class` runs those that have any."""
    by_test = {}
    for name, entry in classes.read().items():
        for test in entry.tests:
            by_test.setdefault(test, []).append(name)
    for item in items:
        whole = item.nodeid.partition("[")[0]
        names = by_test.get(whole, []) + by_test.get(whole.partition("::")[0], [])
        if names:
            item.add_marker(classes.mark(names))
