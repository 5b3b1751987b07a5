"""The web processes' end of the feed: hands on what the leaders have sold, as long as Redis brings it.

Nothing rests on it. Whatever is lost, late or forged is for the read model to notice and for PostgreSQL to settle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from flash.deployment import Deployment
from flash.errors import FlashError
from flash.purchase_rpc.stream_link import StreamLink
from flash.purchase_rpc.wrong_types import move_aside
from flash.sold_feed.messages import SoldBatch, decode_sold, sold_key
from flash.stores.redis_link import Entries, RedisCommand, WrongType, streams_of
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_READ_ENTRIES = 256
_PAUSE_SECONDS = 0.03
"""Between two reads that brought something: visitors see a sale that much later, and buyers lose nothing to it."""
_READ_BLOCK_MS = 1_000
_BEGINNING = b"0"


class SoldSubscriber:
    """Calls `deliver` with each batch in the order of the stream, and `doubt` when something may be missing."""

    def __init__(
        self, deployment: Deployment, link: StreamLink, deliver: Callable[[SoldBatch], None], doubt: Callable[[], None]
    ) -> None:
        self._deployment = deployment
        self._key = sold_key(deployment)
        self._link = link
        self._deliver = deliver
        self._doubt = doubt
        self._last = _BEGINNING
        self._warn = ThrottledLogger(log)
        self._warn_of_forgery = ThrottledLogger(log)

    async def run(self) -> None:
        """Read until cancelled. The stream is short, so the first read takes it from its beginning."""
        is_quiet = False
        while True:
            try:
                entries = await self._read(checks_place=is_quiet)
            except WrongType:
                await self._move_aside()
                continue
            except FlashError as error:
                self._warn("cannot read what is sold, asking PostgreSQL instead: %s", error)
                self._doubt()
                await trio.sleep(_RETRY_SECONDS)
                is_quiet = True
                continue
            for entry_id, fields in entries:
                self._last = entry_id
                self._receive(fields)
            is_quiet = not entries
            if entries:
                await trio.sleep(_PAUSE_SECONDS)

    async def _move_aside(self) -> None:
        """Somebody has written something else into our key: move it, or nothing would ever be heard."""
        self._doubt()
        try:
            await move_aside(self._link, [self._key])
        except FlashError as error:
            self._warn("cannot move what is not a stream: %s", error)
            await trio.sleep(_RETRY_SECONDS)

    async def _read(self, *, checks_place: bool) -> Entries:
        """What has come after the last entry. Waits up to a second.

        `checks_place`: see first whether the last entry is still there. A Redis that has lost its data may give lower
        ids than those that were read, and nothing would ever come after them. Nor would anything on a server that was
        demoted and cut off, which goes on answering reads: it refuses the write that changes nothing.
        """
        if checks_place:
            _, found = await self._link.execute(
                ("XDEL", self._key, "0-1"), ("XRANGE", self._key, self._last, self._last)
            )
            if not found and self._last != _BEGINNING:
                self._last = _BEGINNING
                self._doubt()
        read: RedisCommand = ("XREAD", "COUNT", _READ_ENTRIES, "BLOCK", _READ_BLOCK_MS, "STREAMS", self._key)
        (answer,) = await self._link.execute((*read, self._last), block_seconds=_READ_BLOCK_MS / 1000)
        streams = streams_of(answer)
        return streams[0][1] if streams else []

    def _receive(self, fields: dict[bytes, bytes]) -> None:
        try:
            batch = decode_sold(self._deployment, fields)
        except ValueError as error:
            self._warn_of_forgery("dropped an entry that says what is sold: %s", error)
            self._doubt()
        else:
            self._deliver(batch)
