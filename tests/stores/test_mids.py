"""Names of messages in a store's file: each once; and what becomes of those that are twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from queueactors.stores import _transfer
from queueactors.stores._transfer import Import, TransferError

from .kit import define_messages, running
from .kit_file import AT, TABLES, head, named, opened, put, rows
from .test_inspect import inspect
from .test_transfer import NOW, StoppedError, export, import_

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from queueactors.cores.message import QueuedMessage
    from tests.conftest import Events

MIDS = 3  # the column in `rows`


def every_state() -> list[QueuedMessage]:
    """Return a message in every state, and with every fact."""
    return [
        named(1, "ready", lock_time=5),
        named(2, "late", state="backoff", ready_at=AT + 5, attempt=1),
        named(3, "hers", state="locked", attempt=2, key=AT + 3, deadline_at=AT + 9),
        named(4, "done", state="done", attempt=1, deadline_at=AT + 10**12),
        named(5, "hers", state="requeue", lock_time=7),
        named(6, "done", state="requeue"),
    ]


def write(path: Path, *lines: object) -> Path:
    """Write lines, without a header."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def import_messages(lines: Path, store: Path, *, again: bool = False) -> Import:
    """Import lines into the message queue ``q``."""
    made = Import(lines, "q", TABLES, NOW, "message")
    made.check(lambda _done: None)
    with opened(store) as file:
        made.run(file, lambda _done: None, again=again)
    return made


def mids_in(store: Path) -> list[object]:
    """Return the names of the messages in the queue ``q``, by id."""
    with opened(store) as file:
        return [row[MIDS] for row in rows(file, "q")]


# -- export and import ---------------------------------------------------------------------------


def test_all_facts_survive(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", every_state(), next_id=20, last_key=AT + 4, paused_until=-1)
        before, beside = rows(file, "q"), head(file, "q")

    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before
        assert head(file, "q") == beside


def test_in_a_queue_that_is_there_only_what_is_locked_gets_a_new_key(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", every_state())
    export(tmp_path / "a", tmp_path / "x")
    with opened(tmp_path / "b") as file:
        put(file, "q", [named(1, "mine", state="locked", key=77, deadline_at=NOW)])

    import_(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        found = rows(file, "q")
        assert [row[0] for row in found] == [1, 2, 3, 4, 5, 6, 7]
        assert [row[8] for row in found] == [77, 0, 0, 78, 0, 0, 0]
        assert head(file, "q") == {**TABLES["message"].head, "next_id": 8, "last_key": 78}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([{"mid": "a"}, {"mid": "b"}, {"mid": "a"}], "3: mid 'a' is that of line 1"),
        (
            [{"mid": "a"}, {"mid": "a", "state": "requeue"}, {"mid": "a", "state": "requeue"}],
            "3: mid 'a' is that of line 2",
        ),
        (
            [{"mid": "b"}, {"mid": "a", "state": "requeue"}],
            "2: expected another message of mid 'a', as state is 'requeue'",
        ),
        ([{"state": "requeue"}], "1: expected mid, as state is 'requeue'"),
        ([{"mid": ""}], "1: Expected `str` of length >= 1 - at `$.mid`"),
        ([{"mid": 5}], "1: Expected `str | null`, got `int` - at `$.mid`"),
        ([{"state": "reserved"}], "1: Invalid enum value 'reserved' - at `$.state`"),
        ([{"priority": 1}], "1: Object contains unknown field `priority`"),
    ],
)
def test_names_that_cannot_be_are_refused(
    tmp_path: Path, lines: list[dict[str, object]], told: str
) -> None:
    write(tmp_path / "x", *({"value": 0} | line for line in lines))

    with pytest.raises(TransferError) as caught:
        import_messages(tmp_path / "x", tmp_path / "b")

    assert str(caught.value) == f"{tmp_path / 'x'}:{told}; nothing of it was imported"
    assert not (tmp_path / "b").exists()


def test_a_locked_message_must_have_a_key(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", [named(1, "hers", state="locked", attempt=1)], last_key=5)
    export(tmp_path / "a", tmp_path / "x")

    with pytest.raises(TransferError, match=r"x:2: expected key from 1 to last_key, 5, got 0;"):
        import_(tmp_path / "x", tmp_path / "b")


def test_a_name_that_is_in_the_queue_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "b") as file:
        put(file, "q", [named(1, "x"), named(2, "y", state="done", deadline_at=NOW)])
        before = rows(file, "q")
    write(tmp_path / "x", {"mid": "z", "value": 0}, {"mid": "y", "value": 0})

    with pytest.raises(
        TransferError, match=r"x:2: mid 'y' is in queue 'q'; nothing of it was imported$"
    ):
        import_messages(tmp_path / "x", tmp_path / "b")

    with opened(tmp_path / "b") as file:
        assert rows(file, "q") == before


def test_lines_without_a_name_get_one_each(tmp_path: Path) -> None:
    write(tmp_path / "x", {"value": 0}, {"value": 0}, {"value": 0, "mid": "mine"})

    import_messages(tmp_path / "x", tmp_path / "b")
    import_messages(tmp_path / "x", tmp_path / "b")  # does nothing
    once = mids_in(tmp_path / "b")
    write(tmp_path / "y", {"value": 0}, {"value": 0})
    import_messages(tmp_path / "y", tmp_path / "b")
    import_messages(tmp_path / "y", tmp_path / "b", again=True)

    assert once[2] == "mine"
    mids = mids_in(tmp_path / "b")
    assert mids[:3] == once
    assert len(set(mids)) == len(mids) == 7


@pytest.mark.parametrize("parts", [2, 3])
def test_an_import_goes_on_between_a_message_and_its_requeue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", every_state())
    export(tmp_path / "a", tmp_path / "x")
    import_(tmp_path / "x", tmp_path / "whole")
    monkeypatch.setattr(_transfer, "PART", 2)
    calls = []

    def stop(done: int) -> None:
        calls.append(done)
        if len(calls) == parts:
            raise StoppedError

    with pytest.raises(StoppedError):
        import_(tmp_path / "x", tmp_path / "b", progress=stop)
    assert import_(tmp_path / "x", tmp_path / "b").resumed == 2 * (parts - 1)

    assert mids_in(tmp_path / "b") == mids_in(tmp_path / "whole")


def test_what_goes_on_is_not_put_beside_what_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transfer, "PART", 1)
    write(tmp_path / "x", {"mid": "a", "value": 0}, {"mid": "b", "value": 0})

    def stop(done: int) -> None:
        if done == 1:
            raise StoppedError

    made = Import(tmp_path / "x", "q", TABLES, NOW, "message")
    with opened(tmp_path / "b") as file:
        with pytest.raises(StoppedError):
            made.run(file, stop, again=False)
        put(file, "q", [named(2, "b")])

    with pytest.raises(
        TransferError,
        match=r"x:2: mid 'b' is in queue 'q'; nothing of it but the first 1 messages was imported$",
    ):
        import_messages(tmp_path / "x", tmp_path / "b")


def test_lines_of_another_kind_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", every_state())
    export(tmp_path / "a", tmp_path / "x")

    with pytest.raises(
        TransferError, match=r"x has a queue of kind 'message', and queue 'p' is of kind 'timed'; n"
    ):
        Import(tmp_path / "x", "p", TABLES, NOW, "timed")


# -- check ---------------------------------------------------------------------------------------


def test_a_check_finds_nothing_where_all_is_well(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(file, "q", every_state(), last_key=AT + 3)
        put(file, "p", every_state(), last_key=AT + 3)

    report = inspect(tmp_path / "a")

    assert report.faults == []
    assert report.queues[0].states == {
        "ready": 1, "backoff": 1, "locked": 1, "done": 1, "requeue": 2,
    }  # fmt: skip


def test_a_check_finds_names_that_are_twice_or_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as file:
        put(
            file,
            "q",
            [
                *every_state(),
                named(7, "ready", state="done", deadline_at=NOW),
                named(8, "hers", state="requeue"),
                named(9, "alone", state="requeue"),
            ],
        )

    assert inspect(tmp_path / "a").faults == [
        "queue 'q' has 2 mids twice: 'hers', 'ready'",
        "queue 'q' has 1 mids that are requeue only: 'alone'",
    ]


# -- a queue that has a name twice all the same --------------------------------------------------


async def test_of_messages_with_one_name_all_are_handled_under_names_of_their_own(
    tmp_path: Path, events: Events, autojump_clock: MockClock
) -> None:
    with opened(tmp_path / "a") as file:
        doubled = [
            named(1, "x", b"1"),
            named(2, "x", b"2", state="locked", key=5, deadline_at=1 << 62),
            named(3, "x#4", b"3"),
            named(4, "x", b"4", state="done", deadline_at=1 << 62),
            named(5, "x", b"5", state="requeue"),
            named(6, "x", b"6", state="requeue"),
        ]
        put(file, "q", doubled, next_id=9, last_key=5)

    for _ in range(2):  # the second time as it was written, or the same again
        async with running(tmp_path / "a") as runtime:
            queue = await define_messages(runtime, codec="msgpack")
            assert {mid: info.id for mid, info in (await queue.queue_content()).items()} == {
                "x": 1,
                "x#2": 2,
                "x#4": 3,
                "x#4#4": 4,
                "x#6": 6,
            }
    renamed = [event for event in events if event["event"] == "message_renamed"]
    assert [(each["id"], each["mid"], each["was"]) for each in renamed[:3]] == [
        (2, "x#2", "x"),
        (4, "x#4#4", "x"),
        (6, "x#6", "x"),
    ]
    assert {each["log_level"] for each in renamed} == {"warning"}
    assert inspect(tmp_path / "a").faults == []

    async with running(tmp_path / "a") as runtime:
        queue = await define_messages(runtime, codec="msgpack")
        await queue.finish(5)
        handled = []
        while (claim := await queue.try_claim()) is not None:
            handled.append(claim.message)
            await claim.finish()
        assert handled == [b"1", b"3", b"6", b"5"]
        assert await queue.len() == 1


async def test_a_requeue_whose_message_is_not_there_is_ready(
    tmp_path: Path, events: Events, autojump_clock: MockClock
) -> None:
    with opened(tmp_path / "a") as file:
        first = named(1, "x", state="locked", key=5, deadline_at=1 << 62)
        first.value = b"\xc1"  # cannot be decoded
        put(file, "q", [first, named(2, "x", b"2", state="requeue")], last_key=5)

    async with running(tmp_path / "a") as runtime:
        queue = await define_messages(runtime, codec="msgpack")
        assert await queue.message_status("x") == "queued"
        claim = await queue.claim()
        assert (claim.mid, claim.message) == ("x", b"2")
    assert [event["id"] for event in events if event["event"] == "requeue_freed"] == [2]

    async with running(tmp_path / "a") as runtime:
        queue = await define_messages(runtime, codec="msgpack")
        await queue.finish(claim.key)
        assert await queue.len() == 0
