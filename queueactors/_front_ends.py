"""The front ends: what others reach a runtime by, its metrics and its control socket.

They stand in the runtime's last group, ``front_ends``; without any there is no such group. A change
of the configuration starts only those again that it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from supervisors import ChildSpec, Supervisor, SupervisorsError

from ._parts import PARK
from ._reload import cause_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ._parts import Parts
    from ._runtime import Runtime
    from .config import Config
    from .control._server import ControlServer
    from .metrics._server import MetricsServer

GROUP: Final = "front_ends"


class FrontEnds:
    """The front ends of one runtime.

    Args:
      runtime: The runtime.
      parts: What it consists of.
      control: Whether there is a control socket also if the options do not say where.
    """

    def __init__(self, runtime: Runtime, parts: Parts, *, control: bool) -> None:
        self._runtime = runtime
        self._parts = parts
        self._control = control
        self.specs: list[ChildSpec] = []
        """The children that they are now."""

    @property
    def metrics(self) -> MetricsServer | None:
        """What serves the metrics; None: nothing does."""
        known = self._known("metrics")
        return None if known is None else cast("MetricsServer", known.start)

    def make(self, config: Config) -> list[ChildSpec]:
        """Return those that a configuration wants; what has not changed as it is."""
        return [*self._make_metrics(config), *self._make_control(config)]

    async def change(self, root: Supervisor, specs: list[ChildSpec]) -> dict[str, str]:
        """Let others run; return what went wrong, by their ids.

        One that does not start is parked; one that an operator has stopped stays so.

        Args:
          root: The runtime's supervisor.
          specs: Those that are to run. What is among ``specs`` already is not touched.

        Raises:
          SupervisorStoppedError: If the runtime ends meanwhile.
        """
        if specs == self.specs:
            return {}
        before, self.specs = self.specs, specs
        if not before:
            await root.reconfigure([self._group([])])
            await root.restart_child(GROUP)
        group: object = root.value_of(GROUP)
        if isinstance(group, Supervisor):
            await self._stop(group, [spec for spec in before if spec not in specs])
        if not specs:
            await root.terminate_child(GROUP)
            await root.delete_child(GROUP)
            return {}
        await root.reconfigure([self._group(specs)])
        if not isinstance(group, Supervisor):
            return {}  # an operator has stopped all of them
        down = {spec.id for spec in specs if group.state_of(spec.id) == "stopped"}
        await group.reconfigure(specs)
        new = [spec.id for spec in specs if spec not in before and spec.id not in down]
        return await _start(group, new)

    def has_control(self, root: Supervisor, places: Collection[tuple[Supervisor, str]]) -> bool:
        """Whether the control socket is one of some children of the tree, or in it.

        Args:
          root: The runtime's supervisor.
          places: The children: each its supervisor, and its id there.
        """
        group = root.value_of(GROUP) if self._known("control") is not None else None
        return any(place in {(root, GROUP), (group, "control")} for place in places)

    async def _stop(self, group: Supervisor, specs: list[ChildSpec]) -> None:
        """Stop some, and forget them; of one that comes back, an operator's stop is kept."""
        wanted = {spec.id for spec in self.specs}
        for spec in reversed(specs):
            if spec.id not in wanted:
                await group.terminate_child(spec.id)
                await group.delete_child(spec.id)
            elif group.state_of(spec.id) != "stopped":
                await group.withdraw_child(spec.id)

    def _group(self, specs: list[ChildSpec]) -> ChildSpec:
        return self._parts.group_spec(GROUP, specs)

    def _known(self, id: str) -> ChildSpec | None:
        return next((spec for spec in self.specs if spec.id == id), None)

    def _make_metrics(self, config: Config) -> Iterator[ChildSpec]:
        listen = config.metrics.listen
        if listen is None:
            return
        from .metrics._server import MetricsServer  # which needs an extra

        known = self._known("metrics")
        if known is not None and cast("MetricsServer", known.start).listen == listen:
            yield known
            return
        runtime = self._runtime
        server = MetricsServer(listen, runtime._metrics_steps, runtime.not_ready)  # noqa: SLF001
        yield ChildSpec(id="metrics", start=server, **PARK)

    def _make_control(self, config: Config) -> Iterator[ChildSpec]:
        options = config.control
        path = options.path(config.runtime.data_dir)
        if path is None or not (self._control or options.socket is not None):
            return
        from .control._methods import Methods
        from .control._server import ControlServer

        known = self._known("control")
        if known is not None and cast("ControlServer", known.start).options == options:
            yield known
            return
        name = config.runtime.name
        required = options.socket is not None
        answer = Methods(self._runtime).answer
        server = ControlServer(path, options, name, answer, required=required)
        yield ChildSpec(id="control", start=server, **PARK)


def spare(known: list[ChildSpec], made: list[ChildSpec], ids: Collection[str]) -> list[ChildSpec]:
    """Return those that were made, but of some ids those that are there, or none."""
    kept = [spec for spec in known if spec.id in ids]
    return [*(spec for spec in made if spec.id not in ids), *kept]


async def _start(group: Supervisor, ids: list[str]) -> dict[str, str]:
    errors: dict[str, str] = {}
    for child in ids:
        try:
            await group.restart_child(child, park=True)
        except SupervisorsError as error:
            if group.state != "running":
                raise
            errors[child] = cause_of(error)
    return errors
