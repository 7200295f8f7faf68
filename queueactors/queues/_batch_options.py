"""The options of a batch queue: one class for code and for configuration."""

from __future__ import annotations

from typing import Literal, get_args

import attrs

from queueactors._options import Checks, Seconds, Target, is_generator
from queueactors.retry import FOR_EVER, Retry, is_policy

from ._options import StoredOptions

BufferName = Literal["appending", "merging"]


@attrs.frozen(kw_only=True)
class BatchOptions(StoredOptions):
    """How a batch queue behaves.

    Args:
      process: Called with the queue and a list of items; async or plain. A plain one runs in a
        thread. When it returns, the items are done with; when it raises, they are tried again.
        It may push to the queue that it is given, also while that is closing.
      buffer: Where items are until they are flushed: ``"appending"`` keeps all, ``"merging"`` one
        for each key; or a function that returns an empty buffer of yours, see
        `queueactors.Buffer`.
      merge_key: Returns the key of an item; with ``"merging"`` only, and required there.
      merge: Returns what becomes of two items of one key; likewise. It is called as
        ``merge(old, new)``, must be associative, and should change neither.
      flush_size: Flush when the buffer has so many items (>= 1). 0: never for that.
      flush_pushes: Flush when so many were pushed to it (>= 1). 0: never for that.
      flush_timeout: Flush so many seconds after the first item went in (> 0). 0: never for that.
        With all three 0, only `BatchQueue.flush`, ``push(stored=True)`` and the end flush.
      workers: How many calls of ``process`` may run at a time (>= 1).
      batches: How many batches a call gets at most (>= 1); through a buffer of their own, so that
        a merging one merges across them.
      retry: When a call that failed is tried again, and how often, see `queueactors.retry`. After
        the last attempt its batches can be claimed again, each alone, when ``retry.cooldown`` is
        over, behind those that can be by then.
      max_claims: How often a batch may be claimed in vain (>= 1), each time with all attempts.
        None: without limit.
      on_exhausted: Where a batch goes then: ``"drop"`` (logged and counted), ``"bury"``, or the
        name of a queue, which gets a `DeadLetter` whose value is the list of items.
      on_process_error: Called with what ``process`` raised, each time. None: it is logged.
      on_internal_error: Called with what failed inside: a `StoreError` as batches were claimed, or
        why a batch could not be decoded or merged. None: it is logged. (What a buffer of yours
        hands out and cannot be encoded is logged, as ``items_lost``.)
      max_length: How many items it may hold (>= 1), stored or not; a push that does not fit is
        refused, or waits (`BatchQueue.wait_push`). None: without limit.
      store: The name of the store that keeps the batches.
      codec: How a durable store keeps items, as in `TimedOptions`.
      type: The class that msgpack and json decode items into, as in `TimedOptions`.
      mailbox: How many casts and submitted operations may wait for the queue (>= 1).

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.

    Source: seed 003, ``liq``'s ``Config``.
    """

    process: Target
    buffer: BufferName | Target = "appending"
    merge_key: Target | None = None
    merge: Target | None = None
    flush_size: int = 1
    flush_pushes: int = 0
    flush_timeout: Seconds = 0.0
    workers: int = 1
    batches: int = 1
    retry: Retry = FOR_EVER
    max_claims: int | None = None
    on_exhausted: str = "drop"
    on_process_error: Target | None = None
    on_internal_error: Target | None = None
    max_length: int | None = None

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.target("process", self.process)
        if is_generator(self.process):
            told = f"{self.process!r} is a generator function, whose body would not run"
            checks.faults.append(("process", told))
        self._check_buffer(checks)
        for option in ("flush_size", "flush_pushes"):
            checks.integer(option, getattr(self, option), least=0)
        checks.seconds("flush_timeout", self.flush_timeout, positive=False)
        self._check_room(checks)
        for option in ("workers", "batches"):
            checks.integer(option, getattr(self, option), least=1)
        for option in ("max_claims", "max_length"):
            if getattr(self, option) is not None:
                checks.integer(option, getattr(self, option), least=1)
        if not is_policy(self.retry):
            checks.refuse("retry", "a retry policy, with delay(attempt, random)", self.retry)
        checks.string("on_exhausted", self.on_exhausted)
        for option in ("on_process_error", "on_internal_error"):
            if getattr(self, option) is not None:
                checks.target(option, getattr(self, option))
        self._check_stored(checks)
        checks.done()

    def _check_room(self, checks: Checks) -> None:
        """Refuse a buffer that is never full, as no more items fit into the queue."""
        most: object = self.max_length
        for option in ("flush_size", "flush_pushes"):
            given: object = getattr(self, option)
            if isinstance(most, int) and isinstance(given, int) and 1 <= most < given:
                checks.refuse(option, f"at most max_length, {most}", given)

    def _check_buffer(self, checks: Checks) -> None:
        merging = self.buffer == "merging"
        if not (callable(self.buffer) or _is_name(self.buffer)):
            checks.refuse("buffer", "'appending', 'merging' or callable", self.buffer)
        for option in ("merge_key", "merge"):
            given = getattr(self, option)
            if given is not None:
                checks.target(option, given)
                if not merging:
                    checks.faults.append((option, f"{option} needs buffer = 'merging'"))
            elif merging:
                checks.faults.append((option, f"buffer 'merging' needs a {option}"))

    @property
    def traps(self) -> list[tuple[str, str]]:
        """What is valid and yet likely to surprise: the option, and why."""
        found = []
        if not (self.flush_size or self.flush_pushes or self.flush_timeout):
            told = "nothing flushes by itself: items wait for flush(), or for the end"
            found.append(("flush_size", told))
        elif not self.flush_timeout and max(self.flush_size, self.flush_pushes) > 1:
            told = "the last items wait until others fill the buffer; set flush_timeout too"
            found.append(("flush_timeout", told))
        if self.buffer == "merging" and self.flush_size == 1:
            told = "each item is flushed alone, so nothing is merged before it is stored"
            found.append(("flush_size", told))
        if self.on_exhausted != "drop" and self.max_claims is None:
            found.append(("on_exhausted", "without max_claims no batch is ever exhausted"))
        if self.max_claims is not None and getattr(self.retry, "attempts", 1) == 0:
            told = "the retry policy has no limit of attempts, so no claim ever ends in vain"
            found.append(("max_claims", told))
        return found

    @property
    def dead_letter(self) -> str | None:
        """The queue that exhausted batches go to; None: they are dropped or buried."""
        return None if self.on_exhausted in {"drop", "bury"} else self.on_exhausted


def _is_name(buffer: object) -> bool:
    return isinstance(buffer, str) and buffer in get_args(BufferName)
