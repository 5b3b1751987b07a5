"""GET /sales/{id}/items, /items/{id} and its picture, answered from memory."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from trio.lowlevel import checkpoint

from flash import catalog
from flash.api.bitmap import bitmap
from flash.api.caching import Encoded, PageCache, encoded, next_page, visible, visible_list
from flash.api.item_rows import ItemRows
from flash.api.problems import ITEM_NOT_FOUND, SALE_NOT_FOUND
from flash.domain import ItemId, Sale, SaleId
from flash.http import parameters
from flash.http.content_coding import GZIP, VARY, compressed, takes_gzip
from flash.http.message import Request, Response, encode_json
from flash.http.parameters import InvalidParameter

_PAGE_ITEMS = 100
_PICTURES_MAX = 2_048
"""About 6 MB, and 3 MB compressed."""
_BITMAP_ITEMS = 80_000
"""As many as a bitmap is made of in a quarter of a millisecond; a multiple of 8, so that the pieces fit together."""
_FOR_EVER = ((b"cache-control", b"public, max-age=31536000, immutable"), VARY)


class ItemStore(Protocol):
    def items_age_seconds(self, sale_id: SaleId) -> float:
        """How old the sale's items are at most. Raises `Unavailable` if that is too old to be shown."""
        ...

    async def find_sale(self, sale_id: SaleId) -> Sale | None: ...
    async def find_item(self, item_id: ItemId) -> tuple[Sale, bool] | None: ...
    def sold_flags(self, sale_id: SaleId) -> bytes | None:
        """A byte for each item of an unsold sale in order, 1 if it is sold; None for a sale that is sold out."""
        ...

    def version(self, sale_id: SaleId) -> int:
        """Another number whenever other items of the sale are left."""

    async def list_items(
        self, sale_id: SaleId, after: ItemId, limit: int, *, only_available: bool
    ) -> list[tuple[ItemId, bool]]: ...


class _Asked(NamedTuple):
    """What a page of items shows."""

    sale_id: SaleId
    after: ItemId
    limit: int
    only_available: bool


class ItemHandlers:
    def __init__(self, store: ItemStore) -> None:
        self._store = store
        self._pages = PageCache()
        self._rows = ItemRows()
        self._picture = lru_cache(_PICTURES_MAX)(_picture)
        self._small_picture = lru_cache(_PICTURES_MAX)(_compressed_picture)

    async def list_items(self, request: Request, sale_id_text: str) -> Response:
        available, after, limit = parameters.read_optional(request.query, ("available", "after", "limit"))
        only_available = available is not None and parameters.flag(available, "available")
        after_id = ItemId(0 if after is None else parameters.after(after))
        page_max = _PAGE_ITEMS if limit is None else parameters.limit(limit)
        try:
            sale_id = SaleId(parameters.item_id(sale_id_text))
        except InvalidParameter:
            return SALE_NOT_FOUND
        if await self._store.find_sale(sale_id) is None:
            return SALE_NOT_FOUND
        asked = _Asked(sale_id, after_id, page_max, only_available)
        state = self._store.version(sale_id)
        page = self._pages.get(asked, state)
        if page is None:
            page = self._pages.put(asked, state, await self._page(asked))
        return visible_list(request, page, self._store.items_age_seconds(sale_id))

    async def sold(self, request: Request, sale_id_text: str) -> Response:
        """Which items of a sale are sold, as a bitmap: bit k of byte j stands for item first_item_id + 8j + k."""
        try:
            sale_id = SaleId(parameters.item_id(sale_id_text))
        except InvalidParameter:
            return SALE_NOT_FOUND
        sale = await self._store.find_sale(sale_id)
        if sale is None:
            return SALE_NOT_FOUND
        asked, state = (sale_id, "sold"), self._store.version(sale_id)
        page = self._pages.get(asked, state) or self._pages.put(asked, state, await self._encode_sold(sale))
        return visible_list(request, page, self._store.items_age_seconds(sale_id))

    async def item(self, request: Request, id_text: str) -> Response:
        found = await self._find_item(id_text)
        if found is None:
            return ITEM_NOT_FOUND
        item_id, sale, is_available = found
        body = b'%b,"sale_id":%d}' % (self._rows.row(item_id, is_available=is_available), sale.id)
        return visible(request, encoded(body), self._store.items_age_seconds(sale.id))

    async def image(self, request: Request, id_text: str) -> Response:
        found = await self._find_item(id_text)
        if found is None:
            return ITEM_NOT_FOUND
        return self._small_picture(found[0]) if takes_gzip(request) else self._picture(found[0])

    async def _page(self, asked: _Asked) -> Encoded:
        sale_id, after, limit, only_available = asked
        items = await self._store.list_items(sale_id, after, limit, only_available=only_available)
        rows = b"".join([row + b"}," for row in await self._rows.rows(items)])
        if len(items) < limit:
            return encoded(b'{"items":[%b],"next":null}' % rows[:-1])
        last = items[-1][0]
        available = "true" if only_available else None
        link = next_page(f"/sales/{sale_id}/items", after=last, limit=limit, available=available)
        return encoded(b'{"items":[%b],"next":%d}' % (rows[:-1], last), headers=link)

    async def _encode_sold(self, sale: Sale) -> Encoded:
        flags = self._store.sold_flags(sale.id)
        if flags is None:  # a sale that is not shown any more is sold out
            flags = b"\1" * sale.stock
        pieces = []
        for start in range(0, len(flags), _BITMAP_ITEMS):
            pieces.append(bitmap(flags[start : start + _BITMAP_ITEMS]))
            await checkpoint()
        sold = b64encode(b"".join(pieces)).decode()
        return encoded(
            encode_json({"sale_id": sale.id, "first_item_id": sale.first_item_id, "stock": sale.stock, "sold": sold})
        )

    async def _find_item(self, id_text: str) -> tuple[ItemId, Sale, bool] | None:
        """The item of that path segment, or None if there is none: a number that is malformed names no item."""
        try:
            item_id = ItemId(parameters.item_id(id_text))
        except InvalidParameter:
            return None
        found = await self._store.find_item(item_id)
        return found and (item_id, *found)


def item_json(item_id: ItemId) -> dict[str, Any]:
    """How every answer shows an item."""
    return {"id": item_id, "name": catalog.name(item_id), "image": catalog.image_path(item_id)}


def _picture(item_id: ItemId) -> Response:
    return Response(200, catalog.image_svg(item_id), b"image/svg+xml", _FOR_EVER)


def _compressed_picture(item_id: ItemId) -> Response:
    return Response(200, compressed(catalog.image_svg(item_id)), b"image/svg+xml", (*_FOR_EVER, GZIP))
