"""What the clients of the load generator do. A visit begins with one request, and its response may lead to another.

No socket and no clock. The generator repeats whatever was answered 503; these classes see final answers only.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

CHECKOUT, PURCHASE = 0, 1
KINDS = ("checkout", "purchase")


class Request(NamedTuple):
    """CHECKOUT or PURCHASE, and the bytes to send. A purchase carries its Idempotency-Key from the start."""

    kind: int
    data: bytes


def checkout(user: str, item: int) -> Request:
    head = b"POST /checkout?user_id=%b&id=%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return Request(CHECKOUT, head % (user.encode(), item))


def purchase(code: bytes, key: str) -> Request:
    head = b"POST /purchase?code=%b HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %b\r\n\r\n"
    return Request(PURCHASE, head % (code, key.encode()))


@dataclass(slots=True)
class WholeSale:
    """Each buyer checks out the next item that nobody has asked for yet, and buys it if `buys`; else `codes` keeps it.

    With `until_sold_out`, buyers who find none left try items at random until they hear 410, as a crowd would. So the
    end of a sale is contended, and what buyers are told then must be true.
    """

    items: Sequence[int]
    run: str
    until_sold_out: bool = False
    buys: bool = True
    codes: list[bytes] = field(default_factory=list)
    _asked: int = 0
    _bought: int = 0
    _random: random.Random = field(default_factory=random.Random)

    def begin(self) -> Request | None:
        """The first request of the next visit; None if there is nothing left to do."""
        number = self._asked
        self._asked += 1
        if number < len(self.items):  # five items for each user, so nobody is near the limit of ten
            return checkout(f"{self.run}-{number % max(1, len(self.items) // 5)}", self.items[number])
        if self.until_sold_out:
            return checkout(f"{self.run}-late-{number}", self._random.choice(self.items))
        return None

    def follow(self, kind: int, status: int, body: bytes) -> Request | None:
        """The next request of the same visit, or None if this response ends it."""
        if status == 410:
            self.until_sold_out = False
        if kind == PURCHASE or status != 200:
            return None
        code = body[9:-2]  # {"code":"…"}
        if self.buys:
            self._bought += 1
            return purchase(code, f"{self.run}-{self._bought}")
        self.codes.append(code)
        return None


@dataclass(slots=True)
class SingleRequests:
    """These requests, each a visit of its own; with `is_endless` the last one for ever, until the time is over."""

    requests: list[Request]
    is_endless: bool = False
    codes: list[bytes] = field(default_factory=list)

    def begin(self) -> Request | None:
        if self.is_endless:
            return self.requests[-1]
        return self.requests.pop() if self.requests else None

    def follow(self, kind: int, status: int, body: bytes) -> Request | None:
        return None
