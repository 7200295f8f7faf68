"""Lets the core's statements raise, one after the other."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

from queueactors.cores import (
    _batch_indexes,
    _chunks,
    _message_indexes,
    _timed_indexes,
    _unique,
    batch,
    capacity,
    channel,
    log,
    message,
    timed,
)

if TYPE_CHECKING:
    from types import FrameType

MODULES = (
    timed,
    _timed_indexes,
    _unique,
    channel,
    message,
    _message_indexes,
    batch,
    _batch_indexes,
    capacity,
    log,
    _chunks,
)
FILES = [Path(module.__file__) for module in MODULES if module.__file__]
CAN_RAISE = (
    ast.Call,
    ast.ListComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.In,
    ast.NotIn,
    ast.JoinedStr,
)


class Fault(Exception):  # noqa: N818 - what it is
    """What a statement raises."""


def can_raise(node: ast.AST) -> bool:
    return any(
        isinstance(each, CAN_RAISE)
        or (isinstance(each, ast.Subscript) and not isinstance(each.ctx, ast.Del))
        for each in ast.walk(node)
    )


def risky_lines(path: Path) -> set[int]:
    """Return the lines of the statements, or of the heads of blocks, that can raise."""
    lines: set[int] = set()
    head: ast.AST
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        each for node in ast.walk(tree) if isinstance(node, ast.Try) for each in ast.walk(node)
    }  # against what foreign code raises
    for node in ast.walk(tree):
        if node in guarded:
            continue
        match node:
            case ast.If(test=head) | ast.While(test=head) | ast.For(iter=head):
                pass
            case ast.Match(subject=head):
                pass
            case ast.Assign() | ast.AugAssign() | ast.AnnAssign() | ast.Expr() | ast.Return():
                head = node
            case _:
                continue
        if can_raise(head):
            lines |= set(range(head.lineno, (head.end_lineno or head.lineno) + 1))
    return lines


RISKY = {str(path): risky_lines(path) for path in FILES}


@attrs.define(eq=False)
class Faults:
    """Raises at the n-th statement that can raise, as a context manager."""

    countdown: int
    raised: str | None = None
    _before: object = None

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)  # type: ignore[arg-type] # its own protocol
        return self

    def __exit__(self, *_error: object) -> None:
        sys.settrace(self._before)  # type: ignore[arg-type] # what it was

    def _trace(self, frame: FrameType, event: str, _arg: object) -> object:
        risky = RISKY.get(frame.f_code.co_filename)
        if risky is None:
            return None
        if event == "line" and frame.f_lineno in risky and self.raised is None:
            self.countdown -= 1
            if self.countdown == 0:
                self.raised = f"{frame.f_code.co_name}, line {frame.f_lineno}"
                raise Fault
        return self._trace
