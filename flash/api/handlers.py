"""What each URL does: read the request, ask a desk, word the answer. It never sees a store.

Refusals become problems here and nowhere else; errors of the machinery pass through to the ASGI application, which
answers 503.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from flash import catalog
from flash.actors.gate import Gate
from flash.codes import Codes
from flash.domain import (
    Attempt,
    CheckoutOutcome,
    Code,
    Command,
    ItemId,
    MalformedAttempt,
    Outcome,
    Purchase,
    RecordedAttempt,
    Redemption,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    Sale,
    SaleId,
    Sold,
    UserId,
)
from flash.errors import FlashError
from flash.http import parameters
from flash.http.message import Request, Response, json_response, problem, retry_after
from flash.http.parameters import InvalidParameter

_QUERY_BYTES_MAX = 1024
_READS_AT_ONCE = 4
_READS_WAITING_MAX = 512
_SALES_PAGE = 20
_ITEMS_PAGE = 100
_FOR_EVER = ((b"cache-control", b"public, max-age=31536000, immutable"),)

INVALID_CODE = problem(400, "invalid_code", "Invalid or expired code")
NOT_PURCHASED = problem(404, "not_purchased", "Nothing has been bought with this code yet")
SALE_NOT_FOUND = problem(404, "sale_not_found", "There is no such sale")
ITEM_NOT_FOUND = problem(404, "item_not_found", "There is no such item")
ITEM_SOLD = problem(409, "item_sold", "The item has been sold")
SOLD_OUT = problem(410, "sold_out", "The sale is sold out")
KEY_REUSED = problem(422, "idempotency_key_reused", "The Idempotency-Key has been used with another code")
_ALIVE = json_response(200, {"status": "ok"})
_NOT_READY = json_response(503, {"status": "error"}, (retry_after(1),))


class CheckoutDesk(Protocol):
    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt: ...


class PurchaseRouter(Protocol):
    async def ask(self, command: Command) -> Outcome: ...
    async def find(self, code: Code) -> Redemption: ...


class Reads(Protocol):
    """What a visitor may read."""

    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]: ...
    async def find_sale(self, sale_id: SaleId) -> Sale | None: ...
    async def current_sale(self) -> Sale | None: ...
    async def find_item(self, item_id: ItemId) -> tuple[Sale, bool] | None: ...
    async def list_items(
        self, sale_id: SaleId, after: ItemId, limit: int, *, only_available: bool
    ) -> list[tuple[ItemId, bool]]: ...


Ping = Callable[[], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Response]]
SegmentHandler = Callable[[Request, str], Awaitable[Response]]


class Handlers:
    """One web process's. `is_draining()`: this process is stopping."""

    def __init__(
        self,
        codes: Codes,
        checkouts: CheckoutDesk,
        purchases: PurchaseRouter,
        reads: Reads,
        *,
        ping_database: Ping,
        ping_redis: Ping,
        is_draining: Callable[[], bool],
    ) -> None:
        self._codes = codes
        self._checkouts = checkouts
        self._purchases = purchases
        self._reads = reads
        self._reading = Gate(_READS_AT_ONCE, _READS_WAITING_MAX)
        self._ping_database = ping_database
        self._ping_redis = ping_redis
        self._is_draining = is_draining

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Method and path of everything that is answered and has no variable part."""
        return {
            ("POST", "/checkout"): self.checkout,
            ("POST", "/purchase"): self.purchase,
            ("GET", "/sales"): self.sales,
            ("GET", "/sales/current"): self.current_sale,
            ("GET", "/health"): self.health,
            ("GET", "/livez"): self.livez,
            ("GET", "/readyz"): self.readyz,
        }

    def patterns(self) -> dict[tuple[str, str], SegmentHandler]:
        """The others; `{…}` stands for the path segment that the handler gets."""
        return {
            ("GET", "/purchases/{code}"): self.receipt,
            ("GET", "/sales/{id}"): self.sale,
            ("GET", "/sales/{id}/items"): self.items,
            ("GET", "/items/{id}"): self.item,
            ("GET", "/items/{id}/image.svg"): self.image,
        }

    async def checkout(self, request: Request) -> Response:
        try:
            user, item = parameters.read_params(request.query, ("user_id", "id"))
            attempt = Attempt(UserId(parameters.user_id(user)), ItemId(parameters.item_id(item)))
        except InvalidParameter as error:
            await self._checkouts.ask(MalformedAttempt(request.query[:_QUERY_BYTES_MAX]))
            return _invalid_request(error)
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

    async def purchase(self, request: Request) -> Response:
        code = self._code_in_query(request.query)
        if code is None:
            return INVALID_CODE
        try:
            request_id = _request_id(request.header_values(b"idempotency-key"))
        except InvalidParameter as error:
            return _invalid_request(error)
        match await self._purchases.ask(Command(code, request_id)):
            case Sold(purchase) | Repeated(purchase):
                return json_response(200, {"message": "Purchase successful", **_receipt(code.sale_id, purchase)})
            case Refused() as refused:
                return _refused(code.sale_id, refused)

    async def receipt(self, request: Request, code_text: str) -> Response:
        code = self._codes.open(code_text)
        if code is None:
            return INVALID_CODE
        redemption = await self._purchases.find(code)
        if redemption.purchase is not None:
            return json_response(200, _receipt(code.sale_id, redemption.purchase))
        if redemption.checkout is None or redemption.checkout.is_expired:
            return INVALID_CODE
        return NOT_PURCHASED

    async def sales(self, request: Request) -> Response:
        try:
            before, limit, sold_out = parameters.read_optional(request.query, ("before", "limit", "sold_out"))
            before_id = None if before is None else SaleId(parameters.item_id(before, "before"))
            most = _SALES_PAGE if limit is None else parameters.limit(limit)
            with_sold_out = sold_out is not None and parameters.flag(sold_out, "sold_out")
        except InvalidParameter as error:
            return _invalid_request(error)
        async with self._reading:
            sales = await self._reads.list_sales(before_id, most, with_sold_out=with_sold_out)
        rest = sales[-1].id if len(sales) == most else None
        return json_response(200, {"sales": [_sale(sale) for sale in sales], "next": rest})

    async def current_sale(self, request: Request) -> Response:
        async with self._reading:
            sale = await self._reads.current_sale()
        return SALE_NOT_FOUND if sale is None else json_response(200, _sale(sale))

    async def sale(self, request: Request, id_text: str) -> Response:
        sale = await self._find_sale(id_text)
        return SALE_NOT_FOUND if sale is None else json_response(200, _sale(sale))

    async def items(self, request: Request, id_text: str) -> Response:
        try:
            available, after, limit = parameters.read_optional(request.query, ("available", "after", "limit"))
            only_available = available is not None and parameters.flag(available, "available")
            after_id = ItemId(0 if after is None else parameters.after(after))
            most = _ITEMS_PAGE if limit is None else parameters.limit(limit)
        except InvalidParameter as error:
            return _invalid_request(error)
        sale = await self._find_sale(id_text)
        if sale is None:
            return SALE_NOT_FOUND
        async with self._reading:
            items = await self._reads.list_items(sale.id, after_id, most, only_available=only_available)
        rest = items[-1][0] if len(items) == most else None
        rows = [{**_item(item_id), "available": is_available} for item_id, is_available in items]
        return json_response(200, {"items": rows, "next": rest})

    async def item(self, request: Request, id_text: str) -> Response:
        found = await self._find_item(id_text)
        if found is None:
            return ITEM_NOT_FOUND
        item_id, sale, is_available = found
        return json_response(200, {**_item(item_id), "available": is_available, "sale_id": sale.id})

    async def image(self, request: Request, id_text: str) -> Response:
        found = await self._find_item(id_text)
        if found is None:
            return ITEM_NOT_FOUND
        return Response(200, catalog.image_svg(found[0]), b"image/svg+xml", _FOR_EVER)

    async def health(self, request: Request) -> Response:
        """Both stores, asked now."""
        database = await _state(self._ping_database)
        redis = await _state(self._ping_redis)
        status = "ok" if database == redis == "ok" else "error"
        body = {"status": status, "database": database, "redis": redis}
        return json_response(200 if status == "ok" else 503, body)

    async def livez(self, request: Request) -> Response:
        return _ALIVE

    async def readyz(self, request: Request) -> Response:
        if self._is_draining() or await _state(self._ping_database) != "ok":
            return _NOT_READY
        return _ALIVE

    def _code_in_query(self, query: bytes) -> Code | None:
        try:
            (text,) = parameters.read_params(query, ("code",))
        except InvalidParameter:
            return None
        return self._codes.open(text)

    async def _find_sale(self, id_text: str) -> Sale | None:
        try:
            sale_id = SaleId(parameters.item_id(id_text))
        except InvalidParameter:
            return None
        async with self._reading:
            return await self._reads.find_sale(sale_id)

    async def _find_item(self, id_text: str) -> tuple[ItemId, Sale, bool] | None:
        try:
            item_id = ItemId(parameters.item_id(id_text))
        except InvalidParameter:
            return None
        async with self._reading:
            found = await self._reads.find_item(item_id)
        return found and (item_id, *found)


def _request_id(keys: list[bytes]) -> RequestId:
    """The client's Idempotency-Key, or a name that no other request has."""
    if not keys:
        return RequestId(f"auto:{secrets.token_urlsafe(16)}")
    if len(keys) > 1:
        raise InvalidParameter("Idempotency-Key must be given only once")
    return RequestId(f"key:{parameters.idempotency_key(keys[0])}")


def _refused(sale_id: SaleId, refused: Refused) -> Response:
    match refused.refusal:
        case Refusal.INVALID_CODE:
            return INVALID_CODE
        case Refusal.CODE_ALREADY_USED:
            assert refused.purchase is not None
            receipt = {"purchase": _receipt(sale_id, refused.purchase)}
            return problem(409, "code_already_used", "Code has already been used", extra=receipt)
        case Refusal.ITEM_SOLD:
            return ITEM_SOLD
        case Refusal.SOLD_OUT:
            return SOLD_OUT
        case Refusal.USER_LIMIT_REACHED:
            detail = f"User has reached the maximum of {refused.user_limit} items per sale"
            return problem(429, "user_limit_reached", detail)
        case Refusal.IDEMPOTENCY_KEY_REUSED:
            return KEY_REUSED


def _receipt(sale_id: SaleId, purchase: Purchase) -> dict[str, Any]:
    return {
        "item": _item(purchase.item_id),
        "sale_id": sale_id,
        "user_id": purchase.user_id,
        "purchased_at": purchase.purchased_at,
    }


def _item(item_id: ItemId) -> dict[str, Any]:
    return {"id": item_id, "name": catalog.name(item_id), "image": catalog.image_path(item_id)}


def _sale(sale: Sale) -> dict[str, Any]:
    return {
        "id": sale.id,
        "starts_at": sale.starts_at,
        "stock": sale.stock,
        "sold": sale.sold,
        "remaining": sale.remaining,
        "status": sale.status,
        "first_item_id": sale.first_item_id,
    }


def _invalid_request(error: InvalidParameter) -> Response:
    return problem(400, "invalid_request", error.detail)


def _sale_not_open(seconds: float) -> Response:
    return problem(409, "sale_not_open", "The item's sale has not opened yet", headers=(retry_after(seconds),))


async def _state(ping: Ping) -> str:
    try:
        await ping()
    except FlashError:
        return "error"
    return "ok"
