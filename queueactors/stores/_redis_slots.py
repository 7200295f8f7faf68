"""Which slot of a Redis cluster a key is in, and where slots are.

Source: the cluster specification, "Hash tags" and appendix A.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOTS: Final = 16384


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of its first ``{...}`` that is not empty, or else of all of it."""
    _, found, rest = key.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return crc_hqx(tag if found and closed and tag else key, 0) % SLOTS
