"""beanstalkd through greenstalk: a server on loopback; a client is a thread with a connection."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Self

import greenstalk
from _measured import answer

DEPTH = 1_000  # messages that are in the queue all the time
HOST = "127.0.0.1"
PATIENCE = 10.0  # seconds for the server to listen


class Server:
    """A beanstalkd of our own, which ends with the block."""

    def __enter__(self) -> Self:
        program = shutil.which("beanstalkd")
        if program is None:
            sys.exit("no beanstalkd on the path")
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.address: tuple[str, int] = free.getsockname()
        self.process = subprocess.Popen([program, "-l", HOST, "-p", str(self.address[1])])
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.terminate()
        self.process.wait()

    def client(self) -> greenstalk.Client:
        """Connect, as soon as the server listens."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                return greenstalk.Client(self.address)
            except ConnectionRefusedError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the server and of this process, all its threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def cycles(clients: int, count: int) -> float:
    """Put, reserve and delete, which are all acknowledged."""
    with Server() as server:

        def work(task: int, client: greenstalk.Client) -> None:
            for number in range(count // clients):
                client.put(f"{task} {number}", ttr=60)
                client.delete(client.reserve())

        connected = [server.client() for _ in range(clients)]
        for number in range(DEPTH):
            connected[0].put(f"filler {number}", ttr=60)
        threads = [
            threading.Thread(target=work, args=(task, client))
            for task, client in enumerate(connected)
        ]
        begin = server.cpu_seconds()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return count / (server.cpu_seconds() - begin)


answer({"cycles_1": partial(cycles, 1), "cycles_100": partial(cycles, 100)})
