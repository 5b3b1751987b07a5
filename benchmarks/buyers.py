"""What the clients of the load generator do. A visit begins with one request, and its response may lead to another.

No socket and no clock. The generator repeats whatever was answered 503; buyers see final answers only.
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
    return Request(
        CHECKOUT, b"POST /checkout?user_id=%b&id=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (user.encode(), item)
    )


def purchase(code: bytes, key: str) -> Request:
    head = b"POST /purchase?code=%b HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %b\r\n\r\n"
    return Request(PURCHASE, head % (code, key.encode()))


def checkouts(items: Sequence[int], run: str) -> list[Request]:
    """One for each item. A user asks for five, so nobody is near the limit of ten."""
    users = max(1, len(items) // 5)
    return [checkout(f"{run}-{number % users}", item) for number, item in enumerate(items)]


@dataclass(slots=True)
class Buyers:
    """Each visit begins with the next of `requests`. What is issued is bought under keys of `run`; without, it is kept.

    If it `repeats`, it goes on with any of them at random until somebody hears 410, as a crowd would. So the end of a
    sale is contended, and what buyers are told then must be true.
    """

    requests: Sequence[Request]
    run: str = ""
    repeats: bool = False
    codes: list[bytes] = field(default_factory=list)
    _begun: int = 0
    _bought: int = 0

    def begin(self) -> Request | None:
        """The first request of the next visit; None if there is nothing left to do."""
        number = self._begun
        self._begun += 1
        if number < len(self.requests):
            return self.requests[number]
        return random.choice(self.requests) if self.repeats else None

    def follow(self, kind: int, status: int, body: bytes) -> Request | None:
        """The next request of the same visit, or None if this response ends it."""
        if status == 410:
            self.repeats = False
        if kind == PURCHASE or status != 200:
            return None
        code = body[9:-2]  # {"code":"…"}
        if not self.run:
            if not self.repeats:
                self.codes.append(code)
            return None
        self._bought += 1
        return purchase(code, f"{self.run}-{self._bought}")
