"""Fixtures of all these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.listed import documented_events

from .kit import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Events


@pytest.fixture(autouse=True)
def events(events: Events) -> Iterator[Events]:
    """Check the log events at the end.

    Whatever a supervisor tells in any test must have the level and the keys of docs/events.md.
    """
    yield events
    for each in events:
        listed = documented_events("supervisors")[str(each["event"])]
        assert each["log_level"] in listed.levels, each
        assert each.keys() - {"event", "log_level", "supervisor"} == listed.keys, each
        assert "supervisor" in each, each


@pytest.fixture
def stage() -> Stage:
    """Return a new stage for children."""
    return Stage()
