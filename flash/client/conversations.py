"""What is said to the service to get each result. Every client runs these, each over its own transport.

A request is repeated after 503 and `rate_limited`, and when no answer came: all of them may be. A purchase keeps its
Idempotency-Key, so it is never bought twice, and what became of it is found out before anything is said to the caller.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from flash.client import results
from flash.client.errors import (
    FlashClientError,
    InvalidRequest,
    OutcomeUnknown,
    Refused,
    TryLater,
    UnexpectedAnswer,
    Unreachable,
)
from flash.client.messages import Answer, Conversation, Lost, Send, Wait, target
from flash.client.results import Item, ItemPage, Receipt, Sale
from flash.client.retries import Patience, Retries
from flash.client.signing import sign_user

T = TypeVar("T")

ITEM_TRIES_MAX = 20
"""How many items `buy` tries in turn, if others are faster each time."""
_PAGE = 100

_REFUSALS = {
    *("item_sold", "sold_out", "user_limit_reached", "code_already_used", "idempotency_key_reused"),
    *("sale_not_open", "invalid_user_token"),
}


class Conversations:
    """`user_key` signs the buyers of a service that asks for that (its FLASH_USER_KEY)."""

    def __init__(self, retries: Retries, user_key: str | None = None) -> None:
        self._retries = retries
        self._user_key = user_key

    def check_out(self, user_id: str, item_id: int) -> Conversation[str]:
        """A code for the item."""
        headers = {} if self._user_key is None else {"User-Token": sign_user(self._user_key, user_id)}
        request = Send("POST", target("/checkout", user_id=user_id, id=item_id), headers)
        return _result(results.code_of, (yield from self._ask(request)))

    def purchase(self, code: str, idempotency_key: str | None = None) -> Conversation[Receipt]:
        """Buy what the code is for."""
        key = idempotency_key or secrets.token_urlsafe(18)
        request = Send("POST", target("/purchase", code=code), {"Idempotency-Key": key})
        patience = Patience(self._retries)
        is_unknown = False
        while True:
            answer = yield request
            assert answer is not None
            if isinstance(answer, Answer) and answer.status == 200:
                return _result(results.receipt_of, _members(answer))
            is_unknown = is_unknown or _may_have_happened(answer)
            error = _error(answer)
            if is_unknown and not isinstance(error, Refused):
                # a code may have expired meanwhile: only the receipt can tell
                error = OutcomeUnknown(error.detail, purchase_code=code, idempotency_key=key)
            elif not isinstance(error, (TryLater, Unreachable)):
                raise error
            yield from _wait(patience, answer, error)
            if is_unknown and (found := (yield from self._find_receipt(code))) is not None:
                return found

    def receipt(self, code: str) -> Conversation[Receipt | None]:
        """The receipt of a code; None if nothing was bought with it."""
        try:
            members = yield from self._ask(_receipt_request(code))
        except InvalidRequest as error:
            if error.code == "not_purchased":
                return None
            raise
        return _result(results.receipt_of, members)

    def buy(self, user_id: str, item_id: int | None = None) -> Conversation[Receipt]:
        """Check out and purchase: the item, or else a free one of an open sale, another if somebody was faster."""
        if item_id is not None:
            code = yield from self.check_out(user_id, item_id)
            return (yield from self.purchase(code))
        for _ in range(ITEM_TRIES_MAX):
            item = yield from self._free_item()
            try:
                code = yield from self.check_out(user_id, item.id)
                return (yield from self.purchase(code))
            except Refused as error:
                if error.code not in ("item_sold", "sold_out"):
                    raise
        raise TryLater("item_sold", f"others were faster {ITEM_TRIES_MAX} times")

    def sales(self) -> Conversation[tuple[Sale, ...]]:
        """The open sales and the next one, newest first."""
        return _result(results.sales_of, (yield from self._ask(Send("GET", "/sales"))))

    def latest_sales(self, limit: int) -> Conversation[tuple[datetime, tuple[Sale, ...]]]:
        """The service's time, and its latest sales with the next one and those that are sold out, newest first."""
        request = Send("GET", target("/sales", sold_out=True, limit=limit))
        return _result(results.sales_and_time_of, (yield from self._ask(request)))

    def current_sale(self) -> Conversation[Sale]:
        return _result(results.sale_of, (yield from self._ask(Send("GET", "/sales/current"))))

    def sale(self, sale_id: int) -> Conversation[Sale]:
        return _result(results.sale_of, (yield from self._ask(Send("GET", f"/sales/{sale_id}"))))

    def items(
        self, sale_id: int, *, available: bool | None = None, after: int | None = None, limit: int | None = None
    ) -> Conversation[ItemPage]:
        """One page of a sale's items; `available=True` leaves out the sold ones."""
        path = f"/sales/{sale_id}/items"
        request = Send("GET", target(path, available=available or None, after=after, limit=limit))
        return _result(results.page_of, (yield from self._ask(request)))

    def item(self, item_id: int) -> Conversation[Item]:
        return _result(results.item_of, (yield from self._ask(Send("GET", f"/items/{item_id}"))))

    def health(self) -> Conversation[dict[str, Any]]:
        """What `GET /health` says, also if that is bad news: then `status` is not `ok`. Asked once."""
        answer = yield Send("GET", "/health")
        if isinstance(answer, Answer) and (members := answer.members()) is not None and "status" in members:
            return members
        assert answer is not None
        raise _error(answer)

    def control_state(self, token: str) -> Conversation[Mapping[str, Any]]:
        """What the operator's room shows, for whoever has its token (FLASH_CONTROL_TOKEN)."""
        return (yield from self._ask(Send("GET", "/control/state", {"Authorization": f"Bearer {token}"})))

    def _ask(self, request: Send) -> Conversation[Mapping[str, Any]]:
        """The members of the 200. What goes wrong may be repeated as it is."""
        patience = Patience(self._retries)
        while True:
            answer = yield request
            assert answer is not None
            if isinstance(answer, Answer) and answer.status == 200:
                return _members(answer)
            error = _error(answer)
            if not isinstance(error, (TryLater, Unreachable)):
                raise error
            yield from _wait(patience, answer, error)

    def _find_receipt(self, code: str) -> Conversation[Receipt | None]:
        """The receipt, if there is one; None also if we cannot know, since the purchase is then repeated."""
        answer = yield _receipt_request(code)
        if isinstance(answer, Answer) and answer.status == 200:
            return _result(results.receipt_of, _members(answer))
        return None

    def _free_item(self) -> Conversation[Item]:
        """One of the free items of an open sale, at random so that buyers do not all want the same one."""
        for sale in (yield from self.sales()):
            if sale.status != "open":
                continue
            middle = sale.first_item_id - 1 + secrets.randbelow(sale.stock)
            for after in (middle, None):  # from a random place on, or else from the start
                page = yield from self.items(sale.id, available=True, after=after, limit=_PAGE)
                if page.items:
                    return secrets.choice(page.items)
        raise Refused("sold_out", "Everything is sold out until the next sale opens")


def _receipt_request(code: str) -> Send:
    return Send("GET", f"/purchases/{quote(code, safe='')}")


def _may_have_happened(answer: Answer | Lost) -> bool:
    if isinstance(answer, Lost):
        return answer.is_sent
    # of a 5xx that is no problem of ours, a proxy's for example, nobody knows what it stands for
    return answer.status >= 500 and _code(answer) not in ("overloaded", "unavailable", "paused")


def _wait(patience: Patience, answer: Answer | Lost, error: FlashClientError) -> Conversation[None]:
    """Wait before the next attempt, or raise `error` if there is to be none."""
    seconds = patience.next_wait(answer.retry_after_seconds if isinstance(answer, Answer) else None)
    if seconds is None:
        raise error
    yield Wait(seconds, error.detail if isinstance(answer, Answer) else "")


def _error(answer: Answer | Lost) -> FlashClientError:
    if isinstance(answer, Lost):
        return Unreachable("unreachable", answer.why)
    code = _code(answer)
    detail = str((answer.members() or {}).get("detail", f"HTTP {answer.status}"))
    kind: type[FlashClientError] = UnexpectedAnswer
    if answer.status == 503 or code == "rate_limited" or (answer.status in (502, 504) and code is None):
        kind = TryLater
    elif code in _REFUSALS:
        kind = Refused
    elif code is not None and 400 <= answer.status < 500:
        kind = InvalidRequest
    error = kind(
        code or "unexpected_answer",
        detail,
        status=answer.status,
        retry_after_seconds=answer.retry_after_seconds,
    )
    if isinstance(error, Refused) and code == "code_already_used":
        error.receipt = _result(results.receipt_of, _members(answer).get("purchase"))
    return error


def _code(answer: Answer) -> str | None:
    code = (answer.members() or {}).get("code")
    return code if isinstance(code, str) and answer.status >= 400 else None


def _members(answer: Answer) -> dict[str, Any]:
    members = answer.members()
    if members is None:
        raise UnexpectedAnswer("unexpected_answer", "the body is no JSON object", status=answer.status)
    return members


def _result(make: Callable[[Any], T], members: object) -> T:
    """What `make` makes of the answer, which may come from something that is not this service at all."""
    try:
        return make(members)
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer("unexpected_answer", f"the body is not what this service answers: {error!r}") from error
