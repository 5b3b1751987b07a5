"""Group commit: many askers, few conversations. It knows no SQL, no Redis and no rule.

Each worker takes whatever has arrived and performs it as one batch. There is no timer: a busy batcher gets large
batches by itself. Workers keep no state, so a lost batch costs its own letters and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic

import trio

from flash.actors.mailbox import Answer, Body, Mailbox, PendingRequest
from flash.errors import FlashError, OutcomeUnknown, Unavailable
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)


class Batcher(Generic[Body, Answer]):
    """Asks are answered by `perform(batch)`, which returns one answer per body, in order.

    At most `waiting_max` asks wait; `workers` batches of at most `batch_max` bodies are in flight at once.
    """

    def __init__(
        self,
        name: str,
        perform: Callable[[list[Body]], Awaitable[list[Answer]]],
        *,
        waiting_max: int,
        batch_max: int,
        workers: int,
    ) -> None:
        self._name = name
        self._perform = perform
        self._batch_max = batch_max
        self._workers = workers
        self._mailbox: Mailbox[PendingRequest[Body, Answer]] = Mailbox(waiting_max)
        self._warn = ThrottledLogger(log)

    async def ask(self, body: Body) -> Answer:
        """Raises `Overloaded` at once when too many wait, else whatever `perform` raised for the batch."""
        letter: PendingRequest[Body, Answer] = PendingRequest(body)
        self._mailbox.put_nowait(letter)
        return await letter.wait_answer()

    async def run(self) -> None:
        """Serve until cancelled; whoever still waits then is told that nothing was started."""
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._workers):
                    nursery.start_soon(self._work)
        finally:
            for letter in self._mailbox.close():
                letter.fail(Unavailable("this process is stopping"))

    async def _work(self) -> None:
        while True:
            letters = await self._mailbox.take(self._batch_max)
            try:
                answers = await self._perform([letter.body for letter in letters])
                for letter, answer in zip(letters, answers, strict=True):
                    letter.reply(answer)
            except FlashError as error:
                # Whoever waits behind a batch that failed would only fail later, each batch after its own time-out.
                waiting = self._mailbox.empty()
                self._warn("%s: lost a batch of %d, refused %d: %s", self._name, len(letters), len(waiting), error)
                for letter in letters:
                    letter.fail(error)
                for letter in waiting:
                    letter.fail(Unavailable(f"nothing was started: {error}"))
            except BaseException:
                # cancelled or a bug: this worker ends, and its askers hear that nobody knows
                for letter in letters:
                    letter.fail(OutcomeUnknown("this process is stopping"))
                raise
