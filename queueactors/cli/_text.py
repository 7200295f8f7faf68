"""Text for a terminal: how wide it is, and what in it a terminal would obey.

Names of queues, values and errors may come from anybody. Nothing of theirs may move the cursor,
change colours or titles, or look like a line of ours.
"""

from __future__ import annotations

from unicodedata import category, east_asian_width

import click


def say(text: str, *, err: bool = False) -> None:
    """Print lines for people."""
    click.echo(plain(text, keep="\n"), err=err)


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
