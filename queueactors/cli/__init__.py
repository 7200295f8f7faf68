"""The command line: ``queueactors``, also ``python -m queueactors``.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 130 Ctrl-C.
"""

from ._main import main

__all__ = ["main"]
