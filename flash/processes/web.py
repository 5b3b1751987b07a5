"""The root of a web process: builds it from its parts, and serves HTTP until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from flash.actors.batcher import Batcher
from flash.actors.purchase_router import PurchaseRouter, SoldOutCache
from flash.api.handlers import Handlers
from flash.codes import Codes
from flash.config import Config
from flash.domain import Attempt, Code, RecordedAttempt, Redemption
from flash.http.asgi import App
from flash.http.limits import Limits
from flash.http.server import address_of, listen, serve
from flash.processes.lifecycle import (
    open_database,
    open_link,
    open_redis_client,
    run_process,
    wait_until,
    warn_of_eviction,
)
from flash.processes.supervisor import Supervisor
from flash.purchase_rpc.client import PurchaseClient
from flash.stores.redis_client import ping

log = logging.getLogger(__name__)

_CONNECTIONS_MAX = 10
_REDEMPTION_BATCH_MAX = 500
_WORK_SHARE_OF_DRAIN = 0.8
"""The workers of a stopping web process end that much earlier than its connections: a 503 is an answer, a closed
connection is none."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a supervised web process inherits: the socket to accept from, and a pipe that ends with the supervisor."""

    listener_fd: int
    lifeline_fd: int


def run_web(config: Config, shared: Shared | None = None) -> int:
    """Serve HTTP until SIGTERM or SIGINT, with `config.web_concurrency` processes if this is not one of them.

    Returns the exit code: 0, or 1 if anything died.
    """
    if shared is not None:
        return run_process(partial(_serve_shared, shared), config)
    return run_process(_supervise if config.web_concurrency > 1 else _serve, config)


async def _supervise(config: Config, stop: trio.Event) -> None:
    listener = listen(config.host, config.port)
    lifeline_fd, our_end = os.pipe()
    fds = (listener.fileno(), lifeline_fd)
    try:
        supervisor = Supervisor(
            "web",
            [sys.executable, "-m", "flash", "web", "--shared", *map(str, fds)],
            config.web_concurrency,
            fds,
            config.drain_seconds,
        )
        log.info("%d web processes share %s", config.web_concurrency, address_of(listener))
        await supervisor.run(stop)
    finally:
        listener.close()
        os.close(lifeline_fd)
        os.close(our_end)


async def _stop_with_supervisor(lifeline_fd: int, stop: trio.Event) -> None:
    """A process whose supervisor was killed would hold the port for ever."""
    await trio.lowlevel.wait_readable(lifeline_fd)
    if not stop.is_set():
        log.error("the supervisor of this process has died, stopping")
        stop.set()


async def _serve_shared(shared: Shared, config: Config, stop: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_with_supervisor, shared.lifeline_fd, stop)
        await _serve(config, stop, socket.socket(fileno=shared.listener_fd))
        nursery.cancel_scope.cancel()


async def _serve(config: Config, stop: trio.Event, shared_listener: socket.socket | None = None) -> None:
    async with (
        open_database(config, stop, "flash web", _CONNECTIONS_MAX) as database,
        open_redis_client(config) as redis,
        open_link(config) as sender,
        open_link(config) as listener,
    ):
        codes = Codes(await wait_until("PostgreSQL", stop, database.code_key))
        await warn_of_eviction(redis)
        checkouts: Batcher[Attempt, RecordedAttempt] = Batcher(
            "checkouts",
            database.record_attempts,
            waiting_max=config.checkout_waiting_max,
            batch_max=config.checkout_batch_max,
            workers=config.checkout_workers,
        )
        redemptions: Batcher[Code, Redemption] = Batcher(
            "redemptions",
            database.find_redemptions,
            waiting_max=config.purchase_waiting_max,
            batch_max=_REDEMPTION_BATCH_MAX,
            workers=1,
        )
        purchase_client = PurchaseClient(
            sender,
            listener,
            waiting_max=config.purchase_waiting_max,
            batch_max=config.purchase_batch_max,
            timeout_seconds=config.request_timeout_seconds,
        )
        sold_out = SoldOutCache(database)
        await wait_until("PostgreSQL", stop, sold_out.refresh)
        handlers = Handlers(
            codes,
            checkouts,
            PurchaseRouter(purchase_client, redemptions, sold_out),
            database,
            ping_database=database.ping,
            ping_redis=partial(ping, redis),
            is_draining=stop.is_set,
        )
        app = App(handlers.routes(), handlers.patterns(), body_seconds=config.body_seconds)
        async with trio.open_nursery() as nursery:
            runs = (checkouts.run, redemptions.run, purchase_client.run, sold_out.run)
            nursery.start_soon(_work, runs, stop, config.drain_seconds * _WORK_SHARE_OF_DRAIN)
            await serve(
                app,
                host=config.host,
                port=config.port,
                limits=_limits(config),
                is_builtin=config.http == "own",
                stop=stop,
                listener=shared_listener,
                on_listening=lambda address: log.info("listening on %s", address),
            )
            nursery.cancel_scope.cancel()
    log.info("stopped")


async def _work(runs: Sequence[Callable[[], Awaitable[None]]], stop: trio.Event, drain_seconds: float) -> None:
    """Run the workers of a web process until `drain_seconds` after `stop`: whoever waits then is told 503 by them."""
    async with trio.open_nursery() as workers:
        for run in runs:
            workers.start_soon(run)
        await stop.wait()
        await trio.sleep(drain_seconds)
        workers.cancel_scope.cancel()


def _limits(config: Config) -> Limits:
    return Limits(
        connections_max=config.connections_max,
        idle_seconds=config.idle_seconds,
        head_seconds=config.head_seconds,
        body_seconds=config.body_seconds,
        send_seconds=config.send_seconds,
        drain_seconds=config.drain_seconds,
    )
