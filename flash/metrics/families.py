"""Every metric of the service: its name, what it counts, and its labels. Pure.

Names follow Prometheus' conventions. No label holds a user, an item or a sale, so the number of series is bounded.
The rules in `deploy/prometheus` and the dashboard in `deploy/grafana` may use these and no others: a test says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flash.metrics.counts import SECONDS_BOUNDS, SIZE_BOUNDS

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]


@dataclass(frozen=True, slots=True)
class Family:
    """`merge`: what the gauges of several processes become. Counts are always added up."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    merge: Merge = "sum"
    bounds: Sequence[float] = ()


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str, merge: Merge = "sum") -> Family:
    return Family(name, "gauge", text, labels, merge)


def _seconds(name: str, text: str, *labels: str) -> Family:
    return Family(name, "histogram", text, labels, bounds=SECONDS_BOUNDS)


# every process
PROCESSES = _gauge("flash_processes", "Processes that this answer counts", "role", "version")
STARTED = _gauge("flash_process_start_time_seconds", "When the youngest of them started, since 1970", merge="max")
CPU = _counter("flash_process_cpu_seconds_total", "CPU time that they used", "role")
MEMORY = _gauge("flash_process_resident_memory_bytes", "Memory that they hold", "role")
CONNECTS = _counter("flash_store_connects_total", "Connections to a store that were opened, or tried to be", "store")
QUEUE = _gauge("flash_queue_waiting", "Who waits in a queue", "queue")
QUEUE_WAIT = _gauge(
    "flash_queue_wait_seconds", "Estimated wait of whoever would join a queue now, the longest", "queue", merge="max"
)
BATCH_SIZE = Family(
    "flash_batch_size", "histogram", "Requests that were served together", ("queue",), bounds=SIZE_BOUNDS
)
BATCH_SECONDS = _seconds("flash_batch_duration_seconds", "How long a batch took", "queue")
BATCHES_FAILED = _counter("flash_batches_failed_total", "Batches that were lost to a store's failure", "queue")

# web processes
REQUESTS = _counter(
    "flash_http_requests_total",
    "Answers, by status and code of the problem",
    "method",
    "route",
    "status",
    "code",
)
REQUEST_SECONDS = _seconds(
    "flash_http_request_duration_seconds", "From a request's last byte to its answer", "method", "route", "status"
)
CONNECTIONS = _gauge("flash_http_connections", "Client connections that are open")
CONNECTIONS_REFUSED = _counter("flash_http_connections_refused_total", "Connections that found no room")
REJECTED = _counter("flash_http_requests_rejected_total", "Requests that could not be read")
VIEWERS = _gauge("flash_event_viewers", "Viewers of GET /events")
REFUSED = _counter("flash_requests_refused_total", "Requests refused before any work was done", "queue", "reason")
RESENT = _counter("flash_command_entries_resent_total", "Entries that vanished from Redis and were added again")
STORE_UP = _gauge("flash_store_up", "Whether the store can be read and written: 1, or 0", "store", merge="min")
DISK_LOW = _gauge("flash_disk_low", "Whether checkouts are refused because PostgreSQL's disk is low", merge="max")
VIEW_AGE = _gauge("flash_view_age_seconds", "How old what visitors see is at most", merge="max")
SALES_OPEN = _gauge("flash_sales_open", "Sales that have begun and have items left", merge="max")
ITEMS_LEFT = _gauge("flash_items_left", "Items left in the sales that have begun", merge="max")

# inventory processes
ITEMS_SOLD = _counter("flash_items_sold_total", "Items sold, each once, by the leaders")
DECISIONS = _counter("flash_decisions_total", "Purchases decided by the leaders, by what became of them", "outcome")
EXPIRED = _counter("flash_commands_expired_total", "Purchases that nobody waited for any more")
SALES_LED = _gauge("flash_sales_led", "Sales that are led: their terms have begun and not ended")
LEASES_HELD = _gauge("flash_leases_held", "Leases held, also those of sales that nobody buys from and nobody leads")
TERMS = _counter("flash_terms_begun_total", "Terms that began, also again after a sale was put down for want of buyers")
TAKE_OVERS = _counter("flash_terms_taken_over_total", "Terms that began after one of another process, or that failed")
TERMS_FAILED = _counter("flash_terms_failed_total", "Terms that ended with an error")
DEAD_LETTERS = _counter("flash_dead_letters_total", "Entries that could not be read and were moved aside")

FAMILIES = tuple(value for value in list(globals().values()) if isinstance(value, Family))
BY_NAME = {family.name: family for family in FAMILIES}
