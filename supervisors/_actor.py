"""Actors: a task that owns its state, reached only through its mailbox.

Subclass `Actor`, give its `Actor.child_spec` to a supervisor, and talk to it through the
`ActorRef` that the child reports. Source: OTP's ``gen_server``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self, Unpack

import attrs
import trio
from trio.lowlevel import current_task

from ._errors import ActorDownError, DownReason
from ._exceptions import fatal, release_groups, without_cancelled
from ._mailbox import Mailbox, Operation, PendingReply
from ._restart import ExitKind, classify
from ._spec import MAILBOX, ChildSpec, Owns, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._child import ChildStatus
    from ._nested import ChildOptions

_BATCH = 64  # messages between two checkpoints; 64 to 256 keep other tasks responsive


class ActorRef:
    """The way to an actor. Valid across restarts, and cheap to pass around."""

    __slots__ = ("_mailbox",)

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __repr__(self) -> str:
        return f"<ActorRef {self.name!r}, {len(self._mailbox)} waiting>"

    @property
    def name(self) -> str:
        """The actor's name."""
        return self._mailbox.name

    async def call(self, message: object) -> Value:
        """Send a message and return the answer of ``handle_call``.

        While the actor restarts, the call waits. Cancelled before the actor took the message:
        it was not sent. Afterwards: the actor goes on and its answer is dropped.

        Raises:
          ActorCrashedError: If the handler raised; ``__cause__`` is its error.
          ActorDownError: If the actor does not run, or stopped in the middle.
          RuntimeError: If the actor calls itself.
        """
        return await self._mailbox.call(Operation("call", (message,)))

    def cast(self, message: object) -> None:
        """Send a message to ``handle_cast`` and do not wait.

        Raises:
          trio.WouldBlock: If the mailbox is full. Nothing was sent.
          ActorDownError: If the actor does not run and nobody will restart it.
        """
        self._mailbox.cast(Operation("cast", (message,)))

    def info(self, message: object) -> None:
        """Send a message to ``handle_info``: like `cast`, for news rather than requests."""
        self._mailbox.cast(Operation("info", (message,)))

    def submit(self, message: object) -> PendingReply[Value]:
        """Send a message to ``handle_call`` and return its answer-to-be at once.

        Raises:
          trio.WouldBlock: If the mailbox is full. Nothing was sent.
          ActorDownError: If the actor does not run and nobody will restart it.
        """
        operation = Operation("call", (message,))
        self._mailbox.cast(operation)
        return PendingReply(operation)


class LaterReply:
    """An answer that somebody else, or another time, gives. Dropped: `ActorDownError`."""

    __slots__ = ("_actor", "_operation", "_token")

    def __init__(self, actor: str, operation: Operation) -> None:
        self._actor = actor
        self._operation: Operation | None = operation
        self._token = trio.lowlevel.current_trio_token()

    def send(self, value: object) -> None:
        """Answer the caller. Once; a second time is a `RuntimeError`."""
        operation = self._take()
        operation.value = value
        operation.resolve()

    def fail(self, error: Exception) -> None:
        """Let the call raise ``error``. Once; a second time is a `RuntimeError`."""
        self._take().fail(error)

    def _take(self) -> Operation:
        operation, self._operation = self._operation, None
        if operation is None:
            raise RuntimeError("this call was answered already")
        return operation

    def __del__(self) -> None:
        operation = self._operation
        if operation is not None:
            # The garbage collector may run in any thread.
            error = ActorDownError(self._actor, "gone")
            try:
                self._token.run_sync_soon(operation.fail, error)
            except trio.RunFinishedError:
                return


class Actor:
    """Base class of actors: override the handlers you need.

    One message is handled at a time. A handler that raises crashes the actor: the caller gets
    `ActorCrashedError`, the supervisor restarts the actor with a fresh object, and the other
    messages wait for that. `Shutdown` ends it in an orderly way.
    """

    __later: LaterReply | None = None
    __operation: Operation | None = None
    __name = "?"
    __next: deque[object]

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Make the actor; a subclass may have an ``__init__`` of its own."""
        actor = super().__new__(cls)
        actor.__next = deque()
        return actor

    # The arguments' types are the subclass's own: so a type checker takes any override.
    async def init(self, *args: Value, **_none: Value) -> None:
        """Get ready; the supervisor waits for it. Raising is a failed start."""

    async def handle_call(self, message: Value) -> object:
        """Answer a message; the return value goes to the caller."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_call: {message!r}")

    async def handle_cast(self, message: Value) -> None:
        """Handle a message that nobody waits for."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast: {message!r}")

    async def handle_info(self, message: Value) -> None:
        """Handle news. The default ignores them."""

    async def handle_continue(self, message: Value) -> None:
        """Handle what `continue_with` left to do."""

    async def terminate(self, reason: BaseException | None) -> None:
        """Clean up. ``reason``: the error, `trio.Cancelled` or `Shutdown` that ended it.

        Runs shielded, for at most the ``shutdown`` seconds of its spec.
        """

    def continue_with(self, message: object) -> None:
        """Do ``handle_continue(message)`` next, before the next message of the mailbox."""
        self.__next.append(message)

    def reply_later(self) -> LaterReply:
        """Take the duty to answer the present call away from ``handle_call``.

        Raises:
          RuntimeError: If no call is being handled, or it was taken already.
        """
        operation = self.__operation
        if operation is None or self.__later is not None:
            raise RuntimeError("reply_later() is for a call that is being handled, once")
        self.__later = LaterReply(self.__name, operation)
        return self.__later

    @classmethod
    def child_spec(
        cls,
        id: str,
        *args: object,
        name: str | None = None,
        mailbox: int = MAILBOX,
        **child_options: Unpack[ChildOptions],
    ) -> ChildSpec:
        """Return a child spec for this actor; the child reports an `ActorRef`.

        The spec holds the mailbox: so it is for one child at a time, except in a dynamic
        supervisor, which gives each child that it starts one of its own.

        Args:
          id: The child's.
          *args: Go to `init`.
          name: To register the reference under, in the registry of the tree. None: not.
          mailbox: How many casts and submitted messages may wait; >= 1.
          **child_options: As for `ChildSpec`.
        """
        start = _ActorStart(cls, Mailbox(name or id, mailbox), name)
        return ChildSpec(id=id, start=start, args=args, **child_options)

    async def _loop(self, mailbox: Mailbox) -> None:
        self.__name = mailbox.name
        while True:
            if self.__next:
                await self._continue()
            batch = deque(mailbox.take(_BATCH))
            if not batch:
                await mailbox.wait()
                continue
            try:
                while batch:
                    await self._handle(batch.popleft(), mailbox.name)
                    if self.__next:
                        await self._continue()
            finally:
                mailbox.put_back(batch)
            await trio.lowlevel.checkpoint()

    async def _continue(self) -> None:
        while self.__next:
            await self.handle_continue(self.__next.popleft())
            await trio.lowlevel.checkpoint()  # it may go on continuing

    async def _handle(self, operation: Operation, name: str) -> None:
        if operation.state == "withdrawn":
            return  # since it was taken from the mailbox
        operation.state = "taken"
        try:
            match operation.method:
                case "call":
                    self.__operation = operation
                    value = await self.handle_call(*operation.args)
                    if self.__later is None:  # else the answer may be here already
                        operation.value = value
                case "cast":
                    await self.handle_cast(*operation.args)
                case _:
                    await self.handle_info(*operation.args)
        except BaseException as error:
            if self.__later is None:
                _answer_failure(operation, name, error)
            raise
        else:
            if self.__later is None:
                operation.resolve()
        finally:
            self.__operation = self.__later = None


def _answer_failure(operation: Operation, name: str, error: BaseException) -> None:
    own = without_cancelled(error)
    if own is None or fatal(own) or classify(own) is not ExitKind.ABNORMAL:
        operation.fail(ActorDownError(name, "stopped"))
    else:
        if own is not error:  # a copy: the one that the supervisor gets, and releases, is another
            release_groups(own)
        operation.crashed(name, own)


@attrs.define(eq=False)
class _ActorStart(Owns):
    """A start function that owns what outlives an incarnation: the mailbox."""

    factory: Callable[[], Actor]
    mailbox: Mailbox
    name: str | None

    async def __call__(self, *args: object, task_status: ChildStatus) -> None:
        mailbox = self.mailbox
        actor = self.factory()
        mailbox.reopen()
        mailbox.owner = current_task()
        try:
            await actor.init(*args)
            try:
                reference = ActorRef(mailbox)
                if self.name is not None:
                    task_status.registry.register(self.name, reference, owner=task_status)
                task_status.started(reference)
                await actor._loop(mailbox)  # noqa: SLF001 - its own shell
            except BaseException as error:
                await _terminate(actor, error, task_status)
                raise
        finally:
            if mailbox.owner is current_task():  # not if this one was left behind as unkillable
                mailbox.owner = None

    def child_down(self, reason: DownReason) -> None:
        self.mailbox.close(reason)

    def another(self, id: str, /) -> _ActorStart:
        return attrs.evolve(self, mailbox=Mailbox(self.name or id, self.mailbox.bound))


async def _terminate(actor: Actor, error: BaseException, status: ChildStatus) -> None:
    try:
        with status.shield() as scope:
            scope.deadline = trio.current_time() + status.shutdown_seconds
            await actor.terminate(error)
    except Exception as another:
        if fatal(error):  # must not be hidden
            raise BaseExceptionGroup("terminate() failed too", [error, another]) from None
        raise
