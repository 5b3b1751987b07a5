"""The inventory side of a purchase: reads the inboxes of every sale that this host leads, and sends the outcomes.

One blocking read serves all sales of the host. An entry stays in its inbox until all its commands are answered, so a
successor finds what was not finished. Nothing rests on stream ids growing: a sale that has been quiet is read from its
beginning, where only unanswered entries can stand.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from flash.actors.mailbox import Mailbox
from flash.deployment import Deployment
from flash.domain import Command, Outcome, SaleId
from flash.errors import FlashError
from flash.purchase_rpc import messages, wrong_types
from flash.purchase_rpc.expiry import Expiry
from flash.purchase_rpc.payloads import COMMANDS_MAX, CommandBatch
from flash.purchase_rpc.primary_reader import PrimaryReader
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores.redis_link import Entries, RedisCommand, flat
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

_READ_ENTRIES = 16
_READ_BLOCK_MS = 1_000
CROWDED_COMMANDS = 4_096
"""A sale with this many unread commands is not read further until its actor has caught up."""
_INBOX_MAX = CROWDED_COMMANDS + _READ_ENTRIES * COMMANDS_MAX
_CROWDED_BLOCK_MS = 5
_QUIET_SECONDS = 1.0
_WAKE_UPS_MAX = 16
_DEAD_LETTERS_MAX = 100
_DEAD_LETTERS_MS = 7 * 86_400_000
"""How long dead letters are kept for somebody to look at."""
_RETRY_SECONDS = 0.2
_REPLY_STREAM_MS = 60_000
"""How long a reply keeps its stream alive, or up to half a second less: so long may it outlive its web process."""


@dataclass(slots=True, eq=False)
class _Inbox:
    sale_id: SaleId
    key: str
    mailbox: Mailbox[Delivery]
    last: bytes = b"0"
    quiet_since: float = 0.0
    held: dict[bytes, _Entry] = field(default_factory=dict)
    """What was delivered and is not answered, by its id: reading from the beginning meets it again."""

    def is_held(self, entry_id: bytes, fields: dict[bytes, bytes]) -> bool:
        """A Redis that has lost its data gives ids out again; no two entries have the same seal."""
        held = self.held.get(entry_id)
        return held is not None and held.seal == fields.get(messages.SEAL_FIELD)


@dataclass(slots=True, eq=False)
class _Entry:
    inbox: _Inbox
    id: bytes
    seal: bytes
    version: int
    unanswered: int


@dataclass(slots=True, eq=False)
class Delivery:
    """One command as it came: where the outcome goes, and when nobody waits for it any more (Trio time)."""

    command: Command
    expires_at: float
    number: int
    reply_to: str
    entry: _Entry


class PurchaseServer:
    """`reader` and `writer` are two links, since the first one blocks in Redis.

    `on_wake_up` is called when any host says that a sale or a lease has changed.
    """

    def __init__(
        self, deployment: Deployment, reader: StreamLink, writer: StreamLink, on_wake_up: Callable[[], None]
    ) -> None:
        self._deployment = deployment
        self._reader = PrimaryReader(reader, messages.wake_up_key(deployment))
        self._writer = writer
        self._on_wake_up = on_wake_up
        self._open: dict[str, _Inbox] = {}
        self._wake_up_key = messages.wake_up_key(deployment)
        self._wake_up_last = b"0"
        self._expiry = Expiry(_REPLY_STREAM_MS)
        self._warn = ThrottledLogger(log)
        self._warn_of_version = ThrottledLogger(log)

    @contextmanager
    def open(self, sale_id: SaleId) -> Iterator[Mailbox[Delivery]]:
        """Read this sale's inbox, from its beginning, for as long as the block lasts."""
        inbox = _Inbox(sale_id, messages.inbox_key(self._deployment, sale_id), Mailbox(_INBOX_MAX))
        assert inbox.key not in self._open
        self._open[inbox.key] = inbox
        try:
            yield inbox.mailbox
        finally:
            del self._open[inbox.key]

    async def notify(self) -> None:
        """Wake up every host's reader, ours too: a sale or a lease has changed."""
        await wrong_types.execute(self._writer, ("XADD", self._wake_up_key, "MAXLEN", _WAKE_UPS_MAX, "*", "r", "1"))

    async def send(self, answers: Iterable[tuple[Delivery, Outcome | None]], also: Sequence[RedisCommand] = ()) -> None:
        """Reply, then delete the entries that are done. The outcome None means: dropped, since nobody waits for it.

        `also` is performed after that, in the same round trip.
        """
        replies: defaultdict[tuple[str, int], list[tuple[int, Outcome]]] = defaultdict(list)
        done: defaultdict[str, list[bytes]] = defaultdict(list)
        for delivery, outcome in answers:
            entry = delivery.entry
            if outcome is not None:
                replies[delivery.reply_to, entry.version].append((delivery.number, outcome))
            entry.unanswered -= 1
            # It is done, unless its id belongs to another one by now.
            if not entry.unanswered and entry.inbox.held.get(entry.id) is entry:
                del entry.inbox.held[entry.id]
                done[entry.inbox.key].append(entry.id)
        commands: list[RedisCommand] = []
        for (key, version), outcomes in replies.items():
            reply = messages.reply_entry(self._deployment, key, version, outcomes)
            commands.append(("XADD", key, "*", *flat(reply)))
            commands += self._expiry.prolong(key)
        commands += [("XDEL", inbox, *ids) for inbox, ids in done.items()]
        commands += also
        if commands:
            await wrong_types.execute(self._writer, *commands)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._read_once()
            except FlashError as error:
                self._warn("cannot read inboxes: %s", error)
                await trio.sleep(_RETRY_SECONDS)

    async def _read_once(self) -> None:
        inboxes = {key: inbox for key, inbox in self._open.items() if len(inbox.mailbox) < CROWDED_COMMANDS}
        now = trio.current_time()
        for inbox in inboxes.values():
            if now - inbox.quiet_since > _QUIET_SECONDS:
                inbox.last, inbox.quiet_since = b"0", now
        block_ms = _READ_BLOCK_MS if len(inboxes) == len(self._open) else _CROWDED_BLOCK_MS
        streams = await self._read({key: inbox.last for key, inbox in inboxes.items()}, block_ms)
        for key, entries in streams:
            if key == self._wake_up_key:
                self._wake_up_last = entries[-1][0]
                self._on_wake_up()
            elif self._open.get(key) is inboxes[key]:
                # An inbox that was closed and opened again meanwhile wants its older entries first.
                await self._deliver(inboxes[key], entries)

    async def _read(self, positions: dict[str, bytes], block_ms: int) -> list[tuple[str, Entries]]:
        """What has come since `positions`."""
        positions = {**positions, self._wake_up_key: self._wake_up_last}
        streams = await self._reader.read(positions, entries_max=_READ_ENTRIES, block_ms=block_ms)
        return [(key.decode(), entries) for key, entries in streams]

    async def _deliver(self, inbox: _Inbox, entries: Entries) -> None:
        inbox.quiet_since = trio.current_time()
        for entry_id, fields in entries:
            if not inbox.is_held(entry_id, fields):
                await self._deliver_entry(inbox, entry_id, fields)
            inbox.last = entry_id  # one by one: if a dead letter cannot be moved, those behind it are read again

    async def _deliver_entry(self, inbox: _Inbox, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        try:
            version = messages.command_version(self._deployment, inbox.sale_id, fields)
            if version > messages.VERSION:
                # It stays for a newer process that takes the lease; the web process that added it withdraws it in time.
                self._warn_of_version(
                    "sale %d: left a command entry of version %d, this release reads %d: "
                    "finish the upgrade of the inventory processes",
                    inbox.sale_id,
                    version,
                    messages.VERSION,
                )
                return
            batch = messages.read_commands(self._deployment, inbox.sale_id, fields)
        except ValueError as error:
            log.error("sale %d: entry %r is a dead letter: %s", inbox.sale_id, entry_id, error)
            await self._move_to_dead_letters(inbox, entry_id, fields)
            return
        entry = _Entry(inbox, entry_id, fields[messages.SEAL_FIELD], version, len(batch.commands))
        inbox.held[entry_id] = entry
        expires_at = trio.current_time() + self._left_ms(entry_id, batch) / 1000
        for number, command in batch.commands:
            inbox.mailbox.put_nowait(Delivery(command, expires_at, number, batch.reply_to, entry))

    def _left_ms(self, entry_id: bytes, batch: CommandBatch) -> float:
        redis_ms = self._reader.redis_ms()
        assert redis_ms is not None, "the first read of a connection asks the time"
        # If Redis's clock was set back, the ids of a stream run ahead of it.
        age_ms = max(0.0, redis_ms - int(entry_id.partition(b"-")[0]))
        return min(batch.ttl_ms - age_ms, batch.end_ms - redis_ms)

    async def _move_to_dead_letters(self, inbox: _Inbox, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        key = messages.dead_letter_key(self._deployment, inbox.sale_id)
        await wrong_types.execute(
            self._writer,
            ("XADD", key, "MAXLEN", _DEAD_LETTERS_MAX, "*", *flat(fields)),
            ("PEXPIRE", key, _DEAD_LETTERS_MS),
            ("XDEL", inbox.key, entry_id),
        )
