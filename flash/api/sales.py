"""GET /sales, /sales/current and /sales/{id}, answered from memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from flash.api.caching import Encoded, PageCache, encoded, next_page, visible, visible_list
from flash.api.problems import SALE_NOT_FOUND
from flash.domain import Sale, SaleId
from flash.http import parameters
from flash.http.message import Request, Response, encode_json
from flash.http.parameters import InvalidParameter

_PAGE_SALES = 20


class SaleStore(Protocol):
    @property
    def age_seconds(self) -> float:
        """How old what follows is at most. Raises `Unavailable` if it is too old to be shown."""

    @property
    def now(self) -> datetime:
        """The time by the database's clock."""

    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]: ...
    async def find_sale(self, sale_id: SaleId) -> Sale | None: ...
    async def current_sale(self) -> Sale | None: ...


class SaleHandlers:
    def __init__(self, store: SaleStore) -> None:
        self._store = store
        self._pages = PageCache()

    async def list_sales(self, request: Request) -> Response:
        before, limit, sold_out = parameters.read_optional(request.query, ("before", "limit", "sold_out"))
        before_id = None if before is None else SaleId(parameters.item_id(before, "before"))
        page_max = _PAGE_SALES if limit is None else parameters.limit(limit)
        with_sold_out = sold_out is not None and parameters.flag(sold_out, "sold_out")
        sales = await self._store.list_sales(before_id, page_max, with_sold_out=with_sold_out)
        now = self._store.now
        asked, state = (before_id, page_max, with_sold_out), (*sales, int(now.timestamp()))
        page = self._pages.get(asked, state)
        if page is None:
            next_before = sales[-1].id if len(sales) == page_max else None
            page = self._pages.put(asked, state, _encode_page(sales, now, next_before, page_max, with_sold_out))
        return visible_list(request, page, self._store.age_seconds)

    async def current_sale(self, request: Request) -> Response:
        return self._answer(request, await self._store.current_sale())

    async def sale(self, request: Request, id_text: str) -> Response:
        try:
            sale_id = SaleId(parameters.item_id(id_text))
        except InvalidParameter:
            return SALE_NOT_FOUND  # a number that is malformed names no sale
        return self._answer(request, await self._store.find_sale(sale_id))

    def _answer(self, request: Request, sale: Sale | None) -> Response:
        if sale is None:
            return SALE_NOT_FOUND
        now = self._store.now
        state = (sale, int(now.timestamp()))
        page = self._pages.get(sale.id, state) or self._pages.put(sale.id, state, _encode(sale, now))
        return visible(request, page, self._store.age_seconds)


def _encode(sale: Sale, now: datetime) -> Encoded:
    shown = sale_json(sale)
    return encoded(encode_json({**shown, "now": now}), of=encode_json(shown))


def _encode_page(
    sales: list[Sale], now: datetime, next_before: SaleId | None, limit: int, with_sold_out: bool
) -> Encoded:
    shown = {"sales": [sale_json(sale) for sale in sales], "next": next_before}
    sold_out = "true" if with_sold_out else None
    link = next_page("/sales", before=next_before, limit=limit, sold_out=sold_out) if next_before is not None else ()
    return encoded(encode_json({**shown, "now": now}), of=encode_json(shown), headers=link)


def sale_json(sale: Sale) -> dict[str, Any]:
    """How every answer shows a sale."""
    return {
        "id": sale.id,
        "starts_at": sale.starts_at,
        "stock": sale.stock,
        "sold": sale.sold,
        "remaining": sale.remaining,
        "status": sale.status,
        "first_item_id": sale.first_item_id,
        "user_limit": sale.user_limit,
        "opens_at": sale.starts_at,
    }
