"""Stores: where the records of queues are kept."""

from ._memory import Kind, MemoryStore, Store

__all__ = ["Kind", "MemoryStore", "Store"]
