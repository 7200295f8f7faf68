"""A plan as text for people, and as data for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._live import How
    from ._plan import Action, Change, Item, Plan
    from ._slots import Key

_SIGNS: Final[Mapping[Action, str]] = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
_HOWS: Final[Mapping[How, str]] = {
    "live": "live",
    "beside": "restarts its processing",
    "restart": "restarts it",
    "later": "counts from its next definition on",
    "never": "not possible",
}


def plan_text(plan: Plan, outcomes: Mapping[Key, str] | None = None) -> str:
    """Return a plan as lines: what cannot be done, then what changes, then a count.

    A line begins with ``+`` (added), ``-`` (removed), ``~`` (changed) or ``>`` (moved); below it
    stands each value that differs, and how that is applied.

    Args:
      plan: The plan.
      outcomes: What has become of its parts, which is told after their names. None: nothing yet.
    """
    lines = _lines(plan, outcomes or {})
    return "\n".join(line.replace("\n", r"\n") for line in lines)  # of names and errors


def _lines(plan: Plan, outcomes: Mapping[Key, str]) -> Iterator[str]:
    for fault in plan.faults:
        yield f"! {fault}"
    counts: dict[str, int] = dict.fromkeys([*_SIGNS, "unchanged"], 0)
    for item in plan.items:
        counts[item.action] += 1
        outcome = outcomes.get(item.key)
        if item.action != "unchanged" or outcome is not None:
            yield _line(item) if outcome is None else f"{_line(item)}  {outcome}"
            yield from (f"    {_change(each)}" for each in item.changes)
    yield ", ".join(f"{count} {action}" for action, count in counts.items())


def _line(item: Item) -> str:
    name = f"{item.what}.{item.name}" if item.name else item.what
    sign = _SIGNS.get(item.action, "=")
    line = f"{sign} {item.name if item.what == 'start' else name}"
    if item.before is not None:
        line += f"  from {item.before} to {item.place}"
    return line


def _change(change: Change) -> str:
    same = " (its value differs)" if change.before == change.after else ""
    return f"{change.field}: {change.before} -> {change.after}{same}  ({_HOWS[change.how]})"


def plan_data(plan: Plan) -> dict[str, object]:
    """Return a plan as what JSON can say.

    ``{"faults": [{"file", "line", "path", "message"}], "items": [{"what", "name", "action",
    "place", "before", "restarts", "changes": [{"field", "before", "after", "how"}]}]}``.
    """
    return {
        "faults": [attrs.asdict(fault) for fault in plan.faults],
        "items": [
            {**attrs.asdict(item, recurse=True), "restarts": item.restarts} for item in plan.items
        ],
    }
