"""What a store has to write: the journal's half that belongs to the cores, whatever their kind."""

from __future__ import annotations


class Changed(set[int]):
    """The ids of messages that came, changed or went since a store wrote them.

    What passes by itself (an expiry, the end of a delay) follows from what is written. It belongs
    to the store, as the records do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cleared = (
            False  # all that were written are gone, but for those that are in the records
        )
        self.rewritten: set[int] = set()  # those of them whose values are others now
        self.aside: set[int] = set()  # what cannot be read, and stays: until all is read again

    def written(self) -> None:
        """Note that a store has written them."""
        self.clear()
        self.rewritten.clear()
        self.cleared = False
