"""The inventory side of a purchase: reads the inboxes of every sale that this host leads, and sends the outcomes.

Two blocking reads serve all sales of the host, one the busy sales and one the quiet ones. An entry stays in its inbox
until all its commands are answered, so a successor finds what was not finished. Nothing rests on stream ids growing: a
sale that has been quiet is read from its beginning, where only unanswered entries can stand.

An inbox that is only watched belongs to a sale that nobody leads yet. What stands in it is not looked at: it is told
that something does.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio

from flash.actors.mailbox import Mailbox
from flash.deployment import Deployment
from flash.domain import Outcome, Refused, SaleId
from flash.errors import FlashError
from flash.purchase_rpc import messages, wrong_types
from flash.purchase_rpc.expiry import Expiry
from flash.purchase_rpc.inbox import Delivery, Entry, Inbox, OpenInboxes
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
_NOTHING_QUIET_SECONDS = 0.5
_WAKE_UPS_MAX = 16
_DEAD_LETTERS_MAX = 100
_DEAD_LETTERS_MS = 7 * 86_400_000
"""How long dead letters are kept for somebody to look at."""
_RETRY_SECONDS = 0.2
_REPLY_STREAM_MS = 60_000
"""How long a reply keeps its stream alive, or up to half a second less: so long may it outlive its web process."""


_Replies = dict[tuple[str, int], list[tuple[int, Outcome]]]
"""By reply stream and version: the outcomes by their commands' numbers."""


class PurchaseServer:
    """Three links, since the first two block in Redis: `reader` for busy sales, `quiet_reader` for the others.

    `on_wake_up` is called when any host says that a sale or a lease has changed, and `on_demand`, with the name of a
    lease, when something stands in its watched inbox, which is not watched any more then.
    """

    def __init__(
        self,
        deployment: Deployment,
        reader: StreamLink,
        quiet_reader: StreamLink,
        writer: StreamLink,
        on_wake_up: Callable[[], None],
        on_demand: Callable[[str], None],
    ) -> None:
        self._deployment = deployment
        self._reader = PrimaryReader(reader, messages.wake_up_key(deployment))
        self._quiet_reader = PrimaryReader(quiet_reader, messages.wake_up_key(deployment))
        self._writer = writer
        self._on_wake_up = on_wake_up
        self._on_demand = on_demand
        self._inboxes = OpenInboxes()
        self._watched: dict[str, str] = {}  # the leases' names by the keys of their inboxes
        self._watch_begins = trio.Event()
        self._read_as_busy: dict[str, Inbox] = {}
        self._reading: dict[PrimaryReader, float] = {}  # when the reads began that are under way
        self._wake_up_key = messages.wake_up_key(deployment)
        self._watched_key = messages.watched_key(deployment)
        self._wake_up_last = self._watched_last = b"0"
        self._expiry = Expiry(_REPLY_STREAM_MS)
        self._warn = ThrottledLogger(log)
        self._warn_of_version = ThrottledLogger(log)
        self.dead_letters = 0

    @property
    def waiting(self) -> int:
        """Commands that were read and not taken by their actors yet."""
        return self._inboxes.waiting

    @contextmanager
    def open(self, sale_id: SaleId) -> Iterator[Mailbox[Delivery]]:
        """Read this sale's inbox, from its beginning, for as long as the block lasts."""
        inbox = Inbox(sale_id, messages.inbox_key(self._deployment, sale_id), Mailbox(_INBOX_MAX))
        self._inboxes.add(inbox, trio.current_time())
        try:
            yield inbox.mailbox
        finally:
            self._inboxes.remove(inbox)

    async def watch(self, keys: Sequence[str]) -> None:
        """Watch the inboxes of these leases. If Redis is away, that begins up to a second late."""
        self._watched.update((self._inbox_of(key), key) for key in keys)
        self._watch_begins.set()
        try:
            await self._wake_up(self._watched_key, messages.OPENED_FIELD)
        except FlashError as error:
            self._warn("cannot wake up our reader: %s", error)

    def unwatch(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._watched.pop(self._inbox_of(key), None)

    def quiet_seconds(self, key: str) -> float:
        """For how long nothing has come for the sale of the lease `key`; 0 if its inbox is not open."""
        inbox = self._inboxes.find(self._inbox_of(key))
        return 0.0 if inbox is None else trio.current_time() - inbox.arrived_at

    def _inbox_of(self, key: str) -> str:
        return messages.inbox_key(self._deployment, messages.sale_of_lease(key))

    async def notify(self) -> None:
        """Wake up every host: a sale or a lease has changed."""
        await self._wake_up(self._wake_up_key, messages.CHANGED_FIELD)

    async def wake_up_reader(self) -> None:
        """Have our reader begin anew, since it may be blocked on the inboxes that were open before."""
        await self._wake_up(self._wake_up_key, messages.OPENED_FIELD)

    async def _wake_up(self, key: str, field: bytes) -> None:
        await wrong_types.execute(self._writer, ("XADD", key, "MAXLEN", _WAKE_UPS_MAX, "*", field, "1"))

    async def send(
        self, answers: Iterable[tuple[Delivery, Outcome | None]], also: Sequence[RedisCommand] = ()
    ) -> Callable[[], Awaitable[None]] | None:
        """Reply, then delete the entries that are done. The outcome None means: dropped, since nobody waits for it.

        A successor decides all of an entry again that is not done, or that it has read before it was deleted. So a
        refusal that may pass waits: what is returned tells those of the entries that are done now, and is to be called
        if no successor has begun until then. `also` is performed at the end of the round trip.
        """
        replies: _Replies = defaultdict(list)
        passing: _Replies = defaultdict(list)
        done: defaultdict[str, list[Entry]] = defaultdict(list)
        for delivery, outcome in answers:
            entry = delivery.entry
            if outcome.__class__ is Refused and outcome.refusal.may_pass:
                entry.held_back.append((delivery, outcome))
            elif outcome is not None:
                replies[delivery.reply_to, entry.version].append((delivery.number, outcome))
            entry.unanswered -= 1
            # It is done, unless its id belongs to another one by now.
            if not entry.unanswered and entry.inbox.held.get(entry.id) is entry:
                done[entry.inbox.key].append(entry)
                for held, refused in entry.held_back:
                    passing[held.reply_to, entry.version].append((held.number, refused))
        commands = self._commands_of(replies)
        commands += [("XDEL", inbox, *(entry.id for entry in entries)) for inbox, entries in done.items()]
        commands += also
        if commands:
            await wrong_types.execute(self._writer, *commands)
        now = trio.current_time()
        for entries in done.values():
            for entry in entries:
                entry.deleted_at = now
                entry.inbox.deleted.append(entry)
        return partial(self._tell, passing) if passing else None

    async def _tell(self, replies: _Replies) -> None:
        await wrong_types.execute(self._writer, *self._commands_of(replies))

    def _commands_of(self, replies: _Replies) -> list[RedisCommand]:
        commands: list[RedisCommand] = []
        for (key, version), outcomes in replies.items():
            reply = messages.reply_entry(self._deployment, key, version, outcomes)
            commands.append(("XADD", key, "*", *flat(reply)))
            commands += self._expiry.prolong(key)
        return commands

    async def run(self) -> None:
        """Read until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_reading, self._read_busy)
            nursery.start_soon(self._keep_reading, self._read_quiet)

    async def _keep_reading(self, read_once: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await read_once()
            except FlashError as error:
                self._warn("cannot read inboxes: %s", error)
                await trio.sleep(_RETRY_SECONDS)

    async def _read_busy(self) -> None:
        self._read_as_busy = self._inboxes.take_busy(trio.current_time())
        inboxes, block_ms = _uncrowded(self._read_as_busy)
        also = {self._wake_up_key: self._wake_up_last}
        for _, entries in await self._read(self._reader, inboxes, also, block_ms):
            self._wake_up_last = entries[-1][0]
            if any(messages.CHANGED_FIELD in fields for _, fields in entries):
                self._on_wake_up()

    async def _read_quiet(self) -> None:
        inboxes, block_ms = _uncrowded(self._inboxes.take_quiet(self._read_as_busy, trio.current_time()))
        if not inboxes and not self._watched:
            self._watch_begins = trio.Event()
            with trio.move_on_after(min(block_ms / 1000, _NOTHING_QUIET_SECONDS)):
                await self._watch_begins.wait()
            return
        also = dict.fromkeys(self._watched, b"0")
        also[self._watched_key] = self._watched_last
        for key, entries in await self._read(self._quiet_reader, inboxes, also, block_ms):
            if key == self._watched_key:
                self._watched_last = entries[-1][0]
            elif lease := self._watched.pop(key, None):
                self._on_demand(lease)

    async def _read(
        self, reader: PrimaryReader, inboxes: dict[str, Inbox], also: dict[str, bytes], block_ms: int
    ) -> list[tuple[str, Entries]]:
        """Deliver what comes to `inboxes`. Returns what came to the streams `also`, after these positions."""
        self._reading[reader] = now = trio.current_time()
        oldest = min(self._reading.values())
        positions = dict(also)
        for key, inbox in inboxes.items():
            inbox.forget_deleted(oldest)
            positions[key] = inbox.position(now)
        try:
            return await self._read_after(positions, reader, inboxes, block_ms)
        finally:
            del self._reading[reader]

    async def _read_after(
        self, positions: dict[str, bytes], reader: PrimaryReader, inboxes: dict[str, Inbox], block_ms: int
    ) -> list[tuple[str, Entries]]:
        streams = await reader.read(positions, entries_max=_READ_ENTRIES, block_ms=block_ms)
        others = list[tuple[str, Entries]]()
        for name, entries in streams:
            inbox = inboxes.get(key := name.decode("utf-8", "replace"))
            if inbox is None:
                others.append((key, entries))
            elif self._inboxes.has(inbox):
                # An inbox that was closed and opened again meanwhile wants its older entries first.
                await self._deliver(inbox, entries, reader)
        return others

    async def _deliver(self, inbox: Inbox, entries: Entries, reader: PrimaryReader) -> None:
        inbox.quiet_since = now = trio.current_time()
        self._inboxes.note_arrival(inbox, now)
        for entry_id, fields in entries:
            if not inbox.is_held(entry_id, fields):
                await self._deliver_entry(inbox, entry_id, fields, reader)
            inbox.last = entry_id  # one by one: if a dead letter cannot be moved, those behind it are read again

    async def _deliver_entry(
        self, inbox: Inbox, entry_id: bytes, fields: dict[bytes, bytes], reader: PrimaryReader
    ) -> None:
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
        entry = Entry(inbox, entry_id, fields[messages.SEAL_FIELD], version, len(batch.commands))
        inbox.held[entry_id] = entry
        expires_at = trio.current_time() + _left_ms(entry_id, batch, reader) / 1000
        for number, command in batch.commands:
            inbox.mailbox.put_nowait(Delivery(command, expires_at, number, batch.reply_to, entry))

    async def _move_to_dead_letters(self, inbox: Inbox, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        self.dead_letters += 1
        key = messages.dead_letter_key(self._deployment, inbox.sale_id)
        await wrong_types.execute(
            self._writer,
            ("XADD", key, "MAXLEN", _DEAD_LETTERS_MAX, "*", *flat(fields)),
            ("PEXPIRE", key, _DEAD_LETTERS_MS),
            ("XDEL", inbox.key, entry_id),
        )


def _uncrowded(inboxes: dict[str, Inbox]) -> tuple[dict[str, Inbox], int]:
    """Those whose actor keeps up, and for how many milliseconds to wait for them before looking at the others again."""
    uncrowded = {key: inbox for key, inbox in inboxes.items() if len(inbox.mailbox) < CROWDED_COMMANDS}
    return uncrowded, _READ_BLOCK_MS if len(uncrowded) == len(inboxes) else _CROWDED_BLOCK_MS


def _left_ms(entry_id: bytes, batch: CommandBatch, reader: PrimaryReader) -> float:
    """How long somebody waits for the entry that `reader` has just read."""
    redis_ms = reader.redis_ms()
    assert redis_ms is not None, "the first read of a connection asks the time"
    # If Redis's clock was set back, the ids of a stream run ahead of it.
    age_ms = max(0.0, redis_ms - int(entry_id.partition(b"-")[0]))
    return min(batch.ttl_ms - age_ms, batch.end_ms - redis_ms)
