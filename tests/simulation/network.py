"""The way from a host to a store and back.

A call travels, is performed, and its answer travels back. Each of these can be late, or be lost; the caller is told
`Unavailable` only if the store surely has not seen the call. What is under way goes on when its caller gives up or
dies: a statement may be performed long after its host is gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Generic, TypeVar

import trio

from flash.errors import OutcomeUnknown, Unavailable

T = TypeVar("T")

_CALLS_MAX = 20_000
"""An ordinary run makes a few hundred."""


class Store:
    """PostgreSQL or Redis as the network sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_down = False
        self.connections = 0
        """A number that is raised when all connections break."""
        self.thawed = _set_event()

    def freeze(self) -> None:
        """Calls wait from now on, in the order that they came in."""
        self.thawed = trio.Event()

    def thaw(self) -> None:
        self.thawed.set()


class Host:
    """One process. What it sends and what it hears passes through here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.cut_from: set[str] = set()
        self.resumed = _set_event()

    def pause(self) -> None:
        """As SIGSTOP: nothing leaves it and nothing reaches it. Its timers run on: they act on nothing but itself."""
        self.resumed = trio.Event()

    def resume(self) -> None:
        self.resumed.set()


class _Call(Generic[T]):
    """Where the answer goes."""

    __slots__ = ("answered", "error", "result")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.error: BaseException | None = None
        self.result: T

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.answered.set()


class Network:
    """`delay_seconds` is the mean of one way; `loss` the share of calls that are lost on either way."""

    def __init__(self, random: Random, nursery: trio.Nursery, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.loss = 0.0
        self.calls = 0
        self.lost_before = self.lost_after = self.late = 0
        self._random = random
        self._nursery = nursery

    async def call(
        self, host: Host, store: Store, perform: Callable[[], Awaitable[T]], timeout_seconds: float, block: float = 0.0
    ) -> T:
        """Perform it there. Raises `Unavailable` or `OutcomeUnknown`, and what `perform` raises."""
        if host.is_dead:
            await trio.lowlevel.checkpoint()
            raise Unavailable("this host is dead")
        call = _Call[T]()
        self.calls += 1
        assert self.calls < _CALLS_MAX, f"{host.name} runs in circles"
        self._nursery.start_soon(self._deliver, host, store, perform, call)
        with trio.move_on_after(timeout_seconds + block) as patience:
            await call.answered.wait()
        if patience.cancelled_caught:
            raise OutcomeUnknown(f"{store.name} did not answer: time-out")
        if call.error is not None:
            raise call.error
        return call.result

    async def _deliver(self, host: Host, store: Store, perform: Callable[[], Awaitable[T]], call: _Call[T]) -> None:
        connection = store.connections
        await self._travel(host)
        if store.name in host.cut_from:
            return  # it is never answered
        if self._is_lost():
            self.lost_before += 1
            call.fail(OutcomeUnknown("the connection was lost"))
            return
        if not store.thawed.is_set():
            await store.thawed.wait()
        if store.is_down:
            call.fail(Unavailable(f"{store.name} refuses connections"))
            return
        if store.connections != connection:
            call.fail(OutcomeUnknown("the connection was lost"))
            return
        if call.answered.is_set() or host.is_dead:
            self.late += 1
        try:
            call.result = await perform()
        except Exception as error:  # noqa: BLE001 (a bug is its caller's)
            call.error = error
        await self._travel(host)
        if store.name in host.cut_from:
            return
        if store.connections != connection or self._is_lost():
            self.lost_after += 1
            call.fail(OutcomeUnknown("the connection was lost"))
            return
        call.answered.set()

    async def _travel(self, host: Host) -> None:
        # An event that is set costs a turn of the scheduler all the same.
        if not host.resumed.is_set():
            await host.resumed.wait()
        await trio.sleep(self.delay_seconds * self._random.expovariate(1))
        if not host.resumed.is_set():
            await host.resumed.wait()

    def _is_lost(self) -> bool:
        return self.loss > 0 and self._random.random() < self.loss


def _set_event() -> trio.Event:
    event = trio.Event()
    event.set()
    return event
