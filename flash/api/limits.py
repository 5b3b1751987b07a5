"""Rate limits around what a buyer may ask, by client address and by user. Off unless they are set.

A request that is over a limit is refused before it is queued or stored, and is counted. Addresses are limited before
anything is read, users once they are known: by name for a checkout, by the digest in their code for a purchase.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import trio

from flash.api.checkout import CheckoutBatcher
from flash.api.purchase import Purchases
from flash.domain import Attempt, Code, Command, LegacyCode, MalformedAttempt, Outcome, RecordedAttempt, Redemption
from flash.errors import RateLimited
from flash.http.message import Answer, Request
from flash.http.rate_limit import RateLimit
from flash.http.router import Handler
from flash.telemetry import ThrottledLogger

_warn = ThrottledLogger(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class RateLimits:
    """`addresses` and `users`: None is off. `address_of` says whose request it is."""

    addresses: RateLimit | None
    users: RateLimit | None
    address_of: Callable[[Request], str]

    def by_address(self, handler: Handler) -> Handler:
        """The handler behind the limit of addresses; itself if there is none."""
        if self.addresses is None:
            return handler
        limit, address_of = self.addresses, self.address_of

        async def limited(request: Request) -> Answer:
            _take(limit, address_of(request), "address")
            return await handler(request)

        return limited

    def checkouts_by_user(self, checkouts: CheckoutBatcher) -> CheckoutBatcher:
        return checkouts if self.users is None else _LimitedCheckouts(self.users, checkouts)

    def purchases_by_user(self, purchases: Purchases) -> Purchases:
        return purchases if self.users is None else _LimitedPurchases(self.users, purchases)


def _no_address(request: Request) -> str:
    raise AssertionError("nothing is limited by address")


NO_LIMITS = RateLimits(None, None, _no_address)


def _take(limit: RateLimit, key: Hashable, kind: str) -> None:
    """Raises `RateLimited`, with the seconds until the key may ask again."""
    seconds = limit.take(key, trio.current_time())
    if seconds:
        _warn("refused by the rate limit of one %s, %d requests so far", kind, limit.refused)
        raise RateLimited(f"too many requests from one {kind}", retry_after_seconds=seconds)


class _LimitedCheckouts:
    def __init__(self, limit: RateLimit, checkouts: CheckoutBatcher) -> None:
        self._limit = limit
        self._checkouts = checkouts

    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt:
        if isinstance(attempt, Attempt):
            _take(self._limit, attempt.user_id, "user")
        return await self._checkouts.ask(attempt)


class _LimitedPurchases:
    def __init__(self, limit: RateLimit, purchases: Purchases) -> None:
        self._limit = limit
        self._purchases = purchases

    async def ask(self, command: Command) -> Outcome:
        _take(self._limit, command.code.user_digest, "user")
        return await self._purchases.ask(command)

    async def find(self, code: Code) -> Redemption:
        return await self._purchases.find(code)

    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        return await self._purchases.find_legacy(legacy)
