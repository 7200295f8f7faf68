"""A disk that fails at every step of every operation of a message queue, see `kit_faults`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import attrs
import pytest

from queueactors import Claim, MessageQueue
from queueactors.cores.message import Claimed, MessageCore
from tests.stores.kit import LONG, MessageModel, Seen, define_messages
from tests.stores.kit_faults import NS, Act, Play, sweeps, swept

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stores.vfs import Fault


@attrs.frozen
class Held:
    """A message that is locked."""

    key: int
    id: int
    mid: str
    deadline_at: int


MessageAct = Act[MessageQueue, MessageCore, Held]


def _facts(claim: Claim | Claimed | None) -> object:
    if claim is None:
        return None
    facts = claim.id, claim.mid, claim.message, claim.attempt, claim.key, claim.deadline_at
    lock_time = claim.lock_time / 1e9 if isinstance(claim, Claimed) else claim.lock_time
    return *facts, lock_time


async def _claim(queue: MessageQueue, _held: list[Held]) -> object:
    return _facts(await queue.claim())


async def _try_claim(queue: MessageQueue, _held: list[Held]) -> object:
    return _facts(await queue.try_claim())


async def _claim_many(queue: MessageQueue, _held: list[Held]) -> object:
    return list(map(_facts, await queue.claim_many(2)))


BIG: Final = b"x" * 20_000

ACTS: Final[dict[str, MessageAct]] = {
    "enqueue": Act(
        lambda queue, _held: queue.enqueue(b"x", "new", lock_time=7),
        lambda core, now, _held: core.enqueue(now, "new", b"x", 0, 7 * 10**9),
    ),
    "enqueue later": Act(
        lambda queue, _held: queue.enqueue(b"x", "later", init_backoff=LONG),
        lambda core, now, _held: core.enqueue(now, "later", b"x", NS),
    ),
    "enqueue a big one": Act(
        lambda queue, _held: queue.enqueue(BIG, "big"),
        lambda core, now, _held: core.enqueue(now, "big", BIG),
    ),
    "wait_enqueue": Act(
        lambda queue, _held: queue.wait_enqueue(b"x", "waited"),
        lambda core, now, _held: core.wait_enqueue(now, "waited", b"x"),
    ),
    "update": Act(
        lambda queue, _held: queue.enqueue(b"new", "4", can_update=True, lock_time=8),
        lambda core, now, _held: core.enqueue(now, "4", b"new", 0, 8 * 10**9, can_update=True),
    ),
    "update with a big one": Act(
        lambda queue, _held: queue.enqueue(BIG, "waits", can_update=True),
        lambda core, now, _held: core.enqueue(now, "waits", BIG, can_update=True),
    ),
    "reset": Act(
        lambda queue, _held: queue.enqueue(b"new", "5", init_backoff=LONG, reset_init_backoff=True),
        lambda core, now, _held: core.enqueue(now, "5", b"new", NS, reset_init_backoff=True),
    ),
    "update and reset": Act(
        lambda queue, _held: queue.enqueue(
            b"new", "waits", can_update=True, reset_init_backoff=True
        ),
        lambda core, now, _held: core.enqueue(
            now, "waits", b"new", can_update=True, reset_init_backoff=True
        ),
    ),
    "requeue": Act(
        lambda queue, held: queue.enqueue(b"again", held[0].mid, can_requeue=True),
        lambda core, now, held: core.enqueue(now, held[0].mid, b"again", can_requeue=True),
        holds=True,
    ),
    "update a requeue": Act(
        lambda queue, held: queue.enqueue(
            b"once more", held[1].mid, can_requeue=True, can_update=True
        ),
        lambda core, now, held: core.enqueue(
            now, held[1].mid, b"once more", can_requeue=True, can_update=True
        ),
        holds=True,
    ),
    "claim": Act(_claim, lambda core, now, _held: _facts(core.claim(now))),
    "try_claim": Act(_try_claim, lambda core, now, _held: _facts(core.claim(now))),
    "claim_many": Act(
        _claim_many, lambda core, now, _held: list(map(_facts, core.claim_many(now, 2)))
    ),
    "finish": Act(
        lambda queue, held: queue.finish(held[0].key),
        lambda core, now, held: core.finish(now, held[0].key, "success"),
        holds=True,
    ),
    "finish one with a requeue": Act(
        lambda queue, held: queue.finish(held[1].key),
        lambda core, now, held: core.finish(now, held[1].key, "success"),
        holds=True,
    ),
    "finish and remember": Act(
        lambda queue, held: queue.finish(held[1].key, "success", LONG),
        lambda core, now, held: core.finish(now, held[1].key, "success", NS),
        holds=True,
    ),
    "retry": Act(
        lambda queue, held: queue.finish(held[0].key, "retry"),
        lambda core, now, held: core.finish(now, held[0].key, "retry"),
        holds=True,
    ),
    "retry later": Act(
        lambda queue, held: queue.finish(held[0].key, "retry", LONG),
        lambda core, now, held: core.finish(now, held[0].key, "retry", NS),
        holds=True,
    ),
    "error": Act(
        lambda queue, held: queue.finish(held[0].key, "error"),
        lambda core, now, held: core.finish(now, held[0].key, "error"),
        holds=True,
    ),
    "extend": Act(
        lambda queue, held: queue.extend(held[0].key, 5e6),
        lambda core, now, held: core.extend(now, held[0].key, 5 * NS),
        holds=True,
    ),
    "snooze": Act(
        lambda queue, held: queue.snooze(held[0].key, LONG),
        lambda core, now, held: core.snooze(now, held[0].key, NS),
        holds=True,
    ),
    "remove": Act(
        lambda queue, held: queue.remove(held[1].id, held[1].id + 1),
        lambda core, now, held: core.remove(now, [held[1].id, held[1].id + 1]),
        holds=True,
    ),
    "clear": Act(
        lambda queue, _held: queue.clear(),
        lambda core, now, _held: core.clear(now),
    ),
    "pause": Act(
        lambda queue, _held: queue.pause(LONG),
        lambda core, now, _held: core.pause(now, NS),
    ),
    "resume": Act(
        lambda queue, _held: queue.resume(),
        lambda core, now, _held: core.resume(now),
        paused=True,
    ),
}


class MessagePlay(Play[MessageQueue, MessageCore, Held]):
    """Does the same to a message queue and to a core that nobody writes."""

    async def prepare(self, act: MessageAct) -> list[Held]:
        queue, core = self.queue, self.model
        none: list[Held] = []
        await self.both(ACTS["clear"], none)
        await self.both(ACTS["resume"], none)
        for number in range(1, 7):
            mid, value = str(number), b"%d" % number
            assert await queue.enqueue(value, mid) == core.enqueue(self.now, mid, value)
        claims = await queue.claim_many(3)
        assert list(map(_facts, claims)) == list(map(_facts, core.claim_many(self.now, 3)))
        held = [Held(each.key, each.id, each.mid, each.deadline_at) for each in claims]
        await self.both(ACTS["finish and remember"], [held[0], held[0]])
        await self.both(ACTS["requeue"], [held[2]])
        waits = await queue.enqueue(b"x", "waits", init_backoff=LONG)
        assert waits == core.enqueue(self.now, "waits", b"x", NS)
        if act.paused:
            await self.both(ACTS["pause"], none)
        return held[1:]

    async def insert(self) -> None:
        await self.queue.enqueue(b"z", "z")

    def copied(self) -> MessageCore:
        return MessageModel(self.model).copy().core

    def expected(self) -> Seen:
        return MessageModel(self.model).seen(self.now)

    async def shown(self) -> object:
        content = await self.queue.queue_content()
        return content, await self.queue.queue_status()

    def wanted(self) -> object:
        core, now = self.model, self.now
        return core.content(now, core.ids(now).ids), core.queue_status(now)


def _run(path: Path, name: str, fault: Fault, **options: object) -> int:
    return swept(
        path,
        ACTS[name],
        fault,
        define_messages,
        lambda queue, disk, memory, killed: MessagePlay(
            queue, disk, MessageModel.new().core, memory, killed
        ),
        **options,
    )


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(("name", "fault", "way"), sweeps(ACTS))
def test_a_disk_that_fails_at_any_step_harms_no_message_queue(
    name: str, fault: Fault, way: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, name, fault, **way)

    assert steps > 0 or fault == "read"


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("fault", ["io", "full"])
@pytest.mark.parametrize("name", ["update", "claim_many", "finish one with a requeue"])
def test_a_disk_that_fails_in_a_thread_harms_no_message_queue(
    name: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"

    steps = _run(path, name, cast("Fault", fault), commit="thread", durability="power")

    assert steps > 0
