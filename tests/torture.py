"""How long the tests take that could go on for ever: QUEUEACTORS_TORTURE."""

from __future__ import annotations

import os
from typing import Final

TORTURE: Final = int(os.environ.get("QUEUEACTORS_TORTURE", "1"))
"""How many times as long as usual."""
REPEATS: Final = "QUEUEACTORS_TORTURE" not in os.environ
"""Whether what is tried is the same each time: whoever changes something is to find out what that
does, and nothing else. Who looks for more gets other examples each time."""
