"""What a reader that waits has heard of is forgotten with the core that told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from queueactors import StoreError
from queueactors._clock import Clock
from queueactors.cores import Changed
from queueactors.cores.log import LogCore
from queueactors.engines import TAKERS, LocalEngine, Parked
from queueactors.engines._durable import DurableEngine
from supervisors import Operation

if TYPE_CHECKING:
    from queueactors.engines._durable import Journal


async def test_a_reader_is_asked_again_after_its_answer_was_taken_back() -> None:
    parked, resolved = Parked(), list[Operation]()
    engine = LocalEngine(LogCore(), parked)
    reader = Operation("wait_next", ("r",), waits=TAKERS)
    await engine.execute([reader], 1, [])
    await engine.execute([Operation("add", ([b"lost"], [4]))], 2, resolved)
    assert [operation.value for operation in resolved] == [1, ([b"lost"], 0)]

    core = LogCore()  # what was decided could not be written: as `DurableEngine` does
    core.add(2, [b"kept"], [4])
    engine.core = core
    engine.connect()
    parked.park_again(reader)
    await engine.execute([], 3, resolved)

    assert resolved[2:] == [reader]
    assert reader.value == ([b"kept"], 0)


class Recovering:
    """A journal of a store that waits, and is back at once."""

    store, records, unwritten, works, waits = "disk", None, None, False, True

    def __init__(self) -> None:
        self.clock = Clock.open()

    def changes(self, _now: int, _operations: object) -> None:
        return None

    async def recovered(self) -> None:
        return None


async def test_a_reader_is_asked_again_after_its_items_could_not_be_read() -> None:
    failures = [StoreError("disk", "not applied", "no")]

    def load(_id: int) -> list[object]:
        if failures:
            raise failures.pop()
        return [b"x"]

    core, resolved = LogCore(changed=Changed(), load=load), list[Operation]()
    engine = DurableEngine(core, Parked(), cast("Journal", Recovering()))
    reader = Operation("wait_next", ("r",), waits=TAKERS)
    await engine.execute([reader], 1, [])
    core.add(2, [b"x"], [1])
    for chunk in core.records.messages.values():
        if chunk.state == "kept":
            chunk.value = None  # it is in the store only

    await engine.execute([Operation("length")], 3, resolved)

    assert reader.value == ([b"x"], 0)
    assert reader in resolved
