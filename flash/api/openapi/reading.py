"""What a visitor reads: sales, items, pictures, the catalog. All of it comes from memory."""

from __future__ import annotations

from flash.api.catalog import BLOCK_ITEMS
from flash.api.openapi.headers import IF_NONE_MATCH
from flash.api.openapi.operation import Json, Operation, answer, json_content, path, query, schema, unchanged
from flash.api.openapi.schemas import FLAG, ID, ITEM_EXAMPLE, LIMIT, NOON, SALE_EXAMPLE
from flash.http import parameters

SALES, CATALOG = "Sales and items", "Catalog"
_FRESH = ("Age", "ETag", "Cache-Control")
_SALE_ID = path("id", "The number of the sale.", ID, 1)
_ITEM_ID = path("id", "The number of the item.", ID, 1)
_ITEMS_LINK = {"items": {"operationId": "items", "parameters": {"path.id": "$response.body#/id"}}}


def _fresh(description: str, content: Json, links: Json | None = None) -> dict[int, Json]:
    return {200: answer(description, content, *_FRESH, links=links), 304: unchanged(*_FRESH)}


def _page(description: str, content: Json) -> dict[int, Json]:
    return {200: answer(description, content, *_FRESH, "Link"), 304: unchanged(*_FRESH, "Link")}


READING: dict[tuple[str, str], Operation] = {
    ("GET", "/sales"): Operation(
        id="sales",
        tag=SALES,
        summary="The open sales and the next one, newest first",
        parameters=(
            query("before", "Only sales with smaller numbers: `next` of the page before.", ID, 10),
            query("limit", "How many sales a page has; 20 without it.", LIMIT, 20),
            query("sold_out", "Whether to list the sold-out sales as well.", FLAG, True),
            IF_NONE_MATCH,
        ),
        answers=_page(
            "A page of sales.", json_content(schema("Sales"), {"sales": [SALE_EXAMPLE], "next": None, "now": NOON})
        ),
        problems=("unavailable",),
    ),
    ("GET", "/sales/current"): Operation(
        id="current_sale",
        tag=SALES,
        summary="The newest sale that has opened",
        parameters=(IF_NONE_MATCH,),
        answers=_fresh("The sale.", json_content(schema("SaleNow"), {**SALE_EXAMPLE, "now": NOON}), _ITEMS_LINK),
        problems=("sale_not_found", "unavailable"),
    ),
    ("GET", "/sales/{id}"): Operation(
        id="sale",
        tag=SALES,
        summary="One sale",
        parameters=(_SALE_ID, IF_NONE_MATCH),
        answers=_fresh("The sale.", json_content(schema("SaleNow"), {**SALE_EXAMPLE, "now": NOON}), _ITEMS_LINK),
        problems=("sale_not_found", "unavailable"),
    ),
    ("GET", "/sales/{id}/items"): Operation(
        id="items",
        tag=SALES,
        summary="The items of a sale, by number",
        parameters=(
            _SALE_ID,
            query("available", "Whether to list only what can still be bought.", FLAG, True),
            query(
                "after",
                "Only items with greater numbers: `next` of the page before.",
                {**ID, "minimum": 0},
                100,
            ),
            query("limit", "How many items a page has; 100 without it.", LIMIT, 100),
            IF_NONE_MATCH,
        ),
        answers=_page(
            "A page of items.",
            json_content(schema("Items"), {"items": [{**ITEM_EXAMPLE, "available": True}], "next": 1}),
        ),
        problems=("sale_not_found", "unavailable"),
    ),
    ("GET", "/sales/{id}/sold"): Operation(
        id="sold",
        tag=SALES,
        summary="Which items of a sale are sold",
        description="All at once, for whoever shows them all: two kilobytes for 10,000 items.",
        parameters=(_SALE_ID, IF_NONE_MATCH),
        answers=_fresh(
            "A bitmap.",
            json_content(schema("SoldItems"), {"sale_id": 1, "first_item_id": 101, "stock": 3, "sold": "Ag=="}),
        ),
        problems=("sale_not_found", "unavailable"),
    ),
    ("GET", "/items/{id}"): Operation(
        id="item",
        tag=SALES,
        summary="One item",
        parameters=(_ITEM_ID, IF_NONE_MATCH),
        answers=_fresh(
            "The item.", json_content(schema("ItemOfSale"), {**ITEM_EXAMPLE, "available": True, "sale_id": 1})
        ),
        problems=("item_not_found", "unavailable"),
    ),
    ("GET", "/items/{id}/image.svg"): Operation(
        id="picture",
        tag=SALES,
        summary="The picture of an item",
        description="Made from the number of the item, so it never changes.",
        parameters=(_ITEM_ID,),
        answers={200: answer("A square picture.", {"image/svg+xml": {"schema": {"type": "string"}}}, "Cache-Control")},
        problems=("item_not_found", "unavailable"),
    ),
    ("GET", "/catalog.json"): Operation(
        id="catalog",
        tag=CATALOG,
        summary="The words of which names are made",
        description="With the blocks, a page knows the names of all items from 40 KB, and can search them.",
        answers={
            200: answer("The words.", {"application/json": {"schema": schema("Catalog")}}, "Cache-Control"),
        },
    ),
    ("GET", "/catalog/{block}"): Operation(
        id="catalog_block",
        tag=CATALOG,
        summary="Which words each item bears",
        parameters=(
            path(
                "block",
                "The number of an item, divided by `block_items`.",
                {"type": "integer", "format": "int64", "minimum": 0, "maximum": parameters.ID_MAX // BLOCK_ITEMS},
                0,
            ),
        ),
        answers={
            200: answer(
                "The words, as numbers.", {"application/json": {"schema": schema("CatalogBlock")}}, "Cache-Control"
            ),
        },
        problems=("not_found",),
    ),
}
