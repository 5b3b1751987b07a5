"""A process's end of the board: once a second it writes its card and adds a sample to the stream.

Nothing rests on it, so nothing here makes a process fail. What could not be written is counted in the next sample. The
stream keeps five minutes, whatever their number of processes: each trims it by Redis's time as it writes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import trio

from flash.board.messages import KEPT_SECONDS, Card, Mark, Sample, card_key, encode_card, encode_sample, stream_key
from flash.deployment import Deployment
from flash.errors import FlashError
from flash.purchase_rpc.stream_link import StreamLink
from flash.purchase_rpc.wrong_types import move_aside
from flash.stores.redis_link import RedisCommand, WrongType, flat
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 1.0
_CARD_MS = 10_000
"""How long a card outlives its process."""
_STREAM_MS = (KEPT_SECONDS + 60) * 1_000
_ENTRIES_MAX = 30_000
"""A hundred processes fill five minutes with that many. More of them are shown for a shorter time."""
_MARKS_MAX = 16
"""Marks that wait to be told, the latest ones: at most so many a second."""
_GOODBYE_SECONDS = 0.5


class BoardPublisher:
    """`card()` and `sample()` say how things stand; `new_marks()` what has happened since it was last called."""

    def __init__(
        self,
        deployment: Deployment,
        link: StreamLink,
        *,
        card: Callable[[], Card],
        sample: Callable[[], Sample],
        new_marks: Callable[[], Sequence[Mark]] = tuple,
    ) -> None:
        self._deployment = deployment
        self._link = link
        self._card = card
        self._sample = sample
        self._new_marks = new_marks
        self._stream = stream_key(deployment)
        self._untold: deque[tuple[float, Mark]] = deque(maxlen=_MARKS_MAX)
        self._redis_ms = 0
        self._warn = ThrottledLogger(log)

    async def run(self) -> None:
        """Write once a second until cancelled, then say goodbye."""
        card = self._card()
        self._note([Mark(card.age_seconds, "process_started", f"{card.label} started")])
        try:
            while True:
                await self.publish()
                await trio.sleep(PUBLISH_SECONDS)
        finally:
            with trio.move_on_after(_GOODBYE_SECONDS, shield=True):
                await self._say_goodbye()

    async def publish(self) -> None:
        """Write once. Failures are logged."""
        card = self._card()
        key = card_key(self._deployment, card.name)
        self._note(self._new_marks())
        await self._tell(("SET", key, encode_card(self._deployment, card), "PX", _CARD_MS))

    async def _say_goodbye(self) -> None:
        card = self._card()
        self._note([Mark(0.0, "process_stopped", f"{card.label} stopped")])
        await self._tell(("DEL", card_key(self._deployment, card.name)))

    def _note(self, marks: Sequence[Mark]) -> None:
        now = trio.current_time()
        self._untold.extend((now - mark.age_seconds, mark) for mark in marks)

    async def _tell(self, card: RedisCommand) -> None:
        now, told = trio.current_time(), len(self._untold)
        marks = [replace(mark, age_seconds=now - at) for at, mark in self._untold]
        entry = flat(encode_sample(self._deployment, replace(self._sample(), marks=marks)))
        oldest = max(0, self._redis_ms - KEPT_SECONDS * 1_000)
        try:
            added, *_ = await self._link.execute(
                ("XADD", self._stream, "MINID", "~", oldest, "*", *entry),
                ("XTRIM", self._stream, "MAXLEN", "~", _ENTRIES_MAX),
                ("PEXPIRE", self._stream, _STREAM_MS),
                card,
            )
        except WrongType:
            await self._move_aside()
        except FlashError as error:
            self._warn("cannot tell the status board how this process is: %s", error)
        else:
            self._redis_ms = int(added.partition(b"-")[0])
            for _ in range(min(told, len(self._untold))):
                self._untold.popleft()

    async def _move_aside(self) -> None:
        try:
            await move_aside(self._link, [self._stream])
        except FlashError as error:
            self._warn("cannot move what is not a stream: %s", error)
