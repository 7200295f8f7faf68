"""Signals, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from supervisors import open_supervisor

PROGRAM = """
import sys, trio, structlog
from supervisors import ChildSpec, SupervisorStoppedError, open_supervisor

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def child(name, *, task_status):
    if name == "slow":
        print("starts", flush=True)
        await trio.sleep_forever()
    task_status.started()
    try:
        with task_status.shield() if name == "stubborn" else trio.CancelScope():
            await trio.sleep_forever()
    finally:
        print("stop", name, flush=True)

async def main(names, signals):
    specs = [
        ChildSpec(id=each, start=child, args=(each,), shutdown="infinity") for each in names
    ]
    try:
        async with open_supervisor(specs, signals=signals == "on") as supervisor:
            print("ready", flush=True)
            await trio.sleep_forever()
        print("ended by", supervisor.stop_signal and supervisor.stop_signal.name, flush=True)
    except SupervisorStoppedError as error:
        print(error, flush=True)
        print("at its start", error.signal.name, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)

trio.run(main, sys.argv[2:], sys.argv[1])
"""

pytestmark = pytest.mark.slow


def _run(
    names: list[str],
    numbers: list[signal.Signals],
    *,
    signals: str = "on",
    first: str = "ready",
) -> list[str]:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, signals, *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{first}\n"
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.2)  # so that the kernel does not merge two of them
        out, _ = process.communicate(timeout=10)
    return out.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order(number: signal.Signals) -> None:
    assert _run(["a", "b"], [number]) == ["stop b", "stop a", f"ended by {number.name}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_kills(number: signal.Signals) -> None:
    lines = _run(["a", "stubborn", "b"], [number, signal.SIGTERM])

    assert lines[0] == "stop b"
    assert set(lines[1:3]) == {"stop stubborn", "stop a"}  # killed together, in no order
    assert lines[3:] == [f"ended by {number.name}"]


def test_without_signals_ctrl_c_is_trios_and_the_stop_is_still_in_order() -> None:
    assert _run(["a", "b"], [signal.SIGINT], signals="off") == ["stop b", "stop a", "interrupted"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_stops_what_is_up_and_the_body_never_begins(
    number: signal.Signals,
) -> None:
    assert _run(["a", "b", "slow"], [number], first="starts") == [
        "stop b",
        "stop a",
        f"supervisor 'root' was stopped by {number.name} at its start",
        f"at its start {number.name}",
    ]


async def test_a_program_may_take_the_signals_over_and_pass_them_on() -> None:
    send, receive = trio.open_memory_channel[int](1)

    async with open_supervisor([], signals=receive) as supervisor:
        send.send_nowait(signal.SIGTERM)
        await supervisor.wait()

    assert supervisor.stop_signal == signal.SIGTERM
