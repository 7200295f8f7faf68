"""Packages that import what they export when somebody asks for it.

So a module deep inside a package can be imported without all the others: what only reads a
configuration waits for neither trio nor an engine. Source: PEP 562.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def lazy_exports(
    package: str, exports: Mapping[str, str], modules: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package.

    A name is looked up once; from then on it is an ordinary attribute. Type checkers need the
    same names in imports of their own, ``if TYPE_CHECKING``.

    Args:
      package: Its full name.
      exports: The names that it exports, divided by blanks, by the module that has them.
      modules: The modules of the package that can be reached through it, without an import.
    """
    found_in = {name: module for module, names in exports.items() for name in names.split()}
    known = {*found_in, *modules}

    def get(name: str) -> object:
        if name not in known:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name not in found_in:
            return import_module(f"{package}.{name}")  # which makes it an attribute
        value: object = getattr(import_module(found_in[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *known})

    return get, names
