"""What a process tells of single requests and commands, as its settings ask. What they do not ask for costs nothing."""

from __future__ import annotations

from flash.config import Config
from flash.http.access_log import AccessLog
from flash.http.asgi import App
from flash.http.client_address import TrustedProxies
from flash.http.message import Request


def observe_requests(app: App, config: Config) -> None:
    """Log some of them, if FLASH_ACCESS_LOG says so."""
    if config.access_log:
        proxies = TrustedProxies(config.trusted_proxies)

        def client_of(request: Request) -> str:
            return str(proxies.client_of(request) or "unix")

        app.reads_peers = True
        app.observe(AccessLog(config.access_log, client_of).around)
