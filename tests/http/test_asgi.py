"""The application without a server: routes, methods, bodies and errors, through plain ASGI calls."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import trio

from flash.domain import COMMAND_LIFE_SECONDS_MAX
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable
from flash.http import problems
from flash.http.asgi import BODY_PIECES_MAX, App, Message
from flash.http.limits import BODY_MAX_BYTES
from flash.http.message import Request, Response, json_response
from flash.http.parameters import InvalidParameter
from flash.http.problems import RETRY_AFTER_MAX

Headers = Sequence[tuple[bytes, bytes]]


@dataclass
class Heard:
    """What the application sent, and how often it asked for a piece of the body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    receives: int

    def json(self) -> Any:
        return orjson.loads(self.body)


async def call(
    app: App,
    method: str,
    target: bytes,
    *,
    headers: Headers = (),
    body: Sequence[bytes] = (b"",),
    version: str = "1.1",
    leaves: bool = False,
) -> Heard:
    path, _, query = target.partition(b"?")
    scope: Message = {
        "type": "http",
        "http_version": version,
        "method": method,
        "raw_path": path,
        "query_string": query,
        "headers": list(headers),
    }
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": n + 1 < len(body) or leaves}
        for n, piece in enumerate(body)
    ]
    messages += [{"type": "http.disconnect"}] * leaves
    asked: list[Message] = []
    sent: list[Message] = []

    async def receive() -> Message:
        if not messages:
            await trio.sleep_forever()
        asked.append(messages.pop(0))
        return asked[-1]

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    told = {name: value for name, value in start["headers"] if name not in (b"x-request-id", b"traceparent")}
    return Heard(start["status"], told, b"".join(m["body"] for m in rest), len(asked))


async def echo(request: Request) -> Response:
    return json_response(200, {"path": request.path, "query": request.query.decode()})


async def echo_segment(request: Request, segment: str) -> Response:
    return json_response(200, {"path": request.path, "segment": segment})


def make_app(*, body_seconds: float = 10, body_max_bytes: int = BODY_MAX_BYTES) -> App:
    return App(
        {
            ("POST", "/checkout"): echo,
            ("GET", "/sales"): echo,
            ("GET", "/sales/current"): echo,
            ("GET", "/both"): echo,
            ("POST", "/both"): echo,
        },
        {
            ("GET", "/sales/{id}"): echo_segment,
            ("GET", "/sales/{id}/items"): echo_segment,
            ("GET", "/items/{id}/image.svg"): echo_segment,
            ("DELETE", "/purchases/{code}"): echo_segment,
        },
        body_seconds=body_seconds,
        body_max_bytes=body_max_bytes,
    )


def failing(error: Exception) -> App:
    async def fail(request: Request) -> Response:
        raise error

    return App({("POST", "/fail"): fail}, body_seconds=10)


async def test_a_request_reaches_its_handler_with_its_query() -> None:
    answer = await call(make_app(), "POST", b"/checkout?user_id=a&id=1")
    assert (answer.status, answer.json()) == (200, {"path": "/checkout", "query": "user_id=a&id=1"})
    assert answer.headers == {
        b"content-type": b"application/json",
        b"content-length": str(len(answer.body)).encode(),
    }


@pytest.mark.parametrize(
    ("target", "segment"),
    [
        (b"/sales/17", "17"),
        (b"/sales/17/items", "17"),
        (b"/items/9/image.svg", "9"),
        (b"/sales/a%20b+c", "a b+c"),
        (b"/sales/%C3%A9", "é"),
        (b"/%73ales/17", "17"),
        (b"http://example.com:8080/sales/17", "17"),
    ],
)
async def test_a_pattern_passes_on_its_decoded_segment(target: bytes, segment: str) -> None:
    answer = await call(make_app(), "GET", target)
    assert (answer.status, answer.json()["segment"]) == (200, segment)


async def test_an_exact_path_wins_over_a_pattern() -> None:
    assert "segment" not in (await call(make_app(), "GET", b"/sales/current")).json()
    assert "segment" not in (await call(make_app(), "GET", b"/sales/c%75rrent")).json()


UNKNOWN = [b"/", b"/nowhere", b"/checkout/", b"//checkout", b"/Checkout", b"/sales/", b"/sales//items", b"/items"]
NEARLY_KNOWN = [b"/sales/1/2", b"/sales/1%2F2", b"/sales%2F1", b"/items/9/image.png"]
NO_PATH = [b"*", b"example.com:443", b"http://x"]


@pytest.mark.parametrize("target", UNKNOWN + NEARLY_KNOWN + NO_PATH)
async def test_an_unknown_path_is_not_found(target: bytes) -> None:
    answer = await call(make_app(), "GET", target)
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert answer.headers[b"content-type"] == b"application/problem+json"


@pytest.mark.parametrize("target", [b"/sales/%", b"/sales/%zz", b"/%ff", b"/sales/%ED%A0%80", b"/sales/\xc3\xa9"])
async def test_a_path_that_cannot_be_decoded_is_invalid(target: bytes) -> None:
    answer = await call(make_app(), "GET", target)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW", "CONNECT", "TRACE"])
async def test_a_wrong_method_on_a_known_path_gets_the_allowed_ones(method: str) -> None:
    answer = await call(make_app(), method, b"/checkout")
    assert (answer.status, answer.headers[b"allow"]) == (405, b"POST")


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        (b"/sales", b"GET, HEAD"),
        (b"/sales/current", b"GET, HEAD"),
        (b"/sales/1", b"GET, HEAD"),
        (b"/both", b"GET, HEAD, POST"),
        (b"/purchases/x", b"DELETE"),
    ],
)
async def test_allow_lists_every_method_of_the_path_and_head_with_get(target: bytes, allow: bytes) -> None:
    answer = await call(make_app(), "OPTIONS", target)
    assert (answer.status, answer.headers[b"allow"]) == (405, allow)
    assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("target", [b"/sales", b"/sales/17", b"/nowhere"])
async def test_head_answers_with_the_headers_of_get_and_no_body(target: bytes) -> None:
    get, head = [await call(make_app(), method, target) for method in ("GET", "HEAD")]
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")
    assert get.headers[b"content-length"] != b"0"


async def test_a_body_that_is_not_announced_is_not_asked_for() -> None:
    assert (await call(make_app(), "POST", b"/checkout")).receives == 0
    assert (await call(make_app(), "POST", b"/checkout", headers=[(b"content-length", b"0")])).receives == 0


@pytest.mark.parametrize("headers", [[(b"content-length", b"10")], [(b"transfer-encoding", b"chunked")]])
async def test_a_body_within_the_bound_is_read(headers: Headers) -> None:
    app = make_app(body_max_bytes=10)
    answer = await call(app, "POST", b"/checkout", headers=headers, body=[b"x" * 5, b"y" * 5, b""])
    assert (answer.status, answer.receives) == (200, 3)
    assert b"connection" not in answer.headers


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_a_handler_gets_the_whole_body(version: str) -> None:
    bodies: list[bytes] = []

    async def keep(request: Request) -> Response:
        bodies.append(request.body)
        return json_response(200, None)

    app = App({("POST", "/x"): keep}, body_seconds=10)
    headers = [(b"transfer-encoding", b"chunked")] if version == "1.1" else []
    await call(app, "POST", b"/x", headers=headers, version=version, body=[b"abc", b"", b"def"])
    assert bodies == [b"abcdef"]


async def test_a_body_sent_to_an_unknown_path_is_read_too_so_that_the_connection_survives() -> None:
    answer = await call(make_app(), "POST", b"/nowhere", headers=[(b"content-length", b"3")], body=[b"abc"])
    assert (answer.status, answer.receives, b"connection" in answer.headers) == (404, 1, False)


@pytest.mark.parametrize(
    ("headers", "receives"),
    [
        ([(b"content-length", b"11")], 0),
        ([(b"content-length", b"9" * 19)], 0),
        ([(b"transfer-encoding", b"chunked")], 2),
    ],
)
async def test_a_body_over_the_bound_is_rejected_and_the_connection_closed(headers: Headers, receives: int) -> None:
    app = make_app(body_max_bytes=10)
    answer = await call(app, "POST", b"/checkout", headers=headers, body=[b"x" * 6, b"y" * 6, b"z" * 6])
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
    assert (answer.headers[b"connection"], answer.receives) == (b"close", receives)


async def test_a_body_in_far_too_many_pieces_is_rejected_before_it_costs_much() -> None:
    headers = [(b"transfer-encoding", b"chunked")]
    answer = await call(make_app(), "POST", b"/checkout", headers=headers, body=[b"x"] * 10_000)
    assert (answer.status, answer.receives) == (413, BODY_PIECES_MAX)


async def test_a_body_that_does_not_arrive_in_time_is_rejected(autojump_clock: trio.testing.MockClock) -> None:
    headers = [(b"content-length", b"10")]
    answer = await call(make_app(body_seconds=5), "POST", b"/checkout", headers=headers, body=[b"x"], leaves=False)
    assert answer.status == 200
    answer = await call(make_app(body_seconds=5), "POST", b"/checkout", headers=headers, body=[])
    assert (answer.status, answer.headers[b"connection"]) == (408, b"close")
    assert trio.current_time() >= 5


async def test_a_client_that_leaves_in_the_middle_of_its_body_reaches_no_handler() -> None:
    headers = [(b"content-length", b"10")]
    answer = await call(make_app(), "POST", b"/checkout", headers=headers, body=[b"x"], leaves=True)
    assert answer.status == 400


async def test_over_http2_an_unannounced_body_is_read_and_no_connection_header_is_sent() -> None:
    app = make_app(body_max_bytes=10)
    assert (await call(app, "POST", b"/checkout", version="2", body=[b"x", b""])).receives == 2
    answer = await call(app, "POST", b"/checkout", version="2", body=[b"x" * 11, b""])
    assert (answer.status, b"connection" in answer.headers) == (413, False)


@pytest.mark.parametrize(
    ("error", "code"),
    [(Overloaded(), "overloaded"), (Unavailable(), "unavailable"), (OutcomeUnknown(), "outcome_unknown")],
)
async def test_an_error_of_the_machinery_is_a_503_that_says_when_to_retry(error: FlashError, code: str) -> None:
    answer = await call(failing(error), "POST", b"/fail")
    assert (answer.status, answer.json()["code"]) == (503, code)
    assert answer.headers[b"retry-after"] in (b"1", b"2")


async def _retries(error: FlashError, times: int) -> set[int]:
    app = failing(error)
    return {int((await call(app, "POST", b"/fail")).headers[b"retry-after"]) for _ in range(times)}


@pytest.mark.parametrize("kind", [Overloaded, Unavailable, OutcomeUnknown])
@pytest.mark.parametrize(
    ("seconds", "least", "most"),
    [(None, 1, 2), (0.0, 1, 2), (2.1, 3, 5), (1e9, RETRY_AFTER_MAX, RETRY_AFTER_MAX * 3 // 2 + 1)],
)
async def test_retry_after_grows_with_the_estimate_and_is_jittered(
    kind: type[FlashError], seconds: float | None, least: int, most: int
) -> None:
    if kind is OutcomeUnknown and seconds == 1e9:
        least, most = problems.OUTCOME_SECONDS_MAX, problems.OUTCOME_SECONDS_MAX * 3 // 2 + 1
    error = kind("x")
    error.retry_after_seconds = seconds
    seen = await _retries(error, 200)
    assert len(seen) > 1
    assert least <= min(seen) <= max(seen) <= most


async def test_an_unknown_outcome_says_when_the_receipt_is_final() -> None:
    answer = await call(failing(OutcomeUnknown("lost", retry_after_seconds=7.2)), "POST", b"/fail")
    assert answer.status == 503
    assert 8 <= int(answer.headers[b"retry-after"]) <= 13


async def test_an_invalid_parameter_is_a_400_with_its_rule() -> None:
    answer = await call(failing(InvalidParameter("id is missing")), "POST", b"/fail")
    assert answer.json() == {
        "type": "/problems/invalid_request",
        "title": "The request breaks a rule",
        "status": 400,
        "detail": "id is missing",
        "code": "invalid_request",
    }


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), ExceptionGroup("two", [OSError(), KeyError()])])
async def test_any_other_error_is_logged_once_and_shown_to_nobody(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await call(failing(error), "POST", b"/fail?x=hidden")
    assert (answer.status, answer.json()["code"]) == (500, "internal_error")
    assert b"secret" not in answer.body
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.message == "POST /fail failed"


async def test_while_draining_every_answer_closes_its_connection() -> None:
    app = make_app()
    app.draining.set()
    for target in (b"/checkout", b"/nowhere"):
        assert (await call(app, "POST", target)).headers[b"connection"] == b"close"
    assert b"connection" not in (await call(app, "POST", b"/checkout", version="2")).headers


async def test_a_304_has_no_body_and_no_length() -> None:
    async def unchanged(request: Request) -> Response:
        return Response(304, b"", headers=((b"etag", b'"1"'),))

    assert (await call(App({("GET", "/x"): unchanged}, body_seconds=10), "GET", b"/x")).headers == {b"etag": b'"1"'}


async def test_the_lifespan_events_are_acknowledged() -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await make_app()({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


async def test_a_websocket_is_rejected() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await make_app()({"type": "websocket"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_the_retry_after_of_an_unknown_outcome_covers_the_longest_life_that_settings_allow() -> None:
    longest = COMMAND_LIFE_SECONDS_MAX + 4 * 60  # and the longest time-outs of both stores, see `flash.processes.web`
    headers = dict(problems.OUTCOME_UNKNOWN.after(longest).headers)
    assert int(headers[b"retry-after"]) >= longest
