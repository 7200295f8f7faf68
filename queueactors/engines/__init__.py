"""Engines: how a batch of operations is carried out. One protocol, and the local engine."""

from ._durable import DurableEngine, Journal
from ._local import LocalEngine
from ._protocol import (
    ROOM,
    SYNCS,
    TAKERS,
    Core,
    Engine,
    Handover,
    Kept,
    Lane,
    Method,
    Parked,
    Records,
)

__all__ = [
    "ROOM",
    "SYNCS",
    "TAKERS",
    "Core",
    "DurableEngine",
    "Engine",
    "Handover",
    "Journal",
    "Kept",
    "Lane",
    "LocalEngine",
    "Method",
    "Parked",
    "Records",
]
