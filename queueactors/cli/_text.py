"""Text for a terminal: how wide it is, and what in it a terminal would obey.

Names of queues, values and errors may come from anybody. Nothing of theirs may move the cursor,
change colours or titles, or look like a line of ours.
"""

from __future__ import annotations

import json
from unicodedata import category, east_asian_width

import click


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people: each is one, whatever is in it."""
    click.echo("\n".join(map(plain, lines)), err=err)


def plain(text: str, *, keep: str = "") -> str:
    r"""Return a text with escapes such as ``\x1b`` in place of what is not printable.

    Args:
      text: The text.
      keep: Characters that are left as they are all the same.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


def json_text(value: object) -> str:
    """Return a value as a JSON document of one line, with escapes for what is not printable."""
    import msgspec

    text = msgspec.json.encode(value).decode()
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def counted(number: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def len_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_wide(each) for each in text)


def _wide(character: str) -> int:
    if category(character) in {"Mn", "Me"}:  # it goes onto the one before
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def fit(text: str, width: int) -> str:
    """Return a text in exactly ``width`` columns, and in one line."""
    text = plain(text)
    if len_of(text) <= width:
        return text + " " * (width - len_of(text))
    kept, used = "", 0
    for each in text:
        if used + _wide(each) > width - 1:
            break
        kept += each
        used += _wide(each)
    return kept + "~" * min(width, 1) + " " * (width - used - 1)
