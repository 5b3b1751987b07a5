"""One request and the place for its result, which exactly one task awaits.

Whoever takes a pending request owes its asker a result or an error; the first of them counts.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

from flash.errors import FlashError, copy_of

Request = TypeVar("Request")
Result = TypeVar("Result")


class PendingRequest(Generic[Request, Result]):
    """Setting a second result or error does nothing."""

    __slots__ = ("_error", "_result", "_waiter", "is_settled", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.is_settled = False
        self._result: Result | None = None
        self._error: FlashError | None = None
        # The task itself instead of an Event: there is one of these for every request, and this halves its cost.
        self._waiter: trio.lowlevel.Task | None = None

    def set_result(self, result: Result) -> None:
        if not self.is_settled:
            self._result = result
            self._settle()

    def set_exception(self, error: FlashError) -> None:
        if not self.is_settled:
            self._error = error
            self._settle()

    def _settle(self) -> None:
        self.is_settled = True
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)
            self._waiter = None

    async def wait_result(self) -> Result:
        """The result. Raises the `FlashError` that was set instead of one."""
        if not self.is_settled:
            assert self._waiter is None, "a pending request has one waiter"
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._error is not None:
            # one error object may fail a whole batch: each waiter raises its own, or tracebacks would pile up
            raise copy_of(self._error)
        return self._result  # type: ignore[return-value]

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED
