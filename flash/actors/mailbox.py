"""A bounded queue of letters between Trio tasks. Whoever takes a letter owes its sender an answer.

A full mailbox refuses at once, and closing one returns every letter that is still in it.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

from flash.errors import FlashError, Overloaded, Unavailable

Body = TypeVar("Body")
Answer = TypeVar("Answer")


class PendingRequest(Generic[Body, Answer]):
    """One request and the place for its answer, which one task awaits. Answering twice keeps the first answer."""

    __slots__ = ("_answer", "_error", "_is_answered", "_waiter", "body")

    def __init__(self, body: Body) -> None:
        self.body = body
        self._is_answered = False
        self._answer: Answer | None = None
        self._error: FlashError | None = None
        # The task itself instead of an Event: there is one letter for each request, and this halves its cost.
        self._waiter: trio.lowlevel.Task | None = None

    def reply(self, answer: Answer) -> None:
        if not self._is_answered:
            self._answer = answer
            self._settle()

    def fail(self, error: FlashError) -> None:
        if not self._is_answered:
            self._error = error
            self._settle()

    def _settle(self) -> None:
        self._is_answered = True
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)
            self._waiter = None

    async def wait_answer(self) -> Answer:
        """The answer; raises the `FlashError` with which the letter failed."""
        if not self._is_answered:
            assert self._waiter is None, "a letter has one reader"
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._leave)
        if self._error is not None:
            # one error object may fail a whole batch: each waiter raises its own, or tracebacks would pile up
            raise type(self._error)(*self._error.args)
        return self._answer  # type: ignore[return-value]

    def _leave(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED


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

    @property
    def room(self) -> int:
        return self._size - len(self._items)

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
        """Wait until there is something, then take whatever is there, up to `most`. No timer."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._items:
            await self._takers.park()
        if len(self._items) <= most:
            taken = list(self._items)
            self._items.clear()
            return taken
        return [self._items.popleft() for _ in range(most)]

    def empty(self) -> list[Item]:
        """Hand back what nobody took: its senders are owed an answer."""
        left = list(self._items)
        self._items.clear()
        return left

    def close(self) -> list[Item]:
        """Take nothing more, and hand back what nobody took."""
        self._is_closed = True
        return self.empty()
