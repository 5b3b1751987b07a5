"""Rate limits around what a buyer may ask, by client address and by user. Off unless they are set.

A request that is over a limit is refused before it is queued or stored, and is counted. Addresses are limited before
anything is read, users once they are known: by name for a checkout, by the digest in their code for a purchase.
Answers, except those of failed machinery, say what is left (draft-ietf-httpapi-ratelimit-headers-10).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace

import trio

from flash.api.checkout import CheckoutBatcher
from flash.api.purchase import Purchases
from flash.domain import Attempt, Code, Command, LegacyCode, MalformedAttempt, Outcome, RecordedAttempt, Redemption
from flash.errors import RateLimited
from flash.http.body_parameters import UnsupportedMediaType
from flash.http.message import Answer, Header, Request, Response
from flash.http.parameters import InvalidParameter
from flash.http.problems import invalid_request, rate_limited, unsupported_media_type
from flash.http.rate_limit import RateLimit, Standing
from flash.http.router import Handler
from flash.telemetry import ThrottledLogger

_warn = ThrottledLogger(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class RateLimits:
    """`addresses` and `users`: None is off. `address_of` says whose request it is."""

    addresses: RateLimit | None
    users: RateLimit | None
    address_of: Callable[[Request], str]

    def limited(self, handler: Handler) -> Handler:
        """The handler behind the limit of addresses, with what is left in its answers; itself if nothing is limited."""
        if self.addresses is None and self.users is None:
            return handler
        limit, address_of = self.addresses, self.address_of

        async def limited(request: Request) -> Answer:
            standings: dict[str, Standing] = {}
            _standings.set(standings)
            try:
                if limit is not None:
                    _take(limit, address_of(request), "address")
                answer = await handler(request)
            except RateLimited as error:
                answer = rate_limited(error.retry_after_seconds)
            except InvalidParameter as error:
                answer = invalid_request(error.detail)
            except UnsupportedMediaType as error:
                answer = unsupported_media_type(error.detail)
            assert isinstance(answer, Response), "a stream is not limited"
            return replace(answer, headers=(*answer.headers, *_fields(standings)))

        return limited

    def checkouts_by_user(self, checkouts: CheckoutBatcher) -> CheckoutBatcher:
        return checkouts if self.users is None else _LimitedCheckouts(self.users, checkouts)

    def purchases_by_user(self, purchases: Purchases) -> Purchases:
        return purchases if self.users is None else _LimitedPurchases(self.users, purchases)


def _no_address(request: Request) -> str:
    raise AssertionError("nothing is limited by address")


NO_LIMITS = RateLimits(None, None, _no_address)


_standings: ContextVar[dict[str, Standing]] = ContextVar("standings")
"""What the limits have left for the request that this task answers: users are known only far below the handler."""


def _fields(standings: dict[str, Standing]) -> Iterator[Header]:
    if standings:
        policies = [f'"{kind}";q={left.quota};w={left.window_seconds}' for kind, left in standings.items()]
        limits = [f'"{kind}";r={left.remaining};t={left.reset_seconds}' for kind, left in standings.items()]
        yield b"ratelimit-policy", ", ".join(policies).encode()
        yield b"ratelimit", ", ".join(limits).encode()


def _take(limit: RateLimit, key: Hashable, kind: str) -> None:
    """Raises `RateLimited`, with the seconds until the key may ask again."""
    now = trio.current_time()
    seconds = limit.take(key, now)
    _standings.get()[kind] = limit.standing(key, now)
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
