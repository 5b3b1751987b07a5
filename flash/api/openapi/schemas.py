"""What requests and answers hold: the schemas that operations name, and an example of each."""

from __future__ import annotations

from flash.api.items import item_json
from flash.api.openapi.operation import Json, schema
from flash.api.purchase import SUCCESS
from flash.domain import ItemId
from flash.http import parameters
from flash.http.problem_types import PROBLEM_TYPES

ID: Json = {"type": "integer", "format": "int64", "minimum": 1, "maximum": parameters.ID_MAX}
COUNT: Json = {"type": "integer", "minimum": 0}
TIME: Json = {"type": "string", "format": "date-time", "description": "RFC 3339, in UTC."}
FLAG: Json = {"type": "boolean"}
LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": parameters.LIMIT_MAX}
CODE: Json = {
    "type": "string",
    "minLength": 1,
    "description": "A checkout code: opaque, about 76 characters that need no escaping in a URL.",
}
USER_ID: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": parameters.USER_ID_MAX,
    "pattern": parameters.USER_ID_PATTERN,
    "description": f"1 to {parameters.USER_ID_MAX} visible characters, compared in NFC and otherwise exactly.",
}
KEY: Json = {"type": "string", "pattern": f"^[\\x21-\\x7e]{{1,{parameters.IDEMPOTENCY_KEY_MAX}}}$"}
SALE_STATUSES = ("upcoming", "open", "sold_out")


def thing(properties: Json, *, optional: tuple[str, ...] = (), description: str = "") -> Json:
    """An object whose members are all there, except the `optional` ones."""
    found: Json = {"type": "object", "properties": properties}
    required = [name for name in properties if name not in optional]
    if required:
        found["required"] = required
    return {**found, "description": description} if description else found


def text(characters_max: int, description: str, example: str) -> Json:
    """A line that is not empty."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": characters_max,
        "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$",
        "description": description,
        "examples": [example],
    }


def list_of(items: Json) -> Json:
    return {"type": "array", "items": items}


def with_now(name: str) -> Json:
    """The resource, and the server's time beside it."""
    return {**schema(name), "properties": {"now": TIME}, "required": ["now"]}


NOON = "2026-11-24T12:00:00Z"
CODE_EXAMPLE = "AgEAAAABAAAAAAABAAAAAAABaSS0wIYXEz0pVBYtXkmAIlHBl1RJ2dHrl6E6Rhl5DE9q1VfB"
ITEM_EXAMPLE = item_json(ItemId(1))
SALE_EXAMPLE = {
    "id": 1,
    "starts_at": NOON,
    "stock": 10_000,
    "sold": 2_786,
    "remaining": 7_214,
    "status": "open",
    "first_item_id": 1,
    "user_limit": 10,
    "opens_at": NOON,
}
RECEIPT_EXAMPLE = {
    "item": ITEM_EXAMPLE,
    "sale_id": 1,
    "user_id": "ada",
    "purchased_at": "2026-11-24T12:09:36.572271Z",
}

_ITEM: Json = {
    "id": ID,
    "name": {"type": "string"},
    "image": {"type": "string", "format": "uri-reference", "description": "The path of its picture."},
}
_SALE: Json = {
    "id": ID,
    "starts_at": TIME,
    "stock": {**COUNT, "description": "How many items it has."},
    "sold": COUNT,
    "remaining": COUNT,
    "status": {"type": "string", "enum": list(SALE_STATUSES)},
    "first_item_id": {**ID, "description": "Its items are numbered from here on without gaps."},
    "user_limit": {**COUNT, "description": "How many of its items one buyer may buy."},
    "opens_at": TIME,
}
_RECEIPT: Json = {"item": schema("Item"), "sale_id": ID, "user_id": {"type": "string"}, "purchased_at": TIME}
_STORE: Json = {"type": "string", "enum": ["ok", "error"]}

SCHEMAS: Json = {
    "Item": thing(_ITEM),
    "ListedItem": thing({**_ITEM, "available": {**FLAG, "description": "Whether it can still be bought."}}),
    "ItemOfSale": thing({**_ITEM, "available": FLAG, "sale_id": ID}),
    "Items": thing(
        {
            "items": list_of(schema("ListedItem")),
            "next": {"type": ["integer", "null"], "description": "The `after` of the next page; null on the last one."},
        }
    ),
    "SoldItems": thing(
        {
            "sale_id": ID,
            "first_item_id": ID,
            "stock": COUNT,
            "sold": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "Bit k of byte j, from the lowest, is 1 once item first_item_id + 8j + k is sold.",
            },
        }
    ),
    "Sale": thing(_SALE),
    "SaleNow": with_now("Sale"),
    "Sales": thing(
        {
            "sales": list_of(schema("Sale")),
            "next": {"type": ["integer", "null"], "description": "The `before` of the next page; null on the last."},
            "now": TIME,
        }
    ),
    "CheckoutCode": thing({"code": CODE}),
    "Receipt": thing(_RECEIPT),
    "Purchase": thing({"message": {"const": SUCCESS}, **_RECEIPT}),
    # None of these members is required: each may stand in the query as well.
    "CheckoutParameters": thing(
        {
            "user_id": {**USER_ID, "examples": ["ada"]},
            "id": {**ID, "description": "The number of the item; in JSON also as a string.", "examples": [1]},
        },
        optional=("user_id", "id"),
    ),
    "PurchaseParameters": thing({"code": {**CODE, "examples": [CODE_EXAMPLE]}}, optional=("code",)),
    "PauseParameters": thing(
        {"by": text(64, "Who does it.", "ada"), "reason": text(500, "Why.", "wrong pictures")},
        optional=("by", "reason"),
    ),
    "Pauses": thing(
        {
            "pauses": list_of(
                thing(
                    {
                        "sale_id": ID,
                        "action": {"type": "string", "enum": ["pause", "resume"]},
                        "at": TIME,
                        "by": {"type": "string"},
                        "reason": {"type": "string"},
                        "sold": {**COUNT, "description": "How many items had been sold."},
                    }
                )
            )
        }
    ),
    "PauseState": thing(
        {"sale_id": ID, "paused": {"oneOf": [thing({"by": {"type": "string"}, "at": TIME}), {"type": "null"}]}}
    ),
    "Health": thing(
        {
            "status": _STORE,
            "database": _STORE,
            "redis": _STORE,
            "sale": {"const": "missing", "description": "The current sale does not exist yet."},
            "disk": {"const": "low", "description": "No checkouts are recorded, because the database has no room."},
        },
        optional=("sale", "disk"),
    ),
    "Status": thing({"status": _STORE}),
    "Event": thing(
        {
            "event": {"type": "string", "enum": ["state", "item_sold", "sold_out", "sale_announced", "sale_opened"]},
            "id": {"type": "string"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "anyOf": [schema("State"), schema("ItemsSold"), schema("SoldOut"), schema("Sale")],
                },
            },
        }
    ),
    "State": thing(
        {
            "now": TIME,
            "sales": list_of(schema("Sale")),
            "sale_id": ID,
            "sold": {"type": "string", "contentEncoding": "base64"},
            "first_id": ID,
        },
        optional=("sold",),
    ),
    "ItemsSold": thing({"sale_id": ID, "items": list_of(ID), "remaining": COUNT}),
    "SoldOut": thing({"sale_id": ID}),
    "Problem": thing(
        {
            "type": {"type": "string", "format": "uri-reference", "description": "Where the service explains it."},
            "title": {"type": "string", "description": "The same for every problem of that type."},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "A sentence for a person about this one answer."},
            "code": {"type": "string", "enum": list(PROBLEM_TYPES), "description": "What a client switches on."},
            "purchase": {**schema("Receipt"), "description": "The receipt. Only with `code_already_used`."},
        },
        optional=("purchase",),
        description="A refusal or a failure ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).",
    ),
    "ProblemType": thing(
        {
            "type": {"type": "string", "format": "uri-reference"},
            "code": {"type": "string", "enum": list(PROBLEM_TYPES)},
            "status": {"type": "integer", "description": "The usual one."},
            "title": {"type": "string"},
            "meaning": {"type": "string"},
            "action": {"type": "string", "description": "What a client should do."},
        }
    ),
    "Group": thing({"name": {"type": "string"}, "words": list_of({"type": "string"})}),
    "Colours": thing(
        {"name": {"type": "string"}, "words": list_of({"type": "string"}), "swatch": {"type": "string"}},
    ),
    "Catalog": thing(
        {
            "colours": list_of(schema("Colours")),
            "materials": list_of({"type": "string"}),
            "kinds": list_of(schema("Group")),
            "block_items": {**COUNT, "description": "How many items one block of `/catalog/{block}` describes."},
            "code_seconds": {"type": "number", "description": "How long a checkout code is valid."},
        }
    ),
    "CatalogBlock": thing(
        {
            "first_item_id": COUNT,
            "words": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "Three bytes for each item: its colour, its material and its object in `/catalog.json`.",
            },
        }
    ),
}
