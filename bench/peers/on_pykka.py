"""pykka: an actor is a thread, so is a caller; there are no supervisors and no restarts."""

from __future__ import annotations

import threading
import time
from functools import partial

import pykka
from _measured import CASTS_A_CALL, IDLE_SECONDS, answer, resident_kb


class Echo(pykka.ThreadingActor):
    def on_receive(self, message: object) -> object:
        return message


def started(count: int) -> list[pykka.ActorRef[Echo]]:
    """Start actors; return when the last one answers."""
    actors = [Echo.start() for _ in range(count)]
    actors[-1].ask(None)
    return actors


def start(count: int) -> float:
    begin = time.process_time()
    started(count)
    return count / (time.process_time() - begin)


def stop(count: int) -> float:
    started(count)
    begin = time.process_time()
    pykka.ActorRegistry.stop_all()  # in reverse start order, one by one
    return count / (time.process_time() - begin)


def calls(callers: int, count: int) -> float:
    (echo,) = started(1)

    def caller() -> None:
        for number in range(count // callers):
            echo.ask(number)

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    begin = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.process_time() - begin)


def casts(count: int) -> float:
    (echo,) = started(1)
    begin = time.process_time()
    for number in range(count):
        echo.tell(number)
        if number % CASTS_A_CALL == 0:
            echo.ask(number)
    echo.ask(None)
    return count / (time.process_time() - begin)


def many_start(count: int) -> float:
    begin = time.perf_counter()
    started(count)
    return time.perf_counter() - begin


def many_idle(count: int) -> float:
    started(count)
    begin = time.process_time()
    time.sleep(IDLE_SECONDS)
    return round((time.process_time() - begin) * 1e3 / IDLE_SECONDS)


def many_stop(count: int) -> float:
    started(count)
    begin = time.perf_counter()
    pykka.ActorRegistry.stop_all()
    return time.perf_counter() - begin


def memory(count: int) -> float:
    before = resident_kb()
    started(count)
    return (resident_kb() - before) / count


answer(
    {
        "start": start,
        "stop": stop,
        "calls_1": partial(calls, 1),
        "calls_100": partial(calls, 100),
        "casts": casts,
        "many_start": many_start,
        "many_idle": many_idle,
        "many_stop": many_stop,
        "memory": memory,
    }
)
pykka.ActorRegistry.stop_all()  # else the process does not end
