"""The options of each queue kind: one class for code and for configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from queueactors._codecs import make_codec
from queueactors._options import Checks, CodecName, Seconds, Target, items
from queueactors.cores._unique import check_unique
from supervisors import MAILBOX, describe

if TYPE_CHECKING:
    from queueactors._codecs import Codec


class QueueOptions:
    """What the options of every kind have, or say, for the runtime."""

    __slots__ = ()

    store: str
    mailbox: int

    @property
    def codec_made(self) -> Codec | None:
        """How a durable store keeps the values; None: no durable store can keep the queue."""
        return None

    @property
    def dead_letter(self) -> str | None:
        """The queue that exhausted messages go to; None: there is none."""
        return None

    @property
    def traps(self) -> list[tuple[str, str]]:
        """What is valid and yet likely to surprise: the option, and why."""
        return []


@attrs.frozen(kw_only=True)
class ChannelOptions(QueueOptions):
    """How a channel behaves.

    Args:
      limit: How many values it may hold (>= 1). None: without limit, until memory is gone.
      snapshot: Containers are copied as they are sent, at any depth, so that neither side sees the
        other's later changes; what cannot be meant to be sent (a function, coroutine, generator,
        queue, lock or open file) is refused. False: what is sent is what comes out.
      mailbox: How many casts and submitted operations may wait for the channel (>= 1): what
        `ChannelQueue.send_nowait` can send before the other tasks have their turn.
      store: The name of the store that keeps it; one in memory.

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.

    Source: seed 000, ``kumo.mpsc.define``.
    """

    limit: int | None = None
    snapshot: bool = True
    mailbox: int = MAILBOX
    store: str = "memory"

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        if self.limit is not None:
            checks.integer("limit", self.limit, least=1)
        checks.boolean("snapshot", self.snapshot)
        checks.integer("mailbox", self.mailbox, least=1)
        checks.string("store", self.store)
        checks.done()


@attrs.frozen(kw_only=True)
class StoredOptions(QueueOptions):
    """What the options of every kind have that a durable store can keep."""

    store: str = "memory"
    codec: CodecName = "msgpack"
    type: Target | None = None
    mailbox: int = MAILBOX

    def _check_stored(self, checks: Checks) -> None:
        checks.string("store", self.store)
        checks.integer("mailbox", self.mailbox, least=1)
        try:
            make_codec(self.codec, self.type)
        except (TypeError, ValueError) as error:
            checks.faults.append(("codec", str(error)))
        except Exception as error:  # noqa: BLE001 - a class of the user's
            checks.faults.append(("codec", f"the codec cannot be made: {describe(error)}"))

    @property
    def codec_made(self) -> Codec:
        """How a durable store keeps the values."""
        return make_codec(self.codec, self.type)


@attrs.frozen(kw_only=True)
class MessageOptions(StoredOptions):
    """How a message queue behaves.

    Args:
      lock_time: Seconds (> 0) that a message is locked for whoever claims it, unless it was
        enqueued with a time of its own. After that it is handed out again.
      max_length: How many messages may be there to be handled (>= 1), those that wait as a
        requeue included. An enqueue that does not fit is refused, or waits
        (`MessageQueue.wait_enqueue`). None: without limit.
      store: The name of the store that keeps the queue.
      codec: How a durable store keeps messages, as in `TimedOptions`.
      type: The class that msgpack and json decode messages into, as in `TimedOptions`.
      mailbox: How many casts and submitted operations may wait for the queue (>= 1).

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.

    Source: seed 001, Carmine's ``worker`` and ``enqueue`` options (there in milliseconds).
    """

    lock_time: Seconds = 3600.0
    max_length: int | None = None

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.seconds("lock_time", self.lock_time, positive=True)
        if self.max_length is not None:
            checks.integer("max_length", self.max_length, least=1)
        self._check_stored(checks)
        checks.done()


@attrs.frozen(kw_only=True)
class TimedOptions(StoredOptions):
    """How a timed queue behaves.

    Args:
      reservation_time: Seconds (> 0) that a reservation lasts, unless a call says otherwise.
      unique: A value that is in the queue (ready, delayed, reserved or buried) does not go in
        again. Values are compared by ``==`` and need not be hashable. Of what cannot be hashed:
        those of different classes are different, and large numbers of one class that has a
        hand-written ``==`` are slow. Where ``==`` gives no bool (arrays): `TypeError`.
      max_reservations: How often a message may be reserved (>= 1). None: without limit.
      on_exhausted: Where a message goes when the last allowed reservation ends without a
        delete: ``"drop"`` (logged and counted), ``"bury"``, or the name of a queue, which gets
        a `DeadLetter`.
      max_length: How many messages it may hold (>= 1): ready, delayed, reserved and buried ones.
        An insert that does not fit is refused, or waits (`TimedQueue.wait_insert`); a dead
        letter waits. What a refill brings and finds no room is left out, and counted: a
        ``sync_fn`` that pops its source loses it. None: without limit.
      values: Go in once, when the store holds no such queue yet.
      sync_fn: The refill: called without arguments but ``sync_args`` when a reserve finds
        nothing; returns the values to insert. Async or plain; a plain one runs in a thread.
        What finds no room (``max_length``), or was read by one that fails or is stopped, does
        not go in: so let it read its source, not pop it, and forget what is done.
      sync_args: Its arguments.
      sync_interval: Seconds (>= 0) from the end of a refill to the next; required with
        ``sync_fn``. While somebody waits, the next one is at least 10 ms away.
      sync_timeout: Seconds (> 0) after which a refill is given up. None: never.
      store: The name of the store that keeps the queue.
      codec: How a durable store keeps values: ``"msgpack"``, ``"json"``, ``"bytes"`` (bytes only),
        ``"pickle"`` (any object; who can write the file can run code), or a `queueactors.Codec` of
        yours, or its class. The memory store keeps the objects themselves.
      type: The class that msgpack and json decode values into; others are refused. None: what
        comes back is made of dicts, lists, strings, numbers and None.
      mailbox: How many casts and submitted operations may wait for the queue (>= 1).

    Raises:
      OptionsError: If an option breaks its rule; ``.faults`` has every one.

    Source: seed 002, ``timed_queue_server`` configuration (there in milliseconds).
    """

    reservation_time: Seconds
    unique: bool = False
    max_reservations: int | None = None
    on_exhausted: str = "drop"
    max_length: int | None = None
    values: tuple[object, ...] = attrs.field(
        default=(), converter=items, repr=lambda values: f"<{len(values)} values>"
    )
    sync_fn: Target | None = None
    sync_args: tuple[object, ...] = attrs.field(default=(), converter=items)
    sync_interval: Seconds | None = None
    sync_timeout: Seconds | None = None

    def __attrs_post_init__(self) -> None:
        checks = Checks()
        checks.seconds("reservation_time", self.reservation_time, positive=True)
        checks.boolean("unique", self.unique)
        if self.max_reservations is not None:
            checks.integer("max_reservations", self.max_reservations, least=1)
        checks.string("on_exhausted", self.on_exhausted)
        self._check_stored(checks)
        self._check_values(checks)
        self._check_refill(checks)
        checks.done()

    def _check_values(self, checks: Checks) -> None:
        if self.unique is True:
            try:
                check_unique(self.values)
            except TypeError as error:
                checks.faults.append(("values", str(error)))
        if self.max_length is not None:
            checks.integer("max_length", self.max_length, least=1)
            limit: object = self.max_length
            if isinstance(limit, int) and 1 <= limit < len(self.values):
                checks.refuse("values", f"at most {limit} values (max_length)", self.values)

    def _check_refill(self, checks: Checks) -> None:
        if self.sync_fn is not None:
            checks.target("sync_fn", self.sync_fn)
            if self.sync_interval is None:
                checks.faults.append(("sync_fn", "sync_fn needs a sync_interval"))
        if self.sync_interval is not None:
            checks.seconds("sync_interval", self.sync_interval, positive=False)
        if self.sync_timeout is not None:
            checks.seconds("sync_timeout", self.sync_timeout, positive=True)
        for option in ("sync_args", "sync_interval", "sync_timeout"):
            if self.sync_fn is None and getattr(self, option) not in ((), None):
                checks.faults.append((option, f"{option} needs a sync_fn"))

    @property
    def traps(self) -> list[tuple[str, str]]:
        """What is valid and yet likely to surprise: the option, and why."""
        if self.on_exhausted == "drop" or self.max_reservations is not None:
            return []
        return [("on_exhausted", "without max_reservations only `fail` exhausts a message")]

    @property
    def dead_letter(self) -> str | None:
        """The queue that exhausted messages go to; None: they are dropped or buried."""
        return None if self.on_exhausted in {"drop", "bury"} else self.on_exhausted
