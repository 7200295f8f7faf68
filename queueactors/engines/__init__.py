"""Engines: how a batch of operations is carried out. One protocol, and the local engine."""

from ._local import LocalEngine, Method
from ._protocol import ROOM, SYNCS, TAKERS, Core, Engine, Lane, Parked

__all__ = [
    "ROOM",
    "SYNCS",
    "TAKERS",
    "Core",
    "Engine",
    "Lane",
    "LocalEngine",
    "Method",
    "Parked",
]
