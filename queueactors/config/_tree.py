"""Checks the supervisors: what they are, and that their children make a tree."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Literal, cast

import attrs

from queueactors._options import Seconds, Target
from supervisors import (
    AutoShutdown,
    Backoff,
    ChildOptions,
    ChildSpec,
    ChildSpecError,
    ChildType,
    OnGiveUp,
    RestartType,
    Strategy,
    SupervisorFlags,
    check_childspecs,
)

from ._faults import as_table, dotted
from ._schema import ChildConfig, SupervisorConfig
from ._targets import target_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._faults import KeyPath
    from ._reader import Hints, Reader

What = Literal["queue", "worker", "supervisor", "start"]

FLAGS: Hints = {
    "strategy": Strategy,
    "intensity": int,
    "period": Seconds,
    "auto_shutdown": AutoShutdown,
}
OPTIONS: Hints = {
    "restart": RestartType,
    "shutdown": Seconds | Literal["brutal", "infinity"],
    "significant": bool,
    "init_timeout": Seconds,
    "backoff": Backoff,
    "on_give_up": OnGiveUp,
}
WHAT: Hints = {"queue": str, "worker": str, "supervisor": str, "start": Target}
_CHILD: Hints = {"id": str, **WHAT, "args": tuple[object, ...], **OPTIONS}
SUPERVISOR_KEYS: Hints = {**FLAGS, **OPTIONS}
"""The keys of a supervisor's table, ``child`` aside."""


def read_supervisors(
    reader: Reader, tables: Mapping[str, Mapping[str, Mapping[str, object]]]
) -> dict[str, SupervisorConfig]:
    """Return the supervisors by name, after noting every fault."""
    tree = _Tree(reader, tables)
    for name, table in tables["supervisor"].items():
        tree.read_flags(name, table)
    for name, table in tables["supervisor"].items():
        tree.read_children(name, table)
    tree.check_roots()
    tree.check_cycles()
    return tree.supervisors


@attrs.define(eq=False)
class _Tree:
    reader: Reader
    tables: Mapping[str, Mapping[str, Mapping[str, object]]]
    supervisors: dict[str, SupervisorConfig] = attrs.field(factory=dict)
    _auto_shutdown: dict[str, AutoShutdown] = attrs.field(factory=dict)  # those not wrong
    _placed: dict[tuple[str, str], KeyPath] = attrs.field(factory=dict)
    _edges: dict[str, dict[str, KeyPath]] = attrs.field(factory=dict)

    def read_flags(self, name: str, table: Mapping[str, object]) -> None:
        path = ("supervisor", name)
        own = {key: value for key, value in table.items() if key != "child"}
        known = {**SUPERVISOR_KEYS, "child": list}
        values = self.reader.read(path, own, known)
        flags = {key: value for key, value in values.items() if key in FLAGS}
        options = {key: values[key] for key in OPTIONS if key in values}
        if (*path, "auto_shutdown") not in self.reader.refused:
            self._auto_shutdown[name] = cast("AutoShutdown", flags.get("auto_shutdown", "never"))
        self.supervisors[name] = SupervisorConfig(
            name=name,
            flags=self.reader.make(SupervisorFlags, path, flags) or SupervisorFlags(),
            on_give_up=cast("OnGiveUp", options.pop("on_give_up", "escalate")),
            options=cast("ChildOptions", options),
            children=(),
        )

    def read_children(self, name: str, table: Mapping[str, object]) -> None:
        path: KeyPath = ("supervisor", name, "child")
        given = table.get("child", [])
        if not isinstance(given, list | tuple):
            told = f"expected child to be an array of tables, got {self.reader.got(path, given)}"
            self.reader.refuse(path, told)
            return
        children: list[ChildConfig] = []
        ids: dict[str, KeyPath] = {}
        for index, value in enumerate(given):
            at = (*path, index)
            if as_table(value) is None:
                told = f"expected a child to be a table, got {self.reader.got(at, value)}"
                self.reader.refuse(at, told)
                continue
            child = self._child(name, at, as_table(value) or {})
            if child is not None:
                children.append(child)
                self._check_id(child.id, at, ids, given="id" in (as_table(value) or {}))
        self.supervisors[name] = attrs.evolve(self.supervisors[name], children=tuple(children))

    def _child(self, parent: str, path: KeyPath, table: dict[str, object]) -> ChildConfig | None:
        values = self.reader.read(path, table, _CHILD)
        whats = [what for what in WHAT if what in table]
        if len(whats) != 1:
            got = " and ".join(whats) or "none"
            told = f"expected exactly one of {', '.join(WHAT)}, got {got}"
            self.reader.refuse(path, told)
            return None
        what = cast("What", whats[0])
        if "args" in table and what != "start":
            self.reader.refuse((*path, "args"), "args goes with start only")
        start = values["start"] if what == "start" else None
        name = _function(table["start"], start) if start is not None else str(values[what])
        if what != "start" and (*path, what) not in self.reader.refused:
            self._place(parent, (*path, what), what, name)
        given = {key: values[key] for key in OPTIONS if key in values}
        child = ChildConfig(
            id=str(values.get("id", f"{what}.{name}")),
            what=what,
            name=name,
            start=cast("Target | None", start),
            args=cast("tuple[object, ...]", values.get("args", ())),
            options=cast("ChildOptions", given),
        )
        self._check_spec(self._auto_shutdown.get(parent), path, child)
        return child

    def _place(self, parent: str, path: KeyPath, what: What, name: str) -> None:
        """Note where a child stands; it must exist and stand nowhere else."""
        known = self.tables[what]
        if name not in known:
            self.reader.unknown(path, what, name, known)
            return
        if what == "supervisor":
            self._edges.setdefault(parent, {}).setdefault(name, path)
        first = self._placed.setdefault((what, name), path)
        if first != path:
            self.reader.refuse(path, f"it is placed twice: also at {self._also(first)}")

    def _check_id(self, id: str, path: KeyPath, ids: dict[str, KeyPath], *, given: bool) -> None:
        first = ids.setdefault(id, path)
        twice = any((*path, what) in self.reader.refused for what in WHAT)
        if first != path and not twice:
            where = (*path, "id") if given else path
            told = f"its id is used twice: also at {self._also(first)}; give it another id"
            self.reader.refuse(where, told)

    def _also(self, path: KeyPath) -> str:
        place = str(self.reader.source.place(path))
        return f"{dotted(path)} ({place})" if place else dotted(path)

    def _check_spec(
        self, auto_shutdown: AutoShutdown | None, path: KeyPath, child: ChildConfig
    ) -> None:
        """Check the options of a child together with what a supervisor says of itself."""
        options: dict[str, object] = dict(child.options)
        where = {key: (*path, key) for key in (*options, "id")}
        if child.what == "supervisor" and child.name in self.supervisors:
            placed = self.supervisors[child.name]
            said = {"on_give_up": placed.on_give_up, **placed.options}
            where = {key: ("supervisor", child.name, key) for key in said} | where
            options = said | options
        type_: ChildType = "supervisor" if child.what == "supervisor" else "worker"
        values = {"id": child.id, "start": _start, "type": type_, **options}
        spec = self.reader.make(ChildSpec, path, values, where)
        if spec is not None:
            try:
                check_childspecs([spec], auto_shutdown=auto_shutdown)
            except ChildSpecError as error:
                for told in error.faults:
                    at = where.get("significant", path)
                    self.reader.refuse_foreign(at, told.removeprefix(f"child {child.id!r}: "))

    def check_roots(self) -> None:
        """Check the supervisors that no child entry places: as children of the runtime."""
        for name in self.supervisors:
            if ("supervisor", name) not in self._placed:
                child = ChildConfig(id=name, what="supervisor", name=name, options={})
                self._check_spec("never", ("supervisor", name), child)

    def check_cycles(self) -> None:
        """Note every cycle, at the child that leads into it."""
        edges = {parent: dict(children) for parent, children in self._edges.items()}
        order = list(self.tables["supervisor"])
        while True:
            try:
                TopologicalSorter(edges).prepare()
            except CycleError as error:
                cycle: list[str] = error.args[1][:0:-1]
                first = min(range(len(cycle)), key=lambda at: order.index(cycle[at]))
                cycle = cycle[first:] + cycle[:first]
                cycle.append(cycle[0])
                path = edges[cycle[0]].pop(cycle[1])
                self.reader.refuse(path, f"supervisors in a cycle: {' -> '.join(cycle)}")
            else:
                return


async def _start() -> None:
    """Stand for the start function: only the options of the spec are of interest."""


def _function(given: object, start: object) -> str:
    """Return the name of a start function, as its target or the function itself tells it."""
    target = given if isinstance(given, str) else target_text(start) or ""
    return target.rpartition(":")[2] or type(start).__name__
