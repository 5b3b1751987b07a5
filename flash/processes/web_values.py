"""What a web process says in /metrics."""

from __future__ import annotations

from flash.api.pages import PREFIX
from flash.board.identity import Identity
from flash.http.request_counts import RequestCounts
from flash.metrics import families
from flash.metrics.values import Values
from flash.processes.process_values import process_values, put_batches, put_queues
from flash.processes.web_status import WebParts, queues_of

_PAGES = f"{PREFIX}/*"
"""What the files for browsers are counted as, all together."""


def web_values(identity: Identity, parts: WebParts) -> Values:
    values = process_values(identity, parts.databases, parts.links)
    put_queues(values, queues_of(parts))
    put_batches(values, parts.checkouts.batches, "checkouts")
    put_batches(values, parts.redemptions.batches, "redemptions")
    _put_requests(values, parts.requests)
    _put_refused(values, parts)
    values.put(families.CONNECTIONS, len(parts.connections.members))
    values.put(families.CONNECTIONS_REFUSED, parts.connections.refused)
    values.put(families.REJECTED, parts.connections.rejected)
    values.put(families.VIEWERS, parts.events.viewers)
    values.put(families.RESENT, parts.purchases.vanished)
    values.put(families.STORE_UP, parts.monitor.database_error is None, "database")
    values.put(families.STORE_UP, parts.monitor.redis_error is None, "redis")
    values.put(families.DISK_LOW, parts.disk.is_low)
    values.put(families.VIEW_AGE, parts.view.look_age_seconds)
    open_sales = parts.view.open_sales()
    values.put(families.SALES_OPEN, len(open_sales))
    values.put(families.ITEMS_LEFT, sum(sale.remaining for sale in open_sales))
    return values


def _put_requests(values: Values, requests: RequestCounts) -> None:
    for (method, route, status, code), seconds in requests.by_kind.items():
        shown = _PAGES if route.startswith(f"{PREFIX}/") else route
        values.put(families.REQUESTS, seconds.count, method, shown, str(status), code)
        values.observe(families.REQUEST_SECONDS, seconds, method, shown, f"{status // 100}xx")


def _put_refused(values: Values, parts: WebParts) -> None:
    refused = {
        ("purchases", "wait"): parts.admission.refused_by_sale,
        ("purchases", "user_share"): parts.admission.refused_by_user,
        ("checkouts", "wait"): parts.checkouts.refused,
        ("checkouts", "user_share"): parts.admitted.refused,
        ("redemptions", "wait"): parts.redemptions.refused,
    }
    for kind, limit in (("address_rate", parts.limits.addresses), ("user_rate", parts.limits.users)):
        if limit is not None:
            refused["all", kind] = limit.refused
    for (queue, reason), count in refused.items():
        values.put(families.REFUSED, count, queue, reason)
