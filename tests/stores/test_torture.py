"""Killed with SIGKILL at any moment, again and again: nothing lost, nothing invented.

`tests.stores.victim` is the program that is killed. Its log, which does not go through the store,
says what was begun and what was acknowledged; after each start it says what is there.

An operation that was begun and not acknowledged may have happened or not. Everything else must be
as the last acknowledgement about a message says: its state, its reservation with key and deadline,
and how often it was reserved.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Final

import attrs
import pytest

from tests.stores.victim import BATCHED, CAPPED, LOGGED, NAMED, OWN, UNIQUE
from tests.torture import TORTURE

ROUNDS: Final = 100 * TORTURE
AT_ONCE: Final = 2
UP_TO: Final = 0.5  # seconds from the fork to the kill: some 30 ms go by until it works

Facts = dict[str, object]


CHUNKED: Final = (CAPPED, LOGGED)
ABSENT: Final = ("absent",)


@attrs.frozen
class Mail:
    """What is known of a name in a message queue."""

    value: str
    state: str
    attempt: int = 0
    key: int | None = None
    requeue: str | None = None  # the value of what waits for its end


Named = dict[str, Mail]


@attrs.define
class Batches:
    """What is known of the items of the batch queue.

    One worker processes, and its end with a batch is written with its next claim: so what it had
    before what it has now must never come again, unless it failed.
    """

    order: dict[str, int] = attrs.field(factory=dict)  # of the pushes
    acknowledged: set[str] = attrs.field(factory=set)
    got: Counter[str] = attrs.field(factory=Counter)
    over: set[str] = attrs.field(factory=set)  # done, or never stored
    fresh: set[str] = attrs.field(factory=set)  # nobody has claimed them yet
    last: int = -1  # the number of the last fresh one that came in this life
    current: list[str] = attrs.field(factory=list)
    failed: int = 0

    def begin(self, values: list[str]) -> None:
        for value in values:
            self.order[value] = len(self.order)
        self.fresh.update(values)

    def came(self, values: list[str]) -> None:
        self.over.update(self.current)
        self.current = values
        assert not self.over & {*values}, "processed again"
        numbers = [self.order[value] for value in values]
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))], "not in order"
        if values[0] in self.fresh:
            assert self.fresh.issuperset(values)
            assert numbers[0] > self.last, "a fresh batch came before one that was pushed earlier"
            self.last = numbers[-1]
        self.fresh.difference_update(values)
        self.got.update(values)

    def fail(self) -> None:
        self.current = []
        self.failed += 1

    def compare(self, there: list[Facts]) -> None:
        values = [str(each["value"]) for each in there]
        assert len(set(values)) == len(values), "an item is there twice"
        assert self.order.keys() >= set(values), "invented"
        assert not self.over & {*values}, "back again"
        lost = self.acknowledged - {*values} - self.got.keys()
        assert not lost, f"lost: {lost}"
        self.over.update(self.order.keys() - {*values})
        self.acknowledged.update(values)
        self.fresh = {str(each["value"]) for each in there if each["fresh"]}
        self.last, self.current = -1, []


@attrs.frozen
class Chunked:
    """What is known of a capacity or log queue; a single task works on it.

    Args:
      items: What is in it.
      end: The number of the next item.
      labels: The number of what each label gets next.
    """

    items: tuple[str, ...] = ()
    end: int = 0
    labels: Facts = attrs.field(factory=dict)

    def after(self, what: str, about: Facts) -> tuple[Chunked, object]:
        """Return what it is after an operation, and the answer to that."""
        if what in {"push items", "add"}:
            values = about["values"]
            assert isinstance(values, list)
            items = (*self.items, *values)
            return attrs.evolve(self, items=items, end=self.end + len(values)), len(values)
        if what == "pop":
            limit = _int(about["limit"])
            return attrs.evolve(self, items=self.items[limit:]), [*self.items[:limit]]
        if what == "clear items":
            return attrs.evolve(self, items=()), len(self.items)
        return self._after_reading(what, about)

    def _after_reading(self, what: str, about: Facts) -> tuple[Chunked, object]:
        label = str(about["label"])
        if what == "remove label":
            rest = {name: first for name, first in self.labels.items() if name != label}
            return attrs.evolve(self, labels=rest), label in self.labels
        begin = self.end - len(self.items)
        first = _int(self.labels.get(label, begin))
        if what == "commit":
            position = _int(about["position"])
            return attrs.evolve(self, labels=self.labels | {label: position}), position - first
        lost = max(begin - first, 0)  # by a clear
        here = first + lost - begin
        items = self.items[here : here + _int(about["limit"])]
        position = first + lost + len(items)
        answer: Facts = {"items": [*items], "expired": lost}
        if what == "read":
            after = attrs.evolve(self, labels=self.labels | {label: first})
            return after, answer | {"position": position}
        return attrs.evolve(self, labels=self.labels | {label: position}), answer


@attrs.define
class Audit:
    """Reads the log, and compares what is there with what was acknowledged."""

    certain: dict[tuple[str, str], list[tuple[object, ...]]] = attrs.field(factory=dict)
    open: dict[int, tuple[str, str, Facts]] = attrs.field(factory=dict)
    own: dict[str, list[list[str]]] = attrs.field(factory=lambda: {each: [[]] for each in OWN})
    named: dict[str, Named] = attrs.field(factory=lambda: {each: {} for each in NAMED})
    batches: Batches = attrs.field(factory=Batches)
    chunked: dict[str, Chunked] = attrs.field(factory=lambda: {each: Chunked() for each in CHUNKED})
    unique: dict[str, set[bool]] = attrs.field(factory=dict)
    last_keys: Counter[str] = attrs.field(factory=Counter)
    seen: Counter[str] = attrs.field(factory=Counter)
    versions: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def read(self, line: str) -> None:
        kind, *facts = json.loads(line)
        match kind:
            case "begin":
                number, queue, what, about = facts
                self.open[number] = queue, what, about or {}
                if queue == BATCHED:
                    self.batches.begin(about["values"])
            case "got":
                self.batches.came(facts[1])
            case "failed":
                self.batches.fail()
            case "done":
                number, answer = facts
                queue, what, about = self.open.pop(number)
                self.seen[what] += 1
                self.acknowledge(queue, what, about, answer)
            case "there" if facts[0] in CHUNKED:
                self.compare_chunked(facts[0], facts[1])
            case "there":
                name, there, last_key = facts
                self.compare(name, there, last_key)

    # -- what was acknowledged -----------------------------------------------------------------

    def acknowledge(self, queue: str, what: str, about: Facts, answer: object) -> None:
        if queue == BATCHED:
            assert isinstance(about["values"], list)
            self.batches.acknowledged.update(about["values"])
        elif queue in CHUNKED:
            self.chunked[queue], expected = self.chunked[queue].after(what, about)
            assert answer == expected, f"{what} {about} answered {answer}, not {expected}"
        elif queue in OWN:
            self.own[queue] = [after(self.own[queue][0], what, about)]
        elif queue in NAMED:
            self.acknowledge_named(queue, what, about, answer)
        elif queue == UNIQUE:
            value = str(about["value"])
            assert answer == 1 or (what == "insert" and answer == 0), (what, about, answer)
            if what == "insert":
                was = self.unique.get(value, {False})
                assert (answer == 0) in was, f"unique value {value}: insert answered {answer}"
            self.unique[value] = {what == "insert"}
        else:
            self.acknowledge_shared(queue, what, about, answer)

    def acknowledge_named(self, queue: str, what: str, about: Facts, answer: object) -> None:
        mails = self.named[queue]
        if what == "claim":
            ready = [mid for mid, mail in mails.items() if mail.state == "ready"]
            assert bool(ready) == isinstance(answer, dict)
            if isinstance(answer, dict):
                mid, key = str(answer["mid"]), _int(answer["key"])
                assert key > self.last_keys[queue], "a key was used again"
                self.last_keys[queue] = key
                mail = mails[mid]
                assert mail.state == "ready"
                told = answer["value"], answer["attempt"]
                assert told == (mail.value, mail.attempt + 1), f"{mid} is {told}, was {mail}"
                locked = attrs.evolve(mail, state="locked", attempt=mail.attempt + 1, key=key)
                self.named[queue] = mails | {mid: locked}
            return
        self.named[queue], expected = after_named(mails, what, about)
        assert answer == expected, f"{what} {about} answered {answer}, not {expected}"
        if what == "enqueue" and expected == ["updated", None]:
            self.seen["update"] += 1

    def acknowledge_shared(self, queue: str, what: str, about: Facts, answer: object) -> None:
        if what == "insert":
            state = "delayed" if about.get("delayed") else "ready"
            values = about["values"]
            assert isinstance(values, list)
            assert answer == len(values)
            for value in values:
                self.put(queue, value, 0, state, 0, None)
        elif what == "reserve":
            if isinstance(answer, dict):
                self.reserved(queue, answer)
        elif what == "remove":
            assert isinstance(about["values"], list)
            assert answer == len(about["values"])
            for value in about["values"]:
                self.put(queue, value, self.last_keys[queue], *ABSENT)
        elif what == "prolongate":
            assert isinstance(answer, dict)
            assert answer["deadline_at"] == about["deadline_at"] + 10**9  # type: ignore[operator]
            assert answer["attempt"] == about["attempt"]
            self.reserved(queue, answer)
        else:
            self.put(queue, about["value"], about["key"], *outcome(what, about))

    def reserved(self, queue: str, answer: Facts) -> None:
        key = answer["key"]
        assert isinstance(key, int)
        assert key > self.last_keys[queue], "a key was used again"
        reservation = [key, answer["deadline_at"]]
        self.put(queue, answer["value"], key, "reserved", answer["attempt"], reservation)

    def put(self, queue: str, value: object, key: object, *state: object) -> None:
        """Note a message's state, unless something newer is known: answers overtake each other."""
        message = queue, str(value)
        assert isinstance(key, int)
        version = 2 * key + (state[0] != "reserved")
        if version >= self.versions.get(message, -1):
            self.versions[message] = version
            self.certain[message] = [state]

    # -- what is there -------------------------------------------------------------------------

    def compare(self, name: str, there: list[Facts], last_key: int) -> None:
        """Compare a queue after a restart; from then on what is there is certain."""
        assert last_key >= self.last_keys[name]
        self.last_keys[name] = last_key
        begun = {number: each for number, each in self.open.items() if each[0] == name}
        for number in begun:
            del self.open[number]
        if name in NAMED:
            self.compare_named(name, there, list(begun.values()))
            return
        if name == BATCHED:
            self.batches.compare(there)
            return
        values = [str(each["value"]) for each in there]
        assert len(set(values)) == len(values), "a message is there twice"
        if name in OWN:
            allowed = [self.own[name][0]]
            allowed += [after(allowed[0], what, about) for _, what, about in begun.values()]
            assert values in allowed
            self.own[name] = [values]
        elif name == UNIQUE:
            for _, _what, about in begun.values():
                self.unique[str(about["value"])] = {True, False}
            for value, was in self.unique.items():
                assert (value in values) in was, f"unique value {value}"
                self.unique[value] = {value in values}
            for each in there:  # they are removed then
                if each["state"] == "reserved":
                    self.unique[str(each["value"])] = {True, False}
        else:
            self.compare_shared(name, there, list(begun.values()))

    def compare_chunked(self, name: str, there: Facts) -> None:
        """Compare a capacity or log queue; a single operation at most was not acknowledged."""
        begun = {number: each for number, each in self.open.items() if each[0] == name}
        for number in begun:
            del self.open[number]
        assert len(begun) <= 1
        before = self.chunked[name]
        allowed = [before, *(before.after(what, about)[0] for _, what, about in begun.values())]
        items, labels = there["items"], there["labels"]
        assert isinstance(items, list)
        assert isinstance(labels, dict)
        found = Chunked(tuple(items), _int(there["end"]), labels)
        assert found in allowed, f"{name} is {found}, and was one of {allowed}"
        self.chunked[name] = found

    def compare_named(
        self, name: str, there: list[Facts], begun: list[tuple[str, str, Facts]]
    ) -> None:
        """Compare a message queue; a single operation at most was not acknowledged."""
        found: Named = {}
        requeues: dict[str, str] = {}
        for each in there:
            mid, value = str(each["mid"]), str(each["value"])
            if each["state"] == "requeue":
                assert mid not in requeues, f"{mid} waits twice"
                requeues[mid] = value
            else:
                assert mid not in found, f"{mid} is there twice"
                key = each["key"]
                attempt = _int(each["attempt"])
                found[mid] = Mail(
                    value, str(each["state"]), attempt, None if key is None else _int(key)
                )
        for mid, value in requeues.items():
            found[mid] = attrs.evolve(found[mid], requeue=value)
        allowed = [self.named[name]]
        assert len(begun) <= 1
        for _, what, about in begun:
            if what != "claim":
                allowed.append(after_named(allowed[0], what, about)[0])
                continue
            for mid, mail in self.named[name].items():
                if mail.state == "ready" and mid in found:
                    key = found[mid].key
                    one_more = attrs.evolve(mail, state="locked", attempt=mail.attempt + 1, key=key)
                    allowed.append(self.named[name] | {mid: one_more})
        assert found in allowed, f"{name} is {found}, and was one of {allowed}"
        self.named[name] = found

    def compare_shared(
        self, name: str, there: list[Facts], begun: list[tuple[str, str, Facts]]
    ) -> None:
        found = {str(each["value"]): each for each in there}
        allowed = {
            value: list(states) for (queue, value), states in self.certain.items() if queue == name
        }
        reserves = 0
        for _, what, about in begun:
            if what == "reserve":
                reserves += 1
            elif what == "remove":
                assert isinstance(about["values"], list)
                for value in about["values"]:
                    allowed[value].append(ABSENT)
            elif what == "insert":
                state = "delayed" if about.get("delayed") else "ready"
                values = about["values"]
                assert isinstance(values, list)
                for value in values:
                    # Others may have seen it before its own caller did.
                    allowed.setdefault(value, [ABSENT, (state, 0, None)])
                seen = self.seen_of(name)
                inside = {value in found or value in seen for value in values}
                assert len(inside) == 1, "half of an insert"
            else:
                states = allowed.get(str(about["value"]), [])
                if self.versions.get((name, str(about["value"])), -1) <= 2 * _int(about["key"]):
                    states.append(outcome(what, about))
        for value, states in allowed.items():
            reserves -= self.check(name, value, found.pop(value, None), states)
        assert not found, f"invented: {found}"
        assert reserves >= 0, "more was reserved than was asked for"

    def seen_of(self, name: str) -> set[str]:
        return {value for queue, value in self.certain if queue == name}

    def check(
        self, name: str, value: str, it: Facts | None, states: list[tuple[object, ...]]
    ) -> int:
        """Check one message; return how many unacknowledged reservations it takes."""
        message = name, value
        if it is None:
            assert ABSENT in states, f"lost: {value}, which was {states}"
            self.certain.pop(message, None)
            return 0
        reserved = it["reserved"]
        found = it["state"], it["attempt"], reserved
        key, deadline_at = reserved if isinstance(reserved, list) else (None, None)
        self.certain[message] = [found]
        self.versions[message] = 2 * self.last_keys[name] + 1 if key is None else 2 * key
        if found in states:
            return 0
        assert it["state"] == "reserved", f"{value} is {found}, and was {states}"
        for state in states:
            if state[0] == "prolongated" and it["attempt"] == state[1]:
                assert deadline_at == _int(state[2]) + 10**9
                return 0
        assert any(each[0] == "ready" and it["attempt"] == _int(each[1]) + 1 for each in states), (
            f"{value} is {found}, and was {states}"
        )
        return 1


def after(values: list[str], what: str, about: Facts) -> list[str]:
    """Return what a queue of one task holds after an operation."""
    if what == "clear":
        return []
    assert isinstance(about["values"], list)
    return [*values, *about["values"]]


def after_named(mails: Named, what: str, about: Facts) -> tuple[Named, object]:
    """Return what a message queue of one task holds after an operation, and its answer."""
    mid = str(about["mid"])
    mail = mails.get(mid)
    rest = {each: mail for each, mail in mails.items() if each != mid}
    if what == "enqueue":
        return _enqueued(mails, mail, about)
    assert mail is not None
    heir = {} if mail.requeue is None else {mid: Mail(mail.requeue, "ready")}
    if what == "remove":
        return rest | heir, 1
    match about["result"], about["later"]:
        case "success", True:
            return mails | {mid: attrs.evolve(mail, state="done", key=None)}, None
        case "retry", later:
            state = "backoff" if later else "ready"
            return mails | {mid: attrs.evolve(mail, state=state, key=None)}, None
        case _:
            return rest | heir, None


def _enqueued(mails: Named, mail: Mail | None, about: Facts) -> tuple[Named, object]:
    mid, value = str(about["mid"]), str(about["value"])
    if mail is None:
        mail = Mail(value, "backoff" if about["later"] else "ready")
        return mails | {mid: mail}, ["added", None]
    queued = mail.state in {"ready", "backoff"}
    if not queued and not about["can_requeue"]:
        return mails, [None, "locked" if mail.state == "locked" else "backoff"]
    if not queued and mail.requeue is None:
        return mails | {mid: attrs.evolve(mail, requeue=value)}, ["added", None]
    if not about["can_update"]:
        return mails, [None, "already-queued"]
    changed = attrs.evolve(mail, value=value) if queued else attrs.evolve(mail, requeue=value)
    return mails | {mid: changed}, ["updated", None]


def outcome(what: str, about: Facts) -> tuple[object, ...]:
    """Return what a message is after an operation on its reservation."""
    match what:
        case "delete":
            return ABSENT
        case "release":
            return ("delayed" if about.get("delayed") else "ready"), about["attempt"], None
        case "bury":
            return "buried", about["attempt"], None
        case _:
            return "prolongated", about["attempt"], about["deadline_at"]


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def torture(directory: Path, rounds: int, seed: int) -> Audit:
    """Kill it again and again."""
    directory.mkdir()
    random, audit = Random(seed), Audit()
    file, log = directory / "store.sqlite", directory / "log"
    with _victims() as victims:
        assert victims.stdin is not None
        assert victims.stdout is not None
        read = 0
        for number in range(rounds):
            victims.stdin.write(f"{file} {log} {seed * 1_000_000 + number}\n")
            victims.stdin.flush()
            child = int(victims.stdout.readline())
            time.sleep(random.uniform(0, UP_TO))
            os.kill(child, signal.SIGKILL)
            assert victims.stdout.readline() == f"over {signal.SIGKILL.value}\n"
            if log.exists():
                read += _read(log, read, audit)
    return audit


def _read(log: Path, start: int, audit: Audit) -> int:
    """Read what was written since; return how much. A line that the kill cut short is dropped."""
    with log.open("r+b") as file:
        file.seek(start)
        lines = file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            del lines[-1]
        length = sum(map(len, lines))
        file.truncate(start + length)
    for line in lines:
        audit.read(line.decode())
    return length


def _victims() -> subprocess.Popen[str]:
    here = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stores.victim"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=here,
    )


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.long
def test_killed_at_any_moment_it_loses_and_invents_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        runs = [
            threads.submit(torture, tmp_path / str(seed), ROUNDS // AT_ONCE, seed)
            for seed in range(AT_ONCE)
        ]

    acknowledged = sum((run.result().seen for run in runs), Counter[str]())
    batches = [run.result().batches for run in runs]

    assert acknowledged["delete"] > 100
    assert min(acknowledged[each] for each in ("release", "bury", "prolongate", "clear")) > 20
    assert min(acknowledged[each] for each in ("enqueue", "update", "claim", "finish")) > 100
    assert acknowledged["push"] > 100
    assert min(acknowledged[each] for each in ("push items", "pop", "add", "next", "read")) > 100
    assert min(acknowledged[each] for each in ("commit", "clear items", "remove label")) > 10
    assert sum(len(each.over) for each in batches) > 300
    assert sum(each.failed for each in batches) > 10
    assert any(times > 1 for each in batches for times in each.got.values())
