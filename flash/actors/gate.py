"""Bounds how many tasks do something at once, how many may wait for it, and for how long.

It knows nothing of what they do, but when one of them fails because a store is away, whoever waits is refused at once:
each would only wait to meet the same store.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType

import trio

from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable


class Gate:
    """`async with gate:` lets `inside_max` in at once; at most `waiting_max` wait, each at most `waiting_seconds`.

    Raises `Overloaded` to the others. `enter_nowait`, `wait` and `leave` are the same for whoever cannot afford
    `async with`.
    """

    def __init__(self, inside_max: int, waiting_max: int, waiting_seconds: float) -> None:
        self._free = inside_max
        self._waiting_max = waiting_max
        self._waiting_seconds = waiting_seconds
        self._waiting: deque[_Waiter] = deque()

    def enter_nowait(self) -> bool:
        """Whether we are inside now. If so, we owe a `leave`."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Wait until we are inside, for whoever could not `enter_nowait`. We owe a `leave` then.

        Raises `Overloaded` if that takes too long, and `Unavailable` from `refuse_waiting`.
        """
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded("too many requests are waiting")
        waiter = _Waiter()
        self._waiting.append(waiter)
        try:
            with trio.move_on_after(self._waiting_seconds):
                await waiter.settled.wait()
        except BaseException:  # cancelled, perhaps in the moment in which somebody left
            if waiter.is_inside:
                self.leave()
            raise
        finally:
            if not waiter.settled.is_set():
                self._waiting.remove(waiter)
        if waiter.refusal is not None:
            raise Unavailable(f"nothing was started: {waiter.refusal}")
        if not waiter.is_inside:
            raise Overloaded("too many requests are waiting")

    def leave(self) -> None:
        """Let in whoever has waited longest."""
        if self._waiting:
            waiter = self._waiting.popleft()
            waiter.is_inside = True
            waiter.settled.set()
        else:
            self._free += 1

    def refuse_waiting(self, reason: FlashError) -> None:
        """Whoever waits now is told that nothing was started."""
        while self._waiting:
            waiter = self._waiting.popleft()
            waiter.refusal = reason
            waiter.settled.set()

    async def __aenter__(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.enter_nowait():
            await self.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Unavailable | OutcomeUnknown):
            self.refuse_waiting(error)
        self.leave()


class _Waiter:
    __slots__ = ("is_inside", "refusal", "settled")

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.is_inside = False
        self.refusal: FlashError | None = None
