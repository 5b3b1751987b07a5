"""The root of a web process: builds it from its parts, and serves HTTP until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex

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
from flash.api.control_access import ControlAccess
from flash.api.event_stream import encode_event
from flash.api.limits import RateLimits
from flash.api.routes import build_app
from flash.api.signed_buyers import SignedBuyers
from flash.codes import Codes, digest_user
from flash.config import Config
from flash.domain import Attempt, Code, MalformedAttempt, RecordedAttempt, Redemption
from flash.http.asgi import App
from flash.http.client_address import TrustedProxies, key_of
from flash.http.connection_set import connections_max
from flash.http.cors import origins_of
from flash.http.listener import address_of, listen
from flash.http.rate_limit import RateLimit
from flash.http.server import Tls, serve
from flash.processes.lifecycle import (
    Told,
    open_database,
    open_link,
    open_redis_client,
    open_reserved,
    run_process,
    unless_stopped,
    wait_until,
    warn_of_eviction,
)
from flash.processes.service_manager import ServiceManager
from flash.processes.supervisor import Supervisor
from flash.purchase_rpc.client import PurchaseClient
from flash.shutdown import WORK_SHARE_OF_DRAIN, process_stop_seconds
from flash.sold_feed.subscriber import SoldSubscriber
from flash.stores.checkouts import Checkouts
from flash.stores.disk import DatabaseDisk
from flash.stores.health import has_current_sale
from flash.stores.keys import READ_KEYS_SECONDS, Secrets, read_code_keys, read_secrets
from flash.stores.pauses import Pauses
from flash.stores.postgres import Postgres
from flash.stores.redis_link import RedisLink, write_probe
from flash.stores.sales import Sales

log = logging.getLogger(__name__)

Run = Callable[[], Awaitable[None]]

_CONNECTIONS_MAX = 10
_REDEMPTION_BATCH_MAX = 500


@dataclass(frozen=True, slots=True)
class Shared:
    """What a supervised web process inherits: the socket to accept from, and a pipe that closes with the supervisor."""

    listener_fd: int
    lifeline_fd: int


def run_web(config: Config, shared: Shared | None = None) -> int:
    """Serve HTTP until SIGTERM or SIGINT, with `config.web_concurrency` processes if this is not one of them.

    Returns the exit code: 0, or 1 if anything died.
    """
    if shared is not None:
        return run_process("web", partial(_serve_shared, shared), config, is_copy=True)
    return run_process("web", _supervise if config.web_concurrency > 1 else _serve, config)


async def _supervise(config: Config, told: Told, _manager: ServiceManager) -> None:
    """The copies are ready, not we."""
    is_tls = _tls(config) is not None
    listener = listen(config.host, config.port)
    lifeline_fd, our_end = os.pipe()
    fds = (listener.fileno(), lifeline_fd)
    try:
        supervisor = Supervisor(
            "web",
            [sys.executable, "-m", "flash", "web", "--shared", *map(str, fds)],
            config.web_concurrency,
            fds,
            process_stop_seconds(config.drain_seconds, config.prestop_seconds),
        )
        log.info("%d web processes share %s", config.web_concurrency, address_of(listener, is_tls=is_tls))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on_hurry, told, supervisor)
            await supervisor.run(told.stop)
            nursery.cancel_scope.cancel()
    finally:
        listener.close()
        os.close(lifeline_fd)
        os.close(our_end)


async def _pass_on_hurry(told: Told, supervisor: Supervisor) -> None:
    await told.hurry.wait()
    supervisor.hurry()


async def _stop_with_supervisor(lifeline_fd: int, told: Told) -> None:
    """A process whose supervisor was killed would hold the port for ever."""
    await trio.lowlevel.wait_readable(lifeline_fd)
    if not told.stop.is_set():
        log.error("the supervisor of this process has died, stopping")
        told.stop.set()
    told.hurry.set()


async def _serve_shared(shared: Shared, config: Config, told: Told, manager: ServiceManager) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_with_supervisor, shared.lifeline_fd, told)
        await _serve(config, told, manager, socket.socket(fileno=shared.listener_fd))
        nursery.cancel_scope.cancel()


async def _pause(told: Told, seconds: float, closing: trio.Event) -> None:
    """From the signal on, /readyz answers 503. Set `closing` when the proxy in front has had time to notice."""
    await told.stop.wait()
    if seconds and not told.hurry.is_set():
        log.info("serving for %g s more, no longer ready", seconds)
        with trio.move_on_after(seconds):
            await told.hurry.wait()
    closing.set()


async def _serve(
    config: Config, told: Told, manager: ServiceManager, shared_listener: socket.socket | None = None
) -> None:
    tls = _tls(config)
    stop, closing = told.stop, trio.Event()

    def on_listening(address: str) -> None:
        log.info("listening on %s", address)
        manager.ready()

    async with (
        open_database(config, stop, "flash web", _CONNECTIONS_MAX) as database,
        open_reserved(config, "flash health") as health_database,
        open_reserved(config, "flash control") as control_database,
        open_redis_client(config) as redis,
        open_link(config) as sender,
        open_link(config) as listener,
        open_link(config) as health_link,
        open_link(config) as feed,
    ):
        await warn_of_eviction(redis, stop)
        secrets = await wait_until("PostgreSQL", stop, partial(read_secrets, database))
        app, runs = await _build(
            config,
            stop,
            database,
            secrets,
            health_database,
            control_database,
            health_link,
            PurchaseClient(
                secrets.deployment,
                sender,
                listener,
                waiting_max=config.purchase_waiting_max,
                batch_max=config.purchase_batch_max,
                timeout_seconds=config.request_timeout_seconds,
                # A leader may know Redis's time late by one answer. Then it gets a connection, prepares, and commits.
                settle_seconds=config.redis_timeout_seconds + 3 * config.database_timeout_seconds,
            ),
            feed,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pause, told, config.prestop_seconds, closing)
            nursery.start_soon(_work, runs, closing, config.drain_seconds * WORK_SHARE_OF_DRAIN)
            await serve(
                app,
                host=config.host,
                port=config.port,
                limits=config,
                stop=closing,
                tls=tls,
                is_builtin=config.is_http_builtin,
                listener=shared_listener,
                on_listening=on_listening,
            )
            nursery.cancel_scope.cancel()
    log.info("stopped")


async def _build(
    config: Config,
    stop: trio.Event,
    database: Postgres,
    secrets: Secrets,
    health_database: Postgres,
    control_database: Postgres,
    health_link: RedisLink,
    purchase_client: PurchaseClient,
    feed: RedisLink,
) -> tuple[App, Sequence[Run]]:
    """The application, and the workers that it asks."""
    code_keys = CodeKeyRing(
        Codes(await wait_until("PostgreSQL", stop, partial(read_code_keys, database))),
        partial(read_code_keys, database),
        seconds=READ_KEYS_SECONDS,
    )
    store = Checkouts(database, config.code_ttl_seconds, partial(digest_user, secrets.user_key))
    sales = Sales(database)
    checkouts: Batcher[Attempt | MalformedAttempt, RecordedAttempt] = Batcher(
        "checkouts",
        store.record_attempts,
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
    )
    leader = AdmittingLeader(purchase_client, _admission(config))
    view = SalesView(sales)
    sold_out = SoldOutCache(sales)
    await wait_until("PostgreSQL", stop, view.refresh)
    subscriber = SoldSubscriber(secrets.deployment, feed, view.receive, view.doubt)
    await wait_until("PostgreSQL", stop, sold_out.refresh)
    monitor = HealthMonitor(
        partial(has_current_sale, health_database),
        partial(write_probe, health_link, secrets.deployment.key("health")),
    )
    disk = DiskSpace(DatabaseDisk(health_database).free_bytes, config.disk_min_mb * 2**20)
    for look in (monitor.look, disk.measure):
        await unless_stopped(stop, look)  # before anybody can ask
    admitted = AdmittingCheckouts(checkouts, UserShares(config.user_waiting_max))
    viewers_max = min(config.events_viewers_max, connections_max(config) // 2)  # the others are for buyers
    events = EventHub(view, encode_event, new_name=lambda: token_hex(6).encode(), viewers_max=viewers_max)
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
        limits=_rate_limits(config),
        control=_control_room(config, control_database),
        cors_origins=origins_of(config.cors_origins),
        buyers=None if config.user_key is None else SignedBuyers(config.user_key),
    )
    workers = checkouts, redemptions, purchase_client, sold_out, view, subscriber, events, code_keys, monitor, disk
    return app, tuple(worker.run for worker in workers)


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


def _control_room(config: Config, database: Postgres) -> ControlRoom | None:
    """`database` is not that of the buyers: an operator who pauses a sale must not queue behind them."""
    if config.control_token is None:
        return None
    address_of = key_of(TrustedProxies(config.trusted_proxies))
    access = ControlAccess(config.control_token, address_of, is_tls=_tls(config) is not None)
    return ControlRoom(access, Pauses(database))


async def _work(runs: Sequence[Run], stop: trio.Event, drain_seconds: float) -> None:
    """Run the workers of a web process until `drain_seconds` after `stop`: whoever waits then is told 503 by them."""
    async with trio.open_nursery() as workers:
        for run in runs:
            workers.start_soon(run)
        await stop.wait()
        await trio.sleep(drain_seconds)
        workers.cancel_scope.cancel()


def _tls(config: Config) -> Tls | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    return Tls(config.tls_cert, config.tls_key)
