"""What the tests of the batch queue's core share."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from queueactors.cores.batch import (
    BatchCore,
    Buffer,
    Claimed,
    Merging,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueactors.cores.batch import BatchState

ENDED = "the process ended that had it"


def claim(core: BatchCore, now: int, limit: int = 1) -> Claimed:
    """Claim what must be there."""
    claimed = core.claim(now, limit)
    assert claimed is not None
    return claimed


def processed(core: BatchCore, key: int, items: int = 1) -> None:
    """End a claim with success, and claim nothing."""
    core.done(0, key, items)


def stored(core: BatchCore, now: int, *values: object) -> None:
    """Store each value as a batch."""
    for value in values:
        core.push(now, [value])
        core.flush(now)


def contents(core: BatchCore, now: int = 0) -> list[object]:
    """Return what the batches hold that can be claimed, in order."""
    return [batch.items for batch in core.peek(now, "ready", 1000)]


def drain(core: BatchCore, now: int) -> list[list[object]]:
    """Claim and process all there is; return the values of each claim."""
    seen = []
    while (claimed := core.claim(now)) is not None:
        seen.append([item for value in claimed.values for item in cast("list[object]", value)])
        processed(core, claimed.key)
    return seen


def flushed(core: BatchCore, now: int = 0) -> dict[str, int]:
    """Return how many items were flushed, by what caused it, where there were any."""
    return {cause: count for cause, count in core.statistics(now).flushed.items() if count}


def rebuilt(core: BatchCore, **options: object) -> BatchCore:
    """Return a new core over the same records."""
    return BatchCore(records=core.records, **options)  # type: ignore[arg-type]


def counting() -> Buffer:
    """Return a buffer that counts items."""
    buffer = Merging(lambda pair: cast("tuple[str, int]", pair)[0], add_up)

    class Counting:
        """Takes words, and hands out pairs."""

        def push(self, item: object) -> None:
            buffer.push((item, 1))

        def __len__(self) -> int:
            return len(buffer)

        def __iter__(self) -> Iterator[object]:
            return iter(buffer)

    return Counting()


def add_up(there: object, pair: object) -> object:
    first, second = cast("tuple[str, int]", there), cast("tuple[str, int]", pair)
    return first[0], first[1] + second[1]


def in_every_state() -> tuple[BatchCore, dict[int, BatchState]]:
    """Return a core with a batch in each state, and two of each that may be together."""
    core = BatchCore(max_claims=2, on_exhausted="other")
    stored(core, 0, "dead", "buried", "cooling")
    for _ in range(3):
        core.failed(0, claim(core, 0).key, "bad")
    for _ in range(2):
        core.failed(0, claim(core, 0).key, "bad")
    core.bury_dead(0, 2)
    core._max_claims = None  # noqa: SLF001
    core.failed(0, claim(core, 0).key, "bad", None, 99)
    stored(core, 0, "retry", "retry", "claimed", "claimed", "ready")
    core.failed(0, claim(core, 0, 2).key, "bad", 50)
    claim(core, 0, 2)
    return core, {batch.id: batch.state for batch in core.records.messages.values()}
