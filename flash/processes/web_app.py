"""The application of a web process, put together from its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

import trio

from flash.actors.admission import Admission
from flash.actors.admitting import AdmittingCheckouts, AdmittingLeader
from flash.actors.batcher import Batcher
from flash.actors.code_keys import CodeKeyRing
from flash.actors.disk_space import DiskSpace, SheddingCheckouts
from flash.actors.event_hub import EventHub
from flash.actors.fair_shares import UserShares
from flash.actors.health_monitor import HealthMonitor
from flash.actors.purchase_router import PurchaseRouter, SoldOutCache
from flash.actors.sales_view import SalesView
from flash.api.control import ControlRoom
from flash.api.event_stream import encode_event
from flash.api.limits import RateLimits
from flash.api.routes import build_app
from flash.api.signed_buyers import SignedBuyers
from flash.board.identity import Identity
from flash.codes import Codes, digest_user
from flash.config import Config
from flash.domain import Attempt, Code, MalformedAttempt, RecordedAttempt, Redemption
from flash.http.asgi import App
from flash.http.client_address import TrustedProxies, key_of
from flash.http.connection_set import ConnectionSet, connections_max
from flash.http.cors import origins_of
from flash.http.rate_limit import RateLimit
from flash.http.request_counts import RequestCounts
from flash.http.server import Tls
from flash.metrics.page import MetricsPage
from flash.metrics.shared_values import SharedValues
from flash.processes.lifecycle import unless_stopped, wait_until
from flash.processes.observing import observe_requests
from flash.processes.operators import control_access
from flash.processes.web_status import WebParts, board_publisher, control_state
from flash.processes.web_values import web_values
from flash.purchase_rpc.client import PurchaseClient
from flash.sold_feed.subscriber import SoldSubscriber
from flash.stores.checkouts import Checkouts
from flash.stores.disk import DatabaseDisk
from flash.stores.health import has_current_sale
from flash.stores.keys import READ_KEYS_SECONDS, Secrets, read_code_keys
from flash.stores.pauses import Pauses
from flash.stores.postgres import Postgres
from flash.stores.redis_link import RedisLink, write_probe
from flash.stores.sales import Sales

if TYPE_CHECKING:
    from flash.processes.spans import Spans

Run = Callable[[], Awaitable[None]]

_REDEMPTION_BATCH_MAX = 500


@dataclass(frozen=True, slots=True)
class Stores:
    """The connections of a web process, by what they are for, and the secrets that the database keeps."""

    database: Postgres
    health_database: Postgres
    control_database: Postgres
    sender: RedisLink
    listener: RedisLink
    health_link: RedisLink
    feed: RedisLink
    board: RedisLink
    secrets: Secrets


@dataclass(frozen=True, slots=True)
class WebApp:
    """The application, the workers that it asks, and what it tells Prometheus."""

    app: App
    workers: Sequence[Run]
    metrics: MetricsPage


async def build_web_app(
    config: Config,
    stop: trio.Event,
    stores: Stores,
    connections: ConnectionSet,
    shared: SharedValues | None,
    spans: Spans | None,
) -> WebApp:
    """Put it together. `shared`: where the processes behind our port leave their metrics."""
    database, secrets = stores.database, stores.secrets
    code_keys = CodeKeyRing(
        Codes(await wait_until("PostgreSQL", stop, partial(read_code_keys, database))),
        partial(read_code_keys, database),
        seconds=READ_KEYS_SECONDS,
    )
    store = Checkouts(database, config.code_ttl_seconds, partial(digest_user, secrets.user_key))
    sales = Sales(database)
    checkouts: Batcher[Attempt | MalformedAttempt, RecordedAttempt] = Batcher(
        "checkouts",
        store.record_attempts if spans is None else spans.checkouts(store.record_attempts),
        waiting_max=config.checkout_waiting_max,
        batch_max=config.checkout_batch_max,
        workers=config.checkout_workers,
        wait_max_seconds=config.admission_wait_seconds,
    )
    redemptions: Batcher[Code, Redemption] = Batcher(
        "redemptions",
        store.find_redemptions,
        waiting_max=config.purchase_waiting_max,
        batch_max=_REDEMPTION_BATCH_MAX,
        workers=1,
        wait_max_seconds=config.admission_wait_seconds,
        only_reads=True,
    )
    admission, limits, purchase_client = _admission(config), _rate_limits(config), _purchase_client(config, stores)
    leader = AdmittingLeader(purchase_client if spans is None else spans.leader(purchase_client), admission)
    view = SalesView(sales)
    sold_out = SoldOutCache(sales)
    await wait_until("PostgreSQL", stop, view.refresh)
    subscriber = SoldSubscriber(secrets.deployment, stores.feed, view.receive, view.doubt)
    await wait_until("PostgreSQL", stop, sold_out.refresh)
    monitor = HealthMonitor(
        partial(_is_sale_shown, stores.health_database, view),
        partial(write_probe, stores.health_link, secrets.deployment.key("health")),
    )
    disk = DiskSpace(DatabaseDisk(stores.health_database).free_bytes, config.disk_min_mb * 2**20)
    for look in (monitor.look, disk.measure):
        await unless_stopped(stop, look)  # before anybody can ask
    admitted = AdmittingCheckouts(checkouts, UserShares(config.user_waiting_max))
    viewers_max = min(config.events_viewers_max, connections_max(config) // 2)  # the others are for buyers
    events = EventHub(view, encode_event, new_name=lambda: token_hex(6).encode(), viewers_max=viewers_max)
    parts = WebParts(
        requests=RequestCounts(),
        connections=connections,
        checkouts=checkouts,
        redemptions=redemptions,
        purchases=purchase_client,
        admission=admission,
        admitted=admitted,
        limits=limits,
        events=events,
        view=view,
        monitor=monitor,
        disk=disk,
        databases=(database, stores.health_database, stores.control_database),
        links=(stores.sender, stores.listener, stores.health_link, stores.feed, stores.board),
    )
    identity = Identity.of_this_process("web")
    metrics = MetricsPage(partial(web_values, identity, parts), shared)
    app = build_app(
        codes=code_keys,
        checkouts=SheddingCheckouts(admitted, disk),
        purchases=PurchaseRouter(leader, redemptions, store, sold_out, disk),
        store=view,
        events=events,
        store_health=monitor,
        disk_health=disk,
        is_draining=stop.is_set,
        body_seconds=config.body_seconds,
        code_seconds=config.code_ttl_seconds,
        limits=limits,
        control=_control_room(config, stores, parts),
        cors_origins=origins_of(config.cors_origins),
        buyers=None if config.user_key is None else SignedBuyers(config.user_key),
        counts=parts.requests,
        metrics=metrics,
    )
    observe_requests(app, config, spans)
    publisher = board_publisher(identity, secrets.deployment, stores.board, parts)
    workers = (
        *(checkouts, redemptions, purchase_client, sold_out, view, subscriber, events),
        *(code_keys, monitor, disk, publisher, metrics),
    )
    return WebApp(app, tuple(worker.run for worker in workers), metrics)


def _purchase_client(config: Config, stores: Stores) -> PurchaseClient:
    return PurchaseClient(
        stores.secrets.deployment,
        stores.sender,
        stores.listener,
        waiting_max=config.purchase_waiting_max,
        batch_max=config.purchase_batch_max,
        timeout_seconds=config.request_timeout_seconds,
        # A leader may know Redis's time late by one answer. Then it gets a connection, prepares, and commits.
        settle_seconds=config.redis_timeout_seconds + 3 * config.database_timeout_seconds,
    )


async def _is_sale_shown(database: Postgres, view: SalesView) -> bool:
    """Whether the current sale exists, and visitors here see it: nobody is sent here before."""
    return await has_current_sale(database) and await view.sees_sales()


def _admission(config: Config) -> Admission:
    return Admission(
        waiting_max=config.purchase_waiting_max,
        wait_max_seconds=config.admission_wait_seconds,
        window=config.purchase_batch_max,
        user_shares=UserShares(config.user_waiting_max),
    )


def _rate_limits(config: Config) -> RateLimits:
    per_address, per_user = config.rate_per_address, config.rate_per_user
    return RateLimits(
        RateLimit(per_address) if per_address else None,
        RateLimit(per_user) if per_user else None,
        key_of(TrustedProxies(config.trusted_proxies)),
    )


def _control_room(config: Config, stores: Stores, parts: WebParts) -> ControlRoom | None:
    """Its database connection is not one of the buyers': an operator who pauses a sale must not queue behind them."""
    access = control_access(config, is_tls=tls_of(config) is not None)
    if access is None:
        return None
    pauses = Pauses(stores.control_database)
    return ControlRoom(access, pauses, control_state(stores.secrets.deployment, stores.board, pauses, parts))


def tls_of(config: Config) -> Tls | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    return Tls(config.tls_cert, config.tls_key)
