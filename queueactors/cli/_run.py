"""``queueactors run``: a runtime from a configuration, its log, its progress, its exit code."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import structlog
import trio

from queueactors._errors import QueueActorsError
from queueactors._idle import wait_until_idle
from queueactors._insist import insist
from queueactors._runtime import open_runtime
from queueactors._steps import in_turns
from queueactors.config import ConfigError, load_config
from supervisors import (
    ActorError,
    ChildStartError,
    RestartIntensityError,
    SupervisorsError,
    SupervisorStoppedError,
    bare_nursery,
    describe,
)

from ._beat import Beat
from ._log import StatusLine, configure_log, set_level
from ._notify import Notifier
from ._strays import capture_strays, open_streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from queueactors import WorkerStatus
    from queueactors._runtime import Runtime
    from queueactors.config import Config, Fault
    from queueactors.cores import QueueStatistics

    from ._early import Hangup

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130  # exit codes
REDRAW: Final = 0.25  # seconds between two status lines on a terminal
PAUSE: Final = 0.002_5  # at least so many for each queue, whose numbers take 25 us: 1 % of a core
REPORT: Final = 10.0  # seconds between two progress events without one
LAST_WORD: Final = 2.0  # seconds for the final statistics of a run that is being stopped


def run_file(file: str, *, until_idle: bool, log_format: str, hangup: Hangup) -> int:
    """Run a configuration's file until it is idle or stopped; return the exit code.

    The process belongs to it from here on: its signals, its standard streams, its log.

    Args:
      file: The configuration's.
      until_idle: Whether to end when there is nothing left to do.
      log_format: As of `configure_log`.
      hangup: What has taken SIGHUP until now.

    Raises:
      ConfigError: If the configuration has faults, and people read the log; otherwise they are
        events in it.
    """
    notifier = Notifier.take(os.environ)  # before a handler's module can start a process
    open_streams()
    status = StatusLine(sys.stderr, plain=log_format == "json")
    configure_log(status, level="info", log_format=log_format, final=False)
    capture_strays()
    try:
        config = load_config(file)
    except ConfigError as error:
        if log_format != "json":
            raise
        _tell_faults(error.faults, during="start")
        return USAGE
    configure_log(status, level=config.runtime.log_level, log_format=log_format)
    return run_config(config, until_idle, status, notifier, hangup)


def run_config(
    config: Config,
    until_idle: bool,  # noqa: FBT001 - `trio.run` has no names
    status: StatusLine,
    notifier: Notifier,
    hangup: Hangup,
) -> int:
    """Run a configuration until it is idle or stopped; return the exit code."""
    try:
        return trio.run(
            _run, config, until_idle, status, notifier, hangup, strict_exception_groups=True
        )
    except SupervisorStoppedError as error:
        if error.signal is not None:  # during the start
            return _stopped_by(error.signal)
        _log().critical("run_failed", **_cause(error))
        return FAILED
    except SupervisorsError as error:
        _log().critical("run_failed", **_cause(error))
        return FAILED
    except KeyboardInterrupt:  # before the runtime has taken over the signals
        return INTERRUPTED


async def _run(
    config: Config,
    until_idle: bool,  # noqa: FBT001
    status: StatusLine,
    notifier: Notifier,
    hangup: Hangup,
) -> int:
    beat = Beat(notifier)
    async with bare_nursery() as nursery:  # around the runtime: also its start and its stop count
        nursery.start_soon(beat.run)
        # From before the start until after the stop.
        with (
            _hangups(hangup) as hangups,
            trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received,
        ):
            code = await _run_runtime(
                config,
                until_idle=until_idle,
                status=status,
                beat=beat,
                hangups=hangups,
                signals=_telling(received, beat),
            )
        nursery.cancel_scope.cancel()
    return code


async def _run_runtime(  # noqa: PLR0913 - all by name
    config: Config,
    *,
    until_idle: bool,
    status: StatusLine,
    beat: Beat,
    hangups: AsyncIterator[int] | None,
    signals: AsyncIterator[int],
) -> int:
    async with open_runtime(config, signals=signals, control=True) as runtime:
        try:
            beat.started(runtime)
            running = runtime._running  # noqa: SLF001 - the command is its own, too
            running.around = partial(_reloading, runtime, beat.notifier)
            async with bare_nursery() as nursery:
                nursery.start_soon(_show_progress, runtime, status)
                nursery.start_soon(_reload_on_hangup, runtime, hangups, status)
                if until_idle:
                    await wait_until_idle(runtime)
                else:
                    await runtime.wait()
                nursery.cancel_scope.cancel()
        finally:
            beat.stopping()
            status.show("")
            with trio.move_on_after(LAST_WORD, shield=True):
                await _report(runtime)
            parked = runtime.parked()  # afterwards there is no tree
    signal_ = runtime.supervisor.stop_signal
    if signal_ is not None:
        return _stopped_by(signal_)
    return FAILED if parked else DONE


async def _telling(signals: AsyncIterator[int], beat: Beat) -> AsyncIterator[int]:
    """Yield the signals that stop the runtime; also during its start somebody is told."""
    async for number in signals:
        beat.stopping()
        yield number


def _stopped_by(number: signal.Signals) -> int:
    return INTERRUPTED if number == signal.SIGINT else DONE


def _log() -> structlog.typing.FilteringBoundLogger:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")
    return log


def _tell_faults(faults: Iterable[Fault], *, during: str) -> None:
    for fault in faults:
        _log().error("config_fault", during=during, **attrs.asdict(fault))


@contextmanager
def _hangups(before: Hangup) -> Iterator[AsyncIterator[int] | None]:
    """Take over SIGHUP, and yield what iterates over those that come; None: there is no such.

    Args:
      before: What has taken it until now; one that came then is the first.
    """
    number = getattr(signal, "SIGHUP", None)
    if number is None:  # Windows
        yield None
        return
    with trio.open_signal_receiver(number) as hangups:
        if before.came:
            signal.raise_signal(number)
        yield hangups


async def _reload_on_hangup(
    runtime: Runtime,
    hangups: AsyncIterator[int] | None,
    status: StatusLine,
) -> None:
    """Reload at each SIGHUP; stop if it came because the terminal is gone."""
    if hangups is None:
        return
    async for _ in hangups:
        if status.is_terminal and not sys.stderr.isatty():
            runtime.supervisor.stop()
            return
        await reload_file(runtime)


@contextmanager
def _reloading(runtime: Runtime, notifier: Notifier) -> Iterator[None]:
    """Do what belongs to a reload, by whatever way it comes: tell systemd, and set the level."""
    with notifier.reloading():
        yield
        set_level(runtime.config.runtime.log_level)


async def reload_file(runtime: Runtime) -> None:
    """Reload the file that the runtime was opened with, and log what comes of it."""
    refused = None
    try:
        await runtime._running.reload_file()  # noqa: SLF001 - a signal is not refused, it waits
    except ConfigError as error:
        refused = f"the configuration has faults ({len(error.faults)}); nothing has changed"
        _tell_faults(error.faults, during="reload")
    except (QueueActorsError, SupervisorsError) as error:
        refused = describe(error)
    if refused is not None:
        _log().error("reload_refused", error=refused)


async def _show_progress(runtime: Runtime, status: StatusLine) -> None:
    """Show a status line on a terminal, or log a line now and then without one."""
    log = _log()
    every = REDRAW if status.is_terminal else REPORT
    rate: float | None = None
    done_before, before = 0, trio.current_time()
    while True:
        await trio.sleep(max(every, PAUSE * len(runtime.queues())))
        # Nobody is asked: of a thousand queues, that would take much of a core.
        overview = await in_turns(runtime._overview_steps())  # noqa: SLF001 - the front ends are its own
        done = ready = reserved = 0
        for each in overview.queues:
            done += 0 if each.statistics is None else each.statistics.through
            ready += each.at_hand or 0
            reserved += each.in_hand or 0
        now = trio.current_time()
        latest = (done - done_before) / (now - before)
        rate = latest if rate is None else 0.7 * rate + 0.3 * latest  # calmer to look at
        done_before, before = done, now
        if status.is_terminal:
            status.show(f"done {done}   ready {ready}   reserved {reserved}   {rate:.0f}/s")
        else:
            log.info("progress", done=done, ready=ready, reserved=reserved, rate=round(latest))


async def _statistics(runtime: Runtime) -> dict[str, QueueStatistics]:
    """Return the statistics of every queue that is up and answers."""
    found: dict[str, QueueStatistics] = {}
    for queue in runtime.queues():
        try:
            found[queue.name] = await insist(queue.statistics)
        except ActorError:
            continue
    return found


async def _report(runtime: Runtime) -> None:
    """Log what came of it all."""
    log = _log()
    for name, statistics in (await _statistics(runtime)).items():
        log.info("queue_statistics", queue=name, **_told(statistics))
    for worker in runtime.workers():
        log.info("worker_statistics", worker=worker.name, **_worker_told(worker.status()))
    for child in runtime.parked():
        log.error("child_is_parked", child=child)


def _worker_told(status: WorkerStatus) -> dict[str, object]:
    """Return the numbers of a worker that say something."""
    statistics = status.statistics
    facts: dict[str, object] = {"restarts": status.restarts}
    facts |= {key: count for key, count in statistics.counts.items() if count}
    for what, times in (
        ("queueing", statistics.queueing_time),
        ("handling", statistics.handling_time),
    ):
        if times.n:
            facts |= {f"{what}_p50": times.p50, f"{what}_p99": times.p99}  # seconds
    return {key: round(fact, 6) if isinstance(fact, float) else fact for key, fact in facts.items()}


def _told(numbers: attrs.AttrsInstance) -> dict[str, object]:
    """Return the numbers that say something."""
    return {
        key: value
        for key, value in attrs.asdict(numbers).items()
        if value is not None and value is not False and (value or key == "restarts")
    }


def _cause(error: BaseException) -> dict[str, object]:
    """Return the error that all others are about, and which child of which supervisor had it."""
    place: dict[str, object] = {}
    while True:
        if isinstance(error, ChildStartError | RestartIntensityError):
            place = {"supervisor": error.supervisor, "child": error.child}
        if error.__cause__ is None:
            return {"error": describe(error), **place}
        error = error.__cause__
