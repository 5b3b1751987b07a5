"""GET /sales, /sales/current and /sales/{id}. `gate` bounds how many readers ask the store at once."""

from __future__ import annotations

from typing import Any, Protocol

from flash.actors.gate import Gate
from flash.api.problems import SALE_NOT_FOUND
from flash.domain import Sale, SaleId
from flash.http import parameters
from flash.http.message import Request, Response, json_response
from flash.http.parameters import InvalidParameter

_PAGE_SALES = 20


class SaleStore(Protocol):
    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]: ...
    async def find_sale(self, sale_id: SaleId) -> Sale | None: ...
    async def current_sale(self) -> Sale | None: ...


class SaleHandlers:
    def __init__(self, store: SaleStore, gate: Gate) -> None:
        self._store = store
        self._gate = gate

    async def list_sales(self, request: Request) -> Response:
        before, limit, sold_out = parameters.read_optional(request.query, ("before", "limit", "sold_out"))
        before_id = None if before is None else SaleId(parameters.item_id(before, "before"))
        page_max = _PAGE_SALES if limit is None else parameters.limit(limit)
        with_sold_out = sold_out is not None and parameters.flag(sold_out, "sold_out")
        async with self._gate:
            sales = await self._store.list_sales(before_id, page_max, with_sold_out=with_sold_out)
        next_before = sales[-1].id if len(sales) == page_max else None
        return json_response(200, {"sales": [_sale_json(sale) for sale in sales], "next": next_before})

    async def current_sale(self, request: Request) -> Response:
        async with self._gate:
            sale = await self._store.current_sale()
        return SALE_NOT_FOUND if sale is None else json_response(200, _sale_json(sale))

    async def sale(self, request: Request, id_text: str) -> Response:
        sale = await self._find_sale(id_text)
        return SALE_NOT_FOUND if sale is None else json_response(200, _sale_json(sale))

    async def _find_sale(self, id_text: str) -> Sale | None:
        """The sale of that path segment, or None if there is none: a number that is malformed names no sale."""
        try:
            sale_id = SaleId(parameters.item_id(id_text))
        except InvalidParameter:
            return None
        async with self._gate:
            return await self._store.find_sale(sale_id)


def _sale_json(sale: Sale) -> dict[str, Any]:
    return {
        "id": sale.id,
        "starts_at": sale.starts_at,
        "stock": sale.stock,
        "sold": sale.sold,
        "remaining": sale.remaining,
        "status": sale.status,
        "first_item_id": sale.first_item_id,
    }
