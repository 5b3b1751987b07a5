"""Reads the reply stream of a web process. It knows no asker and no command, only numbers and outcomes.

Nothing rests on stream ids growing, since they may start again lower when Redis has lost its data: whatever was read is
deleted, so the stream can be read from its beginning whenever nothing comes. An entry that no
process of this deployment has put there ends nobody's waiting, whatever numbers it names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from flash.deployment import Deployment
from flash.domain import Outcome
from flash.errors import FlashError
from flash.purchase_rpc import messages
from flash.purchase_rpc.primary_reader import PrimaryReader
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores.redis_link import Entries, RedisCommand
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_READ_ENTRIES = 64
_READ_BLOCK_MS = 1_000


class ReplyReader:
    """Hands every batch of outcomes under `key` to `deliver`; None is an outcome that this release cannot read."""

    def __init__(
        self,
        deployment: Deployment,
        link: StreamLink,
        key: str,
        deliver: Callable[[list[tuple[int, Outcome | None]]], None],
    ) -> None:
        self._deployment = deployment
        self._reader = PrimaryReader(link, key)
        self._key = key
        self._deliver = deliver
        self._warn = ThrottledLogger(log)
        self._warn_of_version = ThrottledLogger(log)
        self._warn_of_forgery = ThrottledLogger(log)

    async def run(self) -> None:
        """Read until cancelled."""
        last, read = b"0", list[bytes]()
        while True:
            try:
                entries = await self._read(last, read)
            except FlashError as error:
                self._warn("cannot read purchase replies: %s", error)
                await trio.sleep(_RETRY_SECONDS)
                continue
            last, read = (entries[-1][0], [id for id, _ in entries]) if entries else (b"0", [])
            for _, fields in entries:
                self._receive(fields)

    async def _read(self, last: bytes, read: list[bytes]) -> Entries:
        """The entries after `last`. Those that were `read` before are deleted in the same round trip."""
        delete: list[RedisCommand] = [("XDEL", self._key, *read)] if read else []
        streams = await self._reader.read(
            {self._key: last}, *delete, entries_max=_READ_ENTRIES, block_ms=_READ_BLOCK_MS
        )
        return streams[0][1] if streams else []

    @property
    def heard_at(self) -> float:
        """Trio time of Redis's last answer. Every read ends within a second, so an old one means that Redis is down."""
        return self._reader.heard_at

    def redis_ms(self) -> float | None:
        """Redis's time in milliseconds, or None if it is not known now."""
        return self._reader.redis_ms()

    def _receive(self, fields: dict[bytes, bytes]) -> None:
        try:
            version = messages.reply_version(self._deployment, self._key, fields)
        except ValueError as error:
            self._warn_of_forgery("dropped a purchase reply that no leader has sent: %s", error)
            return
        outcomes = self._read_outcomes(fields, version)
        if outcomes is None:
            # Whoever is not listed hears by time-out that nobody knows.
            outcomes = [(number, None) for number in messages.answered_numbers(fields)]
        self._deliver(outcomes)

    def _read_outcomes(self, fields: dict[bytes, bytes], version: int) -> list[tuple[int, Outcome | None]] | None:
        """None for a reply whose payload cannot be read."""
        if version > messages.VERSION:  # no release should answer our commands like this
            self._warn_of_version(
                "dropped a purchase reply of version %d: this release reads %d", version, messages.VERSION
            )
            return None
        try:
            return messages.read_outcomes(fields)
        except ValueError as error:
            log.error("dropped an unreadable purchase reply: %s", error)
            return None
