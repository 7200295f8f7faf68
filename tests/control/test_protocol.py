"""The protocol by itself: lines, requests, answers, errors."""

from __future__ import annotations

from math import inf, nan

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from queueactors import (
    QueueFullError,
    QueueNotFoundError,
    ReservationNotFoundError,
    StoreError,
)
from queueactors.control import ControlError, ControlProtocolError
from queueactors.control._errors import KNOWN, Fault, error_of, fault_of
from queueactors.control._protocol import (
    MOST_ID,
    Cancel,
    Lines,
    Request,
    cancel_line,
    greeting_line,
    item_line,
    read_answer,
    read_greeting,
    read_request,
    request_line,
    result_line,
)
from supervisors import ActorDownError


@given(st.lists(st.binary(max_size=20)), st.data())
def test_lines_come_out_however_they_are_cut(texts: list[bytes], data: st.DataObject) -> None:
    told = [text.replace(b"\n", b"") for text in texts]
    stream = b"".join(text + b"\n" for text in told)
    lines, found = Lines(100), list[bytes]()

    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += lines.feed(stream[:size])
        stream = stream[size:]

    assert found == [text for text in told if text.strip()]
    assert len(lines) == 0


def test_a_line_has_at_most_so_many_bytes() -> None:
    assert list(Lines(5).feed(b"12345\n")) == [b"12345"]
    with pytest.raises(ControlProtocolError, match=r"^expected a line of at most 5 bytes$"):
        list(Lines(5).feed(b"123456\n"))
    with pytest.raises(ControlProtocolError):
        list(Lines(5).feed(b"123456"))


def test_requests_are_read_as_they_were_written() -> None:
    request = read_request(request_line(7, "stats", {"queue": "q"}))

    assert isinstance(request, Request)
    assert (request.id, request.method, bytes(request.params)) == (7, "stats", b'{"queue":"q"}')
    assert read_request(cancel_line(7)) == Cancel(7)


def test_fields_that_are_not_known_are_ignored() -> None:
    assert read_request(b'{"id": 1, "cancel": true, "later": [1]}') == Cancel(1)
    assert read_answer(b'{"id": 1, "result": 2, "later": 3}').id == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"GET / HTTP/1.1", "expected a request as a line of JSON: .*"),
        (b"[]", "expected a request as a line of JSON: .*"),
        (b"\xff", "expected a request as a line of JSON: .*"),
        (b"[" * 100_000, "expected a request as a line of JSON: .*"),
        (b'{"method": "status"}', "expected a request to have an id"),
        (b'{"id": "1", "method": "status"}', "expected a request as a line of JSON: .*"),
        (b'{"id": -1, "method": "x"}', f"expected id to be from 0 to {MOST_ID}, got -1"),
        (b'{"id": 1}', "expected request 1 to have a method"),
        (b'{"queueactors": 2}', "this runtime speaks version 1 of the protocol, not 2"),
    ],
)
def test_nonsense_is_refused_with_what_was_expected(line: bytes, told: str) -> None:
    with pytest.raises(ControlProtocolError, match=f"^{told}$"):
        read_request(line)


def test_a_client_may_say_which_version_it_speaks() -> None:
    assert read_request(b'{"queueactors": 1}') is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(line: bytes) -> None:
    try:
        read_request(line)
    except ControlProtocolError as error:
        assert str(error)  # noqa: PT017 - either will do


def test_the_greeting_of_another_version_is_refused_with_what_to_do() -> None:
    assert read_greeting(greeting_line("mailer", 5)).pid == 5
    with pytest.raises(ControlProtocolError, match=r"^the runtime speaks version 2 .* version 1; "):
        read_greeting(b'{"queueactors": 2, "name": "x", "pid": 1}')
    with pytest.raises(ControlProtocolError, match=r"^what answers is no queueactors runtime$"):
        read_greeting(b"220 smtp.example.org")


def test_items_and_results_are_told_apart() -> None:
    item, result = read_answer(item_line(1, b"null")), read_answer(result_line(1, b"null"))

    assert (bytes(item.item), item.result) == (b"null", result.item)  # type: ignore[arg-type] # Raw
    assert bytes(result.result) == b"null"  # type: ignore[arg-type] # likewise


@pytest.mark.parametrize(
    "error",
    [
        QueueNotFoundError("emials", ("emails", "b")),
        QueueFullError("q", 2, None, 10),
        ReservationNotFoundError([1, 2]),
        StoreError("disk", "unknown", "full"),
        ActorDownError("q", "parked"),
        trio.TooSlowError("late"),
        ValueError("expected x"),
    ],
)
def test_errors_arrive_as_what_they_are(error: Exception) -> None:
    made = error_of(fault_of(error))

    assert type(made) is type(error)
    assert str(made) == str(error)


def test_what_is_not_known_here_arrives_as_a_control_error() -> None:
    for fault in (Fault("Strange", "boom", []), Fault("QueueNotFoundError", "x", [1, 2, 3])):
        made = error_of(fault)

        assert isinstance(made, ControlError)
        assert (made.type, str(made)) == (fault.type, fault.message)


def test_no_error_that_travels_can_do_more_than_tell() -> None:
    assert all(issubclass(each, Exception) for each in KNOWN.values())
    assert not {"SystemExit", "KeyboardInterrupt", "OSError"} & set(KNOWN)


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_a_number_that_is_no_json_is_refused_and_does_not_become_null(number: float) -> None:
    for params in ({"x": number}, {"values": [None, {"a": (1, number)}]}):
        with pytest.raises(ValueError, match=rf"^expected a finite number, got {number!r}$"):
            request_line(1, "insert", params)  # type: ignore[arg-type] # any values

    assert request_line(1, "x", {"a": None}) == b'{"id":1,"method":"x","params":{"a":null}}\n'


def test_a_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected text in UTF-8, got '\\udcff'$"):
        request_line(1, "insert", {"values": ["\udcff"]})
