"""What the clients of the load generator do: a visit begins with one request, and its answer may lead to another.

No socket and no clock. Repeating what was answered 503 is the generator's business; a script sees final answers only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

CHECKOUT, PURCHASE = 0, 1
KINDS = ("checkout", "purchase")

Wish = tuple[int, bytes]
"""CHECKOUT or PURCHASE, and the request as bytes. A purchase carries its Idempotency-Key from the start."""


class Script(Protocol):
    codes: list[str]
    """Codes to hand back, of a script that only checks out."""

    def begin(self, client: int) -> Wish | None:
        """The first request of the client's next visit; None if there is nothing left to do for it."""

    def follow(self, client: int, kind: int, status: int, body: bytes) -> Wish | None:
        """The next request of the same visit, or None if this answer ends it."""


def make(plan: Mapping[str, Any]) -> Script:
    """The script that `plan["script"]` names, with the rest of the plan as its arguments."""
    makers: dict[str, type[Any]] = {"sale": Sale, "checkouts": Checkouts, "purchases": Purchases, "constant": Constant}
    script: Script = makers[plan["script"]](**plan["arguments"])
    return script


def checkout(user: str, item: int) -> Wish:
    return CHECKOUT, b"POST /checkout?user_id=%b&id=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (user.encode(), item)


def purchase(code: bytes, key: str) -> Wish:
    head = b"POST /purchase?code=%b HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %b\r\n\r\n"
    return PURCHASE, head % (code, key.encode())


class Sale:
    """Buyers of a whole sale: each asks for the next item that nobody has asked for yet, and buys it.

    With `until_sold_out`, buyers who find none left try items at random until they hear 410, as a crowd would: so the
    end of a sale is contended, and what they are told then must be true.
    """

    def __init__(self, items: Sequence[Sequence[int]], run: str, until_sold_out: bool) -> None:
        self.codes: list[str] = []
        self._ranges = [range(first, first + count) for first, count in items]
        self._items: Iterator[int] = (item for part in self._ranges for item in part)
        self._buyers = max(1, sum(map(len, self._ranges)) // 5)
        self._run = run
        self._random = random.Random(run)
        self._is_over = not until_sold_out
        self._late = 0
        self._keys = 0

    def begin(self, client: int) -> Wish | None:
        item = next(self._items, None)
        if item is not None:
            return checkout(f"{self._run}-{item % self._buyers}", item)
        if self._is_over:
            return None
        self._late += 1
        return checkout(f"{self._run}-late-{self._late}", self._random.choice(self._random.choice(self._ranges)))

    def follow(self, client: int, kind: int, status: int, body: bytes) -> Wish | None:
        if kind == CHECKOUT and status == 200:
            self._keys += 1
            return purchase(body[9:-2], f"{self._run}-{self._keys}")  # {"code":"…"}
        self._is_over = self._is_over or status == 410
        return None


class Checkouts:
    """One checkout for each of `count` items from `first` on; the codes are handed back."""

    def __init__(self, first: int, count: int, run: str) -> None:
        self.codes: list[str] = []
        self._items = iter(range(first, first + count))
        self._run = run

    def begin(self, client: int) -> Wish | None:
        item = next(self._items, None)
        return None if item is None else checkout(f"{self._run}-{item // 5}", item)

    def follow(self, client: int, kind: int, status: int, body: bytes) -> Wish | None:
        if status == 200:
            self.codes.append(body[9:-2].decode())
        return None


class Purchases:
    """One purchase with each of `codes`."""

    def __init__(self, codes: Sequence[str], run: str) -> None:
        self.codes: list[str] = []
        self._left = iter(enumerate(codes))
        self._run = run

    def begin(self, client: int) -> Wish | None:
        number, code = next(self._left, (0, None))
        return None if code is None else purchase(code.encode(), f"{self._run}-{number}")

    def follow(self, client: int, kind: int, status: int, body: bytes) -> Wish | None:
        return None


class Constant:
    """The same checkout for ever, for servers that answer a constant; the plan's `seconds` end it."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self._wish = checkout("buyer-1234", 123456)

    def begin(self, client: int) -> Wish | None:
        return self._wish

    def follow(self, client: int, kind: int, status: int, body: bytes) -> Wish | None:
        return None
