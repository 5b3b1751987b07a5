"""What operators reach, and where: who is one, and the port that answers GET /metrics and nothing else."""

from __future__ import annotations

import logging
import socket
from functools import partial

import trio

from flash.api.control_access import ControlAccess
from flash.api.metrics import metrics_app
from flash.config import Config
from flash.errors import OperatorError
from flash.http.client_address import TrustedProxies, key_of
from flash.http.listener import listen
from flash.http.server import serve
from flash.metrics.page import MetricsPage

log = logging.getLogger(__name__)

_PORTS = 16
"""Processes of one machine that may share a FLASH_METRICS_PORT: each takes the next one that is free."""


def control_access(config: Config, *, is_tls: bool) -> ControlAccess | None:
    """Who is an operator; None if there is no token."""
    if config.control_token is None:
        return None
    return ControlAccess(config.control_token, key_of(TrustedProxies(config.trusted_proxies)), is_tls=is_tls)


def listen_for_metrics(config: Config) -> socket.socket | None:
    """The first free port from FLASH_METRICS_PORT on; None if it is not set. Raises `OperatorError`."""
    if not config.metrics_port:
        return None
    *first, last = range(config.metrics_port, min(config.metrics_port + _PORTS, 65_536))
    for port in first:
        try:
            return listen(config.host, port)
        except OperatorError:
            continue
    return listen(config.host, last)


async def serve_metrics(config: Config, page: MetricsPage, listener: socket.socket | None, stop: trio.Event) -> None:
    """Answer GET /metrics on `listener`, if there is one, until `stop` is set."""
    if listener is None:
        return
    access = control_access(config, is_tls=False)
    await serve(
        metrics_app(page, access, config.body_seconds),
        host=config.host,
        port=0,
        limits=config,
        stop=stop,
        is_builtin=config.is_http_builtin,
        listener=listener,
        on_listening=partial(log.info, "metrics on %s/metrics"),
    )
