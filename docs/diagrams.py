"""Draws what docs/ shows of tables in the code: ``python docs/diagrams.py``.

Those are the transitions of the cores, and the keys of a configuration.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from queueactors.config import json_schema
from queueactors.cores._message_table import ENDS, RULES
from queueactors.cores._transitions import TRANSITIONS
from queueactors.retry import Exponential, Fixed, Linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from queueactors.cores.batch import BatchState

HERE = Path(__file__).parent
OUTSIDE = "[*]"  # what Mermaid writes for the beginning and for the end
NAMES = {"bury_dead": "refused there", "refilled": "refill"}  # of what users know by other names
STEPS = {  # what an enqueue does, and what it answers
    "add": "goes in | `added`",
    "update": "its message and `lock_time` are the new ones, in its old place | `updated`",
    "reset": "it can be claimed `init_backoff` from now; nothing else of it changes | `updated`",
    "requeue": "goes in as its requeue | `added`",
    "update-requeue": "the requeue's message and `lock_time` are the new ones | `updated`",
}
AFTER = {
    "drop": "gone; its requeue, if there is one, is queued at once",
    "remember": "`done-with-backoff`, or `done-with-requeue`, until the backoff is over",
    "ready": "`queued`",
    "back off": "`queued-with-backoff`",
}

VAIN = ("in vain", "killed")  # how a claim ends without success
BATCH: Final[tuple[tuple[str, BatchState | None, BatchState | None, str], ...]] = (
    ("flush", None, "ready", ""),
    ("claim", "ready", "claimed", ""),
    ("claim", "retry", "claimed", "the wait is over"),
    ("success", "claimed", None, ""),
    ("failure", "claimed", "retry", "another attempt"),
    *((cause, "claimed", "ready", "") for cause in VAIN),
    *((cause, "claimed", "cooling", "cooldown") for cause in VAIN[:1]),
    *((cause, "claimed", None, "exhausted, drop") for cause in VAIN),
    *((cause, "claimed", "buried", "exhausted, bury") for cause in VAIN),
    *((cause, "claimed", "dead", "exhausted, a queue") for cause in VAIN),
    ("stop", "claimed", "ready", ""),
    ("stop", "claimed", "retry", "after the first attempt"),
    ("cooldown over", "cooling", "ready", ""),
    ("kick", "buried", "ready", ""),
    ("posted", "dead", None, ""),
    ("refused there", "dead", "buried", ""),
)
"""The life of a batch: cause, before, after, case. Random histories are compared with it."""

POLICIES: Final = (
    "Fixed(4, 5)",
    "Linear(2, 1, 10)",
    "Linear(5, 1, 10)",
    "Linear(6, 1, 10, step=4)",
    "Linear(0, 2, 7)",
    "Exponential(5, 1, 60)",
    "Exponential(6, 1, 10, base=1.5)",
    "Exponential(0, 10, 60, base=3)",
)
CALLS: Final = 6  # whose waits are shown of a policy without limit


def timed_queue() -> str:
    """Return the life of a message of a timed queue."""
    return _states(TRANSITIONS)


def batch_queue() -> str:
    """Return the life of a stored batch."""
    return _states(BATCH)


def _states(transitions: Iterable[tuple[str, str | None, str | None, str]]) -> str:
    """Return transitions as a Mermaid state diagram, with UML's ``cause [case]``."""
    arrows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for cause, before, after, case in transitions:
        cases = arrows.setdefault((before or OUTSIDE, after or OUTSIDE), {})
        cases.setdefault(case, []).append(NAMES.get(cause, cause))
    lines = ["stateDiagram-v2"]
    for (before, after), cases in arrows.items():
        labels = [
            ", ".join(causes) + (f" [{case}]" if case else "") for case, causes in cases.items()
        ]
        lines.append(f"    {before} --> {after}: {'<br/>'.join(labels)}")
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def enqueue() -> str:
    """Return what an enqueue does as a table."""
    lines = ["| its mid is | with | then | answer |", "| --- | --- | --- | --- |"]
    for status, flags, step in RULES:
        with_ = " and ".join(f"`{flag}`" for flag in flags) or "anything else"
        if status is None:
            with_ = "anything"
        done = STEPS.get(step, f"nothing happens | error `{step}`")
        name = "not there" if status is None else f"`{status}`"
        lines.append(f"| {name} | {with_} | {done} |")
    return "\n".join(lines)


def finish() -> str:
    """Return what the end of a claim does as a table."""
    lines = ["| `finish(...)` | `backoff` | then it is |", "| --- | --- | --- |"]
    for (result, backoff), end in ENDS.items():
        lines.append(f'| `"{result}"` | {"> 0" if backoff else "none, or 0"} | {AFTER[end]} |')
    return "\n".join(lines)


def retries() -> str:
    """Return the waits of some retry policies as a table."""
    known = {each.__name__: each for each in (Exponential, Fixed, Linear)}
    lines = ["| policy | seconds between the calls | then |", "| --- | --- | --- |"]
    for text in POLICIES:
        policy = eval(text[:-1] + ", jitter=0)", known)  # noqa: S307 - one of the above
        waits = [policy.delay(call, Random()) for call in range(1, (policy.attempts or CALLS) + 1)]  # noqa: S311 - no jitter
        told = ", ".join(f"{wait:.4g}" for wait in waits if wait is not None)
        lines.append(f"| `{text}` | {told} | {'released' if policy.attempts else '...'} |")
    return "\n".join(lines)


NAMES_OF_TYPES: Final = {
    "#/$defs/seconds": "duration",
    "#/$defs/target": "target",
    "#/$defs/retry": "retry policy",
    "boolean": "bool",
    "integer": "int",
    "object": "table",
}
UNITS: Final = {"seconds": "s"}
TOP: Final = ("schema", "include", "override")  # the keys outside of any table
VARIABLE: Final = "#/$defs/variable"  # which any value may be: that is said once


Schema = dict[str, Any]


def reference() -> str:
    """Return every key of a configuration, as one table for each of its tables."""
    schema: Schema = json_schema()
    tables = schema["properties"]
    child = _row_of(tables["supervisor"])["properties"]["child"]["items"]
    keys: dict[str, Schema] = {
        "Outside of any table": {key: tables[key] for key in TOP},
        "`[runtime]`": tables["runtime"]["properties"],
        "`[metrics]`": tables["metrics"]["properties"],
        "`[control]`": tables["control"]["properties"],
        "`[store.NAME]`": _row_of(tables["store"])["properties"],
        **_kinds('`[store.NAME]` with `type = "{}"`', "type", _row_of(tables["store"])),
        **_kinds('`[queue.NAME]` with `kind = "{}"`', "kind", _row_of(tables["queue"])),
        "`[worker.NAME]`": _row_of(tables["worker"])["properties"],
        "`[supervisor.NAME]`": _row_of(tables["supervisor"])["properties"],
        "`[[supervisor.NAME.child]]`": child["properties"],
        "`backoff` of a supervisor or a child": child["properties"]["backoff"]["properties"],
        **{
            f"Retry policy `{each['properties']['policy']['anyOf'][0]['const']}`": each[
                "properties"
            ]
            for each in schema["$defs"]["retry"]["anyOf"][:-1]
        },
    }
    told = "The tables `[defaults.queue]`, `[defaults.worker]` and `[defaults.supervisor]` have "
    told += "the keys of those that they are for."
    return "\n\n".join(
        [*(f"### {title}\n\n{_keys(rows)}" for title, rows in keys.items() if rows), told]
    )


def _row_of(table: Schema) -> Schema:
    """Return the schema of one table, of tables that have names."""
    return table["additionalProperties"]


def _kinds(title: str, key: str, table: Schema) -> dict[str, Schema]:
    return {
        title.format(case["if"]["properties"][key]["const"]): {
            name: each for name, each in case["then"]["properties"].items() if name != key
        }
        for case in table["allOf"]
    }


def _keys(rows: Schema) -> str:
    lines = ["| key | type | default | unit | |", "| --- | --- | --- | --- | --- |"]
    for key, schema in rows.items():
        default = f"`{_toml(schema['default'])}`" if "default" in schema else ""
        unit = UNITS.get(schema.get("x-unit"), "")
        told = re.split(r"(?<=\.) (?=[A-Z])", schema["description"])[0].replace("|", "\\|")
        lines.append(f"| `{key}` | {_type(schema)} | {default} | {unit} | {told} |")
    return "\n".join(lines)


def _type(schema: Schema) -> str:
    words = []
    for each in schema.get("anyOf", [schema]):
        if "enum" in each or "const" in each:
            words += [f"`{_toml(word)}`" for word in each.get("enum", [each.get("const")])]
        elif each.get("$ref") != VARIABLE:
            name = str(each.get("$ref", each.get("type")))
            words.append(NAMES_OF_TYPES.get(name, name))
    return ", ".join(words)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return json.dumps(value)


PAGES: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "timed-queue.md": {"life": timed_queue},
    "message-queue.md": {"enqueue": enqueue, "finish": finish},
    "batch-queue.md": {"life": batch_queue, "retries": retries},
    "configuration.md": {"reference": reference},
}
"""What is drawn on each page, by the name of the comments that it stands between."""


def redrawn(page: str, name: str) -> str:
    """Return the text of the page of that name with all of it drawn anew."""
    for mark, draw in PAGES[name].items():
        begin, end = f"<!-- {mark} -->\n", f"\n<!-- /{mark} -->"
        between = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        drawn = begin + draw() + end
        page, count = between.subn(lambda _, drawn=drawn: drawn, page)  # type: ignore[misc] # bound now
        if count != 1:
            raise ValueError(f"{name}: expected one {begin.strip()}, got {count}")
    return page


if __name__ == "__main__":
    for each in PAGES:
        path = HERE / each
        path.write_text(redrawn(path.read_text(encoding="utf-8"), each), encoding="utf-8")
