"""GET /sales/{id}/items, /items/{id} and its picture. `gate` bounds how many readers ask the store at once."""

from __future__ import annotations

from typing import Any, Protocol

from flash import catalog
from flash.actors.gate import Gate
from flash.api.problems import ITEM_NOT_FOUND, SALE_NOT_FOUND
from flash.domain import ItemId, Sale, SaleId
from flash.http import parameters
from flash.http.message import Request, Response, json_response
from flash.http.parameters import InvalidParameter

_PAGE_ITEMS = 100
_FOR_EVER = ((b"cache-control", b"public, max-age=31536000, immutable"),)


class ItemStore(Protocol):
    async def find_sale(self, sale_id: SaleId) -> Sale | None: ...
    async def find_item(self, item_id: ItemId) -> tuple[Sale, bool] | None: ...
    async def list_items(
        self, sale_id: SaleId, after: ItemId, limit: int, *, only_available: bool
    ) -> list[tuple[ItemId, bool]]: ...


class ItemHandlers:
    def __init__(self, store: ItemStore, gate: Gate) -> None:
        self._store = store
        self._gate = gate

    async def list_items(self, request: Request, sale_id_text: str) -> Response:
        available, after, limit = parameters.read_optional(request.query, ("available", "after", "limit"))
        only_available = available is not None and parameters.flag(available, "available")
        after_id = ItemId(0 if after is None else parameters.after(after))
        page_max = _PAGE_ITEMS if limit is None else parameters.limit(limit)
        try:
            sale_id = SaleId(parameters.item_id(sale_id_text))
        except InvalidParameter:
            return SALE_NOT_FOUND
        async with self._gate:
            sale = await self._store.find_sale(sale_id)
        if sale is None:
            return SALE_NOT_FOUND
        async with self._gate:
            items = await self._store.list_items(sale_id, after_id, page_max, only_available=only_available)
        next_after = items[-1][0] if len(items) == page_max else None
        rows = [{**item_json(item_id), "available": is_available} for item_id, is_available in items]
        return json_response(200, {"items": rows, "next": next_after})

    async def item(self, request: Request, id_text: str) -> Response:
        found = await self._find_item(id_text)
        if found is None:
            return ITEM_NOT_FOUND
        item_id, sale, is_available = found
        return json_response(200, {**item_json(item_id), "available": is_available, "sale_id": sale.id})

    async def image(self, request: Request, id_text: str) -> Response:
        found = await self._find_item(id_text)
        if found is None:
            return ITEM_NOT_FOUND
        return Response(200, catalog.image_svg(found[0]), b"image/svg+xml", _FOR_EVER)

    async def _find_item(self, id_text: str) -> tuple[ItemId, Sale, bool] | None:
        """The item of that path segment, or None if there is none: a number that is malformed names no item."""
        try:
            item_id = ItemId(parameters.item_id(id_text))
        except InvalidParameter:
            return None
        async with self._gate:
            found = await self._store.find_item(item_id)
        return found and (item_id, *found)


def item_json(item_id: ItemId) -> dict[str, Any]:
    """How every answer shows an item."""
    return {"id": item_id, "name": catalog.name(item_id), "image": catalog.image_path(item_id)}
