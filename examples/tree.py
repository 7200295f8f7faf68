"""A tree in code: two levels, a child that crashes, an ordered stop at Ctrl-C.

A weather station. The sensors share a bus, so they stand after it under `rest_for_one`: when the
bus breaks, all are started again with the new one, while the store above them notices nothing.
The store starts first and so stops last: it gets everything that the sensors still bring.

    python examples/tree.py

What the program prints goes to standard output, what the supervisors log to standard error.
After half a second it presses Ctrl-C itself; you may be faster.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import attrs
import structlog
import trio

from supervisors import ChildSpec, child_spec, open_supervisor

if TYPE_CHECKING:
    from supervisors import ChildStatus

BREAKS_AFTER = 4  # readings; the first bus only


@attrs.define(eq=False)
class Bus:
    """What the sensors are attached to."""

    breaks_after: int | None
    broken: trio.Event = attrs.field(factory=trio.Event)
    readings: int = 0

    def read(self, sensor: str) -> str:
        """Return a reading, or break."""
        self.readings += 1
        if self.readings == self.breaks_after:
            self.broken.set()
        return f"{sensor} {self.readings}"


async def store(*, task_status: ChildStatus) -> None:
    """Keep what the sensors bring."""
    readings: list[str] = []
    task_status.registry.register("store", readings)  # until this child ends
    task_status.started()  # from here on it counts as running, and the next child is started
    try:
        await trio.sleep_forever()
    finally:
        print(f"stop store: {len(readings)} readings kept")


async def bus(breaks_after: list[int], *, task_status: ChildStatus) -> None:
    """Hold the bus open, and crash when it breaks."""
    connection = Bus(breaks_after.pop() if breaks_after else None)
    task_status.registry.register("bus", connection)
    print("start bus")
    task_status.started()
    try:
        await connection.broken.wait()
        raise OSError("the bus is broken")
    finally:
        print("stop bus")


async def sensor(name: str, *, task_status: ChildStatus) -> None:
    """Read a sensor again and again."""
    readings, connection = task_status.registry["store"], task_status.registry["bus"]
    print(f"start {name}")
    task_status.started()
    try:
        while True:
            readings.append(connection.read(name))
            await trio.sleep(0.02)
    finally:
        print(f"stop {name}")


def tree() -> list[ChildSpec]:
    """Return the children of the root, in start order."""
    sensors = child_spec(
        "sensors",
        [
            ChildSpec(id="bus", start=bus, args=([BREAKS_AFTER],)),
            ChildSpec(id="thermometer", start=sensor, args=("thermometer",)),
            ChildSpec(id="barometer", start=sensor, args=("barometer",)),
        ],
        strategy="rest_for_one",
        intensity=3,
        period=60,
    )
    return [ChildSpec(id="store", start=store), sensors]


async def main() -> None:
    """Run the station until Ctrl-C."""
    async with open_supervisor(tree(), name="station", signals=True) as supervisor:
        print(supervisor.tree())
        await trio.sleep(0.5)
        print(supervisor.tree())
        signal.raise_signal(signal.SIGINT)  # what Ctrl-C does
        await supervisor.wait()  # cancelled by the signal, and then the tree is stopped
    if supervisor.stop_signal is not None:
        print("ended by", supervisor.stop_signal.name)


if __name__ == "__main__":
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    trio.run(main)
