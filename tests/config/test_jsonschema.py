"""The JSON schema: what it accepts, `load_config` accepts, and the other way round."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueactors.config import TEMPLATE, ConfigError, json_schema, load_config
from queueactors.config._keys import descriptions
from queueactors.queues import KINDS
from tests.test_docs import blocks

from .test_fuzz import VALID
from .test_override import MAIN
from .test_render import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterator

Table = dict[str, object]
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ROOT = Path(__file__).parents[2]


def refused(data: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(data)]


def test_it_is_a_schema_of_draft_2020_12() -> None:
    VALIDATOR.check_schema(SCHEMA)

    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEMPLATE, id="template"),
        pytest.param(VALID, id="fuzz"),
        pytest.param("schema = 1\n" + EVERYTHING, id="everything"),
        pytest.param("schema = 1\n" + MAIN, id="main"),
        *blocks("toml"),
        *(
            pytest.param(file.read_text(encoding="utf-8"), id=file.name)
            for file in ROOT.glob("examples/**/*.toml")
        ),
    ],
)
def test_what_is_valid_anywhere_here_is_valid_to_it(text: str) -> None:
    assert refused(tomllib.loads(text)) == []


def test_the_commented_options_of_the_template_are_valid_to_it() -> None:
    lines = [line.removeprefix("# ") for line in TEMPLATE.split("\n")]
    text = "\n".join(line for line in lines if line.startswith("[") or " = " in line)

    assert refused(tomllib.loads(text)) == []


def _keys(schema: object, path: str = "") -> Iterator[tuple[str, Table]]:
    """Yield every key in a schema, and what it says of it."""
    if isinstance(schema, dict):
        for key, below in schema.items():
            if key == "properties" and isinstance(below, dict):
                for name, each in below.items():
                    if isinstance(each, dict) and "if" not in path:
                        yield f"{path}.{name}", each
            yield from _keys(below, f"{path}.{key}")
    elif isinstance(schema, list):
        for index, below in enumerate(schema):
            yield from _keys(below, f"{path}[{index}]")


def test_every_key_is_described_in_words() -> None:
    def words(schema: Table) -> object:
        return schema.get("description") or all(
            "description" in each for each in cast("list[Table]", schema["anyOf"])
        )

    keys = [(path, each) for path, each in _keys(SCHEMA) if ".if." not in path]

    assert len(keys) > 150
    assert [path for path, each in keys if not words(each)] == []
    assert [path for path, each in keys if "`" in str(each)] == []


def test_every_option_of_every_kind_is_documented() -> None:
    for parts in KINDS.values():
        names = {field.alias for field in attrs.fields(parts.options) if field.init}
        assert set(descriptions(parts.options)) == names


def _defaults(schema: object) -> Table:
    properties = cast("Table", cast("Table", schema)["properties"])
    return {
        key: cast("Table", each)["default"]
        for key, each in properties.items()
        if isinstance(each, dict) and "default" in each
    }


def _cases(table: str, key: str) -> dict[str, Table]:
    """Return what a table has by its kind, or type."""
    named = cast("Table", cast("Table", SCHEMA["properties"])[table])["additionalProperties"]
    cases = cast("list[dict[str, dict[str, dict[str, Table]]]]", cast("Table", named)["allOf"])
    return {
        str(case["if"]["properties"][key]["const"]): cast("Table", case["then"]) for case in cases
    }


def _given(table: str) -> Table:
    schema = cast("Table", cast("Table", SCHEMA["properties"])[table])
    return _defaults(schema.get("additionalProperties") or schema)


REQUIRED: dict[str, Table] = {
    "timed": {"reservation_time": 1},
    "batch": {"process": "builtins:print"},
}


def test_what_it_says_is_the_default_is_the_default() -> None:
    queues = {kind: {"kind": kind, **REQUIRED.get(kind, {})} for kind in KINDS}
    worker: Table = {"queue": "timed", "handler": "builtins:print"}
    child: Table = {"start": "builtins:print"}
    plain: Table = {
        "queue": queues,
        "worker": {"w": worker},
        "store": {"disk": {"type": "sqlite"}},
        "supervisor": {"s": {"child": [child]}},
    }
    own = cast("Table", cast("Table", SCHEMA["properties"])["supervisor"])["additionalProperties"]
    items = cast("dict[str, Table]", cast("Table", own)["properties"])
    of_child = _defaults(items["child"]["items"])
    said: Table = {
        "runtime": _defaults(cast("Table", SCHEMA["properties"])["runtime"]),
        "metrics": _defaults(cast("Table", SCHEMA["properties"])["metrics"]),
        "queue": {
            kind: _defaults(_cases("queue", "kind")[kind]) | table for kind, table in queues.items()
        },
        "worker": {"w": _given("worker") | worker},
        "store": {"disk": {"type": "sqlite", **_defaults(_cases("store", "type")["sqlite"])}},
        "supervisor": {"s": {**_defaults(own), "child": [of_child | child]}},
    }

    expected, found = load_config(plain), load_config(said)

    assert attrs.evolve(found, supervisors={}) == attrs.evolve(expected, supervisors={})
    assert found.supervisors["s"].flags == expected.supervisors["s"].flags
    assert refused(said) == []


BASE: Table = {
    "schema": 1,
    "runtime": {},
    "metrics": {},
    "defaults": {"queue": {}, "worker": {}, "supervisor": {}},
    "store": {"disk": {"type": "sqlite"}},
    "queue": {kind: {"kind": kind, **REQUIRED.get(kind, {})} for kind in KINDS},
    "worker": {"w": {"queue": "timed", "handler": "builtins:print"}},
    "supervisor": {"s": {"child": [{"start": "builtins:print"}], "backoff": {}}},
}
TABLES: list[tuple[str | int, ...]] = [
    (),
    ("runtime",),
    ("metrics",),
    ("defaults",),
    ("defaults", "queue"),
    ("defaults", "worker"),
    ("defaults", "supervisor"),
    ("store", "disk"),
    *(("queue", kind) for kind in KINDS),
    ("worker", "w"),
    ("supervisor", "s"),
    ("supervisor", "s", "child", 0),
    ("supervisor", "s", "backoff"),
    ("queue", "batch", "retry"),
    ("worker", "w", "backoff"),
]
VALUES: list[object] = [
    True,
    2,
    2.5,
    "word",
    "30s",
    "30 s",
    "30",
    "builtins:print",
    "os:",
    "sqlite",
    "memory",
    "timed",
    "exponential",
    "drop",
    "one_for_all",
    "any_significant",
    "brutal",
    "auto",
    "json",
    "park",
    "process",
    "$$",
    "${TWO}",
    "$${TWO}",
    [],
    ["word", 2],
    [{}],
    {},
    {"nothing": 1},
    {"policy": "fixed", "attempts": 2, "interval": "1s"},
    {"policy": "exponential", "attempts": 2, "base": 3},
    {"attempts": 2, "interval": 1},
    {"policy": "fixd"},
]
FORM = ("unknown key ", "unknown table ", "expected ", "this version reads schema ")
BEYOND = re.compile(
    r"expected (exactly one of |listen to be an address |namespace to be letters, "
    r"|\w+ to be '.*, got '2'$)"  # no word, but what stands there may be one tomorrow
)
"""What faults say of a value that is of the right form."""
OTHERS = {"codec", "type", "jitter", "base"}  # whose values only their classes look at


KEYS = sorted(
    {path.rpartition(".")[2] for path, _ in _keys(SCHEMA)} - OTHERS | {"nothing", "queues"}
)


def _form(data: Table) -> list[str]:
    """Return the faults of a configuration that are about its form: its keys, types and words."""
    try:
        load_config(data, environ={"TWO": "2"})
    except ConfigError as error:
        told = [fault.message for fault in error.faults]
        return [each for each in told if each.startswith(FORM) and not BEYOND.match(each)]
    return []


@pytest.mark.slow
@given(path=st.sampled_from(TABLES), key=st.sampled_from(KEYS), value=st.sampled_from(VALUES))
def test_it_refuses_what_load_config_refuses(
    path: tuple[str | int, ...], key: str, value: object
) -> None:
    data = json.loads(json.dumps(BASE))
    table = data
    for part in path:
        table = table.setdefault(part, {}) if isinstance(part, str) else table[part]
    table[key] = value

    assert bool(refused(data)) == bool(_form(data)), (refused(data), _form(data))


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("queue", "timed"), "codec", "jsn"),
        (("queue", "timed"), "codec", 1),
        (("queue", "timed"), "type", "x"),
        (("supervisor", "s", "backoff"), "jitter", "x"),
        (("queue", "batch", "retry"), "base", True),
        (("store", "disk"), "type", "sqlit"),
        (("store", "disk"), "sync", "off"),
    ],
)
def test_both_refuse(path: tuple[str, ...], key: str, value: object) -> None:
    data = json.loads(json.dumps(BASE))
    table = data
    for part in path:
        table = table.setdefault(part, {})
    table[key] = value

    assert refused(data)
    with pytest.raises(ConfigError):
        load_config(data)
