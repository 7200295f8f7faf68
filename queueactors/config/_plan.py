"""The plan: what a reload does to what runs, decided before anything happens.

Pure: two configurations go in, and what becomes of each store, queue, worker, supervisor and child
comes out, field by field. `queueactors._reload` carries it out. Source: OTP's ``code_change``,
supervisord's ``update``, Nomad's ``plan``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

from queueactors._options import same

from ._faults import Fault, dotted, value_text
from ._live import CHILD, CONTROL, PLAIN, QUEUES, RUNTIME, STORES, SUPERVISOR, WORKER, How
from ._render import fields_of, toml_text
from ._slots import Key, Slot, What, moved_among, slots

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._faults import KeyPath
    from ._schema import ChildConfig, Config

Action = Literal["added", "removed", "changed", "moved", "unchanged"]

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
      how: How it is applied, as in `queueactors.config._live`.
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
    moved = moved_among(slots(old), slots(new))
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
    yield ("runtime", ""), _Part(fields_of(config.runtime), RUNTIME, ("runtime",), {})
    metrics = fields_of(config.metrics)
    hows: dict[str, How] = dict.fromkeys(metrics, "live")
    yield ("metrics", ""), _Part(metrics, {**hows, "listen": "restart"}, ("metrics",), {})
    yield ("control", ""), _Part(fields_of(config.control), CONTROL, ("control",), {})
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
            hows |= PLAIN
        yield (
            ("queue", name),
            _in_slot(
                filled["queue", name],
                fields_of(queue.options),
                hows,
                ("queue", name),
                fixed=queue.kind,
                instead=_ANOTHER_QUEUE,
            ),
        )
    for name, worker in config.workers.items():
        yield (
            ("worker", name),
            _in_slot(filled["worker", name], fields_of(worker), WORKER, ("worker", name)),
        )
    for name, supervisor in config.supervisors.items():
        flags = fields_of(supervisor.flags)
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
        if not same(before, after):
            shown = [
                _shown(config, each.place_of(field), value)
                for config, each, value in ((old, was, before), (new, part, after))
            ]
            yield Change(field, shown[0], shown[1], part.hows.get(field, "never"))


def _shown(config: Config, path: KeyPath, value: object) -> str:
    """Return a value as a configuration writes it: a secret stays one."""
    origin = config.origins.get(dotted(path))
    if value is None:
        return "not set"
    written = origin.written if origin is not None and origin.secret else value
    return toml_text(written) or value_text(written)
