"""OpenTelemetry spans, from a request through Redis to the leader's batch, and what they cost when they are off."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flash import bridge
from flash.config import Config
from flash.correlation import correlation
from flash.domain import Attempt, Command, ItemId, RequestId, UserId
from flash.errors import ConfigError, Unavailable
from flash.http.asgi import App
from flash.local.embedded import EmbeddedValkey
from flash.local.ports import any_port
from flash.processes import inventory, spans, web
from flash.processes.lifecycle import Told
from flash.processes.observing import observe_requests, open_spans
from flash.processes.service_manager import ServiceManager
from flash.processes.spans import Spans
from flash.testing.client import Client
from flash.testing.cluster import ROOT, running_cluster
from tests.codes import a_code

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
NO_MANAGER = ServiceManager.of({}, is_copy=False)


class Recorded:
    """What a process whose spans stay in memory has recorded."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def id_of(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


def attribute(span: ReadableSpan, name: str) -> object:
    assert span.attributes is not None
    return span.attributes[name]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorded]:
    """By role: spans stay in memory instead of being sent."""
    roles = {"web": Recorded(), "inventory": Recorded()}
    monkeypatch.setattr(spans, "otlp_provider", lambda role: roles[role].provider)
    return roles


@asynccontextmanager
async def both_roles(config: Config) -> AsyncIterator[Client]:
    """A web and an inventory process in this one, on real stores."""
    told = Told()
    async with bridge.open_loop(), trio.open_nursery() as nursery:
        nursery.start_soon(inventory._run_inventory, config, told, NO_MANAGER)
        nursery.start_soon(web._serve, config, told, NO_MANAGER)
        async with Client(f"http://127.0.0.1:{config.port}", reconnects=True) as client:
            with trio.fail_after(20):
                while not await is_ready(client):  # noqa: ASYNC110 - it has no event for somebody outside
                    await trio.sleep(0.02)
            yield client
        told.stop.set()
        told.hurry.set()


async def is_ready(client: Client) -> bool:
    try:
        return (await client.get("/health")).status == 200
    except OSError:
        return False


async def test_a_purchase_is_one_trace_from_the_request_through_redis_to_the_leaders_batch(
    postgres: str, valkey: EmbeddedValkey, recorded: dict[str, Recorded]
) -> None:
    config = replace(Config(), database_url=postgres, redis_url=valkey.url, port=any_port("127.0.0.1"), traces="otlp")
    async with both_roles(config) as client:
        headers = [(b"traceparent", PARENT), (b"x-request-id", b"order-77")]
        answer = await client.post("/checkout?user_id=ann&id=1", headers)
        code = answer.json()["code"]
        sold = await client.post(f"/purchase?code={code}", headers)
        assert sold.status == 200
        refused = await client.post(f"/purchase?code={code}")
        assert refused.status == 409
    shop, leader = recorded["web"], recorded["inventory"]
    (checkout,), (purchase, again) = shop.named("POST /checkout"), shop.named("POST /purchase")
    (statement,) = shop.named("record attempts")
    first, second = shop.named("purchase command")
    batches = leader.named("purchase batch")
    assert [trace_of(span) for span in (checkout, statement, purchase, first, batches[0])] == [TRACE] * 5
    assert parent_of(checkout) == parent_of(purchase) == "00f067aa0ba902b7"
    assert parent_of(statement) == id_of(checkout)
    assert parent_of(first) == id_of(purchase)
    assert parent_of(batches[0]) == id_of(first)
    assert sold.header(b"traceparent") == f"00-{TRACE}-{id_of(purchase)}-01".encode()
    assert attribute(purchase, "flash.x_request_id") == "order-77"
    assert (attribute(first, "flash.refusal"), attribute(second, "flash.refusal")) == ("none", "code_already_used")
    assert parent_of(again) is None, "a trace of its own"
    assert trace_of(again) == trace_of(second) == trace_of(batches[1]) != TRACE
    told = str([dict(span.attributes or {}) for span in (*shop.spans, *leader.spans)])
    assert code not in told
    assert "ann" not in told


async def test_a_batch_is_a_child_of_one_that_is_recorded_and_linked_to_the_others() -> None:
    recorded = Recorded()
    unsampled, *sampled = [correlation(b"r", f"00-{n:032x}-{n:016x}-{int(n > 1):02x}".encode()) for n in (1, 2, 3)]

    async def record(attempts: list[object]) -> list[object]:
        return attempts

    attempts = [Attempt(UserId("ann"), ItemId(1), found) for found in (unsampled, *sampled)]
    await Spans(recorded.provider).checkouts(record)([*attempts, Attempt(UserId("bob"), ItemId(1))])  # type: ignore[arg-type]
    (span,) = recorded.spans
    assert parent_of(span) == f"{2:016x}"
    assert [link.context.span_id for link in span.links] == [3, 1]
    assert attribute(span, "db.operation.batch.size") == 4


async def test_what_fails_is_an_error_and_its_text_is_not_told() -> None:
    recorded = Recorded()

    async def fail(_attempts: object) -> list[object]:
        raise Unavailable("Key (user_id)=(ann)")

    with pytest.raises(Unavailable):
        await Spans(recorded.provider).checkouts(fail)([])  # type: ignore[arg-type]
    (span,) = recorded.spans
    assert attribute(span, "error.type") == "Unavailable"
    assert not span.status.is_ok
    assert "ann" not in span.to_json()


async def test_a_trace_that_its_client_does_not_record_is_not_recorded_here() -> None:
    recorded = Recorded()
    seen = []

    class Leader:
        async def ask(self, command: Command) -> object:
            seen.append(command.correlation)
            raise Unavailable("away")

    quiet = PARENT[:-2] + b"00"
    command = Command(a_code(1), RequestId("auto:1"), correlation(b"r", quiet))
    with pytest.raises(Unavailable):
        await Spans(recorded.provider).leader(Leader()).ask(command)  # type: ignore[arg-type]
    assert not recorded.spans
    assert seen[0].endswith(b"-00"), "and no leader records it either"


async def test_off_they_are_neither_imported_nor_called() -> None:
    """redis-py imports OpenTelemetry by itself where it is installed, so here it is not."""
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "import flash.processes.web, flash.processes.inventory, flash.processes.observing, flash.cli\n"
        "assert 'flash.processes.spans' not in sys.modules\n"
    )
    await trio.run_process([sys.executable, "-c", code], cwd=ROOT)
    async with open_spans(Config(), "web") as off:
        assert off is None
    app = App({}, body_seconds=1)
    observe_requests(app, Config(), off)
    assert app.handle == app.respond, "nothing stands between a connection and the handlers"


async def test_the_extra_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash.processes.spans", None)
    monkeypatch.delattr("flash.processes.spans", raising=False)
    with pytest.raises(ConfigError, match=r"needs OpenTelemetry: pip install '\.\[otel\]' in a checkout"):
        async with open_spans(replace(Config(), traces="otlp"), "web"):
            pass


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP collector on loopback, and what it was sent."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            got.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


async def test_real_processes_send_them_as_the_standard_variables_say_and_the_last_ones_when_they_stop(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    with collector() as (endpoint, got):
        settings = {"FLASH_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        async with running_cluster(postgres, valkey.url) as (cluster, _):
            leader = await cluster.start("inventory", **settings)
            await leader.wait_for("leading sale 1")
            shop, address = await cluster.start_web(**settings)
            async with Client(address) as client:
                code = (await client.post("/checkout?user_id=ann&id=1")).json()["code"]
                assert (await client.post(f"/purchase?code={code}", [(b"traceparent", PARENT)])).status == 200
            for process in (shop, leader):
                process.terminate()
                assert await process.wait() == 0
    found = {
        (attribute.value.string_value, span.name)
        for request in got
        for group in request.resource_spans
        for attribute in group.resource.attributes
        if attribute.key == "service.name"
        for scope in group.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    }
    assert found == {
        ("flash-web", "POST /purchase"),
        ("flash-web", "purchase command"),
        ("flash-inventory", "purchase batch"),
    }
