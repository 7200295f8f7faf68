"""The socket's file: made without a race, found stale, removed in the end; and who is behind it.

It is bound in a directory of its own that nobody else can enter, and moved to its name once only
its owner may connect: at no instant is it open to others. Who has it is said by a lock beside it,
which goes with its process; so what is left of a dead one stands in nobody's way.

A socket's address has 108 bytes on Linux: a longer path is said by the descriptor of its
directory.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from queueactors.stores._owner import OwnedError, Owner

from ._errors import ControlLockedError, ControlUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

MODE: Final = 0o600
BACKLOG: Final = 128
PATIENCE: Final = 10.0  # seconds for a runtime to take somebody in, to say who it is, to read on
AGAIN: Final = 0.05  # seconds until one that has too many on its hands is asked again
PIECE: Final = 1 << 16  # bytes that the other side has to take in its time
STUCK: Final = (
    f"the runtime there has not answered within {PATIENCE:g} seconds; it may be stuck: see its log"
)
_LONGEST: Final = 100  # bytes of a path; the address has 108 on Linux, 104 elsewhere
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


@attrs.frozen
class Peer:
    """Who is at the other end.

    Args:
      pid: The process; None: the system does not tell.
      uid: The user it runs as; None: likewise.
    """

    pid: int | None
    uid: int | None


class SocketFile:
    """The control socket of one runtime, from `open` to `close`.

    Args:
      path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner: Owner | None = None
        self._inode: int | None = None

    async def open(self) -> trio.SocketListener:
        """Make it, and listen.

        Raises:
          ControlLockedError: If another process has it.
          OSError: If it cannot be made.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._check_kind()  # first, as the lock of what is a link would be where that leads to
        owner = Owner(self.path)
        try:
            owner.take()
        except OwnedError as error:
            raise ControlLockedError(str(self.path), error.pid, error.started_at) from None
        try:
            self._check_stale()
            listener = await self._bind()
        except BaseException:
            owner.release()
            raise
        self._owner = owner
        return listener

    def _check_kind(self) -> None:
        """See that what is there, if anything, is a socket."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                told = f"{self.path} is no socket; remove it, or give another [control] socket"
                raise FileExistsError(errno.EEXIST, told)

    def _check_stale(self) -> None:
        """See that nobody listens at a socket that is there."""
        with socket.socket(socket.AF_UNIX) as probe, address(self.path) as at:
            probe.setblocking(False)
            try:
                probe.connect(at)
            except BlockingIOError:
                raise ControlLockedError(str(self.path), None, None) from None
            except OSError:
                return  # it is replaced
            owner = peer_of(probe).pid
        raise ControlLockedError(str(self.path), owner, None)

    async def _bind(self) -> trio.SocketListener:
        listening = trio.socket.socket(socket.AF_UNIX)
        try:
            with tempfile.TemporaryDirectory(prefix=".control-", dir=self.path.parent) as private:
                made = Path(private) / "s"
                with address(made) as at:
                    await listening.bind(at)
                made.chmod(MODE)
                listening.listen(BACKLOG)
                self._inode = made.stat().st_ino
                made.rename(self.path)
            return trio.SocketListener(listening)
        except BaseException:
            listening.close()
            raise

    def close(self) -> None:
        """Remove it, if it is still the same, and let others have it."""
        with suppress(OSError):
            if self._inode is not None and self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        self._inode = None
        if self._owner is not None:
            self._owner.release()


async def connect(path: Path) -> trio.SocketStream:
    """Return a connection to a runtime's control socket.

    Raises:
      ControlUnreachableError: If nobody answers there, or another user.
    """
    connecting = socket.socket(socket.AF_UNIX)
    connecting.setblocking(False)
    try:
        with address(path) as at, trio.fail_after(PATIENCE):
            await _connect(connecting, at)
        _check_owner(path, peer_of(connecting))
    except trio.TooSlowError:
        connecting.close()
        raise ControlUnreachableError(str(path), STUCK) from None
    except OSError as error:
        connecting.close()
        raise ControlUnreachableError(str(path), _told(error)) from error
    except BaseException:
        connecting.close()
        raise
    return trio.SocketStream(trio.socket.from_stdlib_socket(connecting))


async def _connect(connecting: socket.socket, at: str) -> None:
    """Connect; wait while more have come than the runtime has taken in.

    trio's own takes the kernel's "try again" of a Unix socket for success.
    """
    while True:
        await trio.lowlevel.checkpoint()
        try:
            connecting.connect(at)
        except BlockingIOError:
            await trio.sleep(AGAIN)
        else:
            return


async def send_line(stream: trio.abc.SendStream, line: bytes, patience: float) -> None:
    """Send a line, however long it takes, as long as the other side reads on.

    Args:
      stream: The connection. After an error, or if this is cancelled, a part of the line is out.
      line: The line.
      patience: Seconds in which the other side has to take each piece.

    Raises:
      trio.TooSlowError: If it has not.
    """
    for first in range(0, len(line), PIECE):
        with trio.fail_after(patience):
            await stream.send_all(line[first : first + PIECE])


def _check_owner(path: Path, owner: Peer) -> None:
    """See that the runtime is one's own, or root's; root may talk to anybody's."""
    if os.geteuid() != 0 and not is_welcome(owner):
        told = f"the runtime there is of another user (uid {owner.uid}), who could be anybody"
        raise ControlUnreachableError(str(path), told)


def _told(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ECONNREFUSED:
            return (
                "no runtime answers there; start one with 'queueactors run FILE', or say where it "
                "is with --config, --data-dir or --socket"
            )
        case errno.EACCES | errno.EPERM:
            return "you may not talk to the runtime there; only its own user and root may"
    return f"no runtime can be reached there: {error.strerror or error}"


def peer_of(sock: socket.socket | trio.socket.SocketType) -> Peer:
    """Return who is at the other end, as far as the system tells."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return Peer(None, None)
    raw = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(pid or None, uid)


def is_welcome(peer: Peer) -> bool:
    """Whether somebody may use the socket: its owner, and root."""
    return peer.uid in {None, 0, os.geteuid()}


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Yield a path as the address of a socket, however long it is.

    Raises:
      OSError: If it is too long, and its directory cannot be opened.
    """
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
