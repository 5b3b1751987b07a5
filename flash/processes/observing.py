"""What a process tells of single requests and commands, as its settings ask. What they do not ask for costs nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from flash.config import Config
from flash.errors import ConfigError
from flash.http.access_log import AccessLog
from flash.http.asgi import App
from flash.http.client_address import TrustedProxies
from flash.http.message import Request

if TYPE_CHECKING:
    from flash.processes.spans import Spans

_FLUSH_SECONDS = 0.5
"""How long the end of a process may be put off to send its last spans."""


@asynccontextmanager
async def open_spans(config: Config, role: str) -> AsyncIterator[Spans | None]:
    """Spans, if FLASH_TRACES asks for them. Raises `ConfigError` if the extra is not installed."""
    if config.traces == "off":
        yield None
        return
    try:
        from flash.processes import spans
    except ImportError as error:
        raise ConfigError(
            f"FLASH_TRACES={config.traces} needs OpenTelemetry: pip install '.[otel]' in a checkout of flash"
        ) from error
    provider = spans.otlp_provider(role)
    try:
        yield spans.Spans(provider)
    finally:
        with trio.move_on_after(_FLUSH_SECONDS, shield=True):
            await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)


def observe_requests(app: App, config: Config, spans: Spans | None) -> None:
    """Spans around all requests, and a log of some of them, if that is wanted."""
    if spans is not None:
        app.observe(spans.requests)
    if config.access_log:
        proxies = TrustedProxies(config.trusted_proxies)

        def client_of(request: Request) -> str:
            return str(proxies.client_of(request) or "unix")

        app.reads_peers = True
        access_log = AccessLog(config.access_log, client_of)
        app.observe(access_log.around)
        app.on_rejected = access_log.log_rejected
