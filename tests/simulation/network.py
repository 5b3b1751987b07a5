"""The way from a host to a store and back.

A call travels, is performed, and its answer travels back. Each of these can be late, or be lost; the caller is told
`Unavailable` only if the store surely has not seen the call. What is under way goes on when its caller gives up or
dies: a statement may be performed long after its host is gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, TypeVar

import trio

from flash.errors import FlashError, OutcomeUnknown, Unavailable
from tests.simulation.clock import VirtualClock

T = TypeVar("T")

_CALLS_MAX = 20_000
"""An ordinary run makes a few hundred."""


class Door:
    """What passes through it waits while it is shut, and comes out in any order."""

    def __init__(self) -> None:
        self.is_open = True
        self._waiting: list[Callable[[], None]] = []

    def shut(self) -> None:
        self.is_open = False

    def open(self, random: Random) -> None:
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        random.shuffle(waiting)
        for go in waiting:
            self.pass_through(go)

    def pass_through(self, go: Callable[[], None]) -> None:
        if self.is_open:
            go()
        else:
            self._waiting.append(go)

    async def wait(self) -> None:
        """For a task that passes through. It costs a turn of the scheduler only if it has to wait."""
        while not self.is_open:
            opened = trio.Event()
            self._waiting.append(opened.set)
            await opened.wait()


class Store:
    """PostgreSQL or Redis as the network sees it. While its `door` is shut it is frozen: it accepts, and no more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_down = False
        self.connections = 0
        """A number that is raised when all connections break."""
        self.loss = 0.0
        """The share of calls that are lost on either way."""
        self.door = Door()


class Host:
    """One process. What it sends and what it hears passes through its `door`.

    If that is shut the process stands still, as after SIGSTOP. Its timers run on: they act on nothing but itself.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.cut_from: set[str] = set()
        self.door = Door()
        self.is_next_release = False
        self.asked_in: dict[str, bytes] = {}
        """By reply stream: the version of the messages that whoever reads it has sent here."""


class _Call:
    """What is asked, and where the answer goes."""

    def __init__(
        self,
        host: Host,
        store: Store,
        perform: Callable[[], Awaitable[Any]],
        lost: type[FlashError],
        *,
        may_wait: bool,
    ) -> None:
        self.host = host
        self.store = store
        self.perform = perform
        self.lost = lost
        self.may_wait = may_wait
        self.connection = store.connections
        self.is_awaited = True
        self.answered = trio.Event()
        self.error: Exception | None = None
        self.result: Any = None

    @property
    def is_cut(self) -> bool:
        return self.store.name in self.host.cut_from

    def answer(self, result: Any, error: Exception | None) -> None:
        """The first answer counts."""
        if not self.answered.is_set():
            self.result, self.error = result, error
            self.answered.set()

    def fail(self, error: Exception) -> None:
        self.answer(None, error)


class Network:
    """`delay_seconds` is the mean of one way."""

    def __init__(self, random: Random, clock: VirtualClock, nursery: trio.Nursery, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.calls = 0
        self.lost_before = self.lost_after = self.late = 0
        self._random = random
        self._clock = clock
        self._nursery = nursery

    async def call(
        self,
        host: Host,
        store: Store,
        perform: Callable[[], Awaitable[T]],
        timeout_seconds: float,
        block: float = 0.0,
        *,
        lost: type[FlashError] = OutcomeUnknown,
    ) -> T:
        """Perform it there; it may wait there for up to `block` seconds.

        Raises `Unavailable`, or `lost` if nobody knows whether it was performed, and what `perform` raises.
        """
        if host.is_dead:
            await trio.lowlevel.checkpoint()
            raise Unavailable("this host is dead")
        call = _Call(host, store, perform, lost, may_wait=block > 0)
        self.calls += 1
        assert self.calls < _CALLS_MAX, f"{host.name} runs in circles"
        self._travel(host, partial(self._arrive, call))
        # A cancel scope would cost as much as all the rest of a call.
        patience = self._clock.after(
            timeout_seconds + block, lambda: call.fail(lost(f"{store.name} did not answer: time-out"))
        )
        try:
            await call.answered.wait()
        finally:
            call.is_awaited = False
            patience.cancel()
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def _travel(self, host: Host, arrive: Callable[[], None]) -> None:
        """A host that stands still neither sends nor hears."""

        def set_off() -> None:
            self._clock.after(self._delay(), partial(host.door.pass_through, arrive))

        host.door.pass_through(set_off)

    def _delay(self) -> float:
        return self.delay_seconds * self._random.expovariate(1)

    def _arrive(self, call: _Call) -> None:
        if call.is_cut:
            return  # it is never answered
        if self._is_lost(call):
            self.lost_before += 1
            call.fail(call.lost("the connection was lost"))
            return
        call.store.door.pass_through(partial(self._accept, call))

    def _accept(self, call: _Call) -> None:
        if call.store.is_down:
            call.fail(Unavailable(f"{call.store.name} refuses connections"))
        elif call.store.connections != call.connection:
            call.fail(call.lost("the connection was lost"))
        elif call.may_wait:
            self._nursery.start_soon(self._perform_waiting, call)
        else:
            self._perform(call)

    def _perform(self, call: _Call) -> None:
        """Without a task: nothing that a store does at once waits for anything."""
        self.late += not call.is_awaited
        steps = self._outcome(call).__await__()
        try:
            next(steps)
        except StopIteration as done:
            self._travel(call.host, partial(self._return, call, *done.value))
        else:
            raise AssertionError(f"{call.store.name} waits")

    async def _perform_waiting(self, call: _Call) -> None:
        outcome = await self._outcome(call)
        self._travel(call.host, partial(self._return, call, *outcome))

    async def _outcome(self, call: _Call) -> tuple[Any, Exception | None]:
        try:
            return await call.perform(), None
        except Exception as error:  # noqa: BLE001 (a bug is its caller's)
            return None, error

    def _return(self, call: _Call, result: Any, error: Exception | None) -> None:
        if call.is_cut:
            return
        if call.store.connections != call.connection or self._is_lost(call):
            self.lost_after += 1
            call.fail(call.lost("the connection was lost"))
        else:
            call.answer(result, error)

    def _is_lost(self, call: _Call) -> bool:
        return call.store.loss > 0 and self._random.random() < call.store.loss
