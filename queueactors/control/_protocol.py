r"""The protocol of the control socket, version 1: lines of JSON. Sans-io: no socket, no clock.

    server  {"queueactors": 1, "name": "mailer", "pid": 4711}             once, first
    client  {"id": 1, "method": "stats", "params": {"queue": "emails"}}
    server  {"id": 1, "item": ...}                                        streams only, any number
    server  {"id": 1, "result": ...}    or    {"id": 1, "error": {"type": ..., "message": ...}}
    client  {"id": 1, "cancel": true}                                     ends a request
    server  {"error": {...}}                                              and the end: nonsense came

Several requests may be under way at a time, and are answered as they get ready. Fields that are
not known are ignored, so that later ones can be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Final

import msgspec

from ._errors import ControlProtocolError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
MOST_ID: Final = 2**53 - 1  # what any JSON has exactly
CANCELLED: Final = Fault("Cancelled", "the request was cancelled")


class Greeting(msgspec.Struct):
    """The server's first line.

    Args:
      queueactors: The version of the protocol.
      name: The runtime's name.
      pid: The process it runs in.
    """

    queueactors: int
    name: str
    pid: int


class Request(msgspec.Struct):
    """What a client asks for.

    Args:
      id: Its number: what answers it has the same.
      method: What it wants.
      params: The method's parameters, as JSON.
    """

    id: int
    method: str
    params: msgspec.Raw


class Cancel(msgspec.Struct):
    """A client does not want an answer any more.

    Args:
      id: The request's.
    """

    id: int


class Answer(msgspec.Struct, omit_defaults=True):
    """A line from the server, after its greeting.

    Args:
      id: The request's. None: it is about the connection, which ends.
      item: One of a stream, as JSON.
      result: The end of a request, as JSON.
      error: The end of a request that failed.
    """

    id: int | None = None
    item: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Fault | None = None


class _Line(msgspec.Struct):
    """Json line from a client."""

    id: int | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    cancel: bool = False
    queueactors: int | None = None


class Lines:
    """Cuts what comes into lines.

    Args:
      most: The bytes that a line may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        """Return how many bytes there are of a line that has not ended."""
        return len(self._begun)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that end in what came; take all before the next call.

        Raises:
          ControlProtocolError: If a line has too many bytes.
        """
        first, *others = data.split(b"\n")
        self._begun += first
        for other in others:
            self._check()
            line = bytes(self._begun)
            self._begun.clear()
            self._begun += other
            if line.strip():
                yield line
        self._check()

    def _check(self) -> None:
        if len(self._begun) > self._most:
            raise ControlProtocolError(f"expected a line of at most {self._most} bytes")


_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_answer: Final = msgspec.json.Decoder(Answer).decode
_encode: Final = msgspec.json.Encoder().encode


def read_request(line: bytes) -> Request | Cancel | None:
    """Return what a client's line means; None: nothing that matters.

    Raises:
      ControlProtocolError: If it is not the protocol's.
    """
    try:
        read = _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ControlProtocolError(f"expected a request as a line of JSON: {error}") from None
    if read.queueactors not in {None, VERSION}:
        raise ControlProtocolError(
            f"this runtime speaks version {VERSION} of the protocol, not {read.queueactors}"
        )
    if read.id is None:
        if read.queueactors is not None:
            return None  # a client that says which version it speaks
        raise ControlProtocolError("expected a request to have an id")
    if not 0 <= read.id <= MOST_ID:
        raise ControlProtocolError(f"expected id to be from 0 to {MOST_ID}, got {read.id}")
    if read.cancel:
        return Cancel(read.id)
    if read.method is None:
        raise ControlProtocolError(f"expected request {read.id} to have a method")
    return Request(read.id, read.method, read.params)


def request_line(id: int, method: str, params: dict[str, object]) -> bytes:
    """Return a request as a line.

    Raises:
      TypeError: If a parameter is no JSON.
      ValueError: If a number is not finite, or a text is no Unicode.
    """
    try:
        line = _encode({"id": id, "method": method, "params": params})
    except UnicodeEncodeError as error:
        raise ValueError(f"expected text in UTF-8, got {error.object!r}") from None
    if b"null" in line:  # as what msgspec writes NaN
        _check_numbers(params)
    return line + b"\n"


def _check_numbers(value: object) -> None:
    """Refuse what JSON has no number for."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    if isinstance(value, Mapping):
        for each in value.values():
            _check_numbers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_numbers(each)


def cancel_line(id: int) -> bytes:
    """Return as a line that a request is not wanted any more."""
    return _encode({"id": id, "cancel": True}) + b"\n"


def greeting_line(name: str, pid: int) -> bytes:
    """Return the server's first line."""
    return _encode(Greeting(VERSION, name, pid)) + b"\n"


def item_line(id: int, item: bytes) -> bytes:
    """Return one of a stream, which is JSON already, as a line."""
    return b'{"id":%d,"item":%b}\n' % (id, item)


def result_line(id: int, result: bytes) -> bytes:
    """Return a result, which is JSON already, as a line."""
    return b'{"id":%d,"result":%b}\n' % (id, result)


def error_line(id: int | None, fault: Fault) -> bytes:
    """Return an error as a line."""
    return _encode(Answer(id, error=fault)) + b"\n"


def read_greeting(line: bytes) -> Greeting:
    """Return the server's first line.

    Raises:
      ControlProtocolError: If it is none, or of another version, or a refusal.
    """
    try:
        refused = _decode_answer(line).error
        if refused is not None:
            raise ControlProtocolError(refused.message)
        greeting = msgspec.json.decode(line, type=Greeting)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ControlProtocolError("what answers is no queueactors runtime") from None
    if greeting.queueactors != VERSION:
        raise ControlProtocolError(
            f"the runtime speaks version {greeting.queueactors} of the protocol, this client "
            f"version {VERSION}; use the queueactors that the runtime runs on"
        )
    return greeting


def read_answer(line: bytes) -> Answer:
    """Return what the server has said.

    Raises:
      ControlProtocolError: If it is not the protocol's.
    """
    try:
        return _decode_answer(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ControlProtocolError(f"expected an answer as a line of JSON: {error}") from None
