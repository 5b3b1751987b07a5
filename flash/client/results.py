"""What the service answers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Item:
    """`image` is the path of its picture. `is_available` is None where the answer does not say."""

    id: int
    name: str
    image: str
    is_available: bool | None = None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some items of a sale. `next` is the id after which the next page begins, None on the last one."""

    items: tuple[Item, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """One purchase, as its buyer sees it."""

    item: Item
    sale_id: int
    user_id: str
    purchased_at: datetime


@dataclass(frozen=True, slots=True)
class Sale:
    """`first_item_id` to `first_item_id + stock - 1` are its items."""

    id: int
    starts_at: datetime
    status: Literal["upcoming", "open", "sold_out"]
    stock: int
    sold: int
    remaining: int
    first_item_id: int


def code_of(members: Mapping[str, Any]) -> str:
    return str(members["code"])


def item_of(members: Mapping[str, Any]) -> Item:
    return Item(members["id"], members["name"], members["image"], members.get("available"))


def page_of(members: Mapping[str, Any]) -> ItemPage:
    return ItemPage(tuple(map(item_of, members["items"])), members["next"])


def receipt_of(members: Mapping[str, Any]) -> Receipt:
    return Receipt(item_of(members["item"]), members["sale_id"], members["user_id"], _time(members["purchased_at"]))


def sale_of(members: Mapping[str, Any]) -> Sale:
    return Sale(
        members["id"],
        _time(members["starts_at"]),
        members["status"],
        members["stock"],
        members["sold"],
        members["remaining"],
        members["first_item_id"],
    )


def sales_of(members: Mapping[str, Any]) -> tuple[Sale, ...]:
    return tuple(map(sale_of, members["sales"]))


def sales_and_time_of(members: Mapping[str, Any]) -> tuple[datetime, tuple[Sale, ...]]:
    return _time(members["now"]), sales_of(members)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
