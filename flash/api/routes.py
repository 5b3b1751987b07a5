"""Every URL and the handler that answers it. To add an endpoint, write its handler and list it here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from flash.api.catalog import CatalogHandlers
from flash.api.checkout import CheckoutBatcher, CheckoutHandlers
from flash.api.control import ControlRoom
from flash.api.events import EventHandlers, Events
from flash.api.health import DiskHealth, HealthHandlers, StoreHealth
from flash.api.items import ItemHandlers, ItemStore
from flash.api.limits import NO_LIMITS, RateLimits
from flash.api.metrics import Metrics, metrics_route
from flash.api.not_found import not_found
from flash.api.pages import PREFIX, page_files
from flash.api.purchase import CodeOpener, PurchaseHandlers, Purchases
from flash.api.reference import openapi_file, problem_type
from flash.api.sales import SaleHandlers, SaleStore
from flash.api.signed_buyers import SignedBuyers
from flash.http.asgi import App
from flash.http.cors import CorsApp
from flash.http.request_counts import RequestCounts
from flash.http.router import Handler, SegmentHandler

_OPERATORS = ("/control", "/metrics")
"""Never for the pages of other sites."""
_DESCRIPTION = "/openapi.json"


class ReadStore(SaleStore, ItemStore, Protocol):
    """What visitors may read."""


def build_app(
    *,
    codes: CodeOpener,
    checkouts: CheckoutBatcher,
    purchases: Purchases,
    store: ReadStore,
    events: Events,
    store_health: StoreHealth,
    disk_health: DiskHealth,
    is_draining: Callable[[], bool],
    body_seconds: float,
    code_seconds: float,
    limits: RateLimits = NO_LIMITS,
    control: ControlRoom | None = None,
    cors_origins: Collection[str] = (),
    buyers: SignedBuyers | None = None,
    counts: RequestCounts | None = None,
    metrics: Metrics | None = None,
) -> App:
    """The application of one web process.

    `is_draining()`: the process is stopping. `body_seconds` is how long a request body may take to arrive,
    `code_seconds` how long a checkout code is valid. Without `control` there is no control room.
    Pages of `cors_origins` may use it as well as our own. With `buyers`, those of checkouts must be signed.
    `counts`: where requests are counted.
    """
    checkout = CheckoutHandlers(codes.codes, limits.checkouts_by_user(checkouts), buyers)
    purchase = PurchaseHandlers(codes, limits.purchases_by_user(purchases))
    sales = SaleHandlers(store)
    items = ItemHandlers(store)
    catalog = CatalogHandlers(code_seconds)
    watching = EventHandlers(events)
    health = HealthHandlers(store_health, disk_health, is_draining)

    routes: dict[tuple[str, str], Handler] = {
        ("POST", "/checkout"): limits.limited(checkout.check_out),
        ("POST", "/purchase"): limits.limited(purchase.purchase),
        ("GET", "/sales"): sales.list_sales,
        ("GET", "/sales/current"): sales.current_sale,
        ("GET", "/events"): watching.events,
        ("GET", "/health"): health.health,
        ("GET", "/livez"): health.livez,
        ("GET", "/readyz"): health.readyz,
        ("GET", "/"): page_files().handler("storefront/index.html"),
        ("GET", "/catalog.json"): catalog.catalog,
        ("GET", "/docs"): page_files().handler("docs/index.html"),
        **page_files().routes(PREFIX),
    }
    # `{…}` stands for the path segment that the handler gets.
    patterns: dict[tuple[str, str], SegmentHandler] = {
        ("GET", "/purchases/{code}"): purchase.receipt,
        ("GET", "/sales/{id}"): sales.sale,
        ("GET", "/sales/{id}/items"): items.list_items,
        ("GET", "/catalog/{block}"): catalog.block,
        ("GET", "/sales/{id}/sold"): items.sold,
        ("GET", "/items/{id}"): items.item,
        ("GET", "/items/{id}/image.svg"): items.image,
        ("GET", "/problems/{code}"): problem_type,
    }
    if control is not None:
        routes |= control.routes()
        patterns |= control.patterns()
    if metrics is not None:
        routes |= metrics_route(metrics, None if control is None else control.access)
    routes["GET", _DESCRIPTION] = openapi_file((*routes, *patterns, ("GET", _DESCRIPTION))).answer
    reads_peers = limits.addresses is not None or control is not None
    make = partial(CorsApp, cors_origins, _OPERATORS) if cors_origins else App
    return make(
        routes, patterns, body_seconds=body_seconds, reads_peers=reads_peers, counts=counts, otherwise=not_found
    )
