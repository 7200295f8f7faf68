"""Whatever a file holds, `load_config` returns a Config or raises ConfigError."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.config import TEMPLATE, ConfigError, load_config, render

from .helpers import QUEUE
from .test_everything_wrong import TEXT

if TYPE_CHECKING:
    from pathlib import Path

VALID = (
    TEMPLATE.replace("# include", "include").replace("queues.d/", "no.d/")
    + QUEUE
    + 'sync_fn = "${NO:-os}:getpid"\nsync_interval = "1.5h"\nvalues = [{a = 1}, "$$"]\n'
    + "[[supervisor.mail.child]]\nstart = 'os:getpid'\nbackoff = { min = 1, max = '2s' }\n"
)
_PIECES = [
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    "=",
    ".",
    "\n",
    "#",
    "$",
    "${",
    ":",
    "-",
    "0x" + "f" * 5000,
    "nan",
    "true",
    "[[",
    "]]",
    '"""',
    "\\",
    "\0",
    "é",
    "9" * 400,
    "",
    "[a]\n",
    "x = 1\n",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "q.toml"


def _check(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        config = load_config(file, environ={"N": "1"})
    except ConfigError as error:
        _check_error(error)
    else:
        again = file.with_name("again.toml")
        again.write_text(render(config), encoding="utf-8")
        assert load_config(again, environ={"N": "1"}) == config


def _check_error(error: ConfigError) -> None:
    lines = str(error).split("\n")
    assert len(lines) == len(error.faults) > 0
    assert [*error.faults] == sorted(error.faults, key=lambda fault: fault.order)
    for line, fault in zip(lines, error.faults, strict=True):
        place = [str(each) for each in (fault.file, fault.line) if each is not None]
        assert line.startswith(":".join(place))
        assert fault.message
        assert fault.file is None or fault.line is not None or fault.path in {"", "schema"}


@given(content=st.binary(max_size=200))
def test_random_bytes_are_refused_or_loaded(file: Path, content: bytes) -> None:
    _check(file, content)


@given(
    text=st.sampled_from([VALID, "schema = 1\n" + TEXT]),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(_PIECES)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_file_with_random_edits_is_refused_or_loaded(
    file: Path, text: str, edits: list[tuple[float, int, str]]
) -> None:
    for where, length, piece in edits:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + length :]

    _check(file, text.encode())


_LINES = VALID.split("\n")


@given(
    order=st.lists(st.integers(0, len(_LINES) - 1), max_size=12),
    file_text=st.sampled_from(["", "override = true\n"]),
    included=st.lists(st.integers(0, len(_LINES) - 1), max_size=12),
)
def test_lines_of_a_valid_file_in_any_order_and_two_files_are_refused_or_loaded(
    file: Path, order: list[int], file_text: str, included: list[int]
) -> None:
    file.with_name("more.toml").write_text(
        file_text + "\n".join(_LINES[index] for index in sorted(included)), encoding="utf-8"
    )
    lines = [*_LINES]
    for index in order:
        lines.insert(index, lines.pop(-index))
    text = 'include = ["more.toml"]\n' + "\n".join(lines).replace("include = ", "# ")

    _check(file, text.encode())


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=3),
    ),
    max_leaves=6,
)
_PATHS = [
    ("schema",),
    ("include",),
    ("runtime",),
    ("queue",),
    ("queue", "a"),
    ("queue", "a", "kind"),
    ("queue", "a", "reservation_time"),
    ("queue", "a", "values"),
    ("queue", "a", "on_exhausted"),
    ("queue", "a", "sync_fn"),
    ("store", "s", "type"),
    ("worker", "w"),
    ("worker", "w", "backoff"),
    ("worker", "w", "concurrency"),
    ("defaults",),
    ("defaults", "queue"),
    ("defaults", "queue", "kind"),
    ("supervisor", "s"),
    ("supervisor", "s", "child"),
    ("supervisor", "s", "backoff"),
    ("supervisor", "s", "strategy"),
]


@given(path=st.sampled_from(_PATHS), value=_VALUES)
def test_a_mapping_with_any_value_anywhere_is_refused_or_loaded(
    path: tuple[str, ...], value: object
) -> None:
    data: dict[str, object] = {
        "queue": {"a": {"kind": "timed", "reservation_time": 1}},
        "worker": {"w": {"queue": "a", "handler": print}},
        "supervisor": {"s": {"child": [{"queue": "a"}]}},
    }
    table = data
    for key in path[:-1]:
        below = table.setdefault(key, {})
        assert isinstance(below, dict)
        table = below
    table[path[-1]] = value

    try:
        render(load_config(data, environ={}))
    except ConfigError as error:
        _check_error(error)
