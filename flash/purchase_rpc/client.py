"""The web side of a purchase: carries commands to the inbox of their sale and brings the answers back.

It decides nothing. A command whose entry has vanished without an answer (Redis lost its data, or a reply was lost) is
sent again under its request id, which makes that safe; one that is not answered in time has an unknown outcome. What
nobody dealt with in time is taken away again by whoever added it.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections import defaultdict, deque
from dataclasses import dataclass
from itertools import count

import trio

from flash.actors.mailbox import Mailbox, PendingRequest
from flash.domain import Command, Outcome, SaleId
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable
from flash.purchase_rpc import messages
from flash.stores.redis_link import Entries, RedisCommand, RedisLink, streams_of
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
_GIVE_UP_SECONDS = 0.1
_DEAF_SECONDS = 2.0
"""A Redis that has said nothing for so long, although each read ends within a second, is not there."""
_SWEEP_SECONDS = 0.5
_READ_ENTRIES = 64
_READ_BLOCK_MS = 1_000
_INBOX_MS = 120_000
"""Every entry pushes the end of its inbox this far. By then all that stands in it is void, and a sale that is over
leaves no key behind."""

PendingPurchase = PendingRequest[Command, Outcome]


@dataclass(slots=True, eq=False)
class _Sent:
    """One batch as it stands in an inbox, and the numbers of its commands that have no answer yet."""

    sale_id: SaleId
    id: bytes
    expires_at: float  # Trio time: when the last of its askers has given up
    open: set[int]


class PurchaseClient:
    """At most `waiting_max` commands wait for an answer, each for `timeout_seconds` and a moment.

    `sender` and `listener` are two links, since the second one blocks in Redis.
    """

    def __init__(
        self,
        sender: RedisLink,
        listener: RedisLink,
        *,
        waiting_max: int,
        batch_max: int,
        timeout_seconds: float,
    ) -> None:
        self._sender = sender
        self._listener = listener
        self._waiting_max = waiting_max
        self._batch_max = batch_max
        self._timeout_seconds = timeout_seconds
        self._replies = messages.reply_key(secrets.token_hex(8))
        self._numbers = count(1)
        self._outbox: Mailbox[tuple[int, PendingPurchase]] = Mailbox(waiting_max)
        self._waiting: dict[int, PendingPurchase] = {}
        self._expires_at: deque[tuple[float, int]] = deque()  # Trio time and number, in order
        self._entry_of: dict[int, _Sent] = {}
        self._entries: list[_Sent] = []
        self._warn = ThrottledLogger(log)
        self._heard_at = math.inf  # Trio time of the last answer from Redis

    async def ask(self, command: Command) -> Outcome:
        """The leader's decision, durable if it is a sale.

        Raises `Overloaded` and `Unavailable` (nothing was started) or `OutcomeUnknown` (ask for the receipt).
        """
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded("too many purchases are waiting")
        number, letter = next(self._numbers), PendingPurchase(command)
        self._outbox.put_nowait((number, letter))
        self._waiting[number] = letter
        self._expires_at.append((trio.current_time() + self._timeout_seconds, number))
        try:
            return await letter.wait_answer()
        finally:
            self._waiting.pop(number, None)

    async def run(self) -> None:
        """Serve until cancelled; whoever still waits then hears that the outcome is unknown."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                nursery.start_soon(self._listen)
                nursery.start_soon(self._give_up)
                nursery.start_soon(self._sweep)
        finally:
            for _, unsent in self._outbox.close():
                unsent.fail(Unavailable("this process is stopping"))
            for letter in self._waiting.values():
                letter.fail(OutcomeUnknown("this process is stopping"))

    async def _send(self) -> None:
        while True:
            letters = await self._outbox.take(self._batch_max)
            # whoever has left the queue meanwhile (time-out, shutdown) wants nothing sent
            letters = [(number, letter) for number, letter in letters if number in self._waiting]
            batches: defaultdict[SaleId, list[tuple[int, Command]]] = defaultdict(list)
            for number, letter in letters:
                batches[letter.body.code.sale_id].append((number, letter.body))
            expires_at = trio.current_time() + self._timeout_seconds
            try:
                await self._add([(sale_id, expires_at, commands) for sale_id, commands in batches.items()])
            except FlashError as error:
                self._warn("could not send %d purchases: %s", len(letters), error)
                for _, letter in letters:
                    letter.fail(error)

    async def _add(self, batches: list[tuple[SaleId, float, list[tuple[int, Command]]]]) -> None:
        """Add one entry for each batch (sale, when it is void, commands), all in one round trip."""
        if not batches:
            return
        now = trio.current_time()
        adds: list[RedisCommand] = []
        for sale_id, expires_at, commands in batches:
            batch = messages.CommandBatch(self._replies, max(0, int((expires_at - now) * 1000)), commands)
            adds.append(("XADD", messages.inbox_key(sale_id), "*", "c", messages.encode_commands(batch)))
            adds.append(("PEXPIRE", messages.inbox_key(sale_id), _INBOX_MS))
        ids = (await self._sender.execute(*adds))[::2]
        for (sale_id, expires_at, commands), entry_id in zip(batches, ids, strict=True):
            entry = _Sent(sale_id, entry_id, expires_at, {number for number, _ in commands})
            self._entry_of.update(dict.fromkeys(entry.open, entry))
            self._entries.append(entry)

    async def _listen(self) -> None:
        self._heard_at = trio.current_time()
        last, done = b"0", list[bytes]()
        while True:
            try:
                entries = await self._read_replies(last, done)
            except FlashError as error:
                self._warn("cannot read purchase replies: %s", error)
                await trio.sleep(_RETRY_SECONDS)
                continue
            self._heard_at = trio.current_time()
            # Ids may start again lower when Redis has lost its data. Whatever was read is deleted, so when
            # nothing comes the stream can be read from its beginning.
            last, done = (entries[-1][0], [id for id, _ in entries]) if entries else (b"0", [])
            for _, fields in entries:
                self._resolve(fields)

    async def _read_replies(self, last: bytes, done: list[bytes]) -> Entries:
        """The entries after `last`. Those that are `done` with are deleted in the same round trip."""
        read: RedisCommand = ("XREAD", "COUNT", _READ_ENTRIES, "BLOCK", _READ_BLOCK_MS, "STREAMS", self._replies, last)
        delete: list[RedisCommand] = [("XDEL", self._replies, *done)] if done else []
        *_, answer = await self._listener.execute(*delete, read, block_seconds=_READ_BLOCK_MS / 1000)
        streams = streams_of(answer)
        return streams[0][1] if streams else []

    def _resolve(self, fields: dict[bytes, bytes]) -> None:
        try:
            outcomes = messages.decode_outcomes(fields[b"o"])
        except (KeyError, ValueError) as error:
            log.error("unreadable purchase reply dropped: %s", error)
            return
        for number, outcome in outcomes:
            self._settle(number)
            letter = self._waiting.get(number)
            if letter is not None:
                letter.reply(outcome)

    def _settle(self, number: int) -> None:
        entry = self._entry_of.pop(number, None)
        if entry is not None:
            entry.open.discard(number)

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(_SWEEP_SECONDS)
            try:
                await self._withdraw_expired()
                await self._send_lost_again()
            except FlashError as error:
                log.warning("cannot look after the purchases under way: %s", error)

    async def _give_up(self) -> None:
        """Time-outs, all in one task: a cancel scope for each purchase would cost more than carrying it."""
        while True:
            await trio.sleep(_GIVE_UP_SECONDS)
            now = trio.current_time()
            if now - self._heard_at > _DEAF_SECONDS:
                for letter in self._waiting.values():
                    letter.fail(OutcomeUnknown("Redis says nothing"))
            while self._expires_at and self._expires_at[0][0] <= now:
                late = self._waiting.get(self._expires_at.popleft()[1])
                if late is not None:
                    late.fail(OutcomeUnknown("the sale's leader did not answer in time"))

    async def _withdraw_expired(self) -> None:
        """Delete what no leader has dealt with by the time that nobody waits for it any more."""
        now = trio.current_time()
        void = [entry for entry in self._entries if entry.open and entry.expires_at <= now]
        self._entries = [entry for entry in self._entries if entry.open and entry.expires_at > now]
        for entry in void:
            self._forget(entry)
        if void:
            await self._sender.execute(*(("XDEL", messages.inbox_key(entry.sale_id), entry.id) for entry in void))

    async def _send_lost_again(self) -> None:
        """An entry that is gone although commands of it are open will not be answered: send these again."""
        old = list(self._entries)
        if not old:
            return
        found = await self._sender.execute(
            *(("XRANGE", messages.inbox_key(entry.sale_id), entry.id, entry.id) for entry in old)
        )
        lost = [entry for entry, here in zip(old, found, strict=True) if not here and entry.open]
        for entry in lost:
            self._entries.remove(entry)
            self._forget(entry)
        await self._add([batch for entry in lost if (batch := self._unanswered(entry))])

    def _forget(self, entry: _Sent) -> None:
        for number in entry.open:
            self._entry_of.pop(number, None)

    def _unanswered(self, entry: _Sent) -> tuple[SaleId, float, list[tuple[int, Command]]] | None:
        commands = [(number, self._waiting[number].body) for number in entry.open if number in self._waiting]
        return (entry.sale_id, entry.expires_at, commands) if commands else None
