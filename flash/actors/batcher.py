"""Group commit: many askers, few round trips to a store. It knows no SQL, no Redis and no rule.

Each worker takes whatever has arrived and performs it as one batch. There is no timer: while a batch is under way, the
next one grows. Workers keep no state, so a lost batch costs its own askers and nobody else.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Generic

import trio

from flash.actors.admission import retry_after
from flash.actors.batch_wait import BatchWait
from flash.actors.mailbox import Mailbox
from flash.actors.pending_request import PendingRequest, Request, Result
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable
from flash.metrics.counts import BatchCounts
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)


class Batcher(Generic[Request, Result]):
    """Answers requests through `perform(batch)`, which returns one result for each request, in order.

    At most `waiting_max` requests wait; `workers` batches of at most `batch_max` requests are in flight at once. What
    would probably wait for longer than `wait_max_seconds` is refused. `only_reads`: a batch that is lost because this
    process stops has started nothing.
    """

    def __init__(
        self,
        name: str,
        perform: Callable[[list[Request]], Awaitable[list[Result]]],
        *,
        waiting_max: int,
        batch_max: int,
        workers: int,
        wait_max_seconds: float = math.inf,
        only_reads: bool = False,
    ) -> None:
        self._name = name
        self._perform = perform
        self._batch_max = batch_max
        self._workers = workers
        self._lost: type[FlashError] = Unavailable if only_reads else OutcomeUnknown
        self._wait = BatchWait(batch_max=batch_max, workers=workers, wait_max_seconds=wait_max_seconds)
        self._mailbox: Mailbox[PendingRequest[Request, Result]] = Mailbox(waiting_max)
        self._warn = ThrottledLogger(log)
        self.batches = BatchCounts()
        self.refused = 0

    @property
    def waiting(self) -> int:
        return len(self._mailbox)

    @property
    def wait_seconds(self) -> float:
        """The estimated wait of whoever asks now."""
        return self._wait.seconds(len(self._mailbox), trio.current_time())

    async def ask(self, request: Request) -> Result:
        """Raises `Overloaded` at once when too many wait or it would wait too long, else what the batch raised."""
        self._admit()
        pending: PendingRequest[Request, Result] = PendingRequest(request)
        self._mailbox.put_nowait(pending)
        return await pending.wait_result()

    def _admit(self) -> None:
        waiting, now = len(self._mailbox), trio.current_time()
        if not self._wait.admits(waiting, now):
            seconds = self._wait.seconds(waiting, now)
            self.refused += 1
            raise Overloaded("the wait is too long", retry_after_seconds=retry_after(seconds))

    async def run(self) -> None:
        """Serve until cancelled; whoever still waits then is told that nothing was started."""
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._workers):
                    nursery.start_soon(self._work)
        finally:
            for pending in self._mailbox.close():
                pending.set_exception(Unavailable("this process is stopping"))

    async def _work(self) -> None:
        while True:
            batch = await self._mailbox.take(self._batch_max)
            begun_at = self._wait.begin(trio.current_time())
            try:
                results = await self._perform([pending.request for pending in batch])
                for pending, result in zip(batch, results, strict=True):
                    pending.set_result(result)
            except FlashError as error:
                self._fail(batch, error)
            except BaseException:
                # cancelled, or a bug: this worker ends, and the askers of a write hear that nobody knows
                for pending in batch:
                    pending.set_exception(self._lost("this process is stopping"))
                raise
            finally:
                ended_at = trio.current_time()
                self._wait.end(begun_at, ended_at)
                self.batches.note(len(batch), ended_at - begun_at)

    def _fail(self, batch: list[PendingRequest[Request, Result]], error: FlashError) -> None:
        """Whoever waits behind a batch that failed would only fail later, each batch after its own time-out."""
        waiting = self._mailbox.empty()
        self.batches.failed += 1
        self._warn("%s: lost a batch of %d, refused %d: %s", self._name, len(batch), len(waiting), error)
        for pending in batch:
            pending.set_exception(error)
        for pending in waiting:
            pending.set_exception(Unavailable(f"nothing was started: {error}"))
