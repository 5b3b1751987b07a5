"""POST /checkout: read the attempt, have it recorded, word the outcome.

A malformed attempt is recorded as well, before its 400 or 415 is sent, and so is one of a buyer who is not signed.
"""

from __future__ import annotations

from typing import Protocol

from flash.api.problems import ITEM_NOT_FOUND, ITEM_SOLD, SOLD_OUT
from flash.api.signed_buyers import SignedBuyers
from flash.codes import Codes
from flash.domain import Attempt, CheckoutOutcome, ItemId, MalformedAttempt, RecordedAttempt, UserId
from flash.http import parameters
from flash.http.body_parameters import UnsupportedMediaType, read_request
from flash.http.message import Request, Response, json_response
from flash.http.parameters import InvalidParameter, read_params
from flash.http.problems import problem, retry_after

_NAMES = ("user_id", "id")
_QUERY_BYTES_MAX = 1024


class CheckoutBatcher(Protocol):
    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt:
        """Record the attempt, then say what became of it."""


class CheckoutHandlers:
    def __init__(self, codes: Codes, checkouts: CheckoutBatcher, buyers: SignedBuyers | None = None) -> None:
        self._codes = codes
        self._checkouts = checkouts
        self._buyers = buyers

    async def check_out(self, request: Request) -> Response:
        try:
            user, item = read_request(request, _NAMES) if request.body else read_params(request.query, _NAMES)
            attempt = Attempt(UserId(parameters.user_id(user)), ItemId(parameters.item_id(item)), request.correlation)
        except (InvalidParameter, UnsupportedMediaType):
            await self._checkouts.ask(_malformed(request))
            raise
        if self._buyers is not None and (refusal := self._buyers.refusal(request, attempt.user_id)):
            await self._checkouts.ask(_malformed(request))  # and not in the name of a buyer who may know nothing of it
            return refusal
        recorded = await self._checkouts.ask(attempt)
        match recorded.outcome:
            case CheckoutOutcome.ISSUED:
                assert recorded.code is not None
                return json_response(200, {"code": self._codes.seal(recorded.code)})
            case CheckoutOutcome.ITEM_NOT_FOUND:
                return ITEM_NOT_FOUND
            case CheckoutOutcome.SALE_NOT_OPEN:
                return _sale_not_open(recorded.opens_in_seconds)
            case CheckoutOutcome.ITEM_SOLD:
                return ITEM_SOLD
            case CheckoutOutcome.SOLD_OUT:
                return SOLD_OUT
            case CheckoutOutcome.INVALID_REQUEST:
                raise AssertionError("a well-formed attempt was recorded as malformed")


def _malformed(request: Request) -> MalformedAttempt:
    """The query as it came, and behind a line feed, which no query has, the body."""
    given = request.query + b"\n" + request.body if request.body else request.query
    return MalformedAttempt(given[:_QUERY_BYTES_MAX], request.correlation)


def _sale_not_open(seconds: float) -> Response:
    return problem(409, "sale_not_open", "The item's sale has not opened yet", headers=(retry_after(seconds),))
