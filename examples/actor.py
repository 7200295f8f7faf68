"""An actor of your own: a library that lends one copy of each book.

- `init` gets it ready, `handle_call` answers, `handle_cast` need not, `terminate` tidies.
- Who asks for a book that is lent waits: the answer comes later, when somebody returns it.
- It is found by its name.
- A request for a book that does not exist crashes it, by a mistake in its code. That request fails,
  those that wait behind it are answered by the next incarnation.
- The state of an actor ends with its incarnation. What must not, here the loans, is given to it.

    python examples/actor.py

What the program prints goes to standard output, what the supervisor logs to standard error.
"""

from __future__ import annotations

import sys
from collections import deque

import attrs
import structlog
import trio

from supervisors import Actor, ActorCrashedError, LaterReply, open_supervisor


@attrs.frozen
class Borrow:
    """A call: lend this book, now or when it is back."""

    book: str
    reader: str


@attrs.frozen
class Return:
    """A cast: here it is."""

    book: str


class Library(Actor):
    """Lends books; whoever asks for one that is lent waits in a queue."""

    async def init(self, loans: dict[str, str | None]) -> None:
        """Take the loans as they are; by book: who has it."""
        self.loans = loans
        self.waiting: dict[str, deque[tuple[Borrow, LaterReply]]] = {}
        print("open, lent:", self.lent())

    async def handle_call(self, message: Borrow) -> str | None:
        """Lend a book."""
        if self.loans[message.book] is None:  # the mistake: KeyError if there is no such book
            return self.lend(message)
        queue = self.waiting.setdefault(message.book, deque())
        queue.append((message, self.reply_later()))
        return None  # is not the answer: `reply_later` has taken that duty

    async def handle_cast(self, message: Return) -> None:
        """Take a book back, and answer who waits for it longest."""
        self.loans[message.book] = None
        queue = self.waiting.get(message.book)
        if queue:
            borrow, reply = queue.popleft()
            reply.send(self.lend(borrow))

    async def terminate(self, reason: BaseException | None) -> None:
        """Tidy up: after a crash as well as at a stop."""
        print("closed by", type(reason).__name__)

    def lend(self, borrow: Borrow) -> str:
        """Note a loan."""
        self.loans[borrow.book] = borrow.reader
        return f"{borrow.reader} has {borrow.book}"

    def lent(self) -> int:
        """Count the loans."""
        return sum(reader is not None for reader in self.loans.values())


async def main() -> None:
    """Open a library, and be all of its readers."""
    loans: dict[str, str | None] = {"Emma": None, "Persuasion": None, "Sanditon": None}
    async with open_supervisor(
        [Library.child_spec("library", loans, name="library")]
    ) as supervisor:
        library = supervisor.registry["library"]  # valid across restarts
        print(await library.call(Borrow("Emma", "ann")))

        bob = library.submit(Borrow("Emma", "bob"))  # a call whose answer is fetched later
        with trio.move_on_after(0.05):  # a caller's patience is its own affair
            await bob.get()
        print("bob waits:", not bob.is_ready)
        library.cast(Return("Emma"))
        print(await bob.get())

        wishes = [Borrow("Persuasion", "cy"), Borrow("Ulysses", "di"), Borrow("Sanditon", "ed")]
        replies = [library.submit(wish) for wish in wishes]
        await replies[-1].get()  # of the next incarnation
        for wish, reply in zip(wishes, replies, strict=True):
            try:
                print(await reply.get())
            except ActorCrashedError as error:
                print(f"{wish.reader} is told:", repr(error.__cause__))


if __name__ == "__main__":
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    trio.run(main)
