"""The contract of a message queue: every rule, through the handle and the real actor.

Each rule is an async function of one argument: what makes an empty store. All of them obey
`trio.testing.MockClock` and take long without it. Use them as those of `check_timed`. The file is
over 500 lines because it is one list of rules.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import trio
from trio.testing import wait_all_tasks_blocked

from queueactors import (
    Claim,
    ClaimLostError,
    Enqueued,
    MessageInfo,
    QueueClosedError,
    QueueFullError,
    QueueStatus,
)

from ._timed_kit import (
    FOREVER,
    SECOND,
    MakeStore,
    a_runtime,
    check_rules,
    equal,
    refused,
    start_calls,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from queueactors import MessageQueue

    from ._timed_kit import TimedRule as MessageRule

    Claims = Callable[..., Awaitable[object]]  # type: ignore[explicit-any] # each has its own
    Enqueues = Callable[..., Awaitable[Enqueued]]  # type: ignore[explicit-any] # likewise

FLAGS: Final = ("can_update", "can_requeue", "reset_init_backoff")


async def check_message(make: MakeStore) -> None:
    """Check every rule of `MESSAGE_RULES`, one after the other.

    Args:
      make: Makes an empty store; called once a rule, or more often.

    Raises:
      AssertionError: If a rule does not hold.
    """
    await check_rules(MESSAGE_RULES, make)


@asynccontextmanager
async def a_queue(make: MakeStore, **options: object) -> AsyncIterator[MessageQueue]:
    async with a_runtime(make) as runtime:
        yield await runtime.define(
            "q", kind="message", **({"lock_time": 30, "codec": "pickle"} | options)
        )


async def drain(queue: MessageQueue) -> list[str]:
    """Claim and finish all that is ready; return the names as they come."""
    mids = []
    while (claim := await queue.try_claim()) is not None:
        mids.append(claim.mid)
        await claim.finish()
    return mids


async def fill(queue: MessageQueue, mids: str, **options: float) -> None:
    for mid in mids:
        equal(await queue.enqueue(f"of {mid}", mid, **options), Enqueued(True, mid, "added"))  # type: ignore[arg-type]


async def counts(queue: MessageQueue) -> tuple[int, int, int, int]:
    """Return the queue's status as a tuple, after a look at whether all agree."""
    status = await queue.queue_status()
    equal(await queue.queue_size(), status.nqueued)
    equal(await queue.len(), status.ntotal)
    equal(len(await queue.queue_content()), status.ntotal)
    return status.nqueued, status.nlocked, status.nbackoff, status.ntotal


async def brought_to(queue: MessageQueue, status: str | None) -> None:
    """Bring the message ``x`` to a status."""
    if status is None:
        return
    if status == "queued-with-backoff":
        await queue.enqueue("old", "x", init_backoff=60)
    else:
        await queue.enqueue("old", "x")
    if status.startswith(("locked", "done")):
        claim = await queue.claim()
        if status.startswith("done"):
            await claim.finish(backoff=60)
    if status.endswith("requeue"):
        await queue.enqueue("waiting", "x", can_requeue=True)
    equal(await queue.message_status("x"), status)


# -- taking in -----------------------------------------------------------------------------------


async def _an_enqueue_says_what_it_did_in_every_status(make: MakeStore) -> None:
    # By the status: without a flag, can_update, can_requeue, both, reset_init_backoff alone.
    queued = ("already-queued", "updated", "already-queued", "updated", "updated")
    table: dict[str | None, tuple[str, ...]] = {
        None: ("added",) * 5,
        "queued": queued,
        "queued-with-backoff": queued,
        "locked": ("locked", "locked", "added", "added", "locked"),
        "locked-with-requeue": ("locked", "locked", "already-queued", "updated", "locked"),
        "done-with-backoff": ("backoff", "backoff", "added", "added", "backoff"),
        "done-with-requeue": ("backoff", "backoff", "already-queued", "updated", "backoff"),
    }
    given = ((), FLAGS[:1], FLAGS[1:2], FLAGS[:2], FLAGS[2:])
    async with a_queue(make) as queue:
        for status, row in table.items():
            for flags, expected in zip(given, row, strict=True):
                await brought_to(queue, status)
                did = await queue.enqueue("new", "x", **dict.fromkeys(flags, True))
                went_in = expected in {"added", "updated"}
                action, error = (expected, None) if went_in else (None, expected)
                equal((did.action, did.error, did.mid), (action, error, "x"))
                equal((did.success, bool(did)), (went_in, went_in))
                await queue.clear()


async def _a_message_without_a_name_gets_a_new_one(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        mids = [(await queue.enqueue("a")).mid for _ in range(3)]
        equal(len({*mids}), 3)
        equal(await drain(queue), mids)


async def _an_update_gives_another_content_in_the_same_place(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "xy", lock_time=5)
        await trio.sleep(1)
        equal((await queue.enqueue("new", "x", init_backoff=9, can_update=True)).action, "updated")
        claim = await queue.claim()
        equal((claim.mid, claim.message, claim.lock_time, claim.age), ("x", "new", 30, 1))
        claim = await queue.claim()
        equal((claim.mid, claim.lock_time), ("y", 5))
        await claim.finish()
        await fill(queue, "z", init_backoff=9)
        await queue.enqueue("new", "z", lock_time=7, can_update=True)
        begin = queue.clock.now_ns()
        claim = await queue.claim()
        equal((claim.message, claim.lock_time), ("new", 7))
        equal(queue.clock.now_ns() - begin, 9 * SECOND)


async def _a_reset_changes_the_backoff_and_nothing_else(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x", init_backoff=60, lock_time=5)
        did = await queue.enqueue("unseen", "x", init_backoff=8, reset_init_backoff=True)
        equal(did, Enqueued(True, "x", "updated"))
        await trio.sleep(4)
        equal((await queue.queue_content())["x"].backoff, 4)
        await queue.enqueue("unseen", "x", reset_init_backoff=True)
        claim = await queue.claim()
        equal((claim.message, claim.lock_time, claim.age), ("of x", 5, 4))
        await claim.finish()
        await fill(queue, "xy")
        await queue.enqueue("unseen", "x", reset_init_backoff=True)  # it keeps its place
        await queue.enqueue("new", "x", can_update=True, reset_init_backoff=True)
        equal((await queue.queue_content())["x"].message, "new")
        equal(await drain(queue), ["x", "y"])
        await fill(queue, "xy")
        await queue.enqueue("unseen", "x", init_backoff=2, reset_init_backoff=True)
        equal(await queue.message_status("x"), "queued-with-backoff")
        await trio.sleep(2)
        equal(await drain(queue), ["y", "x"])


async def _a_backoff_may_be_reset_again_and_again_within_an_instant(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "xyz")
        first = await queue.claim()
        await first.finish("retry")
        for backoff in (8, 0, 8, 0, 8, 4, 8):
            await queue.enqueue("-", "x", init_backoff=backoff, reset_init_backoff=True)
        equal(await counts(queue), (2, 0, 1, 3))
        equal(await drain(queue), ["y", "z"])
        await trio.sleep(8)
        claim = await queue.claim()
        equal((claim.mid, claim.attempt), ("x", 2))


async def _a_backoff_at_first_ends_at_its_instant(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x", init_backoff=8)
        await fill(queue, "y", init_backoff=4)
        equal((await counts(queue), await queue.try_claim()), ((0, 0, 2, 2), None))
        begin = queue.clock.now_ns()
        equal((await queue.claim()).mid, "y")
        equal(queue.clock.now_ns() - begin, 4 * SECOND)
        equal(await queue.message_status("x"), "queued-with-backoff")
        equal((await queue.claim()).mid, "x")
        equal(queue.clock.now_ns() - begin, 8 * SECOND)


# -- handing out ---------------------------------------------------------------------------------


async def _messages_come_in_the_order_in_which_they_became_ready(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "e", lock_time=3)
        await fill(queue, "rs")
        _, retried, snoozed = await queue.claim_many(3)
        await fill(queue, "d", init_backoff=1)
        await retried.finish("retry", 4)
        await snoozed.snooze(2)
        for mid in "12345":
            await fill(queue, mid)
            await trio.sleep(1)
        equal(await drain(queue), list("1d2s3e4r5"))


async def _what_comes_back_again_and_again_starves_nobody(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "bx")
        for expected in "bxb":
            claim = await queue.claim()
            equal(claim.mid, expected)
            await trio.sleep(1)
            await claim.finish("retry")


async def _a_claim_says_what_it_is(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x", lock_time=7)
        await trio.sleep(2)
        claim = await queue.claim()
        equal((claim.mid, claim.message, claim.attempt), ("x", "of x", 1))
        equal((claim.lock_time, claim.age), (7, 2))
        equal(claim.deadline_at, queue.clock.now_ns() + 7 * SECOND)
        equal(repr(claim), "<Claim 'x' of 'q', attempt 1>")
        await claim.finish("retry")
        again = await queue.claim()
        equal((again.id, again.attempt, again.key > claim.key), (claim.id, 2, True))


async def _many_are_claimed_at_once_and_nobody_waits_for_more(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await fill(queue, "abc")
        equal([claim.mid for claim in await queue.claim_many(2)], ["a", "b"])
        equal([claim.mid for claim in await queue.claim_many(2)], ["c"])
        (caller,) = await start_calls(nursery, partial(queue.claim_many, 2))
        await fill(queue, "d")
        await wait_all_tasks_blocked()
        equal([claim.mid for claim in taken(caller.outcome)], ["d"])


def taken(outcome: object) -> list[Claim]:
    """Return claims as a list; fail if it is anything else."""
    claims = outcome if isinstance(outcome, list) else [outcome]
    for claim in claims:
        equal(type(claim), Claim)
    return cast("list[Claim]", claims)


async def _takers_are_served_in_the_order_in_which_they_began_to_wait(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        callers = await start_calls(nursery, *[queue.claim] * 3)
        equal(await queue.try_claim(), None)
        equal((await queue.statistics()).waiting, 3)
        await fill(queue, "abc")
        await wait_all_tasks_blocked()
        equal([taken(caller.outcome)[0].mid for caller in callers], ["a", "b", "c"])


async def _a_taker_that_left_swallows_nothing(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        calls: list[Claims] = [queue.claim, partial(queue.claim_many, 3)]
        for claim in calls:
            with trio.move_on_after(1):
                await claim()
            begin = queue.clock.now_ns()
            with refused(trio.TooSlowError):
                await claim(timeout=2)
            equal(queue.clock.now_ns() - begin, 2 * SECOND)
            await fill(queue, "a")
            equal(await drain(queue), ["a"])
        with refused(trio.TooSlowError) as refusal:
            await queue.claim(timeout=0)
        equal(str(refusal.error), "queue 'q': claim waited 0 s in vain")
        await fill(queue, "a")
        equal((await queue.claim(timeout=0)).mid, "a")


async def _every_wake_up_is_exact(make: MakeStore) -> None:
    async with a_queue(make, lock_time=8) as queue:
        waits: dict[str, Claims] = {
            "the lock": queue.claim,
            "a backoff": partial(_given_back, queue, "retry"),
            "a snooze": partial(_given_back, queue, "snooze"),
            "a requeue": partial(_given_back, queue, "success"),
        }
        for name, prepare in waits.items():
            await queue.clear()
            await fill(queue, "x")
            await prepare()
            begin = queue.clock.now_ns()
            (claim,) = await queue.claim_many(2)
            equal((name, queue.clock.now_ns() - begin), (name, 8 * SECOND))
            equal((claim.attempt, claim.age), _AFTER[name])


_AFTER: Final = {
    "the lock": (2, 8.0),
    "a backoff": (2, 8.0),
    "a snooze": (1, 8.0),
    "a requeue": (1, 0.0),
}


async def _given_back(queue: MessageQueue, how: str) -> None:
    claim = await queue.claim()
    if how == "snooze":
        await claim.snooze(8)
    else:
        await queue.enqueue("requeue", "x", can_requeue=True)
        await claim.finish("retry" if how == "retry" else "success", 8)


async def _a_message_at_the_very_instant_of_a_timeout_is_handed_out(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x", init_backoff=2)
        equal((await queue.claim(timeout=2)).mid, "x")


# -- the end of a claim --------------------------------------------------------------------------


async def _what_is_finished_is_gone_at_once(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        for result, backoff in (("success", None), ("success", 0), ("error", None), ("error", 60)):
            await fill(queue, "x")
            await (await queue.claim()).finish(result, backoff)  # type: ignore[arg-type]
            equal(await queue.message_status("x"), None)
            equal(await counts(queue), (0, 0, 0, 0))
        numbers = await queue.statistics()
        equal((numbers.succeeded, numbers.failed, numbers.claimed), (2, 2, 4))


async def _a_success_with_a_backoff_is_remembered_until_then(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x")
        await (await queue.claim()).finish("success", 8)
        equal(await queue.message_status("x"), "done-with-backoff")
        await trio.sleep(7)
        equal((await queue.enqueue("new", "x")).error, "backoff")
        info = (await queue.queue_content())["x"]
        equal((info.status, info.backoff, info.attempts), ("done-with-backoff", 1, 1))
        equal(await queue.try_claim(), None)
        await trio.sleep(1)
        equal((await queue.message_status("x"), await queue.len()), (None, 0))
        equal((await queue.enqueue("new", "x")).action, "added")
        equal((await queue.claim()).attempt, 1)


async def _a_retry_comes_back_with_its_attempts(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x")
        await (await queue.claim()).finish("retry")
        equal(await queue.message_status("x"), "queued")
        await (await queue.claim()).finish("retry", 5)
        equal(await queue.message_status("x"), "queued-with-backoff")
        equal((await queue.enqueue("new", "x")).error, "already-queued")
        info = (await queue.queue_content())["x"]
        equal((info.backoff, info.attempts, info.age), (5, 2, 0))
        claim = await queue.claim()
        equal((claim.attempt, claim.age, claim.message), (3, 5, "of x"))


async def _a_requeue_comes_when_the_other_is_handled(make: MakeStore) -> None:
    for result, backoff, waits in (
        ("success", 0, 0),
        ("success", 5, 5),
        ("error", 0, 0),
        ("error", 5, 0),
    ):
        async with a_queue(make) as queue:
            await fill(queue, "x", lock_time=9)
            claim = await queue.claim()
            await queue.enqueue("first", "x", can_requeue=True, init_backoff=99, lock_time=3)
            await queue.enqueue("last", "x", can_requeue=True, can_update=True, lock_time=4)
            equal(await queue.message_status("x"), "locked-with-requeue")
            equal((await counts(queue), (await queue.statistics()).requeues), ((0, 1, 0, 1), 1))
            await trio.sleep(1)
            await claim.finish(result, backoff)  # type: ignore[arg-type]
            equal(await queue.message_status("x"), "done-with-requeue" if waits else "queued")
            begin = queue.clock.now_ns()
            again = await queue.claim()
            equal(queue.clock.now_ns() - begin, waits * SECOND)
            equal((again.message, again.attempt, again.age), ("last", 1, 0))
            equal((again.lock_time, again.id > claim.id), (4, True))
            await again.finish()
            equal(await counts(queue), (0, 0, 0, 0))


async def _a_retry_keeps_what_waits_as_its_requeue(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x")
        claim = await queue.claim()
        await queue.enqueue("requeue", "x", can_requeue=True)
        await claim.finish("retry", 5)
        equal(await queue.message_status("x"), "queued-with-backoff")
        equal((await queue.enqueue("new", "x", can_requeue=True)).error, "already-queued")
        claim = await queue.claim()
        equal((claim.message, claim.attempt), ("of x", 2))
        equal(await queue.message_status("x"), "locked-with-requeue")
        await claim.finish()
        claim = await queue.claim()
        equal((claim.message, claim.attempt), ("requeue", 1))


async def _a_requeue_can_be_for_what_is_remembered(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x")
        await (await queue.claim()).finish(backoff=6)
        await trio.sleep(2)
        equal((await queue.enqueue("new", "x", can_requeue=True)).action, "added")
        equal(await queue.message_status("x"), "done-with-requeue")
        begin = queue.clock.now_ns()
        claim = await queue.claim()
        equal(queue.clock.now_ns() - begin, 4 * SECOND)
        equal((claim.message, claim.attempt, claim.age), ("new", 1, 0))


# -- locks ---------------------------------------------------------------------------------------


async def _a_lock_ends_at_its_instant(make: MakeStore) -> None:
    async with a_queue(make, lock_time=8) as queue:
        await fill(queue, "x")
        await fill(queue, "y", lock_time=4)
        x, y = await queue.claim_many(2)
        await trio.sleep(3.5)
        equal((await queue.message_status("y"), await queue.try_claim()), ("locked", None))
        await trio.sleep(0.5)
        equal(await queue.message_status("y"), "queued")
        with refused(ClaimLostError):
            await y.finish()
        await trio.sleep(3.5)
        await x.finish()
        equal(await queue.message_status("x"), None)
        equal((await queue.statistics()).expired, 1)
        equal((await queue.claim()).attempt, 2)


async def _a_lost_claim_changes_nothing_and_harms_nobody(make: MakeStore) -> None:
    async with a_queue(make, lock_time=4) as queue:
        await fill(queue, "x")
        late = await queue.claim()
        await trio.sleep(4)
        for owned in (False, True):
            owner = await queue.claim() if owned else None
            before = await queue.queue_content(), await queue.queue_status()
            uses: list[Claims] = [
                late.finish,
                partial(late.finish, "success", 5),
                partial(late.finish, "retry"),
                partial(late.finish, "error"),
                late.extend,
                partial(late.extend, 60),
                late.snooze,
                partial(late.snooze, 5),
                partial(queue.finish, late),
                partial(queue.extend, late.key),
                partial(queue.snooze, late.key),
            ]
            for use in uses:
                with refused(ClaimLostError) as refusal:
                    await use()
                equal(refusal.error and (refusal.error.queue, refusal.error.key), ("q", late.key))
            equal((await queue.queue_content(), await queue.queue_status()), before)
            if owner is not None:
                await owner.extend()
                await owner.finish("retry")
                equal((await queue.claim()).attempt, 3)


async def _a_late_finish_loses_no_message(make: MakeStore) -> None:
    """What loses one in the reference: a finished twice, gone in between, and enqueued anew."""
    async with a_queue(make, lock_time=4) as queue:
        await fill(queue, "x")
        first = await queue.claim()
        await trio.sleep(4)
        second = await queue.claim()
        with refused(ClaimLostError):
            await first.finish()
        equal(await queue.message_status("x"), "locked")
        await second.finish()
        with refused(ClaimLostError):
            await second.finish()
        with refused(ClaimLostError):
            await first.finish()
        await queue.enqueue("new", "x")
        with refused(ClaimLostError):
            await second.finish()
        equal(await queue.message_status("x"), "queued")
        equal((await queue.claim()).message, "new")


async def _extend_counts_from_now(make: MakeStore) -> None:
    async with a_queue(make, lock_time=8) as queue:
        await fill(queue, "x")
        claim = await queue.claim()
        await trio.sleep(6)
        await claim.extend()
        equal(claim.deadline_at, queue.clock.now_ns() + 8 * SECOND)
        await trio.sleep(6)
        equal(await queue.extend(claim, 2), queue.clock.now_ns() + 2 * SECOND)
        await queue.extend(claim.key, 2)  # at the same instant
        begin = queue.clock.now_ns()
        equal((await queue.claim()).attempt, 2)
        equal(queue.clock.now_ns() - begin, 2 * SECOND)
        await fill(queue, "y", lock_time=3)
        claim = await queue.claim()
        await claim.extend()
        equal(claim.deadline_at, queue.clock.now_ns() + 3 * SECOND)


async def _a_snooze_does_not_count_the_attempt(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "xy")
        claim = await queue.claim()
        await claim.snooze()
        equal(await queue.message_status("x"), "queued")
        with refused(ClaimLostError):
            await claim.snooze()
        await (await queue.claim()).snooze(5)
        equal(await queue.message_status("x"), "queued-with-backoff")
        equal((await queue.queue_content())["x"].attempts, 0)
        await queue.remove((await queue.claim()).id)
        equal((await queue.claim()).attempt, 1)
        equal((await queue.statistics()).snoozed, 2)


# -- what an operator sees -----------------------------------------------------------------------


async def _the_numbers_are_exact_in_every_state(make: MakeStore) -> None:
    async with a_queue(make, lock_time=9) as queue:
        equal(await counts(queue), (0, 0, 0, 0))
        await fill(queue, "abcd")
        await fill(queue, "e", init_backoff=5)
        equal(await counts(queue), (4, 0, 1, 5))
        a, b, _ = await queue.claim_many(3)
        equal(await counts(queue), (1, 3, 1, 5))
        await a.finish(backoff=7)
        await b.finish("retry", 6)
        equal(await counts(queue), (1, 1, 3, 5))
        await queue.enqueue("requeue", "a", can_requeue=True)
        await queue.enqueue("requeue", "c", can_requeue=True)
        equal(await queue.queue_status(), QueueStatus(1, 1, 3, 5))
        for seconds, expected in (
            (5, (2, 1, 2, 5)),  # e is ready
            (1, (3, 1, 1, 5)),  # and b
            (1, (4, 1, 0, 5)),  # and the requeue of a
            (2, (5, 0, 0, 5)),  # and c, whose lock is over
        ):
            await trio.sleep(seconds)
            equal(await counts(queue), expected)
        equal((await queue.statistics()).requeues, 1)


async def _the_content_shows_every_message(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "abc")
        await fill(queue, "d", init_backoff=9)
        a, b = await queue.claim_many(2)
        await b.finish(backoff=4)
        await queue.enqueue("requeue", "a", can_requeue=True)
        await trio.sleep(1)
        ids = {mid: info.id for mid, info in (await queue.queue_content()).items()}
        equal(ids["a"], a.id)
        content = {
            "a": MessageInfo("of a", "locked-with-requeue", 1, None, 1, ids["a"]),
            "b": MessageInfo("of b", "done-with-backoff", 1, 3, 1, ids["b"]),
            "c": MessageInfo("of c", "queued", 0, None, 1, ids["c"]),
            "d": MessageInfo("of d", "queued-with-backoff", 0, 8, 1, ids["d"]),
        }
        equal(await queue.queue_content(), content)
        equal(await queue.message_status("e"), None)


async def _long_content_is_read_in_pages(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        for number in range(2100):
            queue.submit.enqueue(number, f"{number}")
            if number % 500 == 0:
                await queue.len()
        content = await queue.queue_content()
        equal(
            {mid: info.message for mid, info in content.items()}, {f"{n}": n for n in range(2100)}
        )


async def _statistics_in_a_batch_are_those_of_their_place(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await queue.enqueue("a")
        sent = [(queue.submit.enqueue("a"), queue.submit.statistics()) for _ in range(3)]
        told = [await numbers.get() for _, numbers in sent]
        equal([(each.added, each.queued) for each in told], [(2, 2), (3, 3), (4, 4)])
        numbers = await queue.statistics()
        equal((numbers.added, numbers.queued), (4, 4))


async def _statistics_are_of_now_and_ever(make: MakeStore) -> None:
    async with a_queue(make, lock_time=4) as queue:
        await fill(queue, "abc")
        await queue.enqueue("again", "a")
        await queue.enqueue("again", "a", can_update=True)
        await fill(queue, "d", init_backoff=99)
        await trio.sleep(2)
        numbers = await queue.statistics()
        equal((numbers.queued, numbers.backoff, numbers.oldest_age), (3, 1, 2))
        equal((numbers.added, numbers.updated, numbers.refused), (4, 1, 1))
        equal((numbers.is_quiet, numbers.at_hand, numbers.in_hand), (False, 3, 0))
        a, b, _ = await queue.claim_many(9)
        await a.finish(backoff=99)
        await b.finish("retry", 99)
        await trio.sleep(4)
        numbers = await queue.statistics()
        equal((numbers.queued, numbers.backoff, numbers.locked, numbers.done), (1, 2, 0, 1))
        equal((numbers.claimed, numbers.expired), (3, 1))
        equal((numbers.succeeded, numbers.retried, numbers.failed), (1, 1, 0))
        equal((numbers.closed, numbers.paused, numbers.restarts), (False, False, 0))
        await queue.clear()
        numbers = await queue.statistics()
        equal((numbers.is_quiet, numbers.oldest_age, numbers.through), (True, None, 1))


# -- what an operator does -----------------------------------------------------------------------


async def _a_removed_message_is_gone_whatever_it_was(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "abcd")
        await fill(queue, "e", init_backoff=5)
        a, b, c = await queue.claim_many(3)
        await b.finish(backoff=5)
        await queue.enqueue("requeue", "a", can_requeue=True)
        await queue.enqueue("requeue", "b", can_requeue=True)
        ids = {mid: info.id for mid, info in (await queue.queue_content()).items()}
        equal(await queue.remove(), 0)
        equal(await queue.remove(*ids.values(), c.id, 12345), 5)
        for claim in (a, c):
            with refused(ClaimLostError):
                await claim.finish()
        equal(await counts(queue), (2, 0, 0, 2))
        requeued = await queue.claim_many(9)
        equal([(each.mid, each.message) for each in requeued], [("a", "requeue"), ("b", "requeue")])
        equal((await queue.enqueue("new", "c")).action, "added")


async def _clear_removes_everything(make: MakeStore) -> None:
    async with a_queue(make, max_length=5) as queue, trio.open_nursery() as nursery:
        await fill(queue, "abc")
        await fill(queue, "d", init_backoff=5)
        a, b = await queue.claim_many(2)
        await b.finish(backoff=60)
        await queue.enqueue("requeue", "a", can_requeue=True)
        await queue.enqueue("requeue", "b", can_requeue=True)
        (caller,) = await start_calls(nursery, partial(queue.wait_enqueue, "new", "e"))
        equal((caller.outcome, await queue.clear()), (None, 4))
        await wait_all_tasks_blocked()
        equal(caller.outcome, Enqueued(True, "e", "added"))
        with refused(ClaimLostError):
            await a.finish()
        equal(await counts(queue), (1, 0, 0, 1))
        await trio.sleep(100)
        equal(await drain(queue), ["e"])
        equal(await queue.clear(), 0)


async def _a_closed_queue_takes_nothing_in_and_is_worked_off(make: MakeStore) -> None:
    async with a_queue(make, lock_time=5) as queue, trio.open_nursery() as nursery:
        await fill(queue, "a")
        await fill(queue, "b", init_backoff=2)
        claim = await queue.claim()
        await queue.enqueue("requeue", "a", can_requeue=True)
        await queue.close()
        await queue.close()
        calls: list[Enqueues] = [queue.enqueue, queue.wait_enqueue]
        for call in calls:
            with refused(QueueClosedError):
                await call("c")
            with refused(QueueClosedError):
                await call("c", "b", can_update=True)
        equal(await queue.try_claim(), None)
        await claim.finish()
        equal((await queue.claim()).message, "requeue")
        b = await queue.claim()
        callers = await start_calls(nursery, queue.claim, partial(queue.claim_many, 3))
        await b.finish()
        await wait_all_tasks_blocked()
        equal(callers[1].outcome, None)  # the lock of the requeue may end
        await trio.sleep(5)
        (again,) = taken(callers[0].outcome)
        equal((again.message, again.attempt), ("requeue", 2))
        await again.finish(backoff=60)
        await wait_all_tasks_blocked()
        equal(callers[1].outcome, QueueClosedError)
        with refused(QueueClosedError):
            await queue.try_claim()


async def _a_close_wakes_all_who_wait_in_vain(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        callers = await start_calls(nursery, queue.claim, partial(queue.claim_many, 3))
        await queue.close()
        await wait_all_tasks_blocked()
        equal([caller.outcome for caller in callers], [QueueClosedError] * 2)


async def _a_paused_queue_hands_nothing_out(make: MakeStore) -> None:
    async with a_queue(make) as queue, trio.open_nursery() as nursery:
        await fill(queue, "a")
        held = await queue.claim()
        await queue.pause(8)
        await fill(queue, "b")
        equal((await queue.try_claim(), await queue.queue_size()), (None, 1))
        equal((await queue.statistics()).paused, True)
        await held.extend()
        await held.finish("retry")
        begin = queue.clock.now_ns()
        equal([claim.mid for claim in await queue.claim_many(9)], ["a", "b"])
        equal(queue.clock.now_ns() - begin, 8 * SECOND)
        await queue.pause()
        await fill(queue, "c")
        (caller,) = await start_calls(nursery, queue.claim)
        await trio.sleep(FOREVER / 1e6)
        equal(caller.outcome, None)
        await queue.resume()
        await queue.resume()
        await wait_all_tasks_blocked()
        equal(taken(caller.outcome)[0].mid, "c")


async def _a_restart_changes_nothing(make: MakeStore) -> None:
    async with a_runtime(make) as runtime:
        queue = await runtime.define("q", kind="message", lock_time=9, codec="pickle")
        await fill(queue, "abc")
        await fill(queue, "d", init_backoff=5)
        a, b = await queue.claim_many(2)
        await b.finish(backoff=5)
        await queue.enqueue("requeue", "a", can_requeue=True)
        before = await queue.queue_content()
        await runtime.restart("q")
        equal(await queue.queue_content(), before)
        await a.finish()
        equal([claim.message for claim in await queue.claim_many(9)], ["of c", "requeue"])
        equal(((await queue.statistics()).restarts, await queue.len()), (1, 4))


# -- room ----------------------------------------------------------------------------------------


async def _a_full_queue_refuses_one_more(make: MakeStore) -> None:
    async with a_queue(make, max_length=2) as queue:
        await fill(queue, "x")
        await fill(queue, "y", init_backoff=60)
        with refused(QueueFullError) as refusal:
            await queue.enqueue("new", "z")
        equal(str(refusal.error), "queue 'q' is full: 1 new value, room for 0 (max_length 2)")
        equal((await queue.enqueue("new", "x", can_update=True)).action, "updated")
        equal((await queue.enqueue("new", "x")).error, "already-queued")
        claim = await queue.claim()
        with refused(QueueFullError):
            await queue.enqueue("requeue", "x", can_requeue=True)
        equal((await queue.enqueue("new", "x")).error, "locked")
        await claim.finish(backoff=60)  # what is only remembered takes no room
        equal((await queue.enqueue("requeue", "x", can_requeue=True)).action, "added")
        with refused(QueueFullError):
            await queue.enqueue("new", "z")
        equal((await queue.statistics()).added, 3)


async def _an_enqueue_waits_for_room_in_its_turn(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue, trio.open_nursery() as nursery:
        await fill(queue, "a")
        calls = [
            partial(queue.wait_enqueue, "late", "b", init_backoff=4),
            partial(queue.wait_enqueue, "c", "c"),
            partial(queue.wait_enqueue, "never", "d", timeout=1),
        ]
        callers = await start_calls(nursery, *calls)
        equal((await queue.statistics()).enqueueing, 3)
        await trio.sleep(1.5)
        equal([caller.outcome for caller in callers], [None, None, trio.TooSlowError])
        equal(await drain(queue), ["a"])
        with refused(QueueFullError) as refusal:
            await queue.enqueue("new", "z")
        equal("others wait for room" in str(refusal.error), True)
        begin = queue.clock.now_ns()
        claim = await queue.claim()
        equal((claim.mid, claim.age, queue.clock.now_ns() - begin), ("b", 4, 4 * SECOND))
        await claim.finish(backoff=60)
        await wait_all_tasks_blocked()
        equal(callers[1].outcome, Enqueued(True, "c", "added"))
        equal(await queue.message_status("d"), None)


async def _an_enqueue_that_waited_may_be_refused_in_its_turn(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue, trio.open_nursery() as nursery:
        await fill(queue, "a")
        wait = queue.wait_enqueue
        equal((await wait("new", "a")).error, "already-queued")
        callers = await start_calls(nursery, partial(wait, 1, "b"), partial(wait, 2, "b"))
        equal([caller.outcome for caller in callers], [None, None])
        await (await queue.claim()).finish()
        await wait_all_tasks_blocked()
        equal(callers[0].outcome, Enqueued(True, "b", "added"))
        equal(callers[1].outcome, Enqueued(False, "b", None, "already-queued"))
        (waiting,) = await start_calls(nursery, partial(wait, 3, "c"))
        await queue.close()
        await wait_all_tasks_blocked()
        equal(waiting.outcome, QueueClosedError)


async def _an_enqueue_that_left_adds_nothing(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue:
        await fill(queue, "a")
        with trio.move_on_after(1):
            await queue.wait_enqueue("gone", "b")
        equal(await drain(queue), ["a"])
        equal(await drain(queue), [])


# -- values, arguments, the handle ---------------------------------------------------------------


async def _any_value_comes_out_as_it_went_in(make: MakeStore) -> None:
    values: list[object] = [None, 0, False, "", (), [], {}, {"a": [1, (2,)]}]
    async with a_queue(make) as queue:
        for value in values:
            await queue.enqueue(value)
        equal([claim.message for claim in await queue.claim_many(99)], values)
        await queue.clear()
        await queue.enqueue("old", "ä\n x")
        await queue.enqueue(None, "ä\n x", can_update=True)
        claim = await queue.claim()
        equal((claim.mid, claim.message), ("ä\n x", None))


async def _a_bad_argument_is_refused_before_anything_happens(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        await fill(queue, "x")
        claim = await queue.claim()
        for bad in (-1, float("nan"), float("inf"), "1"):
            with refused(ValueError):
                await queue.enqueue("new", init_backoff=bad)  # type: ignore[arg-type]
            with refused(ValueError):
                await queue.enqueue("new", lock_time=bad)  # type: ignore[arg-type]
            with refused(ValueError):
                await claim.finish("retry", bad)  # type: ignore[arg-type]
            with refused(ValueError):
                await claim.extend(bad)  # type: ignore[arg-type]
            with refused(ValueError):
                await claim.snooze(bad)  # type: ignore[arg-type]
            with refused(ValueError):
                await queue.claim(timeout=bad)  # type: ignore[arg-type]
        for bad in ("", "\ud800"):
            with refused(ValueError):
                await queue.enqueue("new", bad)
        with refused(TypeError):
            await queue.message_status(5)  # type: ignore[arg-type]
        with refused(TypeError):
            await queue.enqueue("new", can_update=1)  # type: ignore[arg-type]
        with refused(ValueError):
            await queue.claim_many(0)
        with refused(ValueError):
            await claim.finish("failure")  # type: ignore[arg-type]
        with refused(TypeError):
            await queue.finish("x")  # type: ignore[arg-type]
        equal(await counts(queue), (0, 1, 0, 1))
        await claim.finish()


async def _a_handle_says_what_it_is(make: MakeStore) -> None:
    async with a_queue(make) as queue:
        equal((queue.name, queue.kind), ("q", "message"))
        equal(repr(queue), "<MessageQueue 'q', store 'memory'>")
        equal(repr(queue.submit), "<MessageQueue 'q', store 'memory'>.submit")


async def _submitted_operations_answer_later(make: MakeStore) -> None:
    async with a_queue(make, max_length=1) as queue:
        submit = queue.submit
        waiting = submit.claim()
        equal((await submit.enqueue("a", "a").get()).action, "added")
        claim = await waiting.get()
        equal((claim.mid, await submit.try_claim().get()), ("a", None))
        await submit.extend(claim, 60).get()
        await submit.snooze(claim).get()
        (claim,) = await submit.claim_many(5).get()
        more = submit.wait_enqueue("b", "b")
        equal(await submit.message_status("a").get(), "locked")
        equal((await submit.queue_status().get()).nlocked, 1)
        equal((await submit.queue_size().get(), await submit.len().get()), (0, 1))
        equal((await submit.statistics().get()).enqueueing, 1)
        await submit.finish(claim, "success", 5).get()
        equal((await more.get()).action, "added")
        equal((await submit.remove(claim.id).get(), await submit.clear().get()), (1, 1))
        await submit.pause().get()
        await submit.resume().get()
        await submit.close().get()
        with refused(QueueClosedError):
            await submit.claim().get()


MESSAGE_RULES: Final[tuple[MessageRule, ...]] = (
    _an_enqueue_says_what_it_did_in_every_status,
    _a_message_without_a_name_gets_a_new_one,
    _an_update_gives_another_content_in_the_same_place,
    _a_reset_changes_the_backoff_and_nothing_else,
    _a_backoff_may_be_reset_again_and_again_within_an_instant,
    _a_backoff_at_first_ends_at_its_instant,
    _messages_come_in_the_order_in_which_they_became_ready,
    _what_comes_back_again_and_again_starves_nobody,
    _a_claim_says_what_it_is,
    _many_are_claimed_at_once_and_nobody_waits_for_more,
    _takers_are_served_in_the_order_in_which_they_began_to_wait,
    _a_taker_that_left_swallows_nothing,
    _every_wake_up_is_exact,
    _a_message_at_the_very_instant_of_a_timeout_is_handed_out,
    _what_is_finished_is_gone_at_once,
    _a_success_with_a_backoff_is_remembered_until_then,
    _a_retry_comes_back_with_its_attempts,
    _a_requeue_comes_when_the_other_is_handled,
    _a_retry_keeps_what_waits_as_its_requeue,
    _a_requeue_can_be_for_what_is_remembered,
    _a_lock_ends_at_its_instant,
    _a_lost_claim_changes_nothing_and_harms_nobody,
    _a_late_finish_loses_no_message,
    _extend_counts_from_now,
    _a_snooze_does_not_count_the_attempt,
    _the_numbers_are_exact_in_every_state,
    _the_content_shows_every_message,
    _long_content_is_read_in_pages,
    _statistics_in_a_batch_are_those_of_their_place,
    _statistics_are_of_now_and_ever,
    _a_removed_message_is_gone_whatever_it_was,
    _clear_removes_everything,
    _a_closed_queue_takes_nothing_in_and_is_worked_off,
    _a_close_wakes_all_who_wait_in_vain,
    _a_paused_queue_hands_nothing_out,
    _a_restart_changes_nothing,
    _a_full_queue_refuses_one_more,
    _an_enqueue_waits_for_room_in_its_turn,
    _an_enqueue_that_waited_may_be_refused_in_its_turn,
    _an_enqueue_that_left_adds_nothing,
    _any_value_comes_out_as_it_went_in,
    _a_bad_argument_is_refused_before_anything_happens,
    _a_handle_says_what_it_is,
    _submitted_operations_answer_later,
)
