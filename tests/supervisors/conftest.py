"""Fixtures of all these tests."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from .kit import Stage
from .listed import documented_events

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from types import FrameType

Events = list["MutableMapping[str, object]"]

# Real seconds; under MockClock a deadlock spins, and no timeout of trio ends it.
_HANGS_AFTER, _SLOW_HANGS_AFTER = 60, 300  # a machine may be busy, and measure coverage


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


@pytest.fixture(autouse=True)
def alarm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test that hangs fail, and the whole run with it: nothing gentler ends a spin."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        sys.stderr.write(f"\n{request.node.nodeid} hangs\n")
        sys.stderr.flush()
        os._exit(1)

    before = signal.signal(signal.SIGALRM, ring)
    slow = request.node.get_closest_marker("slow") is not None
    signal.alarm(_SLOW_HANGS_AFTER if slow else _HANGS_AFTER)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def stage() -> Stage:
    """Return a new stage for children."""
    return Stage()
