"""`flash crowd`: made-up buyers who make a page on this machine look alive. Bounded, and never aimed elsewhere.

Most buy what they like. Some come too late, want more than their ten items, use a code twice or make one up, so that
every answer of the shop is seen.
"""

from __future__ import annotations

import ipaddress
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from flash.client.conversations import Conversations
from flash.client.errors import FlashClientError, Unreachable
from flash.client.plain import PlainTransport
from flash.client.results import Item, Sale
from flash.client.retries import NEVER
from flash.errors import ConfigError

BUYERS = 8
SALES_PER_SECOND_MAX = 50.0
"""Whatever the settings of a sale are."""
_AHEAD = 1.2
"""They buy this much faster than sales open, so that each sells out before the next."""
_AWAY_SECONDS = 2.0
_MOST = 100
_NAMES = (
    *("ada", "alan", "barbara", "claude", "donald", "edsger", "frances", "grace", "hedy", "jean", "joan", "john"),
    *("karen", "ken", "leslie", "margaret", "niklaus", "radia", "shafi", "sophie", "tim", "tony", "whitfield", "yuki"),
)


def crowd(url: str, sales_per_second: float, certificate: Path | None = None, user_key: str | None = None) -> int:
    """Let the crowd shop until the process ends. Raises `ConfigError` unless `url` is on this machine."""
    _check_is_here(url)
    pause_seconds = BUYERS / min(sales_per_second * _AHEAD, SALES_PER_SECOND_MAX)
    buyers = [
        Buyer(PlainTransport(url, certificate=certificate), user_key, pause_seconds, random.Random(number))
        for number in range(BUYERS)
    ]
    sys.stdout.write(f"{BUYERS} made-up buyers are shopping at {url}\n")
    sys.stdout.flush()
    for buyer in buyers[1:]:
        threading.Thread(target=buyer.shop_for_ever, daemon=True).start()
    buyers[0].shop_for_ever()
    return 0


def _check_is_here(url: str) -> None:
    host = urlsplit(url).hostname or ""
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise ConfigError(f"{host!r} is no address: {error.strerror}") from error
    if not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses):
        raise ConfigError(f"the crowd shops on this machine only, and {host} is another one")


class Buyer:
    """One thread of the crowd, which plays one made-up person after the other."""

    def __init__(
        self, transport: PlainTransport, user_key: str | None, pause_seconds: float, luck: random.Random
    ) -> None:
        self._transport = transport
        self._conversations = Conversations(NEVER, user_key)
        self._pause_seconds = pause_seconds
        self._luck = luck
        self._greedy_in_sale = 0
        self.whims: dict[Callable[[Sale, Item], object], float] = {
            self._buy: 0.84,
            self._buy_twice: 0.04,
            self._make_up_a_code: 0.03,
            self._come_too_late: 0.05,
            self._want_too_much: 0.04,
        }
        """What a person may do in one visit, and how likely that is."""

    def shop_for_ever(self) -> None:
        while True:
            time.sleep(self._luck.expovariate(1 / self._pause_seconds))
            try:
                self._visit()
            except Unreachable:
                time.sleep(_AWAY_SECONDS)
            except FlashClientError:
                pass  # refusals are part of the play, and what a broken shop answers is for its own log

    def _visit(self) -> None:
        sale = self._transport.run(self._conversations.current_sale())
        if sale.status != "open":
            return
        items = self._transport.run(self._conversations.items(sale.id, available=True, limit=_MOST)).items
        if not items:
            return
        (whim,) = self._luck.choices([*self.whims], [*self.whims.values()])
        whim(sale, self._luck.choice(items))

    def _buy(self, sale: Sale, item: Item, user_id: str | None = None) -> str:
        code = self._transport.run(self._conversations.check_out(user_id or self._name(), item.id))
        self._transport.run(self._conversations.purchase(code))
        return code

    def _buy_twice(self, sale: Sale, item: Item) -> None:
        """With one code: the second time it is used already."""
        self._transport.run(self._conversations.purchase(self._buy(sale, item)))

    def _make_up_a_code(self, sale: Sale, item: Item) -> None:
        self._transport.run(self._conversations.purchase("not-a-code-of-yours"))

    def _come_too_late(self, sale: Sale, item: Item) -> None:
        """Two check the same item out, and one of them is slower."""
        slow = self._transport.run(self._conversations.check_out(self._name(), item.id))
        self._buy(sale, item)
        self._transport.run(self._conversations.purchase(slow))

    def _want_too_much(self, sale: Sale, item: Item) -> None:
        """One person buys until the shop says that it is enough, at most once in each sale."""
        if self._greedy_in_sale == sale.id:
            return
        self._greedy_in_sale = sale.id
        name = self._name()
        page = self._transport.run(self._conversations.items(sale.id, available=True, limit=_MOST))
        for found in self._luck.sample(page.items, min(11, len(page.items))):
            self._buy(sale, found, name)

    def _name(self) -> str:
        return f"{self._luck.choice(_NAMES)}-{self._luck.randrange(100)}"
