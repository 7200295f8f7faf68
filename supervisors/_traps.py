"""Warnings about a tree that is valid and yet will not do what its author expects.

Pure: it looks at child specs, and starts nothing. Source: OTP's design principles on tuning
intensity and period; the rest is arithmetic with our own backoff and shutdown times.
"""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING, Literal

import attrs

from ._nested import SupervisorStart
from ._spec import SupervisorFlags, check_childspecs, child_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._spec import ChildSpec

MANY_STARTS = 100  # of one child, before the failure reaches the top
_FURTHEST = 1000  # restarts to look ahead: no sane backoff is still growing then

TrapKind = Literal[
    "stays_down", "restarts_multiply", "never_gives_up", "killed_early", "stops_late"
]


@attrs.frozen(kw_only=True)
class Trap:
    """One warning.

    Args:
      kind: ``stays_down``: a supervisor that nobody restarts once it has ended.
        ``restarts_multiply``: one bad child is started very often before the top gives up.
        ``never_gives_up``: with its backoff a child cannot fail often enough within the period.
        ``killed_early``: a supervisor is killed before its children have had their time.
        ``stops_late``: stopping the whole tree may take longer than there is time for it.
      path: The ids that lead to the child it is about; empty: the tree as a whole.
      message: What will happen, and what to do.
    """

    kind: TrapKind
    path: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{'/'.join(self.path)}: {self.message}" if self.path else self.message


def find_traps(
    specs: Iterable[ChildSpec],
    *,
    intensity: int = 1,
    period: float = 5.0,
    grace: float | None = None,
) -> tuple[Trap, ...]:
    """Return what is likely to surprise in a tree; nothing is started.

    It sees through `child_spec`, to any depth; what a dynamic supervisor will start it cannot know.

    Args:
      specs: The children, as for `open_supervisor`.
      intensity: That supervisor's own.
      period: That supervisor's own, in seconds.
      grace: Seconds after which the process is killed from outside when it is told to stop: 90
        under systemd, 30 in Kubernetes, 10 in Docker, unless set otherwise. None: never.

    Raises:
      ChildSpecError: If the specs cannot be the children of one supervisor.
    """
    specs = child_list(specs)
    check_childspecs(specs)
    flags = SupervisorFlags(intensity=intensity, period=period)
    traps = list(_below((), specs, (flags,), ()))
    seconds, slowest = _stop_seconds(specs)
    if grace is not None and seconds > grace:
        traps.append(
            Trap(
                kind="stops_late",
                path=(),
                message=(
                    f"stopping may take {_told(seconds)}, most of it {'/'.join(slowest)}, and the "
                    f"process is killed after {grace:g} s; lower the shutdown times"
                ),
            )
        )
    return tuple(traps)


def _below(
    path: tuple[str, ...],
    specs: Sequence[ChildSpec],
    flags: tuple[SupervisorFlags, ...],
    parks: tuple[bool, ...],
) -> Iterator[Trap]:
    """Look at the children of one supervisor.

    Args:
      path: The ids that lead to it.
      specs: Its children.
      flags: Its own, and before them those of the supervisors above it.
      parks: Of each supervisor below the root on the way, whether it is parked when it gives up.
    """
    worst = max((_starts(spec, flags, parks) for spec in specs), key=prod, default=())
    levels = [str(starts) for starts in worst if starts > 1]
    if len(levels) > 1 and prod(worst) > MANY_STARTS and not any(map(_inside, specs)):
        yield Trap(
            kind="restarts_multiply",
            path=path,
            message=(
                f"a child that always fails is started {prod(worst):,} times before the failure "
                f"is through: over the levels, starts multiply ({' x '.join(levels)}); "
                "keep the intensities of the upper ones low"
            ),
        )
    for spec in specs:
        at = (*path, spec.id)
        inside = _inside(spec)
        if spec.restart != "temporary":
            yield from _endless(at, spec, flags[-1])
        if spec.type == "supervisor":
            yield from _stays_down(at, spec)
        if inside is not None:
            seconds, slowest = _stop_seconds(inside.specs)
            if spec.shutdown_seconds < seconds:
                yield Trap(
                    kind="killed_early",
                    path=at,
                    message=(
                        f"its children may take {_told(seconds)} to stop, most of it "
                        f"{'/'.join(slowest)}, but it is killed after {spec.shutdown_seconds:g} s; "
                        "leave a supervisor's shutdown at infinity"
                    ),
                )
            parked = spec.on_give_up == "park"
            yield from _below(at, inside.specs, (*flags, inside.flags), (*parks, parked))


def _inside(spec: ChildSpec) -> SupervisorStart | None:
    start: object = spec.start
    return start if isinstance(start, SupervisorStart) else None


def _starts(
    spec: ChildSpec, flags: tuple[SupervisorFlags, ...], parks: tuple[bool, ...]
) -> tuple[int, ...]:
    """Return how often a child that always fails is started, at each level that it ends.

    The lowest level comes first; the last one is where it is parked, or the top.
    """
    if spec.restart == "temporary":
        return ()
    starts, parked = [], spec.on_give_up == "park"
    for level in range(len(flags) - 1, -1, -1):
        starts.append(flags[level].intensity + 1)
        if parked:
            break
        parked = level > 0 and parks[level - 1]
    return tuple(starts)


def _endless(path: tuple[str, ...], spec: ChildSpec, flags: SupervisorFlags) -> Iterator[Trap]:
    backoff, span = spec.backoff, 0.0
    for restarts in range(1, min(flags.intensity, _FURTHEST)):
        span += backoff.shortest(restarts)
    if span > flags.period:
        yield Trap(
            kind="never_gives_up",
            path=path,
            message=(
                f"its backoff spreads {flags.intensity + 1} failures over at least {_told(span)}, "
                f"so there are never more than {flags.intensity} within {flags.period:g} s: it is "
                "retried for ever; lower intensity, or raise period"
            ),
        )


def _stays_down(path: tuple[str, ...], spec: ChildSpec) -> Iterator[Trap]:
    if spec.significant or spec.restart == "permanent":
        return
    message = {
        "temporary": "it is temporary: once it gives up, all below it is gone for good",
        "transient": (
            "it is transient: once it ends in order, by auto_shutdown or stop(), all below it "
            "stays down"
        ),
    }[spec.restart]
    yield Trap(kind="stays_down", path=path, message=f"{message}; a supervisor should be permanent")


def _stop_seconds(specs: Iterable[ChildSpec]) -> tuple[float, tuple[str, ...]]:
    """Return the longest that stopping them one by one may take, and the path of the slowest."""
    total, longest = 0.0, -1.0
    slowest: tuple[str, ...] = ()
    for spec in specs:
        seconds = spec.shutdown_seconds
        below: tuple[str, ...] = ()
        inside = _inside(spec)
        if inside is not None:
            its_own, below = _stop_seconds(inside.specs)
            seconds = min(seconds, its_own)
        elif spec.type == "supervisor":
            seconds = 0.0  # what it will start is not known
        total += seconds
        if seconds > longest:
            longest, slowest = seconds, (spec.id, *below)
    return total, slowest


def _told(seconds: float) -> str:
    return "for ever" if seconds == inf else f"{seconds:g} s"
