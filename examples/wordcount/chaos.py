"""The word count with failures on purpose: its totals must be the same."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import wordcount

if TYPE_CHECKING:
    from queueactors import Delivery

PART = 0.3  # of the attempts that fail by chance
MOST = 2  # such failures of one file

_dice = Random(20)  # noqa: S311 - failures that can be repeated
_failed: Counter[str] = Counter()


def count(delivery: Delivery) -> None:
    """Count one file, or fail by chance: the handler of the queue ``files``."""
    path = str(delivery.value)
    if _failed[path] < MOST and _dice.random() < PART:
        _failed[path] += 1
        raise RuntimeError("by chance")
    wordcount.count(delivery)
