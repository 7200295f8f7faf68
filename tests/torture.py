"""How many times as long as usual the tests take that could go on for ever: QUEUEACTORS_TORTURE."""

from __future__ import annotations

import os

TORTURE = int(os.environ.get("QUEUEACTORS_TORTURE", "1"))
