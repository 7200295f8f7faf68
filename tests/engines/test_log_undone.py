"""What a reader that waits has heard of is forgotten with the core that told it."""

from __future__ import annotations

from queueactors.cores.log import LogCore
from queueactors.engines import TAKERS, LocalEngine, Parked
from supervisors import Operation


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
