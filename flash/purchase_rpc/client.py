"""The web side of a purchase: adds commands to the inbox of their sale, and hands the leader's outcomes to the askers.

It decides nothing. Each `ask` is one record in one table until it returns, in one of these states:

    QUEUED     in the outbox; no XADD has named it yet       -> SENDING, GIVEN_UP
    SENDING    its XADD is under way: applied or not         -> SENT, ANSWERED, GIVEN_UP
    SENT       part of `entry`, which stands in an inbox     -> ANSWERED, GIVEN_UP; in a new entry if that one vanishes
    ANSWERED   the leader has answered                       the end
    GIVEN_UP   its time is over, an error was set, or        the end; it is never added (again)
               its asker has left

An entry that has vanished although a command in it is SENT (Redis lost its data, or the reply was lost) is added again
under the same request ids, which makes that safe. An entry that expires unanswered is withdrawn by the process that
added it. Neither happens to an entry whose XADD was applied but whose id was lost on the way back: it stands until a
leader takes it or its inbox expires (`_INBOX_MS` after the latest entry). So a sale that nobody leads leaves nothing
behind here, and nothing in Redis after that time.

No leader decides a command after its `decided_until`, whenever Redis adds it: an entry lives as long as its last
record. So whoever is told that nobody knows is told as well when the receipt will: `retry_after_seconds` later, one
that is not there is final.
"""

from __future__ import annotations

import logging
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, count, takewhile

import trio

from flash.actors.mailbox import Mailbox
from flash.deployment import Deployment
from flash.domain import Command, Outcome, SaleId
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable
from flash.purchase_rpc import messages, wrong_types
from flash.purchase_rpc.expiry import Expiry
from flash.purchase_rpc.payloads import CommandBatch
from flash.purchase_rpc.records import ANSWERED, GIVEN_UP, QUEUED, SENDING, SENT, Entry, Record
from flash.purchase_rpc.reply_reader import ReplyReader
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores.redis_link import RedisCommand, entries_of, flat, id_of, ms_of
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

_NAME_BYTES = 16
"""Of the random name that a web process gives itself: no two ever read the same replies."""
_TIME_OUT_SECONDS = 0.1
_DEAF_SECONDS = 2.0
"""After this long without an answer from Redis, it is treated as down."""
SWEEP_SECONDS = 0.5
_INBOX_MS = 120_000
"""How long an entry keeps its inbox alive, or up to half a second less. By then every command in it has expired, so a
sale that is over leaves no key behind."""


class PurchaseClient:
    """At most `waiting_max` commands wait for an outcome, each for `timeout_seconds` and up to 0.1 s more.

    `sender` and `listener` are two links, since the second one blocks in Redis. `settle_seconds`: within that time a
    leader has stored, or will never store, what it began to decide in the last moment of a command's life.
    """

    def __init__(
        self,
        deployment: Deployment,
        sender: StreamLink,
        listener: StreamLink,
        *,
        waiting_max: int,
        batch_max: int,
        timeout_seconds: float,
        settle_seconds: float,
    ) -> None:
        self._deployment = deployment
        self._sender = sender
        self._waiting_max = waiting_max
        self._batch_max = batch_max
        self._timeout_seconds = timeout_seconds
        self._settle_seconds = settle_seconds
        self._reply_key = messages.reply_key(deployment, secrets.token_hex(_NAME_BYTES))
        self._replies = ReplyReader(deployment, listener, self._reply_key, self._receive)
        self._numbers = count(1)
        self._table: dict[int, Record] = {}  # by number, therefore in order of `expires_at`
        self._outbox: Mailbox[Record] = Mailbox(waiting_max)
        self._entries: dict[Entry, None] = {}  # those that may still stand in an inbox, in order of `added_at`
        self._expiry = Expiry(_INBOX_MS)
        self._warn = ThrottledLogger(log)
        self.vanished = 0
        """Entries that were added again because they were gone."""

    @property
    def waiting(self) -> int:
        return len(self._table)

    async def ask(self, command: Command) -> Outcome:
        """The leader's decision, durable if it is a sale.

        Raises `Overloaded` and `Unavailable` (nothing was started) or `OutcomeUnknown` (ask for the receipt: if it is
        not there after `retry_after_seconds`, the command was never carried out).
        """
        if len(self._table) >= self._waiting_max:
            raise Overloaded("too many purchases are waiting")
        record = Record(command, next(self._numbers), trio.current_time() + self._timeout_seconds)
        self._outbox.put_nowait(record)
        self._table[record.number] = record
        try:
            return await record.wait_result()
        finally:
            del self._table[record.number]
            if record.state is not ANSWERED:
                record.state = GIVEN_UP

    async def run(self) -> None:
        """Serve until cancelled. Whoever waits then hears whether their command may have been sent."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                nursery.start_soon(self._replies.run)
                nursery.start_soon(self._time_out)
                nursery.start_soon(self._sweep)
        finally:
            for record in self._outbox.close():
                record.give_up(Unavailable("this process is stopping"))
            self._give_up(self._table.values(), "this process is stopping")

    def _give_up(self, records: Iterable[Record], reason: str) -> None:
        """Tell the askers that nobody knows, and when the receipt will."""
        now = trio.current_time()
        for record in records:
            left_seconds = max(0.0, record.decided_until - now)
            record.give_up(OutcomeUnknown(reason, retry_after_seconds=left_seconds + self._settle_seconds))

    # Commands

    async def _send(self) -> None:
        while True:
            taken = await self._outbox.take(self._batch_max)
            records = [record for record in taken if record.state is QUEUED]
            batches: defaultdict[SaleId, list[Record]] = defaultdict(list)
            for record in records:
                record.state = SENDING
                batches[record.request.code.sale_id].append(record)
            try:
                await self._add(batches.values())
            except OutcomeUnknown as error:
                self._warn("could not send %d purchases: %s", len(records), error)
                self._give_up(records, str(error))
            except FlashError as error:
                self._warn("could not send %d purchases: %s", len(records), error)
                for record in records:
                    record.give_up(error)

    async def _add(self, batches: Collection[list[Record]]) -> None:
        """Add one entry for each batch, the records of one sale, all in one round trip."""
        if not batches:
            return
        redis_ms = await self._redis_ms()
        adds, expiries = list[RedisCommand](), list[RedisCommand]()
        seals: list[bytes] = []
        for records in batches:
            inbox, fields = self._entry_of(records, redis_ms)
            adds.append(("XADD", inbox, "*", *flat(fields)))
            expiries += self._expiry.prolong(inbox)
            seals.append(fields[messages.SEAL_FIELD])
        try:
            ids = await wrong_types.execute(
                self._sender, *adds, *expiries, before_again=lambda: _note_doubled(chain.from_iterable(batches))
            )
        except FlashError:
            self._expiry.forget()
            raise
        for records, seal, entry_id in zip(batches, seals, ids, strict=False):  # the rest are answers to PEXPIRE
            self._note_entry(id_of(entry_id), seal, records)

    async def _redis_ms(self) -> float:
        """Redis's time in milliseconds, or earlier. It is rarely asked: the listener knows it."""
        if (redis_ms := self._replies.redis_ms()) is not None:
            return redis_ms
        asked_at = trio.current_time()
        try:
            (answer,) = await self._sender.execute(("TIME",))
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from error  # nothing was sent but a question
        return ms_of(answer) - (trio.current_time() - asked_at) * 1e3

    def _entry_of(self, records: list[Record], redis_ms: float) -> tuple[str, messages.Fields]:
        """The inbox of their sale, and the entry for it."""
        ttl_ms = max(0, int((records[-1].expires_at - trio.current_time()) * 1000))
        for record in records:
            record.decided_until = max(record.decided_until, records[-1].expires_at)
        commands = [(record.number, record.request) for record in records]
        sale_id = records[0].request.code.sale_id
        batch = CommandBatch(self._reply_key, ttl_ms, int(redis_ms) + ttl_ms, commands)
        return self._inbox(sale_id), messages.command_entry(self._deployment, sale_id, batch)

    def _inbox(self, sale_id: SaleId) -> str:
        return messages.inbox_key(self._deployment, sale_id)

    def _note_entry(self, entry_id: bytes, seal: bytes, records: list[Record]) -> None:
        """A record may have been answered, or given up, before the answer to its XADD was here."""
        open_records = [record for record in records if record.state is not ANSWERED]
        if not open_records:
            return
        entry = Entry(entry_id, seal, open_records, trio.current_time())
        self._entries[entry] = None
        for record in open_records:
            record.entry = entry
            if record.state is SENDING:
                record.state = SENT

    # Outcomes

    def _receive(self, outcomes: list[tuple[int, Outcome | None]]) -> None:
        for number, outcome in outcomes:
            record = self._table.get(number)
            if record is None or record.is_settled:
                continue
            if record.is_doubled and not record.is_answered_by(outcome):
                self._give_up((record,), "a command that was added twice may be decided again")
                continue
            record.answer(outcome)
            entry = record.entry
            if entry is not None:
                entry.unanswered -= 1
                if not entry.unanswered:
                    self._entries.pop(entry, None)

    # Time

    async def _time_out(self) -> None:
        """Time-outs, all in one task: a cancel scope for each purchase would cost more than carrying it."""
        while True:
            await trio.sleep(_TIME_OUT_SECONDS)
            now = trio.current_time()
            if now - self._replies.heard_at > _DEAF_SECONDS:
                self._give_up(self._table.values(), "Redis does not answer")
            self._give_up(self._late(), "the sale's leader did not answer in time")

    def _late(self) -> Iterator[Record]:
        now = trio.current_time()
        return takewhile(lambda record: record.expires_at <= now, self._table.values())

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS)
            try:
                await self._withdraw_expired()
                await self._add_vanished_again()
            except FlashError as error:
                self._warn("cannot check on the purchases under way: %s", error)

    async def _withdraw_expired(self) -> None:
        """Delete what no leader has answered by the time that nobody waits for it any more."""
        now = trio.current_time()
        expired = [entry for entry in self._entries if entry.expires_at <= now]
        if expired:
            await wrong_types.execute(
                self._sender, *(("XDEL", self._inbox(entry.sale_id), entry.id) for entry in expired)
            )
        self._forget(expired)

    async def _add_vanished_again(self) -> None:
        """An entry that is gone will not be answered any more: its SENT records need another one."""
        just_now = trio.current_time() - SWEEP_SECONDS
        entries = list(takewhile(lambda entry: entry.added_at <= just_now, self._entries))
        if not entries:
            return
        found = await wrong_types.execute(
            self._sender, *(("XRANGE", self._inbox(entry.sale_id), entry.id, entry.id) for entry in entries)
        )
        vanished = [entry for entry, here in zip(entries, found, strict=True) if not entry.is_in(entries_of(here))]
        self.vanished += len(vanished)
        batches = [records for entry in vanished if (records := entry.sent())]
        # A leader may have read the first entry, and its answer may be under way.
        _note_doubled(chain.from_iterable(batches))
        await self._add(batches)
        self._forget(vanished)  # only now: if the adding failed, the next sweep finds them vanished again

    def _forget(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._entries.pop(entry, None)


def _note_doubled(records: Iterable[Record]) -> None:
    for record in records:
        record.is_doubled = True
