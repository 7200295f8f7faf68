"""The plan: what a reload does to what runs, decided before anything happens.

Pure: two configurations go in, and what becomes of each store, queue, worker, supervisor and child
comes out, field by field. `queueactors._reload` carries it out. Source: OTP's ``code_change``,
supervisord's ``update``, Nomad's ``plan``.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, Literal

import attrs

from supervisors import Backoff

from ._faults import Fault, dotted, value_text
from ._render import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ._faults import KeyPath
    from ._schema import ChildConfig, Config, SupervisorConfig

How = Literal["live", "beside", "restart", "later", "never"]
What = Literal["runtime", "metrics", "control", "store", "queue", "worker", "supervisor", "start"]
Action = Literal["added", "removed", "changed", "moved", "unchanged"]
Key = tuple[What, str]  # a child of yours that only has a start function: by its path

_STORED: Final[Mapping[str, How]] = {
    "store": "never",
    "codec": "never",
    "type": "never",
    "mailbox": "live",
}
_PLAIN: Final[Mapping[str, How]] = {**_STORED, "codec": "later", "type": "later"}
QUEUES: Final[Mapping[str, Mapping[str, How]]] = {
    "timed": {
        **_STORED,
        "reservation_time": "live",
        "unique": "restart",
        "max_reservations": "live",
        "on_exhausted": "live",
        "max_length": "live",
        "values": "later",
        "sync_fn": "live",
        "sync_args": "live",
        "sync_interval": "live",
        "sync_timeout": "live",
    },
    "message": {**_STORED, "lock_time": "live", "max_length": "live"},
    "batch": {
        **_STORED,
        "process": "live",
        "buffer": "never",
        "merge_key": "never",
        "merge": "never",
        "flush_size": "live",
        "flush_pushes": "live",
        "flush_timeout": "live",
        "workers": "beside",
        "batches": "live",
        "retry": "live",
        "max_claims": "live",
        "on_exhausted": "live",
        "on_process_error": "live",
        "on_internal_error": "live",
        "max_length": "live",
    },
    "log": {**_STORED, "ttl": "live"},
    "capacity": {**_STORED, "max_elements": "live"},
    "channel": {"store": "never", "limit": "live", "snapshot": "live", "mailbox": "live"},
}
"""How a change of each option of each kind of queue is applied.

``live``: in place. ``beside``: what processes the batches is started again, the queue is not.
``restart``: the queue's actor is started again; those who wait for it go on waiting. ``later``: it
counts for a queue that is not there yet. ``never``: not while the runtime runs.
"""
WORKER: Final[Mapping[str, How]] = {
    "queue": "restart",
    "handler": "restart",
    "args": "restart",
    "batch": "restart",
    "concurrency": "live",
    "on_exception": "live",
    "backoff": "live",
    "max_attempts": "live",
    "dead_letter": "live",
    "throttle": "live",
    "eoq_backoff": "live",
    "monitor": "live",
    "auto_start": "later",
    "max_runtime": "live",
    "shutdown": "live",
}
STORES: Final[Mapping[str, Mapping[str, How]]] = {
    "sqlite": {"timeout": "live", "on_failure": "live", "release_on_start": "later"}
}
"""Of a store; what is not there cannot change while the runtime runs."""
RUNTIME: Final[Mapping[str, How]] = {"name": "never", "data_dir": "never", "log_level": "live"}
CONTROL: Final[Mapping[str, How]] = {
    "socket": "restart",
    "clients": "restart",
    "timeout": "restart",
    "max_line": "restart",
}
CHILD: Final[Mapping[str, How]] = {
    "restart": "live",
    "shutdown": "live",
    "significant": "live",
    "init_timeout": "live",
    "backoff": "live",
    "on_give_up": "live",
    "start": "restart",
    "args": "restart",
}
SUPERVISOR: Final[Mapping[str, How]] = {
    "strategy": "live",
    "intensity": "live",
    "period": "live",
    "auto_shutdown": "live",
}

_CHILD_DEFAULTS: Final[Mapping[str, object]] = {
    "restart": "permanent",
    "shutdown": None,
    "significant": False,
    "init_timeout": None,
    "backoff": Backoff(),
    "on_give_up": "escalate",
}
_ANOTHER_QUEUE: Final = (
    "give the queue another name; or take it out, reload, and add it again once it is drained"
)
_ABSENT: Final = object()
_ANOTHER_PROCESS: Final = "stop the process and start it again"


@attrs.frozen
class Change:
    """A value that differs.

    Args:
      field: The option.
      before: Its value as a configuration writes it, a secret as ``${NAME}``.
      after: Likewise.
      how: How it is applied, as in `QUEUES`.
    """

    field: str
    before: str
    after: str
    how: How


@attrs.frozen(kw_only=True)
class Item:
    """What becomes of one part of a configuration.

    Args:
      what: What it is.
      name: Its name; of a ``start`` child its path in the tree.
      action: What happens to it. ``moved``: only its place is another one.
      place: The path of its supervisor and its id, after the reload; before, if it is removed.
        Empty: it has no place in the tree.
      before: Its place before, if that was another one; None: it is the same.
      changes: The values that differ.
    """

    what: What
    name: str
    action: Action
    place: str = ""
    before: str | None = None
    changes: tuple[Change, ...] = ()

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        return self.what, self.name

    @property
    def restarts(self) -> bool:
        """Whether its child is stopped and started again."""
        if self.action not in {"changed", "moved"}:
            return False
        return self.before is not None or any(each.how == "restart" for each in self.changes)


@attrs.frozen(kw_only=True)
class Plan:
    """What a reload does.

    Args:
      items: What becomes of each part, in the order of the new configuration.
      faults: What cannot be done while the runtime runs. If there are any, nothing is.
    """

    items: tuple[Item, ...]
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        from ._plan_text import plan_text

        return plan_text(self)

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return all(item.action == "unchanged" for item in self.items)

    def __getitem__(self, key: Key) -> Item:
        return next(item for item in self.items if item.key == key)


@attrs.frozen
class Slot:
    """A place in the tree that a configuration fills.

    Args:
      above: The ids of the supervisors above it, the runtime's own aside.
      id: The child's.
      key: What fills it.
      options: Its child options, complete.
      path: Where the configuration says so.
    """

    above: tuple[str, ...]
    id: str
    key: Key
    options: Mapping[str, object]
    path: KeyPath

    @property
    def place(self) -> str:
        """The path of the child in the tree."""
        return "/".join((*self.above, self.id))


def slots(config: Config) -> list[Slot]:
    """Return the places in the tree that a configuration fills, in start order.

    A supervisor stands before its children, so that the reverse is a stop order, too.
    """
    parked = {**_CHILD_DEFAULTS, "on_give_up": "park"}
    placed = {
        (child.what, child.name) for each in config.supervisors.values() for child in each.children
    }
    found = [
        Slot(("stores",), f"store.{name}", ("store", name), parked, ("store", name))
        for name in config.stores
    ]
    found += [
        Slot(("queues",), f"queue.{name}", ("queue", name), parked, ("queue", name))
        for name in config.queues
        if ("queue", name) not in placed
    ]
    for each in config.roots:
        found += _supervisor_slots(config, each, None, ("supervisors",), f"supervisor.{each.name}")
    found += [
        Slot(
            ("workers",),
            f"worker.{name}",
            ("worker", name),
            {**parked, "shutdown": worker.shutdown},
            ("worker", name),
        )
        for name, worker in config.workers.items()
        if ("worker", name) not in placed
    ]
    return found


def _supervisor_slots(
    config: Config,
    supervisor: SupervisorConfig,
    child: ChildConfig | None,
    above: tuple[str, ...],
    id: str,
) -> Iterator[Slot]:
    path: KeyPath = ("supervisor", supervisor.name)
    said = {"on_give_up": supervisor.on_give_up, **supervisor.options}
    given = {} if child is None else child.options
    options = {**_CHILD_DEFAULTS, **said, **given}
    yield Slot(above, id, ("supervisor", supervisor.name), options, path)
    for index, each in enumerate(supervisor.children):
        at: KeyPath = (*path, "child", index)
        inside = (*above, id)
        if each.what == "supervisor":
            below = config.supervisors[each.name]
            yield from _supervisor_slots(config, below, each, inside, each.id)
            continue
        own: dict[str, object] = dict(_CHILD_DEFAULTS)
        key: Key = (each.what, each.name)
        if each.what == "worker":
            own["shutdown"] = config.workers[each.name].shutdown
        elif each.what == "start":
            key = ("start", "/".join((*inside, each.id)))
        yield Slot(inside, each.id, key, {**own, **each.options}, at)


# -- comparing -------------------------------------------------------------------------------------


@attrs.frozen
class _Part:
    """One part of a configuration: what it says, field by field, and where."""

    fields: Mapping[str, object]
    hows: Mapping[str, How]
    path: KeyPath
    paths: Mapping[str, KeyPath]  # of fields that stand elsewhere
    slot: Slot | None = None
    fixed: object = None  # what makes it another thing altogether, and what to do instead
    instead: str = _ANOTHER_PROCESS

    def place_of(self, field: str) -> KeyPath:
        return self.paths.get(field, (*self.path, field))


def make_plan(old: Config, new: Config) -> Plan:
    """Return what a change from one configuration to another does.

    Args:
      old: What runs.
      new: What is to run.
    """
    before, after = dict(_parts(old)), dict(_parts(new))
    moved = _moved(slots(old), slots(new))
    items, faults = [], []
    for key, part in after.items():
        was = before.get(key)
        if was is None:
            items.append(_item(key, "added", part))
            continue
        if was.fixed != part.fixed:
            faults.append(_fault(new, part, "kind", was.fixed, part.fixed))
            continue
        changes = tuple(_changes(old, was, new, part))
        faults += [
            _fault(new, part, each.field, each.before, each.after)
            for each in changes
            if each.how == "never"
        ]
        place = None if was.slot is None else was.slot.place
        elsewhere = part.slot is not None and place != part.slot.place
        action: Action = "unchanged"
        if changes:
            action = "changed"
        elif elsewhere or key in moved:
            action = "moved"
        item = _item(key, action, part)
        items.append(attrs.evolve(item, before=place if elsewhere else None, changes=changes))
    items += [_item(key, "removed", part) for key, part in before.items() if key not in after]
    return Plan(items=tuple(items), faults=tuple(sorted(faults, key=lambda each: each.order)))


def _item(key: Key, action: Action, part: _Part) -> Item:
    place = "" if part.slot is None else part.slot.place
    return Item(what=key[0], name=key[1], action=action, place=place)


def _fault(config: Config, part: _Part, field: str, before: object, after: object) -> Fault:
    path = part.place_of(field)
    origin = config.origins.get(dotted(path))
    file, line = (config.file, None) if origin is None else (origin.file, origin.line)
    told = f"{field} cannot change while the runtime runs ({before} -> {after}); {part.instead}"
    return Fault(file, line, dotted(path), told)


def _parts(config: Config) -> Iterator[tuple[Key, _Part]]:
    """Yield all parts, in the order of the configuration."""
    yield ("runtime", ""), _Part(_fields(config.runtime), RUNTIME, ("runtime",), {})
    metrics = _fields(config.metrics)
    hows: dict[str, How] = dict.fromkeys(metrics, "live")
    yield ("metrics", ""), _Part(metrics, {**hows, "listen": "restart"}, ("metrics",), {})
    yield ("control", ""), _Part(_fields(config.control), CONTROL, ("control",), {})
    filled = {slot.key: slot for slot in slots(config)}
    for name, store in config.stores.items():
        options = dict(store.options)
        yield (
            ("store", name),
            _Part(
                {"type": store.factory, **options},
                {**dict.fromkeys([*options, "type"], "never"), **STORES.get(store.type, {})},
                ("store", name),
                {},
            ),
        )
    for name, queue in config.queues.items():
        durable = getattr(config.stores[queue.options.store].factory, "durable", False) is True
        encodes = durable or queue.kind in {"log", "capacity"}
        hows = dict(QUEUES[queue.kind])
        if not encodes and "codec" in hows:
            hows |= _PLAIN
        yield (
            ("queue", name),
            _in_slot(
                filled["queue", name],
                _fields(queue.options),
                hows,
                ("queue", name),
                fixed=queue.kind,
                instead=_ANOTHER_QUEUE,
            ),
        )
    for name, worker in config.workers.items():
        yield (
            ("worker", name),
            _in_slot(filled["worker", name], _fields(worker), WORKER, ("worker", name)),
        )
    for name, supervisor in config.supervisors.items():
        flags = _fields(supervisor.flags)
        yield (
            ("supervisor", name),
            _in_slot(filled["supervisor", name], flags, SUPERVISOR, ("supervisor", name)),
        )
        for child in supervisor.children:
            slot = _slot_of(filled, name, child)
            if slot is not None:
                fields = {"start": child.start, "args": child.args}
                yield slot.key, _in_slot(slot, fields, CHILD, slot.path)


def _slot_of(filled: Mapping[Key, Slot], supervisor: str, child: ChildConfig) -> Slot | None:
    """Return the place of a child that only has a start function; None: it is another sort."""
    if child.what != "start":
        return None
    above = filled["supervisor", supervisor]
    return filled["start", f"{above.place}/{child.id}"]


def _in_slot(  # noqa: PLR0913 - a part has these
    slot: Slot,
    fields: Mapping[str, object],
    hows: Mapping[str, How],
    path: KeyPath,
    *,
    fixed: object = None,
    instead: str = _ANOTHER_PROCESS,
) -> _Part:
    """Return a part that is a child: what its supervisor goes by belongs to it."""
    options: dict[str, object] = {}
    paths: dict[str, KeyPath] = {}
    for key, value in slot.options.items():
        if fields.get(key, _ABSENT) != value:  # the entry of the child counts more than its table
            field = f"child.{key}" if key in fields else key
            options[field], paths[field] = value, (*slot.path, key)
    hows = {**CHILD, "child.shutdown": "live", **hows}
    return _Part({**fields, **options}, hows, path, paths, slot, fixed, instead)


def _changes(old: Config, was: _Part, new: Config, part: _Part) -> Iterator[Change]:
    for field in dict.fromkeys([*part.fields, *was.fields]):
        before, after = was.fields.get(field), part.fields.get(field)
        if not _same(before, after):
            shown = [
                _shown(config, each.place_of(field), value)
                for config, each, value in ((old, was, before), (new, part, after))
            ]
            yield Change(field, shown[0], shown[1], part.hows.get(field, "never"))


def _same(one: object, other: object) -> bool:
    """Return whether two values say the same; with values such as arrays nobody can tell."""
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - a value's own __eq__
        return False


def _shown(config: Config, path: KeyPath, value: object) -> str:
    """Return a value as a configuration writes it: a secret stays one."""
    origin = config.origins.get(dotted(path))
    if value is None:
        return "not set"
    written = origin.written if origin is not None and origin.secret else value
    return toml_text(written) or value_text(written)


def _fields(options: attrs.AttrsInstance) -> dict[str, object]:
    fields = attrs.fields(type(options))
    return {each.alias: getattr(options, each.name) for each in fields if each.init}


# -- moving ----------------------------------------------------------------------------------------


def _moved(old: Iterable[Slot], new: Iterable[Slot]) -> set[Key]:
    """Return what has another place among its siblings, as few as explain the new order."""
    before, after = _by_supervisor(old), _by_supervisor(new)
    moved: set[Key] = set()
    for above, keys in after.items():
        ranks = {key: rank for rank, key in enumerate(before.get(above, ()))}
        common = [key for key in keys if key in ranks]
        stay = _longest_rise([ranks[key] for key in common])
        moved |= {key for index, key in enumerate(common) if index not in stay}
    return moved


def _by_supervisor(found: Iterable[Slot]) -> dict[tuple[str, ...], list[Key]]:
    children: dict[tuple[str, ...], list[Key]] = {}
    for slot in found:
        children.setdefault(slot.above, []).append(slot.key)
    return children


def _longest_rise(ranks: Sequence[int]) -> set[int]:
    """Return the indexes of a longest increasing subsequence."""
    tails: list[int] = []  # the least rank that a rise of each length can end with
    ends: list[int] = []  # where that is
    before: list[int] = []
    for index, rank in enumerate(ranks):
        length = bisect_left(tails, rank)
        before.append(ends[length - 1] if length else -1)
        tails[length:] = [rank, *tails[length + 1 :]]
        ends[length:] = [index, *ends[length + 1 :]]
    found: set[int] = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        found.add(at)
        at = before[at]
    return found
