"""The fixtures of all tests: one that hangs must fail, and none leaves its logging to others."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

import pytest
import structlog
from hypothesis import settings
from structlog.testing import capture_logs

from tests.listed import documented_events
from tests.torture import REPEATS
from tests.valkey import valkey  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, MutableMapping
    from types import FrameType

Events = list["MutableMapping[str, object]"]

# Real seconds by mark; under MockClock a deadlock spins, and no timeout of trio ends it. A machine
# may be busy, and measure coverage; and Hypothesis may shrink a failure for five minutes.
_HANGS_AFTER: Final = {"": 60, "slow": 600, "long": 1800}

# How long an example takes says more of the machine than of the code.
settings.register_profile("ours", deadline=None, derandomize=REPEATS)
settings.load_profile("ours")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it runs in the background ignore Ctrl-C; tests send it on purpose.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the modules: tests that look for leaks call it often."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of what pytest-cov does for the mark
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let what is marked ``no_cover`` run untraced, in a worker of xdist too.

    There pytest-cov measures twice, and stops only one of the two: the other goes on tracing.
    Without this, `test_what_is_marked_no_cover_is_not_traced` fails with ``-n 1 --cov``.
    """
    if item.get_closest_marker("no_cover") is None:
        return (yield)
    tracer, tracer_of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        threading.settrace(tracer_of_threads)
        sys.settrace(tracer)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put the configuration of structlog back: programs that tests call set their own."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def events(logging_as_before: None) -> Iterator[Events]:
    """Return the list that log events go to: tests are quiet, and can read it.

    Whatever of it docs/events.md lists must have the level and the keys that it says.
    """
    with capture_logs() as captured:
        yield captured
    listed = documented_events()
    faults = [
        (each, listed[name].faults(each)) for each in captured if (name := each["event"]) in listed
    ]
    assert [each for each in faults if each[1]] == []


@pytest.fixture(autouse=True)
def alarm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test that hangs fail, and the whole run with it: nothing gentler ends a spin."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        sys.stderr.write(f"\n{request.node.nodeid} hangs\n")
        sys.stderr.flush()
        faulthandler.dump_traceback()
        os._exit(1)

    before = signal.signal(signal.SIGALRM, ring)
    marks = [each.name for each in request.node.iter_markers()]
    signal.alarm(max(seconds for mark, seconds in _HANGS_AFTER.items() if mark in {"", *marks}))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
