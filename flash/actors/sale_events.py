"""What viewers of a sale are told: events that lead from what they saw to what is true, and the latest of these. Pure.

Events are found by comparison, not collected from whoever caused them. So nothing can be missed, however a change
became known here, and what happened between two comparisons is one event.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from flash.domain import ItemId, Sale, SaleId, value

LOG_BYTES_MAX = 65_536
"""Of the latest events of one sale. Whoever has missed more is told the state."""

_NUMBER = re.compile(rb"0|[1-9][0-9]{0,15}")


@value
class Snapshot:
    """A sale, and a byte for each of its items in order: 1 if it is sold."""

    sale: Sale
    flags: bytes


@value
class State:
    """All that a viewer needs to begin. `sales` are those that are open or upcoming, newest first."""

    now: datetime
    sales: Sequence[Sale]
    watched: Snapshot


@value
class ItemsSold:
    sale_id: SaleId
    item_ids: Sequence[ItemId]
    remaining: int


@value
class SaleAnnounced:
    """A sale that will open is known now."""

    sale: Sale


@value
class SaleOpened:
    sale: Sale


@value
class SoldOut:
    sale_id: SaleId


SaleEvent = State | ItemsSold | SaleAnnounced | SaleOpened | SoldOut
Encode = Callable[[SaleEvent, bytes], bytes]
"""An event and its id as bytes on the wire."""


def snapshot(sale: Sale, flags: bytes) -> Snapshot:
    """`sale` says as much as its items do: its own count may be a moment ahead of them, or behind."""
    return Snapshot(replace(sale, sold=flags.count(1)), flags)


def changes(before: Snapshot, after: Snapshot) -> list[SaleEvent] | None:
    """The events that lead from `before` to `after`, in order.

    None if events cannot say it, because what was sold is for sale again: the database was replaced by one that
    remembers less, or a sale that had not begun was made anew.
    """
    if before.sale.item_ids != after.sale.item_ids:
        return None
    places = _differences(before.flags, after.flags)
    if not all(after.flags[place] for place in places):
        return None
    if not places:
        return []
    sale, first = after.sale, after.sale.first_item_id
    sold = ItemsSold(sale.id, [ItemId(first + place) for place in places], sale.remaining)
    return [sold] if sale.remaining else [sold, SoldOut(sale.id)]


def _differences(before: bytes, after: bytes) -> list[int]:
    """The places at which two flags of the same length differ. Searching for a byte is much faster than a loop."""
    differs = int.from_bytes(before, "big") ^ int.from_bytes(after, "big")
    flags, places = differs.to_bytes(len(after), "big"), list[int]()
    place = flags.find(1)
    while place >= 0:
        places.append(place)
        place = flags.find(1, place + 1)
    return places


class EventLog:
    """The latest events of one sale as bytes, numbered from 1. An id is made of `name`, which no other log has."""

    def __init__(self, name: bytes, encode: Encode) -> None:
        self.number = 0
        self._prefix = name + b"-"
        self._encode = encode
        self._pieces: deque[bytes] = deque()
        self._bytes = 0

    @property
    def last_id(self) -> bytes:
        return b"%b%d" % (self._prefix, self.number)

    def append(self, event: SaleEvent) -> None:
        self.number += 1
        self._pieces.append(self._encode(event, self.last_id))
        self._bytes += len(self._pieces[-1])
        while self._bytes > LOG_BYTES_MAX:
            self._bytes -= len(self._pieces.popleft())

    def after(self, number: int) -> bytes | None:
        """All events after that one; None if some of them are not kept any more."""
        missed = self.number - number
        if not 0 <= missed <= len(self._pieces):
            return None
        return b"".join([self._pieces[place] for place in range(-missed, 0)])

    def since(self, event_id: bytes) -> bytes | None:
        """Like `after`. None as well if the id is not of this log."""
        number = event_id.removeprefix(self._prefix)
        if number == event_id or not _NUMBER.fullmatch(number):
            return None
        return self.after(int(number))
