"""GET /metrics: for Prometheus, and for operators only if there is a control token."""

from __future__ import annotations

from typing import Protocol

from flash.api.control_access import ControlAccess
from flash.http.asgi import App
from flash.http.message import Header, Request, Response
from flash.http.router import Handler

_NO_STORE: Header = (b"cache-control", b"no-store")


class Metrics(Protocol):
    async def text(self, accept: str) -> tuple[bytes, bytes]:
        """The page and its content type, in the format that the header `accept` asks for."""
        ...


class MetricsHandlers:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def metrics(self, request: Request) -> Response:
        accept = b",".join(request.header_values(b"accept"))
        text, content_type = await self._metrics.text(accept.decode("latin-1"))
        return Response(200, text, content_type, (_NO_STORE,))


def metrics_app(metrics: Metrics, access: ControlAccess | None, body_seconds: float) -> App:
    """An application that has nothing else, for a port of its own."""
    return App(metrics_route(metrics, access), {}, body_seconds=body_seconds, reads_peers=access is not None)


def metrics_route(metrics: Metrics, access: ControlAccess | None) -> dict[tuple[str, str], Handler]:
    handler = MetricsHandlers(metrics).metrics
    return {("GET", "/metrics"): handler if access is None else access.reading(handler)}
