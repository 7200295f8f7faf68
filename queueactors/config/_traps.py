"""Warns about a configuration that is valid and yet will surprise: traps of tree and options.

What a trap is, `supervisors.find_traps` and the options of a queue say; here the tree is drawn for
it, with stand-ins for what the children do, and the warnings get their places in the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from supervisors import ChildOptions, ChildSpec, child_spec, find_traps

from ._faults import Fault, dotted

if TYPE_CHECKING:
    from ._faults import KeyPath
    from ._schema import ChildConfig, Config, SupervisorConfig
    from ._source import Source

GRACE: Final = 90.0  # seconds: what systemd gives a service to stop, unless told otherwise


def find_warnings(config: Config, source: Source) -> tuple[Fault, ...]:
    """Return what is worth a warning in a configuration without faults."""
    tree = _Tree(config)
    warnings = []
    found = [
        (tree.paths.get(trap.path, ()), trap.message)
        for trap in find_traps(tree.draw(), intensity=0, grace=GRACE)
    ]
    for name, queue in config.queues.items():
        found += [(("queue", name, option), message) for option, message in queue.options.traps]
    found += [(("metrics", option), message) for option, message in config.metrics.traps]
    for path, message in found:
        place = source.place(path)
        told = dotted(source.real(path))
        warnings.append(Fault(place.file or config.file, place.line, told, message))
    return tuple(sorted(warnings, key=lambda each: each.order))


@attrs.define(eq=False)
class _Tree:
    config: Config
    paths: dict[tuple[str, ...], KeyPath] = attrs.field(factory=dict)  # by the path of ids

    def draw(self) -> list[ChildSpec]:
        """Return what will be the runtime's children, as far as traps are concerned."""
        config = self.config
        supervisors = [
            self._supervisor(each, ChildOptions(), ("supervisors", each.name))
            for each in config.roots
        ]
        placed = {
            child.name
            for supervisor in config.supervisors.values()
            for child in supervisor.children
            if child.what == "worker"
        }
        workers = [
            ChildSpec(id=name, start=_stand_in, shutdown=worker.shutdown)
            for name, worker in config.workers.items()
            if name not in placed
        ]
        return [
            child_spec("supervisors", supervisors, intensity=0),
            child_spec("workers", workers),
        ]

    def _supervisor(
        self, config: SupervisorConfig, options: ChildOptions, path: tuple[str, ...]
    ) -> ChildSpec:
        self.paths[path] = ("supervisor", config.name)
        children = []
        for index, child in enumerate(config.children):
            if child.what == "supervisor":
                below = self.config.supervisors[child.name]
                children.append(self._supervisor(below, child.options, (*path, child.id)))
            else:
                self.paths[*path, child.id] = ("supervisor", config.name, "child", index)
                children.append(self._leaf(child))
        flags = config.flags
        return child_spec(
            path[-1],
            children,
            strategy=flags.strategy,
            intensity=flags.intensity,
            period=flags.period,
            auto_shutdown=flags.auto_shutdown,
            **(ChildOptions(on_give_up=config.on_give_up) | config.options | options),
        )

    def _leaf(self, child: ChildConfig) -> ChildSpec:
        options = child.options
        if child.what == "queue":
            options = ChildOptions(shutdown=0) | options  # its actor has nothing to finish
        elif child.what == "worker":
            options = ChildOptions(shutdown=self.config.workers[child.name].shutdown) | options
        return ChildSpec(id=child.id, start=_stand_in, **options)


async def _stand_in() -> None:
    """Stand for what a child does."""
