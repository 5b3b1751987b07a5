"""How a twin is made to fail, for tests that choose where a store lets its caller down.

A call fails before it is applied, or after: then its effect stays and only the answer is lost. Every twin has one of
these as `faults`, and every call of a twin passes through it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from flash.errors import FlashError, copy_of

Hook = Callable[[str, tuple[object, ...]], Awaitable[None]]
"""Gets a call's name and arguments. It may wait, to delay the call, and raise, to fail it."""


@dataclass(slots=True)
class _Failure:
    error: FlashError
    times: float


class Faults:
    """Nothing fails until it is told to. The hooks run first, then the failures that were asked for."""

    def __init__(self) -> None:
        self.on_before: Hook = _pass
        self.on_after: Hook = _pass
        self._before: _Failure | None = None
        self._after: _Failure | None = None

    def fail_before(self, error: FlashError, *, times: float = 1) -> None:
        """Refuse the next `times` calls, unapplied (`math.inf`: until `heal`)."""
        self._before = _Failure(error, times)

    def fail_after(self, error: FlashError, *, times: float = 1) -> None:
        """Apply the next `times` calls and lose their answers (`math.inf`: until `heal`)."""
        self._after = _Failure(error, times)

    def heal(self) -> None:
        """No failure that was asked for is left."""
        self._before = self._after = None

    async def before(self, name: str, *args: object) -> None:
        """A twin awaits this before it applies a call."""
        await trio.lowlevel.checkpoint()
        await self.on_before(name, args)
        _raise(self._before)

    async def after(self, name: str, *args: object) -> None:
        """A twin awaits this after it has applied a call."""
        await self.on_after(name, args)
        _raise(self._after)


def _raise(failure: _Failure | None) -> None:
    if failure is not None and failure.times > 0:
        failure.times -= 1
        raise copy_of(failure.error)


async def _pass(_name: str, _args: tuple[object, ...]) -> None:
    pass
