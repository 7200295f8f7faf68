"""The command line: ``queueactors``, also ``python -m queueactors``.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 130 Ctrl-C.
"""

from typing import TYPE_CHECKING

from supervisors._lazy import lazy_exports

if TYPE_CHECKING:
    from ._main import main
else:
    __getattr__, __dir__ = lazy_exports(__name__, {"._main": "main"})

__all__ = ["main"]
