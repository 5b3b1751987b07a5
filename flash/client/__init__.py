"""A client of the service: `FlashClient`, and `AsyncFlashClient` for asyncio and Trio. Both need `flash[client]`.

    with FlashClient("http://localhost:8080") as shop:
        receipt = shop.buy("ada")

Whatever may be repeated is repeated, as the service asks for it: see `flash.client.retries`. What cannot be had is an
exception of `flash.client.errors`, whose `code` is the service's. It knows only the HTTP contract, nothing of the
service's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash.client.errors import FlashClientError as FlashClientError
from flash.client.errors import InvalidRequest as InvalidRequest
from flash.client.errors import OutcomeUnknown as OutcomeUnknown
from flash.client.errors import Refused as Refused
from flash.client.errors import TryLater as TryLater
from flash.client.errors import UnexpectedAnswer as UnexpectedAnswer
from flash.client.errors import Unreachable as Unreachable
from flash.client.results import Item as Item
from flash.client.results import ItemPage as ItemPage
from flash.client.results import Receipt as Receipt
from flash.client.results import Sale as Sale
from flash.client.retries import Retries as Retries
from flash.client.signing import sign_user as sign_user

if TYPE_CHECKING:
    from flash.client.httpx_clients import AsyncFlashClient as AsyncFlashClient
    from flash.client.httpx_clients import FlashClient as FlashClient


def __getattr__(name: str) -> object:
    """The two clients, on demand: the rest works without httpx, and `flash buy` needs only that."""
    if name not in ("FlashClient", "AsyncFlashClient"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from flash.client import httpx_clients
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs {error.name}: pip install '.[client]' in a checkout of flash") from error
    return getattr(httpx_clients, name)
