"""What a client of the control socket asks for, and what may end that very socket.

Whoever asks is to be answered first, and what has begun goes on to its end if they leave.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal

import attrs
import trio

from supervisors import SupervisorStoppedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._children import Children
    from ._front_ends import FrontEnds
    from ._reload import ReloadResult
    from ._running import Running
    from ._runtime import Runtime


@attrs.define(eq=False)
class ClientRequests:
    """Operates one runtime for the clients of its control socket.

    Args:
      runtime: The runtime.
      children: Its tree.
      front_ends: Of which one is the socket.
      running: What it reloads with.
    """

    _runtime: Runtime
    _children: Children
    _front_ends: FrontEnds
    _running: Running

    async def stop(self, name: str) -> None:
        """Stop something; arguments and errors as for `Runtime.stop`.

        Raises:
          ValueError: Also if that is the socket, by which alone it could be started again.
        """
        if await self._is_socket(name):
            raise ValueError(
                f"{name!r} is what answers here, and nobody could start it again; take it out of "
                "the configuration and reload, or restart it"
            )
        await self._runtime.stop(name)

    async def restart(self, name: str) -> Callable[[], Awaitable[None]] | None:
        """Restart something wholly, also if the client leaves meanwhile.

        Returns:
          None: It is done. Otherwise it has not begun: it ends whoever asks, who is to be answered
          before this is called.

        Raises what `Runtime.restart` does; also `SupervisorStoppedError` if the runtime ends
        meanwhile.
        """
        if await self._is_socket(name):
            return partial(self._do_aside, partial(self._runtime.restart, name))
        ended = trio.Event()
        outcome: list[Exception | None] = []

        async def restart() -> None:
            try:
                await self._runtime.restart(name)
            except Exception as error:  # noqa: BLE001 - it is the client's
                outcome.append(error)
            else:
                outcome.append(None)
            finally:
                ended.set()

        await self._children.start_aside(restart)
        await ended.wait()
        error = outcome[0] if outcome else SupervisorStoppedError(self._children.root.path)
        if error is not None:
            raise error
        return None

    async def reload(self, config: str | None, removed: Literal["drain", "keep"]) -> ReloadResult:
        """Reload, but leave the control socket alone until the client is answered.

        Then `renew_control` does the rest.
        """
        return await self._running.reload(config, removed, spared=("control",))

    async def renew_control(self) -> None:
        """Begin with the control socket's change. That ends whoever asks, so a child does it."""
        await self._do_aside(self._running.change_control)

    async def _do_aside(self, work: Callable[[], Awaitable[None]]) -> None:
        with suppress(SupervisorStoppedError):  # then the socket goes anyway
            await self._children.start_aside(work)

    async def _is_socket(self, name: str) -> bool:
        return self._front_ends.has_control(self._children.root, await self._children.find(name))
