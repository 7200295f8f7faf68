"""The places in the tree that a configuration fills, and which of them change their order. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, Literal

import attrs

from supervisors import ChildSpec

from ._tree import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ._faults import KeyPath
    from ._schema import ChildConfig, Config, SupervisorConfig

What = Literal["runtime", "metrics", "control", "store", "queue", "worker", "supervisor", "start"]
Key = tuple[What, str]  # a child of yours that only has a start function: by its path

_CHILD_DEFAULTS: Final[Mapping[str, object]] = {
    field.name: field.default for field in attrs.fields(ChildSpec) if field.name in OPTIONS
}


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


def moved_among(old: Iterable[Slot], new: Iterable[Slot]) -> set[Key]:
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
