"""``queueactors ready``, of real daemons."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from queueactors.cli import main

from .kit import PARKED, config, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Start
    from .kit import Program

pytestmark = pytest.mark.slow

LISTEN = '[metrics]\nlisten = "{}"\n'


def served(folder: Path, listen: str, more: str = "") -> str:
    return write(folder, config(more=more) + LISTEN.format(listen))


def port_of(daemon: Program, *more: str) -> int:
    """Wait until a daemon serves its metrics and is up, and for more events; return the port."""
    port, missing = 0, {"metrics_listening", "test started", *more}  # in whatever order
    for line in daemon.log():
        event = json.loads(line)
        missing.discard(event["event"])
        if event["event"] == "metrics_listening":
            port = event["port"]
        if event["event"] == "supervisor_started" and event["supervisor"] == "test":
            missing.discard("test started")
        if not missing:
            break
    return port


def ask(*args: str) -> tuple[int, str, str]:
    """Run the command, in this process; return the exit code and what came on both streams."""
    done = CliRunner().invoke(main, ["ready", *args])
    return done.exit_code, done.stdout, done.stderr


def test_a_daemon_that_is_up_is_ready(folder: Path, start: Start) -> None:
    daemon = start("run", served(folder, "127.0.0.1:0"), "--log-format", "json")
    port = port_of(daemon)

    assert ask(f"127.0.0.1:{port}") == (0, "ready\n", "")
    assert ask(f"0.0.0.0:{port}")[0] == 0
    code, out, _ = ask(f"127.0.0.1:{port}", "--json")
    assert (code, json.loads(out)) == (0, {"ready": True, "missing": []})


def test_where_it_listens_may_be_told_by_its_configuration(folder: Path, start: Start) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = start("run", served(folder, f"127.0.0.1:{port}"), "--log-format", "json")
    assert port_of(daemon) == port

    assert start("ready", "queues.toml").end() == (0, "ready\n", "")


def test_what_is_parked_is_told_and_the_code_is_1(folder: Path, start: Start) -> None:
    daemon = start("run", served(folder, "127.0.0.1:0", PARKED), "--log-format", "json")
    port = port_of(daemon, "child_parked")
    missing = "test/supervisors/supervisor.mine/start.crash is parked"

    assert ask(f"127.0.0.1:{port}") == (1, f"{missing}\n", "")
    code, out, _ = ask(f"127.0.0.1:{port}", "--json")
    assert (code, json.loads(out)) == (1, {"ready": False, "missing": [missing]})


@pytest.fixture
def stranger() -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers what the test puts into the list, or nothing; and its port."""
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                for answer in answers:
                    client.sendall(answer)
                if not answers:
                    client.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], answers
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_nobody_there_is_1() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"

        code, out, err = ask(address)

    assert (code, out) == (1, "")
    assert err.startswith(f"{address} does not answer: ")
    assert "refused" in err


def test_silence_is_1_when_the_time_is_up(stranger: tuple[int, list[bytes]]) -> None:
    code, _, err = ask(f"127.0.0.1:{stranger[0]}", "--timeout", "0.2")

    assert code == 1
    assert "does not answer: timed out" in err


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"])
def test_somebody_else_there_is_1(answer: bytes, stranger: tuple[int, list[bytes]]) -> None:
    stranger[1].append(answer)

    code, out, err = ask(f"127.0.0.1:{stranger[0]}")

    assert (code, out, err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    ("source", "listen", "told"),
    [
        ("queues.toml", None, "queues.toml: it serves no metrics, so nobody can be asked"),
        ("queues.toml", "127.0.0.1:0", "queues.toml: port 0 is any port"),
        ("nowhere.toml", None, "nowhere.toml"),
        ("nowhere", None, "expected ADDRESS:PORT or a file whose name ends in .toml, got"),
    ],
)
def test_nobody_to_ask_is_2(
    source: str,
    listen: str | None,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "schema = 1\n" + ("" if listen is None else LISTEN.format(listen))
    write(tmp_path, text)
    monkeypatch.chdir(tmp_path)

    code, out, err = ask(source)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(told)
