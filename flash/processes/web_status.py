"""What a web process tells of itself: its card and samples for the status board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import trio

from flash import __version__
from flash.actors.admission import Admission
from flash.actors.admitting import AdmittingCheckouts
from flash.actors.batcher import Batcher
from flash.actors.disk_space import DiskSpace
from flash.actors.event_hub import EventHub
from flash.actors.health_monitor import HealthMonitor
from flash.actors.sales_view import SalesView
from flash.api.limits import RateLimits
from flash.board.control_state import ControlState
from flash.board.identity import Identity
from flash.board.messages import Card, Mark, Queue, Sample
from flash.board.publisher import BoardPublisher
from flash.board.reader import BoardReader
from flash.deployment import Deployment
from flash.domain import Attempt, Code, MalformedAttempt, RecordedAttempt, Redemption
from flash.http.connection_set import ConnectionSet
from flash.http.request_counts import RequestCounts
from flash.metrics.counts import SECONDS_BOUNDS, Histogram
from flash.purchase_rpc.client import PurchaseClient
from flash.stores.pauses import Pauses
from flash.stores.postgres import Postgres
from flash.stores.redis_link import RedisLink

_PURCHASE = "/purchase"
_SUCCESS = {"/checkout": "issued", _PURCHASE: "sold"}
"""The routes that sell, and what it is called when they do."""
_STORES = {"database": "PostgreSQL", "redis": "Redis"}


@dataclass(frozen=True, slots=True)
class WebParts:
    """Those parts of a web process that know something worth telling."""

    requests: RequestCounts
    connections: ConnectionSet
    checkouts: Batcher[Attempt | MalformedAttempt, RecordedAttempt]
    redemptions: Batcher[Code, Redemption]
    purchases: PurchaseClient
    admission: Admission
    admitted: AdmittingCheckouts
    limits: RateLimits
    events: EventHub
    view: SalesView
    monitor: HealthMonitor
    disk: DiskSpace
    databases: tuple[Postgres, ...]
    links: tuple[RedisLink, ...]


class WebStatus:
    def __init__(self, identity: Identity, parts: WebParts) -> None:
        self._identity = identity
        self._parts = parts
        self._failing: set[str] = set()

    def card(self) -> Card:
        return self._identity.card(queues_of(self._parts), self._errors())

    def sample(self) -> Sample:
        outcomes: Counter[str] = Counter()
        requests, bought = 0, Histogram(SECONDS_BOUNDS)
        for (method, route, status, code), seconds in self._parts.requests.by_kind.items():
            requests += seconds.count
            if method == "POST" and route in _SUCCESS:
                outcomes[code or _SUCCESS[route]] += seconds.count
                if route == _PURCHASE and status == 200:
                    bought.add(seconds)
        return Sample(
            self._identity.name,
            self._identity.age_seconds,
            requests=requests,
            bought=bought.count,
            outcomes=outcomes,
            purchase_seconds=bought.counts,
        )

    def new_marks(self) -> list[Mark]:
        """The stores that were lost or came back since this was last called."""
        failing = set(self._errors())
        lost, back = failing - self._failing, self._failing - failing
        self._failing = failing
        return [
            *(Mark(0.0, "store_lost", f"{_STORES[store]} cannot be used") for store in sorted(lost)),
            *(Mark(0.0, "store_back", f"{_STORES[store]} is back") for store in sorted(back)),
        ]

    def _errors(self) -> dict[str, str]:
        monitor = self._parts.monitor
        seen = {"database": monitor.database_error, "redis": monitor.redis_error}
        return {store: error for store, error in seen.items() if error is not None}


def control_state(deployment: Deployment, link: RedisLink, pauses: Pauses, parts: WebParts) -> ControlState:
    """What this process answers to `GET /control/state`."""
    return ControlState(
        BoardReader(deployment, link),
        parts.view,
        parts.monitor,
        parts.disk,
        pauses,
        version=__version__,
        deployment_id=deployment.id,
    )


def board_publisher(identity: Identity, deployment: Deployment, link: RedisLink, parts: WebParts) -> BoardPublisher:
    """What tells the status board how this process is."""
    status = WebStatus(identity, parts)
    return BoardPublisher(deployment, link, card=status.card, sample=status.sample, new_marks=status.new_marks)


def queues_of(parts: WebParts) -> list[Queue]:
    return list(_queues(parts))


def _queues(parts: WebParts) -> Iterator[Queue]:
    yield Queue("checkouts", parts.checkouts.waiting, parts.checkouts.wait_seconds)
    yield Queue("purchases", parts.admission.waiting, parts.admission.wait_seconds(trio.current_time()))
    yield Queue("redemptions", parts.redemptions.waiting, parts.redemptions.wait_seconds)
