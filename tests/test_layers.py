"""Who imports whom: only what stands earlier in the list, and cores are pure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    ("supervisors",),
    (
        "queueactors._errors",
        "queueactors._state_errors",
        "queueactors._clock",
        "queueactors._options",
        "queueactors._accept",
        "queueactors._call",
        "queueactors._histogram",
        "queueactors._insist",
        "queueactors._steps",
        "queueactors.retry",
    ),
    ("queueactors.cores",),
    ("queueactors._codecs",),
    ("queueactors.engines",),
    ("queueactors.stores",),
    (
        "queueactors.queues._batch_options",
        "queueactors.queues._chunk_options",
        "queueactors.queues._kind_options",
        "queueactors.queues._options",
        "queueactors.workers._backoff",
        "queueactors.workers._options",
        "queueactors.metrics._options",
        "queueactors.metrics._rows",
        "queueactors.metrics._text",
        "queueactors.metrics._values",
    ),
    ("queueactors.config",),
    ("queueactors.queues",),
    ("queueactors.workers",),
    ("queueactors.metrics",),
    (
        "queueactors._parts",
        "queueactors._drain",
        "queueactors._reload",
        "queueactors._front_ends",
        "queueactors._children",
        "queueactors._client_requests",
        "queueactors._running",
        "queueactors._runtime",
        "queueactors._idle",
        "queueactors._overview",
        "queueactors.control",
    ),
    ("queueactors.cli", "queueactors.testing", "queueactors"),
    ("queueactors.__main__",),
)
IMPURE = {"trio", "structlog", "time", "random", "sqlite3", "threading", "os", "datetime"}
FILES = sorted([*ROOT.glob("supervisors/**/*.py"), *ROOT.glob("queueactors/**/*.py")])


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Return the full names of the modules that a file imports, anywhere in it."""
    found: set[str] = set()
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            found.add(".".join([*base, *([node.module] if node.module else [])]))
            if node.module is None:
                found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def layer(name: str) -> int | None:
    """Return the number of a module's layer; None for modules that are not ours."""
    best: tuple[int, int] | None = None
    for number, prefixes in enumerate(LAYERS):
        for prefix in prefixes:
            longer = best is None or len(prefix) > best[0]
            if (name == prefix or name.startswith(prefix + ".")) and longer:
                best = len(prefix), number
    return None if best is None else best[1]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_module_imports_only_what_stands_before_it(path: Path) -> None:
    own = layer(module(path))

    below = {name for name in imports(path) if layer(name) is not None}

    assert own is not None
    assert not {name for name in below if (layer(name) or 0) > own}


@pytest.mark.parametrize("path", sorted(ROOT.glob("queueactors/cores/*.py")), ids=module)
def test_a_core_is_pure(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE


@pytest.mark.parametrize(
    "path", [ROOT / "supervisors/_restart.py", ROOT / "supervisors/_backoff.py"]
)
def test_the_restart_core_is_pure(path: Path) -> None:
    runtime = ast.parse(path.read_text(encoding="utf-8"))

    names = {
        name
        for node in runtime.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [node.names[0].name]
        )
    }

    assert not {name.split(".")[0] for name in names} & IMPURE


def test_only_tests_and_examples_import_testing() -> None:
    users = {
        module(path)
        for path in FILES
        if any(name.startswith("queueactors.testing") for name in imports(path))
    }

    assert not {user for user in users if not user.startswith("queueactors.testing")}


def test_testing_does_not_need_pytest() -> None:
    assert not any("pytest" in imports(path) for path in ROOT.glob("queueactors/testing/*.py"))
