"""What the service does with a message: here, it only says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

if TYPE_CHECKING:
    from queueactors import Delivery

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


async def send(delivery: Delivery[str]) -> None:
    """Send one mail."""
    await trio.sleep(0.01)  # where a mail server would be asked
    log.info("mail_sent", to=delivery.value)
