"""OpenTelemetry spans of what buyers ask: a request, a checkout statement, a purchase command, a leader's batch.

The one module that knows OpenTelemetry. It is imported only if spans are wanted, and stands around what it observes:
nothing that serves buyers knows of it. A span's place in its trace comes with the request or command, in the text that
logs use too. A batch belongs to many requests: it is a child of one that is recorded, and linked to the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from flash import __version__
from flash.actors.admitting import Leader
from flash.actors.inventory import Delivered, Serve
from flash.correlation import Correlation, traceparent_of, with_traceparent, x_request_id_of
from flash.domain import Attempt, Command, MalformedAttempt, Outcome, RecordedAttempt, Refused, SaleId
from flash.http.access_log import redacted
from flash.http.asgi import Respond
from flash.http.correlating import traceparent_given
from flash.http.message import Answer, Request

LINKS_MAX = 128
"""What OpenTelemetry keeps of a span's links, unless it is told otherwise."""

Attributes = dict[str, AttributeValue]
Record = Callable[[list[Attempt | MalformedAttempt]], Awaitable[list[RecordedAttempt]]]


D = TypeVar("D", bound=Delivered)


def otlp_provider(role: str) -> TracerProvider:
    """Sends spans by OTLP over HTTP; where to, how many and under which name is said by the standard's variables."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: f"flash-{role}"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Spans:
    """Each method returns its argument with spans around it."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("flash", __version__)

    def requests(self, respond: Respond) -> Respond:
        """From now on the request's place in its trace is the span, for its answer and all that it causes."""

        async def traced(request: Request) -> Answer:
            attributes: Attributes = {
                "http.request.method": request.method,
                "url.path": redacted(request.raw_path, b""),
                "flash.x_request_id": x_request_id_of(request.correlation).decode(),
            }
            with self._span(request.method, SpanKind.SERVER, traceparent_given(request), attributes) as span:
                request.correlation = _within(request.correlation, span)
                answer = await respond(request)
                if request.route:
                    span.update_name(f"{request.method} {request.route}")
                    span.set_attribute("http.route", request.route)
                span.set_attribute("http.response.status_code", answer.status)
                if answer.status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            return answer

        return traced

    def checkouts(self, record: Record) -> Record:
        async def traced(attempts: list[Attempt | MalformedAttempt]) -> list[RecordedAttempt]:
            parents = [traceparent_of(attempt.correlation) for attempt in attempts]
            attributes: Attributes = {"db.system.name": "postgresql", "db.operation.batch.size": len(attempts)}
            with self._span("record attempts", SpanKind.CLIENT, parents, attributes):
                return await record(attempts)

        return traced

    def leader(self, leader: Leader) -> Leader:
        return _TracedLeader(self, leader)

    def batches(self, sale_id: SaleId) -> Callable[[Serve[D]], Serve[D]]:
        """For what the leader of `sale_id` does with a batch."""

        def around(serve: Serve[D]) -> Serve[D]:
            async def traced(deliveries: Sequence[D]) -> None:
                parents = [traceparent_of(delivery.command.correlation) for delivery in deliveries]
                attributes: Attributes = {"flash.sale_id": sale_id, "messaging.batch.message_count": len(deliveries)}
                with self._span("purchase batch", SpanKind.CONSUMER, parents, attributes):
                    await serve(deliveries)

            return traced

        return around

    async def purchase(self, leader: Leader, command: Command) -> Outcome:
        attributes: Attributes = {"flash.sale_id": command.code.sale_id, "flash.item_id": command.code.item_id}
        parent = traceparent_of(command.correlation)
        with self._span("purchase command", SpanKind.PRODUCER, [parent], attributes) as span:
            outcome = await leader.ask(replace(command, correlation=_within(command.correlation, span)))
            refusal = outcome.refusal.value if isinstance(outcome, Refused) else "none"
            span.set_attribute("flash.refusal", refusal)
            return outcome

    @contextmanager
    def _span(self, name: str, kind: SpanKind, parents: Sequence[bytes], attributes: Attributes) -> Iterator[Span]:
        """A span below the first of `parents` that is recorded, linked to the others."""
        contexts = sorted(_contexts(parents), key=lambda context: not context.trace_flags.sampled)
        above = set_span_in_context(NonRecordingSpan(contexts[0]), Context()) if contexts else Context()
        links = [Link(context) for context in contexts[1 : LINKS_MAX + 1]]
        span = self._tracer.start_span(name, above, kind, attributes, links)
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)  # not its text, which may quote anything
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()


class _TracedLeader:
    def __init__(self, spans: Spans, leader: Leader) -> None:
        self._spans = spans
        self._leader = leader

    async def ask(self, command: Command) -> Outcome:
        return await self._spans.purchase(self._leader, command)


def _contexts(traceparents: Iterable[bytes]) -> Iterator[SpanContext]:
    for text in traceparents:
        if text:
            trace_id, span_id, flags = (int(part, 16) for part in text.split(b"-")[1:4])
            yield SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def _within(found: Correlation, span: Span) -> Correlation:
    context = span.get_span_context()
    if not context.is_valid:
        return found  # OTEL_SDK_DISABLED
    return with_traceparent(found, b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags))
