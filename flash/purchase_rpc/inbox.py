"""The inboxes of the sales that one host leads, and which of its two readers reads which.

A blocking read names every stream that it waits for, so its cost grows with all sales of the host, also those that
nobody buys from. Therefore the busy reader waits for the few inboxes that something came to lately, and the quiet
reader for all others, for a second at a time. An inbox that changes sides is read by both until the one that gains it
has begun a read with it. What both find is delivered once, also if it was answered while a read was under way.

Nothing here waits, and nothing knows Redis. Times are Trio times.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from flash.actors.mailbox import Mailbox
from flash.domain import Command, Outcome, SaleId
from flash.purchase_rpc import messages

BUSY_SECONDS = 5.0
"""How long after its latest entry an inbox counts as busy."""
_QUIET_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Inbox:
    sale_id: SaleId
    key: str
    mailbox: Mailbox[Delivery]
    last: bytes = b"0"
    quiet_since: float = 0.0
    busy_until: float = math.inf
    arrived_at: float = math.inf
    """When something came last, or might have."""
    held: dict[bytes, Entry] = field(default_factory=dict)
    """What was delivered, by its id: until it is answered, reading from the beginning meets it again."""
    deleted: deque[Entry] = field(default_factory=deque)
    """What was answered and deleted, in that order. A read that had begun may bring it still."""

    def is_held(self, entry_id: bytes, fields: dict[bytes, bytes]) -> bool:
        """A Redis that has lost its data gives ids out again; no two entries have the same seal."""
        held = self.held.get(entry_id)
        return held is not None and held.seal == fields.get(messages.SEAL_FIELD)

    def forget_deleted(self, before: float) -> None:
        """No read that is under way began before this time."""
        while self.deleted and self.deleted[0].deleted_at < before:
            entry = self.deleted.popleft()
            if self.held.get(entry.id) is entry:
                del self.held[entry.id]

    def position(self, now: float) -> bytes:
        """After which id to read on. When nothing came for a while, from the beginning."""
        if now - self.quiet_since > _QUIET_SECONDS:
            self.last, self.quiet_since = b"0", now
        return self.last


@dataclass(slots=True, eq=False)
class Entry:
    inbox: Inbox
    id: bytes
    seal: bytes
    version: int
    unanswered: int
    deleted_at: float = math.inf
    held_back: list[tuple[Delivery, Outcome]] = field(default_factory=list)
    """Refusals that may pass. They are told after the entry is done, or a successor might sell what was refused."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One command as it came: where the outcome goes, and when nobody waits for it any more."""

    command: Command
    expires_at: float
    number: int
    reply_to: str
    entry: Entry


class OpenInboxes:
    """All inboxes that are read, by key. A new one is busy at first."""

    def __init__(self) -> None:
        self._all: dict[str, Inbox] = {}
        self._busy: dict[str, Inbox] = {}
        self._read_as_quiet: dict[str, Inbox] = {}

    @property
    def waiting(self) -> int:
        """Commands that were read and not taken by their actors yet."""
        return sum(len(inbox.mailbox) for inbox in self._all.values())

    def add(self, inbox: Inbox, now: float) -> None:
        assert inbox.key not in self._all
        self._all[inbox.key] = inbox
        self.note_arrival(inbox, now)

    def remove(self, inbox: Inbox) -> None:
        del self._all[inbox.key]
        self._busy.pop(inbox.key, None)

    def note_arrival(self, inbox: Inbox, now: float) -> None:
        """Something has come to `inbox`, or may."""
        inbox.arrived_at, inbox.busy_until = now, now + BUSY_SECONDS
        self._busy[inbox.key] = inbox

    def find(self, key: str) -> Inbox | None:
        return self._all.get(key)

    def has(self, inbox: Inbox) -> bool:
        """Whether `inbox` is open still. The sale may have been opened again, with another one."""
        return self._all.get(inbox.key) is inbox

    def take_busy(self, now: float) -> dict[str, Inbox]:
        """What the busy reader reads next. It costs nothing for the others."""
        for key, inbox in list(self._busy.items()):
            if inbox.busy_until <= now and self._read_as_quiet.get(key) is inbox:
                del self._busy[key]
        return dict(self._busy)

    def take_quiet(self, read_as_busy: dict[str, Inbox], now: float) -> dict[str, Inbox]:
        """What the quiet reader reads next, while the busy one reads `read_as_busy`."""
        self._read_as_quiet = {
            key: inbox
            for key, inbox in self._all.items()
            if inbox.busy_until <= now or read_as_busy.get(key) is not inbox
        }
        return self._read_as_quiet
