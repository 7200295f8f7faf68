"""Section M of the conformance list: actors."""
# ruff: noqa: ARG002, PT012 - handlers; what raises is a whole `async with`

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio

from supervisors import (
    Actor,
    ActorCrashedError,
    ActorDownError,
    ActorRef,
    Backoff,
    ChildSpec,
    ChildStartError,
    LaterReply,
    RestartIntensityError,
    Shutdown,
    Supervisor,
    open_supervisor,
)

from .kit import NO_BACKOFF, Boom, settle, states

if TYPE_CHECKING:
    from tests.conftest import Events


class Counter(Actor):
    """Counts, and does what the message says."""

    gate = trio.Event()

    async def init(self, *args: object) -> None:
        self.seen: list[object] = list(args)

    async def handle_call(self, message: object) -> object:
        self.seen.append(message)
        match message:
            case "crash":
                raise Boom("crash")
            case "shutdown":
                raise Shutdown
            case "sleep":
                await trio.sleep(10)
            case "seen":
                return list(self.seen)
            case "exit":
                raise SystemExit(3)
            case "continue":
                self.continue_with("one")
                self.continue_with("two")
        return message

    async def handle_cast(self, message: object) -> None:
        self.seen.append(("cast", message))
        if message == "crash":
            raise Boom("cast")
        if message == "sleep":
            await trio.sleep(10)

    async def handle_info(self, message: object) -> None:
        self.seen.append(("info", message))

    async def handle_continue(self, message: object) -> None:
        self.seen.append(("continue", message))
        if message == "two":
            self.continue_with("three")


def ref(supervisor: Supervisor, id: str = "a") -> ActorRef:
    reference = supervisor.value_of(id)
    assert isinstance(reference, ActorRef)
    return reference


def counter(**options: object) -> ChildSpec:
    options.setdefault("backoff", NO_BACKOFF)
    return Counter.child_spec("a", **options)  # type: ignore[arg-type]


async def test_a_call_is_answered() -> None:  # M 123
    async with open_supervisor([counter()]) as supervisor:
        assert await ref(supervisor).call("hello") == "hello"


async def test_init_gets_the_arguments() -> None:  # M 122
    async with open_supervisor([Counter.child_spec("a", 1, 2)]) as supervisor:
        assert await ref(supervisor).call("seen") == [1, 2, "seen"]


async def test_messages_are_handled_in_order() -> None:
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        actor.cast(1)
        actor.info(2)
        actor.submit(3)

        assert await actor.call("seen") == [("cast", 1), ("info", 2), 3, "seen"]


async def test_continue_comes_before_the_next_message_and_can_be_chained() -> None:  # M 127
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        actor.submit("continue")

        assert await actor.call("seen") == [
            "continue", ("continue", "one"), ("continue", "two"), ("continue", "three"), "seen"
        ]  # fmt: skip


async def test_continue_after_init_comes_before_the_first_message() -> None:  # M 127
    class Eager(Counter):
        async def init(self, *args: object) -> None:
            await super().init(*args)
            self.continue_with("init")

    async with open_supervisor([Eager.child_spec("a")]) as supervisor:
        assert await ref(supervisor).call("seen") == [("continue", "init"), "seen"]


async def test_an_actor_that_continues_for_ever_starves_nobody() -> None:
    class Busy(Actor):
        rounds = 0

        async def init(self, *args: object) -> None:
            self.continue_with("on")

        async def handle_continue(self, message: object) -> None:
            Busy.rounds += 1
            self.continue_with("on")

    async with open_supervisor([Busy.child_spec("a")]):
        for _ in range(20):
            await trio.lowlevel.checkpoint()

    assert Busy.rounds < 100


async def test_a_flood_of_casts_starves_nobody() -> None:  # trap 10
    async with open_supervisor([counter(mailbox=10_000)]) as supervisor:
        actor = ref(supervisor)
        for number in range(10_000):
            actor.cast(number)
        turns = 0
        while "'a', 0 waiting" not in repr(actor):
            turns += 1
            await trio.lowlevel.checkpoint()

    assert turns > 50


async def test_a_later_reply() -> None:  # M 123
    replies: list[LaterReply] = []

    class Later(Actor):
        async def handle_call(self, message: object) -> object:
            replies.append(self.reply_later())
            return "ignored"

    async with open_supervisor([Later.child_spec("a")]) as supervisor:
        first = ref(supervisor).submit(1)
        second = ref(supervisor).submit(2)
        await settle()
        assert not first.is_ready

        replies[1].send("two")
        replies[0].fail(Boom("one"))

        assert second.get_nowait() == "two"
        with pytest.raises(Boom, match="one"):
            first.get_nowait()
        with pytest.raises(RuntimeError, match="answered already"):
            replies[0].send("again")


async def test_a_later_reply_outlives_a_crash_of_the_actor() -> None:
    replies: list[LaterReply] = []

    class Later(Actor):
        async def handle_call(self, message: object) -> object:
            replies.append(self.reply_later())
            raise Boom

    async with open_supervisor([Later.child_spec("a")]) as supervisor:
        pending = ref(supervisor).submit(1)
        await settle()
        assert not pending.is_ready

        replies[0].send("late")

        assert pending.get_nowait() == "late"


async def test_a_dropped_later_reply_fails_the_call() -> None:
    class Careless(Actor):
        async def handle_call(self, message: object) -> object:
            self.reply_later()
            return None

    async with open_supervisor([Careless.child_spec("x")]) as supervisor:
        with pytest.raises(ActorDownError, match="actor 'x' is gone"):
            await ref(supervisor, "x").call(1)
        gc.collect()


async def test_a_later_reply_from_a_thread() -> None:
    class Threaded(Actor):
        async def handle_call(self, message: object) -> object:
            reply = self.reply_later()
            nursery.start_soon(trio.to_thread.run_sync, work, reply)
            return None

    def work(reply: LaterReply) -> None:
        trio.from_thread.run_sync(reply.send, "from a thread")

    async with trio.open_nursery() as nursery, open_supervisor([Threaded.child_spec("a")]) as top:
        assert await ref(top).call("x") == "from a thread"


async def test_a_later_reply_that_is_dropped_in_a_thread_fails_the_call() -> None:
    replies: list[LaterReply] = []

    class Careless(Actor):
        async def handle_call(self, message: object) -> object:
            replies.append(self.reply_later())
            return None

    answered: list[str] = []

    async def caller(reference: ActorRef) -> None:
        with pytest.raises(ActorDownError) as caught:
            await reference.call("x")
        answered.append(str(caught.value))

    async with open_supervisor([Careless.child_spec("a")]) as top, trio.open_nursery() as nursery:
        nursery.start_soon(caller, ref(top))
        await settle()
        await trio.to_thread.run_sync(replies.clear)
        await settle()

        assert answered == ["actor 'a' is gone"]


def test_a_later_reply_may_be_dropped_after_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    replies: list[LaterReply] = []
    ignored: list[object] = []

    class Careless(Actor):
        async def handle_call(self, message: object) -> object:
            replies.append(self.reply_later())
            return None

    async def main() -> None:
        async with open_supervisor([Careless.child_spec("a")]) as supervisor:
            ref(supervisor).submit("x")
            await settle()

    monkeypatch.setattr("sys.unraisablehook", ignored.append)
    trio.run(main)
    replies.clear()
    gc.collect()

    assert ignored == []


async def test_a_call_that_was_answered_later_is_not_handled_any_more() -> None:
    raised: list[str] = []

    class Forgetful(Actor):
        async def handle_call(self, message: object) -> object:
            return message

        async def handle_cast(self, message: object) -> None:
            with pytest.raises(RuntimeError, match="for a call that is being handled") as caught:
                self.reply_later()
            raised.append(str(caught.value))

    async with open_supervisor([Forgetful.child_spec("a")]) as supervisor:
        await ref(supervisor).call("x")
        ref(supervisor).cast("x")
        await settle()

    assert len(raised) == 1


async def test_reply_later_outside_a_call_is_an_error() -> None:
    raised: list[str] = []

    class Wrong(Actor):
        async def init(self, *args: object) -> None:
            with pytest.raises(RuntimeError, match="for a call that is being handled"):
                self.reply_later()
            raised.append("init")

        async def handle_call(self, message: object) -> object:
            reply = self.reply_later()
            with pytest.raises(RuntimeError, match="once"):
                self.reply_later()
            reply.send("fine")
            return None

    async with open_supervisor([Wrong.child_spec("a")]) as supervisor:
        assert await ref(supervisor).call(1) == "fine"
    assert raised == ["init"]


async def test_a_caller_that_times_out_does_not_hurt_the_actor(
    autojump_clock: trio.testing.MockClock,
) -> None:  # M 123
    async with open_supervisor([counter()]) as supervisor:
        with trio.move_on_after(1) as scope:
            await ref(supervisor).call("sleep")

        assert scope.cancelled_caught
        assert await ref(supervisor).call("seen") == ["sleep", "seen"]


async def test_a_call_withdrawn_behind_a_slow_one_is_not_carried_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both were taken from the mailbox together."""
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        actor.cast("sleep")
        with trio.move_on_after(1) as scope:
            await actor.call("never")

        assert scope.cancelled_caught
        assert await actor.call("seen") == [("cast", "sleep"), "seen"]
        assert repr(actor) == "<ActorRef 'a', 0 waiting>"


async def test_a_handler_that_raises_tells_its_caller_and_restarts_the_actor() -> None:  # M 123
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        with pytest.raises(ActorCrashedError, match=r"actor 'a' crashed.*Boom: crash") as caught:
            await actor.call("crash")

        assert isinstance(caught.value.__cause__, Boom)
        assert await actor.call("seen") == ["seen"]


async def test_only_the_culprit_of_a_crash_fails() -> None:
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        replies = [actor.submit(each) for each in ("a", "crash", "b", "seen")]
        await settle()

        assert replies[0].get_nowait() == "a"
        with pytest.raises(ActorCrashedError):
            replies[1].get_nowait()
        assert replies[2].get_nowait() == "b"
        assert replies[3].get_nowait() == ["b", "seen"]


async def test_calls_wait_while_the_actor_is_in_backoff(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pace = Backoff(min=5, max=5, jitter=0)
    async with open_supervisor([counter(backoff=pace)], intensity=9) as supervisor:
        actor = ref(supervisor)
        for _ in range(2):
            with pytest.raises(ActorCrashedError):
                await actor.call("crash")
        began = trio.current_time()

        assert await actor.call("x") == "x"
        assert trio.current_time() - began == 5


async def test_a_call_to_an_actor_that_ended_fails() -> None:  # M 124
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)

    with pytest.raises(ActorDownError, match="actor 'a' is gone"):
        await actor.call("x")
    with pytest.raises(ActorDownError):
        actor.cast("x")
    with pytest.raises(ActorDownError):
        actor.submit("x")


async def test_a_call_to_a_terminated_actor_fails_until_it_is_restarted() -> None:  # M 124
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        await supervisor.terminate_child("a")
        with pytest.raises(ActorDownError) as caught:
            await actor.call("x")
        assert caught.value.reason == "stopped"

        await supervisor.restart_child("a")

        assert await actor.call("x") == "x"


async def test_what_waits_for_a_parked_actor_fails() -> None:
    async with open_supervisor([counter(on_give_up="park")], intensity=0) as supervisor:
        actor = ref(supervisor)
        crash, after = actor.submit("crash"), actor.submit("after")
        await settle()

        assert states(supervisor) == {"a": "parked"}
        with pytest.raises(ActorCrashedError):
            crash.get_nowait()
        with pytest.raises(ActorDownError) as caught:
            after.get_nowait()
        assert caught.value.reason == "parked"


async def test_what_waits_for_an_actor_whose_supervisor_gives_up_fails() -> None:
    replies = []
    with pytest.raises(RestartIntensityError):
        async with open_supervisor([counter()], intensity=0) as supervisor:
            replies = [ref(supervisor).submit(each) for each in ("crash", "after")]
            await trio.sleep_forever()

    with pytest.raises(ActorDownError) as caught:
        replies[1].get_nowait()
    assert caught.value.reason == "gone"


async def test_a_call_during_an_orderly_end_fails() -> None:
    async with open_supervisor([counter(restart="transient")]) as supervisor:
        with pytest.raises(ActorDownError) as caught:
            await ref(supervisor).call("shutdown")

        assert caught.value.reason == "stopped"


async def test_a_call_in_hand_when_the_actor_is_stopped_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_supervisor([counter()]) as supervisor:
        pending = ref(supervisor).submit("sleep")
        await settle()

    with pytest.raises(ActorDownError) as caught:
        pending.get_nowait()
    assert caught.value.reason == "stopped"


async def test_a_handler_that_fails_with_a_mixed_group_has_crashed() -> None:
    class Mixed(Actor):
        async def handle_call(self, message: object) -> object:
            raise ExceptionGroup("", [Shutdown(), Boom()])

    async with open_supervisor([Mixed.child_spec("a")]) as supervisor:
        with pytest.raises(ActorCrashedError):
            await ref(supervisor).call("x")


async def test_a_call_to_itself_is_an_error() -> None:  # M 124
    class Narcissus(Actor):
        async def handle_call(self, message: object) -> object:
            with pytest.raises(RuntimeError, match="actor 'a' calls itself"):
                await reference.call("me")
            return "saved"

    async with open_supervisor([Narcissus.child_spec("a")]) as supervisor:
        reference = ref(supervisor)

        assert await reference.call("x") == "saved"


async def test_a_call_to_itself_is_found_though_an_older_incarnation_has_just_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """That one could not be killed, and was left behind."""
    hang = True

    class Narcissus(Actor):
        async def handle_call(self, message: object) -> object:
            if hang:
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)
            with pytest.raises(RuntimeError, match="actor 'a' calls itself"):
                await reference.call("me")
            return "saved"

    async with open_supervisor([Narcissus.child_spec("a", shutdown="brutal")]) as supervisor:
        reference = ref(supervisor)
        reference.submit("x")
        await settle()
        hang = False
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")
        await trio.sleep(100)

        assert await reference.call("x") == "saved"


async def test_a_full_mailbox_refuses_and_a_call_still_gets_through() -> None:  # M 125
    async with open_supervisor([counter(mailbox=2)]) as supervisor:
        actor = ref(supervisor)
        actor.cast(1)
        actor.submit(2)
        with pytest.raises(trio.WouldBlock):
            actor.cast(3)
        with pytest.raises(trio.WouldBlock):
            actor.submit(3)

        assert await actor.call("seen") == [("cast", 1), 2, "seen"]


async def test_a_cast_that_crashes_is_lost_and_the_rest_is_not() -> None:
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        for each in ("crash", "fine"):
            actor.cast(each)

        assert await actor.call("seen") == [("cast", "fine"), "seen"]


async def test_a_failing_init_fails_the_start() -> None:  # M 128
    class Broken(Actor):
        async def init(self, *args: object) -> None:
            raise Boom("no")

    with pytest.raises(ChildStartError, match="Boom: no"):
        async with open_supervisor([Broken.child_spec("a")]):
            pytest.fail("the body must not run")


async def test_terminate_is_not_for_an_init_that_failed() -> None:  # M 128
    ended: list[object] = []

    class Broken(Actor):
        async def init(self, *args: object) -> None:
            raise Boom("no")

        async def terminate(self, reason: BaseException | None) -> None:
            ended.append(reason)

    async with open_supervisor() as supervisor:
        with pytest.raises(ChildStartError):
            await supervisor.start_child(Broken.child_spec("a"))

    assert ended == []


async def test_an_actor_is_called_by_its_registered_name() -> None:
    specs = [Actor.child_spec("a", name="x"), Actor.child_spec("b")]
    async with open_supervisor(specs) as supervisor:
        assert (ref(supervisor, "a").name, ref(supervisor, "b").name) == ("x", "b")


async def test_callers_are_answered_when_the_restart_of_their_actor_fails() -> None:
    good = True

    class Moody(Counter):
        async def init(self, *args: object) -> None:
            if not good:
                raise Boom
            await super().init(*args)

    with pytest.raises(RestartIntensityError):
        async with open_supervisor([Moody.child_spec("a", backoff=NO_BACKOFF)]) as supervisor:
            good = False
            replies = [ref(supervisor).submit(each) for each in ("crash", "x")]
            await trio.sleep_forever()

    with pytest.raises(ActorDownError, match="'a' is gone"):
        replies[1].get_nowait()


@pytest.mark.parametrize("kind", ["call", "cast", "continue"])
async def test_a_missing_handler_crashes_the_actor(kind: str) -> None:  # M 128
    class Bare(Actor):
        pass

    class Continuing(Actor):
        async def init(self, *args: object) -> None:
            self.continue_with("x")

    spec = (Continuing if kind == "continue" else Bare).child_spec("a", backoff=NO_BACKOFF)
    async with open_supervisor([spec]) as supervisor:
        if kind == "call":
            with pytest.raises(ActorCrashedError, match="Bare has no handle_call: 'x'"):
                await ref(supervisor).call("x")
        elif kind == "cast":
            ref(supervisor).cast("x")
        await settle()

        assert supervisor.which_children()[0].restarts == (kind != "continue")


async def test_a_missing_handle_info_ignores_the_news() -> None:  # M 128
    class Bare(Actor):
        pass

    async with open_supervisor([Bare.child_spec("a")]) as supervisor:
        ref(supervisor).info("x")
        await settle()

        assert supervisor.which_children()[0].restarts == 0


class Ending(Actor):
    """Writes down why it ends."""

    reasons: list[BaseException | None]

    async def init(self, *args: object) -> None:
        self.reasons = args[0]  # type: ignore[assignment]

    async def handle_cast(self, message: object) -> None:
        assert isinstance(message, BaseException)
        raise message

    async def terminate(self, reason: BaseException | None) -> None:
        await trio.lowlevel.checkpoint()
        self.reasons.append(reason)


@pytest.mark.parametrize("error", [Boom(), Shutdown("x")])
async def test_terminate_gets_the_error(error: Exception) -> None:  # 1.9
    reasons: list[BaseException | None] = []
    async with open_supervisor([Ending.child_spec("a", reasons)]) as supervisor:
        ref(supervisor).cast(error)
        await settle()

        assert reasons == [error]


async def test_terminate_runs_at_a_stop() -> None:  # 1.9
    reasons: list[BaseException | None] = []
    async with open_supervisor([Ending.child_spec("a", reasons)]):
        pass

    assert isinstance(reasons[0], trio.Cancelled)


async def test_terminate_that_raises_is_logged(events: Events) -> None:
    class Bad(Actor):
        async def terminate(self, reason: BaseException | None) -> None:
            raise Boom("end")

    async with open_supervisor([Bad.child_spec("a")]) as supervisor:
        pass

    assert [each["child"] for each in events if each["event"] == "child_stop_error"] == ["a"]
    assert supervisor.which_children()[0].last_error == "Boom: end"


async def test_terminate_that_raises_does_not_hide_an_exit() -> None:
    class Bad(Counter):
        async def terminate(self, reason: BaseException | None) -> None:
            raise Boom("end")

    with pytest.raises(SystemExit) as caught:
        async with open_supervisor([Bad.child_spec("a")]) as supervisor:
            ref(supervisor).submit("exit")
            await trio.sleep_forever()

    assert caught.value.code == 3


async def test_an_actor_may_have_an_init_of_its_own_class() -> None:
    class Own(Actor):
        def __init__(self) -> None:
            self.value = 5

        async def handle_call(self, message: object) -> object:
            return self.value

    async with open_supervisor([Own.child_spec("a")]) as supervisor:
        assert await ref(supervisor).call("x") == 5


async def test_a_new_incarnation_has_a_fresh_object() -> None:
    async with open_supervisor([counter()]) as supervisor:
        actor = ref(supervisor)
        await actor.call("remember")
        with pytest.raises(ActorCrashedError):
            await actor.call("crash")

        assert await actor.call("seen") == ["seen"]


async def test_only_an_abnormal_exit_is_a_crash_report(events: Events) -> None:  # M 126
    reasons: list[BaseException | None] = []
    specs = [
        Ending.child_spec(each, reasons, restart="temporary")
        for each in ("boom", "shutdown", "stop")
    ]
    boom = Boom("why")
    async with open_supervisor(specs) as supervisor:
        ref(supervisor, "boom").cast(boom)
        ref(supervisor, "shutdown").cast(Shutdown())
        await settle()

    reports = [each for each in events if each["log_level"] == "error"]
    assert [(each["event"], each["child"], each["exc_info"]) for each in reports] == [
        ("child_crashed", "boom", boom)
    ]
