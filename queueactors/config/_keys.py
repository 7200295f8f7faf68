"""The schema of a configuration as a JSON schema, for editors; made from the option classes.

It says what a file may hold: which keys, of which type, with which words. What a file must hold
it does not say, as that may stand in a defaults table, or in another file. Nor does it know ranges,
or whether what has a name exists. `queueactors.config.load_config` checks all of that.

Source: JSON Schema draft 2020-12; TOML has no schema language of its own, and its editors use this.
"""

from __future__ import annotations

import re
import textwrap
from types import FunctionType, NoneType
from typing import TYPE_CHECKING, Final, Literal, Union

import attrs

from queueactors._codecs import BUILT_IN
from queueactors._options import Means
from queueactors.metrics._options import MetricsOptions
from queueactors.queues._kind_options import KIND_OPTIONS
from queueactors.retry import RetryPolicy
from queueactors.workers._options import WorkerOptions
from supervisors import Backoff, ChildSpec, SupervisorFlags

from ._check import STORE_TYPES, store_class
from ._durations import DURATION
from ._reader import BACKOFF, POLICIES, hints
from ._schema import ControlOptions, RuntimeOptions
from ._tree import FLAGS, OPTIONS, WHAT
from ._values import split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, object]

_POLICY: Final = "exponential"  # the policy of a table that does not say which
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Schema = {"$ref": "#/$defs/variable"}
_TARGET: Schema = {"$ref": "#/$defs/target"}
_SECONDS: Schema = {"$ref": "#/$defs/seconds"}
_RETRY: Schema = {"$ref": "#/$defs/retry"}
_STRING: Schema = {"type": "string"}
_SECTION = re.compile(r"^\w+:$", re.MULTILINE)  # of a docstring
_ARGUMENT = re.compile(r"^(\w+): (.*(?:\n .*)*)", re.MULTILINE)
_MARKUP = re.compile(r"``([^`]+)``|`([^`]+)`")
_CHILD: Final = {
    "queue": "The name of the queue that is the child.",
    "worker": "The name of the worker that is the child.",
    "supervisor": "The name of the supervisor that is the child.",
    "start": "The async function that is the child.",
}
_TOP: Final[Mapping[str, tuple[Schema, str]]] = {
    "schema": ({"const": 1}, "The version of this format."),
    "include": (
        {"type": "array", "items": _STRING},
        "More files: names or patterns, relative to this file, in sorted order.",
    ),
    "override": (
        {"type": "boolean", "default": False},
        "Of an included file: whether what it says counts more than what others say.",
    ),
}


def make_schema() -> Schema:
    """Return the JSON schema of a configuration file."""
    tables = {
        "runtime": (_table(RuntimeOptions), _summary(RuntimeOptions)),
        "metrics": (_table(MetricsOptions), _summary(MetricsOptions)),
        "control": (_table(ControlOptions), _summary(ControlOptions)),
        "store": (_named(_store()), "The stores that queues are kept in, by name."),
        "queue": (_named(_queue()), "The queues, by name."),
        "worker": (_named(_table(WorkerOptions)), "The workers, by name."),
        "supervisor": (_named(_supervisor()), "The supervisors, by name."),
        "defaults": (_defaults(), "What every queue, worker or supervisor has, unless it says."),
    }
    top = {**_TOP, **tables}
    return {
        "$schema": DIALECT,
        "title": "queueactors configuration",
        **_object({key: {**schema, "description": told} for key, (schema, told) in top.items()}),
        "$defs": _definitions(),
    }


def option_names() -> set[str]:
    """Return every key that a configuration may have, apart from names."""

    def found(schema: object) -> Iterator[str]:
        if isinstance(schema, dict):
            properties = schema.get("properties", {})
            yield from properties if isinstance(properties, dict) else ()
            for below in schema.values():
                yield from found(below)
        elif isinstance(schema, list):
            for below in schema:
                yield from found(below)

    return set(found(make_schema()))


def _definitions() -> Schema:
    policies: list[Schema] = []
    for word, cls in POLICIES.items():
        name = {**_or_variable({"const": word}), "description": "Which policy it is."}
        policy = _object({"policy": name, **_own(cls)})
        policies.append(policy if word == _POLICY else {**policy, "required": ["policy"]})
    return {
        "variable": {
            "description": "A string that a variable or a file is put into.",
            "type": "string",
            "pattern": r"(^|[^$])(\$\$)*\$\{",
        },
        "seconds": {
            "description": "Seconds, or a duration such as '250ms', '30s', '5m', '2h' or '7d'.",
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": f"^{DURATION}$"},
                _VARIABLE,
            ],
        },
        "target": {
            "description": "'module:attr': something of your program.",
            "anyOf": [{"type": "string", "pattern": "^[^:]+:."}, _VARIABLE],
        },
        "retry": {
            "description": "A retry policy: a table, or something of your program.",
            "anyOf": [*policies, _TARGET],
        },
    }


def _object(properties: Mapping[str, object]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _named(schema: Schema) -> Schema:
    return {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": schema}


def _table(cls: type) -> Schema:
    return _object(_own(cls))


def _own(cls: type) -> Schema:
    """Return the schema of each argument of an option class."""
    return _properties(cls, hints(cls))


def _store() -> Schema:
    kinds = {type_: _own(store_class(type_)) for type_ in STORE_TYPES}
    what = f"What it is: {', '.join(map(repr, STORE_TYPES))}, or a class of yours."
    type_ = {"anyOf": [{"enum": [*kinds]}, _TARGET], "description": what}
    return {"type": "object", "properties": {"type": type_}, "allOf": _cases("type", kinds)}


def _queue() -> Schema:
    """Return the schema of a queue: of its kind, or of any where its kind is not said."""
    kind, kinds = _kinds()
    return {**_object({"kind": kind, **_any_of(kinds)}), "allOf": _cases("kind", kinds)}


def _cases(key: str, tables: Mapping[str, Schema]) -> list[Schema]:
    """Return which keys a table has, by the word that one of them has."""
    return [
        {
            "if": {"properties": {key: {"const": word}}, "required": [key]},
            "then": _object({key: True, **properties}),
        }
        for word, properties in tables.items()
    ]


def _any_of(kinds: Mapping[str, Schema]) -> Schema:
    """Return the keys of several tables together; one that differs may be as in any of them."""
    found: dict[str, list[object]] = {}
    for properties in kinds.values():
        for key, schema in properties.items():
            if schema not in found.setdefault(key, []):
                found[key].append(schema)
    return {
        key: schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        for key, schemas in found.items()
    }


def _supervisor() -> Schema:
    child = {
        "id": {**_STRING, "description": "Its name in its supervisor; else as 'queue.emails'."},
        **{key: {**_schema(hint), "description": _CHILD[key]} for key, hint in WHAT.items()},
        "args": {"type": "array", "default": [], "description": "The arguments of start."},
        **_properties(ChildSpec, OPTIONS),
    }
    told = "Its children, in the order of starting; each is exactly one of queue, worker, "
    children = {"type": "array", "items": _object(child)}
    children["description"] = f"{told}supervisor or start."
    return _object({**_supervisor_keys(), "child": children})


def _supervisor_keys() -> Schema:
    return {**_properties(SupervisorFlags, FLAGS), **_properties(ChildSpec, OPTIONS)}


def _defaults() -> Schema:
    kind, keys = _kinds()
    tables = {
        "queue": (
            _object({"kind": kind, **_any_of(keys)}),
            "For each queue whose kind has the key.",
        ),
        "worker": (_table(WorkerOptions), "For each worker."),
        "supervisor": (_object(_supervisor_keys()), "For each supervisor."),
    }
    return _object({key: {**schema, "description": told} for key, (schema, told) in tables.items()})


def _kinds() -> tuple[Schema, dict[str, Schema]]:
    """Return the schema of ``kind``, and what each kind has."""
    kinds = {kind: _own(options) for kind, options in KIND_OPTIONS.items()}
    return {**_or_variable({"enum": [*kinds]}), "description": "What kind of queue it is."}, kinds


def _properties(cls: type, hints: Mapping[str, object]) -> Schema:
    """Return the schema of each key of a table.

    Args:
      cls: An attrs class, which has the defaults and says what the keys are.
      hints: The annotation of each key that the table has, and maybe of more.
    """
    told = descriptions(cls)
    properties: Schema = {}
    for field in attrs.fields(cls):
        if field.init and field.alias in hints:
            hint = hints[field.alias]
            schema = {**_schema(hint), "description": told[field.alias]}
            if _is_seconds(hint):
                schema["x-unit"] = "seconds"
            default = _default(field.default)
            if default is not None:
                schema["default"] = default
            properties[field.alias] = schema
    return properties


def _default(default: object) -> object:
    """Return a default as TOML says it; None: it has none, or is not set."""
    if isinstance(default, bool | int | float | str):
        return default
    if isinstance(default, tuple):
        return [*default]
    if isinstance(default, Backoff):
        return attrs.asdict(default)
    for word, policy in POLICIES.items():
        if type(default) is policy:
            return {"policy": word, **attrs.asdict(default)}  # type: ignore[arg-type] # a policy
    return f"queueactors:{default.__name__}" if isinstance(default, FunctionType) else None


def _is_seconds(hint: object) -> bool:
    sort, args = split(hint)
    return sort is Means.SECONDS or (sort is Union and any(map(_is_seconds, args)))


def _or_variable(*schemas: Schema) -> Schema:
    return {"anyOf": [*schemas, _VARIABLE]}


def _schema(hint: object) -> Schema:
    """Return the schema of a value, as an annotation says it."""
    found = _members(hint)
    members = [each for index, each in enumerate(found) if each not in found[:index]]
    if _STRING in members:  # which a variable is in any case
        members = [each for each in members if each != _VARIABLE]
    members.sort(key=lambda each: each == _VARIABLE)
    return members[0] if len(members) == 1 else {"anyOf": members}


def _members(hint: object) -> list[Schema]:
    """Return what a value may be: any of these."""
    sort, args = split(hint)
    if sort is Union:
        return [member for arg in args for member in _members(arg)]
    if sort is Literal:
        return [{"enum": [*args]}, _VARIABLE]
    if sort in {tuple, list}:
        items = _schema(args[0]) if args else {}
        return [{"type": "array", "items": items} if items else {"type": "array"}]
    if sort is Backoff:
        return [_object(_properties(Backoff, BACKOFF))]
    return [*_SIMPLE.get(sort, ({},))]


_SIMPLE: Final[Mapping[object, tuple[Schema, ...]]] = {
    NoneType: (),
    bool: ({"type": "boolean"}, _VARIABLE),
    int: ({"type": "integer"}, _VARIABLE),
    float: ({"type": "number"}, _VARIABLE),
    str: (_STRING,),
    RetryPolicy: (_RETRY,),
    Means.SECONDS: (_SECONDS,),
    Means.TARGET: (_TARGET,),
    Means.CODEC: ({"enum": [*BUILT_IN]}, _TARGET),
    Means.PACE: (_SECONDS, _TARGET),
    Means.RETRY: (_RETRY,),
}


def descriptions(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says of each argument, as one line of plain text."""
    text = textwrap.dedent((cls.__doc__ or "").partition("\n")[2])
    _, _, after = text.partition("Args:\n")
    end = _SECTION.search(after)
    section = textwrap.dedent(after[: end.start()] if end is not None else after)
    found = {name: _plain(" ".join(told.split())) for name, told in _ARGUMENT.findall(section)}
    for name, told in found.items():
        if told == "As for Fixed.":
            found[name] = descriptions(POLICIES["fixed"])[name]
    return found


def _plain(text: str) -> str:
    """Return a text of a docstring for those who write no Python."""
    text = _MARKUP.sub(r"\1\2", text)
    text = re.sub(r"\bNone: ", "Not set: ", text).replace("False: ", "false: ")
    return re.sub(
        r"as in (Timed|Capacity)Options", lambda found: f"as of a {found[1].lower()} queue", text
    )


def _summary(cls: type) -> str:
    return _plain((cls.__doc__ or "").partition("\n")[0])
