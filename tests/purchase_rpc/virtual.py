"""Trio on a clock that a test drives, in a thread of its own, for tests that are not async themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

T = TypeVar("T")
STEP_SECONDS = 0.05
START_SECONDS = 10.0


class VirtualTrio:
    """Between two calls nothing runs: each ends when every task is blocked, and time passes in `advance` alone."""

    def __init__(self) -> None:
        self._clock = MockClock()
        self._ready: SimpleQueue[trio.lowlevel.TrioToken] = SimpleQueue()
        self.nursery: trio.Nursery
        self._thread = ThreadPoolExecutor(1)
        self._end = self._thread.submit(partial(trio.run, self._main, clock=self._clock))
        self._token = self._ready.get(timeout=START_SECONDS)

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run `function` in Trio, and then whatever it has woken up."""

        async def run() -> T:
            result = await function()
            await wait_all_tasks_blocked()
            return result

        return trio.from_thread.run(run, trio_token=self._token)

    def do(self, function: Callable[[], T]) -> T:
        """`call` for a function that is not async."""

        async def run() -> T:
            return function()

        return self.call(run)

    def advance(self, seconds: float) -> None:
        """In small steps, each letting everybody do what is due."""

        async def run() -> None:
            for _ in range(round(seconds / STEP_SECONDS)):
                self._clock.jump(STEP_SECONDS)
                await wait_all_tasks_blocked()

        self.call(run)

    def close(self) -> None:
        """Cancel every task. Raises what any of them has died of."""
        trio.from_thread.run_sync(self.nursery.cancel_scope.cancel, trio_token=self._token)
        self._thread.shutdown()
        self._end.result()

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            self._ready.put(trio.lowlevel.current_trio_token())
            await trio.sleep_forever()
