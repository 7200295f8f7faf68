"""Whether a runtime is ready: what ``/readyz`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._collect import store_statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queueactors.stores import Store
    from supervisors import Tree

# An operator's stop is meant; what ended by itself was to do so.
_NOT_READY: Final = ("starting", "restarting", "parked")


def not_ready(tree: Tree, stores: Mapping[str, Store]) -> Iterator[str]:
    """Yield what is not up: children that start, restart or are parked, and stores that are down.

    Args:
      tree: The runtime's, at this instant. One that stops or has stopped is not up as a whole.
      stores: By name.
    """
    if tree.state != "running":
        yield f"the runtime is {tree.state}"
        return
    for path, child in descend(tree):
        if child.state in _NOT_READY:
            yield f"{path} is {child.state}"
    yield from failing(stores)


def failing(stores: Mapping[str, Store]) -> Iterator[str]:
    """Yield a line for each store that is down; by name."""
    for name, store in stores.items():
        statistics = store_statistics(store)
        if statistics is not None and not statistics.works:
            yield f"store {name} fails"


def descend(tree: Tree, path: str | None = None) -> Iterator[tuple[str, Tree]]:
    """Yield everything below a supervisor with its path, also what a dynamic one has.

    Args:
      tree: The supervisor's.
      path: Its own; None: its id.
    """
    above = tree.id if path is None else path
    for child in tree.children:
        below = f"{above}/{child.id}"
        yield below, child
        yield from descend(child, below)
