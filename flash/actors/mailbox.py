"""A bounded queue between Trio tasks. A full mailbox refuses at once, and a closed one hands back what nobody took.

It does not know what it holds: whoever takes an item owes its sender an answer, and so does whoever closes the mailbox.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

from flash.errors import Overloaded, Unavailable

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """First in, first out, at most `size` items, any number of takers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        self._takers = trio.lowlevel.ParkingLot()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put_nowait(self, item: Item) -> None:
        """Raises `Overloaded` when full and `Unavailable` when closed; the item is not taken then."""
        if self._is_closed:
            raise Unavailable("this process is stopping")
        if len(self._items) >= self._size:
            raise Overloaded("too many requests are waiting")
        self._items.append(item)
        if self._takers:
            self._takers.unpark()

    async def take(self, most: int) -> list[Item]:
        """Wait until there is something, then take whatever is there, up to `most`. There is no timer."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._items:
            await self._takers.park()
        if len(self._items) <= most:
            return self.empty()
        return [self._items.popleft() for _ in range(most)]

    def empty(self) -> list[Item]:
        """Hand back what nobody took: its senders are owed an answer."""
        left = list(self._items)
        self._items.clear()
        return left

    def close(self) -> list[Item]:
        """Accept nothing more, and hand back what nobody took."""
        self._is_closed = True
        return self.empty()
