"""Whether a runtime is ready: what ``/readyz`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._collect import store_statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from queueactors.stores import Store
    from supervisors import Supervisor

# An operator's stop is meant; what ended by itself was to do so.
_NOT_READY: Final = ("starting", "restarting", "parked")


def not_ready(supervisors: Iterable[Supervisor], stores: Mapping[str, Store]) -> Iterator[str]:
    """Yield what is not up: children that start, restart or are parked, and failing stores.

    Args:
      supervisors: All that run.
      stores: By name.
    """
    for supervisor in supervisors:
        for info in supervisor.which_children():
            if info.state in _NOT_READY:
                yield f"{supervisor.path}/{info.id} is {info.state}"
    for name, store in stores.items():
        statistics = store_statistics(store)
        if statistics is not None and not statistics.works:
            yield f"store {name} fails"
