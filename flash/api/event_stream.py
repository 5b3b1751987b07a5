"""How events look on the wire: server-sent events (HTML standard, 9.2), each with an id and one line of JSON. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, assert_never

from flash.actors.sale_events import ItemsSold, SaleAnnounced, SaleEvent, SaleOpened, SoldOut, State
from flash.api.bitmap import bitmap
from flash.api.sales import sale_json
from flash.http.message import encode_json

SOLD_ITEMS_MAX = 100_000
"""Of larger sales, the state does not say which items are sold: its viewers read the list of items."""


def encode_event(event: SaleEvent, event_id: bytes) -> bytes:
    """The event as clients get it, with the blank line that ends it."""
    name, data = _name_and_data(event)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name, event_id, encode_json(data))


def _name_and_data(event: SaleEvent) -> tuple[bytes, dict[str, Any]]:
    match event:
        case State():
            return b"state", _state_json(event)
        case ItemsSold():
            return b"item_sold", {"sale_id": event.sale_id, "items": event.item_ids, "remaining": event.remaining}
        case SaleAnnounced():
            return b"sale_announced", sale_json(event.sale)
        case SaleOpened():
            return b"sale_opened", sale_json(event.sale)
        case SoldOut():
            return b"sold_out", {"sale_id": event.sale_id}
        case _:
            assert_never(event)


def _state_json(state: State) -> dict[str, Any]:
    sale = state.watched.sale
    data: dict[str, Any] = {"now": state.now, "sales": [sale_json(one) for one in state.sales], "sale_id": sale.id}
    if sale.stock <= SOLD_ITEMS_MAX:
        data["sold"] = b64encode(bitmap(state.watched.flags)).decode()
    data["first_id"] = sale.first_item_id
    return data
