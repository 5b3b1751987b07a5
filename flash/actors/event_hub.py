"""Tells viewers what becomes of a sale, four times a second at most, however fast it sells and however many they are.

One task compares what visitors see with what the viewers of a sale were told last, makes the bytes of each event once,
and hands them to all. It never waits for a viewer, and lets buyers have their turn between every few. While the read
model is too old to be shown, nothing is told; afterwards, what has happened meanwhile is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

import trio

from flash.actors.sale_events import Encode, EventLog
from flash.actors.watched_sale import View, WatchedSale
from flash.domain import SaleId
from flash.errors import FlashError, Overloaded, Unavailable

TICK_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b": heartbeat\n\n"
FEED_KEPT_SECONDS = 60.0
"""How long what was told is remembered without any viewer, for those who come back."""
FEEDS_MAX = 1_024
"""Sales that are remembered at once: each costs a byte for every item."""
RETRY_MS_MIN, RETRY_MS_MAX = 1_000, 5_000
"""When a lost viewer comes back: each at another time, or a process that ends would send them all to the next."""
VIEWERS_A_TURN = 256
"""Told without a pause, a millisecond or two: buyers are served between any two such turns."""


class Reader(Protocol):
    """One viewer. Neither call waits for it."""

    def write_nowait(self, piece: bytes) -> None: ...
    def end(self) -> None: ...


class _Feed:
    """The viewers of one sale. `delivered` is the number of the last event that all of them have got."""

    def __init__(self, sale: WatchedSale, encode: Encode) -> None:
        self.sale = sale
        self.readers: set[Reader] = set()
        self.delivered = 0
        self.used_at = self.delivered_at = trio.current_time()
        self._encode = encode

    def state(self) -> bytes:
        """Raises `Unavailable`."""
        return self._encode(self.sale.state(), self.sale.log.last_id)

    def greeting(self, last_id: bytes | None) -> bytes:
        """What a viewer has missed since the event `last_id`, or the state. Raises `Unavailable`."""
        missed = None if last_id is None else self.sale.log.since(last_id)
        return self.state() if missed is None else missed

    def news(self) -> bytes:
        """What has happened since the last delivery, or a sign of life when it is time for one, or nothing."""
        number, now = self.sale.log.number, trio.current_time()
        if self.delivered == number and now < self.delivered_at + HEARTBEAT_SECONDS:
            return b""
        missed = self.sale.log.after(self.delivered)
        piece = self.state() if missed is None else missed or HEARTBEAT
        self.delivered, self.delivered_at = number, now
        return piece


class EventHub:
    """`new_name` names logs: never twice the same, also not in other processes, or a foreign id would be believed."""

    def __init__(
        self,
        view: View,
        encode: Encode,
        *,
        new_name: Callable[[], bytes],
        viewers_max: int,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._view = view
        self._encode = encode
        self._new_name = new_name
        self._viewers_max = viewers_max
        self._random = random
        self._feeds: dict[SaleId, _Feed] = {}
        self._feed_of: dict[Reader, _Feed] = {}
        self._followers: set[Reader] = set()
        self._current = SaleId(0)
        self._wanted = trio.Event()

    @property
    def viewers(self) -> int:
        return len(self._feed_of)

    @property
    def is_full(self) -> bool:
        return len(self._feed_of) >= self._viewers_max

    async def find(self, sale_id: SaleId | None) -> SaleId | None:
        """The sale that is asked for, or the current one; None if there is no such sale.

        Raises `Unavailable`, and `Overloaded` if too many others are watched.
        """
        if sale_id is None:
            current = await self._view.current_sale()
            if current is None:
                return None
            sale_id = current.id
        return None if await self._find_feed(sale_id) is None else sale_id

    def join(self, reader: Reader, sale_id: SaleId, last_id: bytes | None, *, follows: bool) -> None:
        """Tell `reader` what it has missed since the event `last_id`, or the state, and what happens from now on.

        `sale_id` is what `find` has found. `follows`: when a new sale opens, go on with that one.
        """
        feed = self._feeds.get(sale_id)
        retry_ms = RETRY_MS_MIN + int(self._random() * (RETRY_MS_MAX - RETRY_MS_MIN))
        try:
            greeting = b"" if feed is None else feed.greeting(last_id)
        except Unavailable:
            feed = None
        if feed is None:  # it has gone since it was found
            return reader.end()
        reader.write_nowait(b"retry: %d\n\n%b" % (retry_ms, greeting))
        if not feed.readers:
            feed.delivered = feed.sale.log.number
        self._assign(reader, feed)
        if follows:
            self._followers.add(reader)
        return None

    def leave(self, reader: Reader) -> None:
        self._followers.discard(reader)
        feed = self._feed_of.pop(reader, None)
        if feed is not None:
            feed.readers.discard(reader)
            feed.used_at = trio.current_time()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            if not self._feeds:
                self._wanted = trio.Event()
                await self._wanted.wait()
            next_at = trio.current_time() + TICK_SECONDS
            await self.tell()
            await trio.sleep_until(next_at)

    async def tell(self) -> None:
        """Tell everybody what has happened since the last time."""
        with suppress(FlashError):  # what visitors see cannot be known, and the view says why
            await self._move_followers()
        for sale_id, feed in list(self._feeds.items()):
            if feed.readers:
                await self._tell(feed)
            elif trio.current_time() >= feed.used_at + FEED_KEPT_SECONDS:
                del self._feeds[sale_id]

    async def _tell(self, feed: _Feed) -> None:
        with suppress(FlashError):
            await self._refresh(feed)
        with suppress(FlashError):
            if piece := feed.news():
                await self._deliver(feed.readers, piece)

    async def _move_followers(self) -> None:
        """Once another sale is the current one, go on with that."""
        current = await self._view.current_sale()
        if current is None or current.id == self._current:
            return
        feed = await self._find_feed(current.id)
        for one in {feed, *(self._feed_of[reader] for reader in self._behind(current.id))}:
            if one is not None:
                await self._tell(one)  # that the other one has opened
        if feed is not None:
            state, moved = feed.state(), self._behind(current.id)
            for reader in moved:
                self._feed_of[reader].readers.discard(reader)
                self._assign(reader, feed)
            await self._deliver(moved, state)
        self._current = current.id

    def _behind(self, current: SaleId) -> list[Reader]:
        """The followers of another sale."""
        return [reader for reader in self._followers if self._feed_of[reader].sale.sale_id != current]

    def _assign(self, reader: Reader, feed: _Feed) -> None:
        feed.readers.add(reader)
        self._feed_of[reader] = feed

    async def _deliver(self, readers: Collection[Reader], piece: bytes) -> None:
        for number, reader in enumerate(list(readers), start=1):
            if reader in self._feed_of:
                reader.write_nowait(piece)
            if number % VIEWERS_A_TURN == 0:
                await trio.lowlevel.checkpoint()

    async def _find_feed(self, sale_id: SaleId) -> _Feed | None:
        """Up to date; None if there is no such sale. Raises `Unavailable` and `Overloaded`."""
        feed = self._feeds.get(sale_id)
        if feed is None:
            self._make_room()
            log = EventLog(self._new_name(), self._encode)
            sale = await WatchedSale.find(self._view, sale_id, log)
            if sale is not None:
                self._feeds.setdefault(sale_id, _Feed(sale, self._encode))
                self._wanted.set()
        elif not feed.readers:  # otherwise it is a tick old at most
            await self._refresh(feed)
        feed = self._feeds.get(sale_id)
        if feed is not None:
            feed.used_at = trio.current_time()
        return feed

    def _make_room(self) -> None:
        """For one more sale: the one that has had no viewer for longest is forgotten. Raises `Overloaded`."""
        if len(self._feeds) < FEEDS_MAX:
            return
        idle = [feed for feed in self._feeds.values() if not feed.readers]
        if not idle:
            raise Overloaded("too many sales are watched")
        del self._feeds[min(idle, key=lambda feed: feed.used_at).sale.sale_id]

    async def _refresh(self, feed: _Feed) -> None:
        """Its viewers leave a sale that is not there any more; they may come back for another one."""
        if not await feed.sale.refresh():
            self._feeds.pop(feed.sale.sale_id, None)
            for reader in list(feed.readers):
                reader.end()
