"""Taking connections in, on a machine that may run out of what they need."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from trio import SocketListener, SocketStream

_BUSY: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)  # of a whole machine
BREATH: Final = 0.1  # seconds until such a machine is asked again


async def accept(listener: SocketListener) -> SocketStream:
    """Return the next connection; wait for one, and for a machine that has no room for it.

    Raises:
      OSError: If the listener is broken.
    """
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            await trio.sleep(BREATH)
