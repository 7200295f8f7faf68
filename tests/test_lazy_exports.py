"""Packages that import what they export when somebody asks for it: nobody can tell."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

PACKAGES = (
    "queueactors",
    "queueactors.config",
    "queueactors.queues",
    "queueactors.stores",
    "queueactors.workers",
    "supervisors",
)
lazy_package = pytest.mark.parametrize("package", PACKAGES)


def seen_by_type_checkers(package: str) -> dict[str, set[str]]:
    """Return the names that a package imports for type checkers, by module."""
    found: dict[str, set[str]] = {}
    path = cast("str", import_module(package).__file__)
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module not in {"typing", "supervisors._lazy"}:
            module = "." * node.level + (node.module or "")
            found[module] = {alias.name for alias in node.names}
    found.pop("._lazy", None)
    return found


def seen_by_programs(package: str) -> dict[str, set[str]]:
    """Return the names that a package imports when they are asked for, by module."""
    path = cast("str", import_module(package).__file__)
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            table = ast.literal_eval(node.args[1])
            return {module: {*names.split()} for module, names in table.items()}
    raise AssertionError(package)


@lazy_package
def test_every_name_that_a_package_exports_is_there(package: str) -> None:
    module = import_module(package)

    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


@lazy_package
def test_programs_and_type_checkers_find_the_same_names_in_the_same_places(package: str) -> None:
    found = seen_by_programs(package)

    assert found == seen_by_type_checkers(package)
    assert sorted(set.union(*found.values())) == sorted(import_module(package).__all__)


@lazy_package
def test_a_name_that_is_not_there_is_an_attribute_error(package: str) -> None:
    module = import_module(package)

    with pytest.raises(AttributeError, match=rf"^module '{package}' has no attribute 'nothing'$"):
        module.nothing  # noqa: B018 - that is the question


def test_a_name_that_is_not_there_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'queueactors'"):
        from queueactors import nothing  # type: ignore[attr-defined] # noqa: F401


def test_importing_the_package_alone_imports_nothing_but_itself() -> None:
    code = (
        "import sys, queueactors\n"
        "print(*sorted({n.split('.')[0] for n in sys.modules} & {'attr', 'msgspec', 'trio'}))\n"
        "print({*queueactors.__all__, 'retry'} <= {*dir(queueactors)})\n"
        "print(queueactors.retry.Fixed.__name__, queueactors.PendingReply.__name__)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "\nTrue\nFixed PendingReply\n"
