"""Refuses new checkouts when the database's disk runs low, so that what is left is there for sales.

A checkout is a promise and takes room; a purchase is what the room is for. So purchases are always tried. It knows no
SQL and no file system.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from flash.domain import Attempt, MalformedAttempt, RecordedAttempt
from flash.errors import FlashError, StorageFull
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

MEASURE_SECONDS = 1.0
SHED_SECONDS = 5.0
"""How long nobody is let through after the disk was full. Then new checkouts find out whether it still is."""
REMEMBER_SECONDS = 60.0
"""For how long a full disk is reported if nobody finds out."""


class DiskSpace:
    """What is known of the room in the database.

    `measure_free` returns the bytes that are free, or None if nobody here can see that. Less than `min_bytes` is low.
    """

    def __init__(self, measure_free: Callable[[], Awaitable[int | None]], min_bytes: int) -> None:
        self._measure_free = measure_free
        self._min_bytes = min_bytes
        self._is_below_min = False
        self._full_at = -math.inf
        self._warn = ThrottledLogger(log)

    @property
    def is_low(self) -> bool:
        """Whether too little is free, or the disk was full when something was stored last."""
        return self._is_below_min or trio.current_time() < self._full_at + REMEMBER_SECONDS

    def shed_seconds(self) -> float:
        """How long new checkouts will be refused at least; 0 if they are not."""
        left = max(0.0, self._full_at + SHED_SECONDS - trio.current_time())
        return SHED_SECONDS if self._is_below_min else left

    def note_full(self, error: StorageFull) -> None:
        self._warn("new checkouts are refused for %g s: %s", SHED_SECONDS, error)
        self._full_at = trio.current_time()

    def note_stored(self) -> None:
        """There is room again, unless that was under way beside a batch that found none."""
        if not self.shed_seconds():
            self._full_at = -math.inf

    async def run(self) -> None:
        """Measure once a second until cancelled, unless there is no minimum."""
        while self._min_bytes:
            await self.measure()
            await trio.sleep(MEASURE_SECONDS)

    async def measure(self) -> None:
        if not self._min_bytes:
            return
        try:
            free = await self._measure_free()
        except FlashError as error:
            self._warn("cannot see how much room the database has: %s", error)
            return
        is_below_min = free is not None and free < self._min_bytes
        if is_below_min and not self._is_below_min:
            log.warning("the database's disk has %d MB left: new checkouts are refused", (free or 0) // 2**20)
        elif self._is_below_min and not is_below_min:
            log.info("the database's disk has room again")
        self._is_below_min = is_below_min


class Checkouts(Protocol):
    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt: ...


class SheddingCheckouts:
    """Records attempts while there is room. Raises `StorageFull` at once while there is not."""

    def __init__(self, checkouts: Checkouts, disk: DiskSpace) -> None:
        self._checkouts = checkouts
        self._disk = disk

    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt:
        seconds = self._disk.shed_seconds()
        if seconds:
            raise StorageFull("the database's disk runs low", retry_after_seconds=seconds)
        try:
            recorded = await self._checkouts.ask(attempt)
        except StorageFull as error:
            self._disk.note_full(error)
            raise StorageFull(*error.args, retry_after_seconds=SHED_SECONDS) from error
        self._disk.note_stored()
        return recorded
