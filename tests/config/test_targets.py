from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from queueactors.config import load_config
from queueactors.config._targets import target_text

from .helpers import QUEUE, faults, load

WORKER = QUEUE + '[worker.w]\nqueue = "a"\nhandler = '


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("os.getpid", "expected a target 'module:attr', got 'os.getpid'"),
        ("os:", "expected a target 'module:attr', got 'os:'"),
        (":x", "expected a target 'module:attr', got ':x'"),
        ("os:getpit", "'os:getpit': there is no 'getpit' (did you mean 'getpid'?)"),
        ("os:path.joni", "'os:path.joni': there is no 'joni' (did you mean 'join'?)"),
        ("os:sep", "'os:sep' is not callable, it is a str"),
        (
            "no_such_module_here:x",
            (
                "module 'no_such_module_here' does not import: ModuleNotFoundError: "
                "No module named 'no_such_module_here'"
            ),
        ),
        ("divides:x", "module 'divides' does not import: ZeroDivisionError: division by zero"),
        ("exits:x", "module 'exits' does not import: SystemExit: 3"),
        (
            "typo:x",
            "module 'typo' does not import: SyntaxError: invalid syntax (typo.py, line 2)",
        ),
        ("lines:x", "module 'lines' does not import: ValueError: one two"),
        ("lazy:x", "'lazy:x': 'x' fails: RuntimeError"),
    ],
)
def test_a_target_that_leads_nowhere_is_a_fault(folder: Path, target: str, told: str) -> None:
    modules = {
        "divides": "1 / 0",
        "exits": "import sys; sys.exit(3)",
        "typo": "\n)(",
        "lines": "raise ValueError('one\\ntwo')",
        "lazy": "def __getattr__(name): raise RuntimeError",
    }
    for name, text in modules.items():
        Path(f"{name}.py").write_text(text, encoding="utf-8")

    (fault,) = faults(WORKER + f'"{target}"')

    told = told.replace("invalid syntax", "unmatched ')'")
    assert fault == f"q.toml:7: worker.w.handler: {told}"


def test_ctrl_c_during_an_import_passes_through(folder: Path) -> None:
    Path("interrupted.py").write_text("raise KeyboardInterrupt", encoding="utf-8")

    with pytest.raises(KeyboardInterrupt):
        load(WORKER + '"interrupted:x"')


def test_a_module_that_fails_is_tried_once(folder: Path) -> None:
    text = "import os\nos.environ['TRIED'] = os.environ.get('TRIED', '') + 'x'\n1 / 0"
    Path("tried.py").write_text(text, encoding="utf-8")
    try:
        assert len(faults(WORKER + '"tried:x"\nbackoff = "tried:y"')) == 2
        assert os.environ["TRIED"] == "x"
    finally:
        del os.environ["TRIED"]


def test_a_module_beside_the_file_is_found_and_stays_importable(folder: Path) -> None:
    Path("conf").mkdir()
    Path("conf/beside_it.py").write_text("class A:\n  def run(): ...", encoding="utf-8")
    Path("conf/q.toml").write_text(f'schema = 1\n{WORKER}"beside_it:A.run"', encoding="utf-8")

    config = load_config("conf/q.toml")
    load_config("conf/q.toml")

    assert config.workers["w"].handler is sys.modules["beside_it"].A.run
    assert sys.path[0] == str(folder / "conf")
    assert sys.path.count(str(folder / "conf")) == 1


def test_a_pace_is_a_duration_or_a_target(folder: Path) -> None:
    config = load(WORKER + '"os:getpid"\nbackoff = "1m"')
    other = load(WORKER + '"os:getpid"\nbackoff = "builtins:abs"')

    assert config.workers["w"].backoff == 60
    assert other.workers["w"].backoff is abs


def test_the_text_of_a_callable_leads_back_to_it() -> None:
    assert target_text(Counter.most_common) == "collections:Counter.most_common"
    assert target_text(lambda: None) is None
    assert target_text(functools.partial(print)) is None
