"""The time of a run. It stands still while any task can do something, and jumps when none can."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import trio


class Timer:
    """An action that is due. It must not wait and not raise, but may wake tasks or start them."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    @property
    def is_cancelled(self) -> bool:
        return self._action is None

    def cancel(self) -> None:
        self._action = None

    def run(self) -> None:
        assert self._action is not None
        self._action()


class VirtualClock(trio.abc.Clock):
    """As `trio.testing.MockClock` with an autojump, at half the cost. It also carries what is not worth a task."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Timer]] = []
        self._numbers = count()

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        heappush(self._due, (self._now + seconds, next(self._numbers), timer))
        return timer

    def start_clock(self) -> None:
        """It has begun at 0 already."""

    def current_time(self) -> float:
        return self._now

    def clear(self) -> None:
        """The run is over."""
        self._due.clear()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks when no task can run. Without sockets and threads nothing but time can change that."""
        while self._due and self._due[0][0] <= deadline:
            at, _, timer = heappop(self._due)
            if not timer.is_cancelled:
                self._now = at
                timer.run()
                return 0.0
        if deadline == math.inf:
            return math.inf  # Trio ends the run, and wakes itself
        self._now = max(self._now, deadline)
        return 0.0
