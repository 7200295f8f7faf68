"""The methods of the control socket: a table of small functions over the public `Runtime`.

Each has a class of parameters, in `_params`. What changes something is logged, with who asked. A
method that makes no sense for a kind of queue says what does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs
import structlog
import trio

from queueactors._steps import in_turns
from queueactors.metrics._ready import descend
from supervisors import describe, did_you_mean

from . import _params as p
from ._intake import put_in, put_lines, values_of
from ._logs import LogTap
from ._redrive import redrive
from ._values import Json, RuntimeStatus, shown
from ._watch import Watch, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from queueactors._overview import Overview
    from queueactors._runtime import Runtime
    from queueactors.queues import AnyQueue

    from ._connection import Call, Reply

LEVELS: Final = {"debug": 10, "info": 20}  # as logging has them
ONE_BY_ONE: Final = ("timed", "message")  # kinds whose messages are taken and then finished


@attrs.frozen
class Method:
    """A method.

    Args:
      params: The class of its parameters.
      function: Carries it out; its result may be a stream.
      level: That of the log event that tells of it, as it changes something. None: it does not.
    """

    params: type
    function: Callable[[Methods, Json, Call], Awaitable[Reply]]
    level: Literal["debug", "info"] | None = None


class Methods:
    """Carries out the requests of one runtime's clients.

    Args:
      runtime: The runtime.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.special = runtime._client_requests  # noqa: SLF001 - the front ends are its own
        self.logs = LogTap()
        self.watch = Watch(runtime)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("queueactors")

    async def answer(self, call: Call) -> Reply:
        """Carry a request out; return its result, or a stream.

        Raises:
          LookupError: If there is no such method.
          TypeError: If it has no such parameter, or a required one is missing.
          ValueError: If a parameter breaks its rule.
          QueueActorsError: If the runtime, or a queue, refuses.
          supervisors.SupervisorsError: Likewise.
        """
        method = METHODS.get(call.method)
        if method is None:
            raise LookupError(
                f"there is no method {call.method!r}{did_you_mean(call.method, METHODS)}"
            )
        params: Json = p.read_params(method.params, call.method, call.params)
        if method.level is None:
            return await method.function(self, params, call)
        log = self._log.bind(method=call.method, pid=call.peer.pid, uid=call.peer.uid)
        log = log.bind(**_named(params))
        try:
            reply = await method.function(self, params, call)
        except Exception as error:
            log.log(LEVELS[method.level], "control_called", error=describe(error))
            raise
        log.log(LEVELS[method.level], "control_called")
        return reply

    async def overview(self) -> Overview:
        """Return all queues and workers; others run in between."""
        return await in_turns(self.runtime._overview_steps())  # noqa: SLF001 - the front ends are its own

    def status(self, overview: Overview) -> RuntimeStatus:
        """Return what the runtime is at."""
        runtime = self.runtime
        return status_of(
            runtime,
            not_ready=runtime.not_ready(),
            parked=runtime.parked(),
            stopped=tuple(
                child.id for _, child in descend(runtime.tree()) if child.state == "stopped"
            ),
            queues=len(overview.queues),
            workers=len(overview.workers),
            messages=sum(each.at_hand or 0 for each in overview.queues),
            in_hand=sum(each.in_hand or 0 for each in overview.queues),
            version=self.watch.version,
        )


async def _status(methods: Methods, _params: p.Nothing, _call: Call) -> Reply:
    return methods.status(await methods.overview())


async def _tree(methods: Methods, _params: p.Nothing, _call: Call) -> Reply:
    return methods.runtime.tree()


async def _queues(methods: Methods, _params: p.Nothing, _call: Call) -> Reply:
    return (await methods.overview()).queues


async def _workers(methods: Methods, _params: p.Nothing, _call: Call) -> Reply:
    return (await methods.overview()).workers


async def _stats(methods: Methods, params: p.OneQueue, _call: Call) -> Reply:
    methods.runtime.queue(params.queue)  # it may not be there
    overview = await methods.overview()
    row = next(each for each in overview.queues if each.name == params.queue)
    workers = [each for each in overview.workers if each.queue == params.queue]
    return {"queue": row, "workers": workers}


async def _insert(methods: Methods, params: p.Insert, _call: Call) -> Reply:
    queue: AnyQueue = methods.runtime.queue(params.queue)
    values = values_of(queue, params.values, params.data)
    return await put_in(
        queue,
        values,
        delay=params.delay,
        priority=params.priority,
        mid=params.mid,
        wait=params.wait,
    )


async def _import(methods: Methods, params: p.Import, _call: Call) -> Reply:
    return await put_lines(methods.runtime.queue(params.queue), params)


async def _reserve(methods: Methods, params: p.Reserve, call: Call) -> Reply:
    queue = _of_kind(methods, params.queue, "reserve", ONE_BY_ONE)
    if queue.kind == "timed":
        taken = await _take(
            params,
            lambda: queue.try_reserve(params.seconds),
            lambda: queue.reserve(params.seconds, timeout=params.wait),
        )
        mid = None
    else:
        if params.seconds is not None:
            raise ValueError("expected no seconds: how long it is locked is the queue's lock_time")
        taken = await _take(params, queue.try_claim, lambda: queue.claim(timeout=params.wait))
        mid = None if taken is None else taken.mid
    if taken is None:
        return None
    call.give_back = lambda: queue.snooze(taken.key)
    value = taken.value if queue.kind == "timed" else taken.message
    return {
        "id": taken.id,
        "key": taken.key,
        "attempt": taken.attempt,
        "deadline_at": taken.deadline_at,
        "mid": mid,
        **_shown(queue, value),
    }


async def _take(
    params: p.Reserve,
    at_once: Callable[[], Awaitable[AnyQueue]],
    waiting: Callable[[], Awaitable[AnyQueue]],
) -> AnyQueue:
    """Return what was taken; None: nothing was there in time."""
    if params.wait == 0:
        return await at_once()
    try:
        return await waiting()
    except trio.TooSlowError:
        return None


async def _delete(methods: Methods, params: p.Delete, _call: Call) -> Reply:
    queue = _of_kind(methods, params.queue, "delete", ONE_BY_ONE)
    if queue.kind == "timed":
        await queue.delete(params.key)
    else:
        await queue.finish(params.key)
    return {"deleted": 1}


async def _release(methods: Methods, params: p.Release, _call: Call) -> Reply:
    queue = _of_kind(methods, params.queue, "release", ONE_BY_ONE)
    if queue.kind == "timed":
        await queue.release(params.key, params.delay)
    else:
        await queue.finish(params.key, "retry", params.delay)
    return {"released": 1}


async def _peek(methods: Methods, params: p.Peek, _call: Call) -> Reply:
    queue: AnyQueue = methods.runtime.queue(params.queue)
    if queue.kind in {"channel", "log", "capacity"}:
        if params.state not in {None, "ready"}:
            raise ValueError(f"expected no state: in a {queue.kind} queue there is only ready")
        items = await queue.peek(params.limit)
        return _stream({"state": "ready", **_shown(queue, item)} for item in items)
    if queue.kind == "message":
        infos = await queue.peek(params.state, params.limit)
        now = queue.clock.now_ns()
        return _stream(
            {
                "id": info.id,
                "state": info.status,
                "mid": mid,
                "attempts": info.attempts,
                "inserted_at": now - int(info.age * 1e9),
                "ready_at": None if info.backoff is None else now + int(info.backoff * 1e9),
                **_shown(queue, info.message),
            }
            for mid, info in infos.items()
        )
    found = await queue.peek(params.state or "ready", params.limit)
    if queue.kind == "batch":
        return _stream(
            {
                "id": each.id,
                "state": each.state,
                "attempts": each.claims,
                "inserted_at": each.pushed_at,
                "ready_at": each.ready_at,
                "error": each.error,
                **_shown(queue, each.items),
            }
            for each in found
        )
    return _stream(
        {
            "id": each.id,
            "state": each.state,
            "attempts": each.attempts,
            "priority": each.priority,
            "inserted_at": each.inserted_at,
            "ready_at": each.ready_at,
            "error": each.error,
            **_shown(queue, each.value),
        }
        for each in found
    )


async def _kick(methods: Methods, params: p.Kick, _call: Call) -> Reply:
    queue = _of_kind(methods, params.queue, "kick", ("timed", "batch"))
    return {"kicked": await queue.kick(params.limit)}


async def _remove(methods: Methods, params: p.Remove, _call: Call) -> Reply:
    queue = _of_kind(methods, params.queue, "remove", (*ONE_BY_ONE, "batch"))
    return {"removed": await queue.remove(*params.ids)}


async def _redrive(methods: Methods, params: p.Redrive, _call: Call) -> Reply:
    queue = _of_kind(methods, params.queue, "redrive", ONE_BY_ONE)
    to = None if params.to is None else methods.runtime.queue(params.to).name
    if to == queue.name:
        raise ValueError(f"{to!r} is where they are; say another queue that they go to")
    return await redrive(methods.runtime, queue, to, params.limit)


async def _clear(methods: Methods, params: p.Clear, _call: Call) -> Reply:
    if params.all:
        return {"cleared": await methods.runtime.clear_all_queues()}
    return {"cleared": await methods.runtime.clear_queues(*params.queues)}


async def _pause(methods: Methods, params: p.Pause, _call: Call) -> Reply:
    queue: AnyQueue = methods.runtime.queue(params.queue)
    await queue.pause(params.seconds)
    return {"paused": queue.name}


async def _resume(methods: Methods, params: p.OneQueue, _call: Call) -> Reply:
    queue: AnyQueue = methods.runtime.queue(params.queue)
    await queue.resume()
    return {"resumed": queue.name}


async def _stop(methods: Methods, params: p.OneChild, _call: Call) -> Reply:
    await methods.special.stop(params.child)
    return {"stopped": params.child}


async def _start(methods: Methods, params: p.OneChild, _call: Call) -> Reply:
    await methods.runtime.start(params.child)
    return {"started": params.child}


async def _restart(methods: Methods, params: p.OneChild, call: Call) -> Reply:
    call.afterwards = await methods.special.restart(params.child)
    return {"restarted": params.child}


async def _plan(methods: Methods, params: p.PlanOf, _call: Call) -> Reply:
    from queueactors.config import plan_data

    return plan_data(await methods.runtime.plan(params.config))


async def _reload(methods: Methods, params: p.ReloadTo, call: Call) -> Reply:
    from queueactors.config import plan_data

    result = await methods.special.reload(params.config, params.removed)
    if any(each.outcome == "pending" for each in result.children):
        call.afterwards = methods.special.renew_control
    return {"plan": plan_data(result.plan), "children": result.children}


async def _metrics(methods: Methods, params: p.MetricsFormat, _call: Call) -> Reply:
    metrics = methods.runtime.metrics()
    return metrics.text() if params.format == "prometheus" else metrics.openmetrics()


async def _watch(methods: Methods, params: p.Interval, _call: Call) -> Reply:
    return methods.watch.changes(params.interval)


async def _listen(methods: Methods, params: p.Logs, _call: Call) -> Reply:
    return methods.logs.listen(params.level)


METHODS: Final = {
    "status": Method(p.Nothing, _status),
    "tree": Method(p.Nothing, _tree),
    "queues": Method(p.Nothing, _queues),
    "workers": Method(p.Nothing, _workers),
    "stats": Method(p.OneQueue, _stats),
    "insert": Method(p.Insert, _insert, "debug"),
    "import": Method(p.Import, _import, "debug"),
    "reserve": Method(p.Reserve, _reserve, "debug"),
    "delete": Method(p.Delete, _delete, "debug"),
    "release": Method(p.Release, _release, "debug"),
    "peek": Method(p.Peek, _peek),
    "kick": Method(p.Kick, _kick, "info"),
    "remove": Method(p.Remove, _remove, "info"),
    "redrive": Method(p.Redrive, _redrive, "info"),
    "clear": Method(p.Clear, _clear, "info"),
    "pause": Method(p.Pause, _pause, "info"),
    "resume": Method(p.OneQueue, _resume, "info"),
    "stop": Method(p.OneChild, _stop, "info"),
    "start": Method(p.OneChild, _start, "info"),
    "restart": Method(p.OneChild, _restart, "info"),
    "plan": Method(p.PlanOf, _plan),
    "reload": Method(p.ReloadTo, _reload, "info"),
    "metrics": Method(p.MetricsFormat, _metrics),
    "top": Method(p.Interval, _watch),
    "logs": Method(p.Logs, _listen),
}
"""By name; docs/control.md has them all."""


_TOLD: Final = ("queue", "child", "to", "queues", "all", "config", "removed")

# What to do instead, by method and kind.
_INSTEAD: Final = {
    ("reserve", "channel"): "give it a worker: what is taken from a channel does not come back",
    ("reserve", "capacity"): "what is popped does not come back; look at it with peek",
    ("reserve", "log"): "a log is read by label, and nothing is taken from it",
    ("reserve", "batch"): "its process function takes the batches; look at them with peek",
    ("kick", "message"): "nothing is buried in it; redrive its dead letter queue instead",
    ("redrive", "batch"): "let its dead letters go to a timed or message queue",
}


def _of_kind(methods: Methods, name: str, method: str, kinds: tuple[str, ...]) -> AnyQueue:
    """Return a queue that a method is for.

    Raises:
      QueueNotFoundError: If there is none of that name.
      ValueError: If the method is for other kinds.
    """
    queue: AnyQueue = methods.runtime.queue(name)
    if queue.kind in kinds:
        return queue
    base = "reserve" if method in {"delete", "release"} else method
    instead = _INSTEAD.get((base, queue.kind), "look into it with peek")
    known = ", ".join(kinds)
    raise ValueError(
        f"queue {name!r} is of kind {queue.kind}, and {method} is for {known}; {instead}"
    )


def _shown(queue: AnyQueue, value: object) -> dict[str, object]:
    return shown(value, text=getattr(queue.options, "codec", None) == "bytes")


async def _stream(items: Iterator[object]) -> AsyncGenerator[object, None]:
    for item in items:
        yield item


def _named(params: attrs.AttrsInstance) -> dict[str, object]:
    """Return what of parameters is told in the log: names and limits, no values."""
    known = attrs.asdict(params, recurse=False)
    told = {key: known[key] for key in _TOLD if key in known}
    return {key: value for key, value in told.items() if value}
