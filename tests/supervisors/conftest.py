"""Fixtures of all these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from .kit import Stage
from .listed import documented_events

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

Events = list["MutableMapping[str, object]"]


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """Return the list that log events go to: tests are quiet, and can read it.

    Whatever a supervisor tells in any test must have the level and the keys of docs/events.md.
    """
    with capture_logs() as captured:
        yield captured
    for each in captured:
        listed = documented_events()[str(each["event"])]
        assert each["log_level"] in listed.levels, each
        assert each.keys() - {"event", "log_level", "supervisor"} == listed.keys, each
        assert "supervisor" in each, each


@pytest.fixture
def stage() -> Stage:
    """Return a new stage for children."""
    return Stage()
