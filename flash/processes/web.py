"""The root of a web process: opens its stores, and serves HTTP until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio

from flash.config import Config
from flash.http.connection_set import ConnectionSet
from flash.http.listener import address_of, listen
from flash.http.server import serve
from flash.metrics.shared_values import SharedValues, make_file
from flash.processes.lifecycle import (
    Told,
    open_database,
    open_link,
    open_redis_client,
    open_reserved,
    run_process,
    wait_until,
    warn_of_eviction,
)
from flash.processes.observing import open_spans
from flash.processes.open_files import allow_connections
from flash.processes.operators import listen_for_metrics, serve_metrics
from flash.processes.service_manager import ServiceManager
from flash.processes.supervisor import Supervisor
from flash.processes.web_app import Run, Stores, build_web_app, tls_of
from flash.shutdown import WORK_SHARE_OF_DRAIN, process_stop_seconds
from flash.stores.keys import read_secrets

log = logging.getLogger(__name__)

_CONNECTIONS_MAX = 10
_SLOTS_SPARE = 4
"""Places for metrics beside those of the processes: one that stops and its successor may live side by side."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a supervised web process inherits.

    The socket to accept from, a pipe that closes with the supervisor, a file for the metrics of all, and the socket on
    which they are asked for (-1: none).
    """

    listener_fd: int
    lifeline_fd: int
    metrics_fd: int
    metrics_listener_fd: int


def run_web(config: Config, shared: Shared | None = None) -> int:
    """Serve HTTP until SIGTERM or SIGINT, with `config.web_concurrency` processes if this is not one of them.

    Returns the exit code: 0, or 1 if anything died.
    """
    if shared is not None:
        return run_process("web", partial(_serve_shared, shared), config, is_copy=True)
    return run_process("web", _supervise if config.web_concurrency > 1 else _serve, config)


async def _supervise(config: Config, told: Told, _manager: ServiceManager) -> None:
    """The copies are ready, not we."""
    is_tls = tls_of(config) is not None
    listener, metrics_listener = listen(config.host, config.port), listen_for_metrics(config)
    lifeline_fd, our_end = os.pipe()
    metrics_fd = make_file()
    fds = (listener.fileno(), lifeline_fd, metrics_fd, -1 if metrics_listener is None else metrics_listener.fileno())
    try:
        supervisor = Supervisor(
            "web",
            [sys.executable, "-m", "flash", "web", "--shared", *map(str, fds)],
            config.web_concurrency,
            tuple(fd for fd in fds if fd >= 0),
            process_stop_seconds(config.drain_seconds, config.prestop_seconds),
        )
        log.info("%d web processes share %s", config.web_concurrency, address_of(listener, is_tls=is_tls))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on_hurry, told, supervisor)
            await supervisor.run(told.stop)
            nursery.cancel_scope.cancel()
    finally:
        listener.close()
        if metrics_listener is not None:
            metrics_listener.close()
        for fd in (lifeline_fd, our_end, metrics_fd):
            os.close(fd)


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
        await _serve(config, told, manager, shared)
        nursery.cancel_scope.cancel()


def _take(
    config: Config, shared: Shared | None
) -> tuple[socket.socket | None, SharedValues | None, socket.socket | None]:
    """What is shared with other processes: the socket, the metrics, and the socket on which those are asked for.

    On our own, nothing is but the last, which is only ours.
    """
    if shared is None:
        return None, None, listen_for_metrics(config)
    metrics_fd = shared.metrics_listener_fd
    return (
        socket.socket(fileno=shared.listener_fd),
        SharedValues(shared.metrics_fd, slots_max=config.web_concurrency + _SLOTS_SPARE),
        None if metrics_fd < 0 else socket.socket(fileno=metrics_fd),
    )


async def _pause(told: Told, seconds: float, closing: trio.Event) -> None:
    """From the signal on, /readyz answers 503. Set `closing` when the proxy in front has had time to notice."""
    await told.stop.wait()
    if seconds and not told.hurry.is_set():
        log.info("serving for %g s more, no longer ready", seconds)
        with trio.move_on_after(seconds):
            await told.hurry.wait()
    closing.set()


async def _serve(config: Config, told: Told, manager: ServiceManager, shared: Shared | None = None) -> None:
    allow_connections(config.connections_max)
    shared_listener, shared_values, metrics_listener = _take(config, shared)
    tls = tls_of(config)
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
        open_link(config) as board_link,
        open_spans(config, "web") as spans,
    ):
        await warn_of_eviction(redis, stop)
        secrets = await wait_until("PostgreSQL", stop, partial(read_secrets, database))
        connections = ConnectionSet(config)
        stores = Stores(
            database, health_database, control_database, sender, listener, health_link, feed, board_link, secrets
        )
        web = await build_web_app(config, stop, stores, connections, shared_values, spans)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pause, told, config.prestop_seconds, closing)
            nursery.start_soon(_work, web.workers, closing, config.drain_seconds * WORK_SHARE_OF_DRAIN)
            nursery.start_soon(serve_metrics, config, web.metrics, metrics_listener, closing)
            nursery.start_soon(database.watch_servers)
            await serve(
                web.app,
                host=config.host,
                port=config.port,
                limits=config,
                stop=closing,
                tls=tls,
                is_builtin=config.is_http_builtin,
                listener=shared_listener,
                connections=connections,
                on_listening=on_listening,
            )
            nursery.cancel_scope.cancel()
    log.info("stopped")


async def _work(runs: Sequence[Run], stop: trio.Event, drain_seconds: float) -> None:
    """Run the workers of a web process until `drain_seconds` after `stop`: whoever waits then is told 503 by them."""
    async with trio.open_nursery() as workers:
        for run in runs:
            workers.start_soon(run)
        await stop.wait()
        await trio.sleep(drain_seconds)
        workers.cancel_scope.cancel()
