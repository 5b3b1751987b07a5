"""Every URL and the handler that answers it. To add an endpoint, write its handler and list it here."""

from __future__ import annotations

from flash.api.checkout import CheckoutHandlers
from flash.api.health import HealthHandlers
from flash.api.items import ItemHandlers
from flash.api.purchase import PurchaseHandlers
from flash.api.sales import SaleHandlers
from flash.http.asgi import App
from flash.http.router import Patterns, Routes


def build_app(
    checkout: CheckoutHandlers,
    purchase: PurchaseHandlers,
    sales: SaleHandlers,
    items: ItemHandlers,
    health: HealthHandlers,
    *,
    body_seconds: float,
) -> App:
    """The application of one web process. `body_seconds` is how long a request body may take."""
    routes: Routes = {
        ("POST", "/checkout"): checkout.check_out,
        ("POST", "/purchase"): purchase.purchase,
        ("GET", "/sales"): sales.list_sales,
        ("GET", "/sales/current"): sales.current_sale,
        ("GET", "/health"): health.health,
        ("GET", "/livez"): health.livez,
        ("GET", "/readyz"): health.readyz,
    }
    # `{…}` stands for the path segment that the handler gets.
    patterns: Patterns = {
        ("GET", "/purchases/{code}"): purchase.receipt,
        ("GET", "/sales/{id}"): sales.sale,
        ("GET", "/sales/{id}/items"): items.list_items,
        ("GET", "/items/{id}"): items.item,
        ("GET", "/items/{id}/image.svg"): items.image,
    }
    return App(routes, patterns, body_seconds=body_seconds)
