"""The log of requests: a sample, one line each, and nothing in it that is somebody's own."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flash.correlation import is_logged
from flash.http.access_log import AccessLog, redacted
from flash.http.asgi import App
from flash.http.correlating import correlate
from flash.http.message import Request, Response, json_response
from flash.testing.client import raw
from tests.http.site import serving_on

CODE = "AgEAAAABAAAAAAABAAAAAAABaSS0wIYXEz0pVBYtXkmAIlHBl1RJ2dHrl6E6Rhl5DE9q1VfB"


async def hello(request: Request) -> Response:
    return json_response(201 if is_logged(request.correlation) else 200, {})


def an_app() -> App:
    return App({("GET", "/"): hello}, body_seconds=1)


def a_request() -> Request:
    headers = [(b"x-request-id", b"req-1"), (b"idempotency-key", b"my-key"), (b"authorization", b"Bearer s3cret")]
    return Request("GET", "", b"/", b"id=7", headers, "203.0.113.9", correlation=correlate(dict(headers)))


def fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if record.name == "flash.http.access_log"]


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"/purchase?code={CODE}", "/purchase?code=***"),
        ("/checkout?user_id=joe&id=17", "/checkout?user_id=***&id=17"),
        ("/checkout?id=joe%40example.com&user_id=1", "/checkout?id=***&user_id=***"),
        (f"/purchases/{CODE}", "/purchases/***"),
        ("/purchases/short/joe", "/purchases/***"),
        (f"/{CODE}", "/***"),
        ("/users/Joe%20Doe", "/users/***"),
        ("/sales/1/items?available=true&after=3&limit=50", "/sales/1/items?available=true&after=3&limit=50"),
        ("/items/70001/image.svg", "/items/70001/image.svg"),
        ("/?joe@example.com", "/?***"),
        ("/?a&b=&limit", "/?a&b=***&limit"),
        ("/", "/"),
    ],
)
def test_what_is_somebodys_own_is_not_shown(target: str, shown: str) -> None:
    path, _, query = target.partition("?")
    assert redacted(path.encode(), query.encode()) == shown


def test_a_target_of_any_size_makes_a_short_line() -> None:
    assert len(redacted(b"/a" * 5_000, b"limit=1&" * 1_000)) < 600


async def test_a_line_says_who_asked_for_what_and_what_became_of_it(caplog: pytest.LogCaptureFixture) -> None:
    app = an_app()
    app.observe(AccessLog(1.0, lambda request: request.peer or "unix").around)
    answer = await app.handle(a_request())
    assert isinstance(answer, Response)
    assert answer.status == 201, "its leader is told that it is logged"
    (line,) = fields(caplog)
    assert 0 <= line.pop("duration_ms") < 5_000
    trace_id = line.pop("trace_id")
    assert len(trace_id) == 32
    assert line == {
        "method": "GET",
        "path": "/?id=7",
        "status": 201,
        "client": "203.0.113.9",
        "x_request_id": "req-1",
    }
    assert "my-key" not in caplog.text
    assert "s3cret" not in caplog.text


async def test_only_the_share_that_was_asked_for_is_logged_and_marked(caplog: pytest.LogCaptureFixture) -> None:
    draws = iter([0.0, 0.24, 0.25, 0.99])
    app = an_app()
    app.observe(AccessLog(0.25, lambda _: "", lambda: next(draws)).around)
    statuses = [answer.status for _ in range(4) if isinstance(answer := await app.handle(a_request()), Response)]
    assert statuses == [201, 201, 200, 200]
    assert len(fields(caplog)) == 2


async def test_it_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        caplog.handler.setLevel(logging.NOTSET)
        app = an_app()
        app.observe(AccessLog(1.0, lambda _: "").around)
        await app.handle(a_request())
    assert len(fields(caplog)) == 1


async def test_a_request_that_cannot_be_read_is_logged_without_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    async with serving_on(True) as running:
        running.site.app.reads_peers = True
        running.site.app.on_rejected = AccessLog(1.0, lambda _: "").log_rejected
        answer = await raw(running.address, b"GET /purchases/my-code HTTP/1.1\r\nX-Request-ID: req-1\r\n\r\n")
    assert b" 400 " in answer
    (line,) = fields(caplog)
    assert len(line.pop("trace_id")) == 32
    assert line == {
        "status": 400,
        "reason": "no Host, or a malformed one",
        "client": "127.0.0.1",
        "x_request_id": "req-1",
    }
    assert "my-code" not in caplog.text


def test_off_it_costs_nothing() -> None:
    app = an_app()
    assert app.handle == app.respond
    assert app.on_rejected is None
