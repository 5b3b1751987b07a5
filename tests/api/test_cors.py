"""Which other sites' pages may use the service, and what they are shown: as the Fetch standard has it."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from flash.api.control import ControlRoom
from flash.api.control_access import ControlAccess
from flash.config import Config
from flash.errors import Unavailable
from flash.http.asgi import App
from flash.http.connection import Connection
from flash.http.connection_set import ConnectionSet
from flash.http.message import Header, Response
from tests.api.fakes import FakeControlState, FakePauses, FakeShop
from tests.api.serving import open_client

SHOP, OTHER = b"https://shop.example", b"https://other.example"
VARY: Header = (b"vary", b"origin")
ASKS: Header = (b"access-control-request-method", b"POST")
TARGETS = ["/sales", "/items/101", "/nothing", "/purchases/x", "/items/101/image.svg", "/health"]


def allowed(answer: Response) -> bytes | None:
    return dict(answer.headers).get(b"access-control-allow-origin")


@pytest.mark.parametrize("target", TARGETS)
async def test_a_page_of_a_listed_origin_may_read_every_answer(target: str) -> None:
    shop = FakeShop(cors_origins=[SHOP.decode(), "https://third.example"])
    answer = await shop.request("GET", target, (b"origin", SHOP))
    assert allowed(answer) == SHOP
    assert VARY in answer.headers
    exposed = dict(answer.headers)[b"access-control-expose-headers"].decode().split(", ")
    assert {"Retry-After", "Age", "ETag", "Link", "RateLimit", "X-Request-ID", "Location"} <= set(exposed)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "origin", [OTHER, b"null", b"https://shop.example.evil", b"HTTPS://shop.example", b"*", b"", None]
)
async def test_a_page_of_any_other_origin_may_not_and_caches_tell_them_apart(target: str, origin: bytes | None) -> None:
    shop = FakeShop(cors_origins=[SHOP.decode()])
    answer = await shop.request("GET", target, *([] if origin is None else [(b"origin", origin)]))
    assert allowed(answer) is None
    assert VARY in answer.headers


async def test_a_503_may_be_read_and_retried() -> None:
    shop = FakeShop(cors_origins=[SHOP.decode()])
    shop.checkouts.outcome = Unavailable("x")
    answer = await shop.request("POST", "/checkout?user_id=u&id=1", (b"origin", SHOP))
    assert (answer.status, allowed(answer)) == (503, SHOP)
    assert b"retry-after" in dict(answer.headers)


async def test_a_star_is_for_everybody() -> None:
    shop = FakeShop(cors_origins=["*"])
    for headers in ([(b"origin", OTHER)], [(b"origin", b"null")], []):
        answer = await shop.request("GET", "/sales", *headers)
        assert allowed(answer) == b"*"
        assert VARY not in answer.headers
    assert (await shop.request("OPTIONS", "/checkout", (b"origin", OTHER), ASKS)).status == 204


async def test_a_preflight_is_answered_for_listed_origins_only_and_asks_nobody() -> None:
    shop = FakeShop(cors_origins=[SHOP.decode()])
    answer = await shop.request("OPTIONS", "/purchase", (b"origin", SHOP), ASKS)
    headers = dict(answer.headers)
    assert (answer.status, answer.body, allowed(answer)) == (204, b"", SHOP)
    assert headers[b"access-control-allow-methods"] == b"GET, HEAD, POST"
    assert {"Idempotency-Key", "Content-Type"} <= set(headers[b"access-control-allow-headers"].decode().split(", "))
    assert headers[b"access-control-max-age"] == b"7200"
    assert b"authorization" not in headers[b"access-control-allow-headers"].lower(), (
        "the operator's token is not for it"
    )
    assert b"access-control-allow-credentials" not in headers
    for refused in ([(b"origin", OTHER), ASKS], [ASKS], [(b"origin", SHOP)]):
        assert (await shop.request("OPTIONS", "/purchase", *refused)).status == 405
    assert not shop.checkouts.asked
    assert not shop.purchases.asked


@pytest.mark.parametrize("target", ["/control/login", "/control", "/%63ontrol/login", "http://x/control/a", "/metrics"])
@pytest.mark.parametrize("origins", [["*"], [SHOP.decode()]])
async def test_what_is_the_operators_is_shut_to_every_other_site(origins: list[str], target: str) -> None:
    access = ControlAccess("a-long-token-1234", lambda _: "x", is_tls=False)
    shop = FakeShop(cors_origins=origins, control=ControlRoom(access, FakePauses(), FakeControlState()))
    preflight = await shop.request("OPTIONS", target, (b"origin", SHOP), ASKS)
    assert preflight.status in (404, 405)
    for answer in (preflight, await shop.request("POST", target, (b"origin", SHOP))):
        assert not {name for name, _ in answer.headers if name.startswith(b"access-control")}


async def test_a_path_that_only_begins_like_the_operators_is_open() -> None:
    assert allowed(await FakeShop(cors_origins=["*"]).request("GET", "/controls")) == b"*"


async def test_without_origins_nothing_is_added_and_nothing_is_paid() -> None:
    shop = FakeShop()
    assert type(shop.app) is App
    answer = await shop.request("GET", "/items/101", (b"origin", SHOP))
    assert allowed(answer) is None
    assert VARY not in answer.headers


@pytest.mark.parametrize("is_builtin", [True, False])
async def test_both_servers_answer_a_preflight_and_the_request_behind_it(is_builtin: bool) -> None:
    shop = FakeShop(cors_origins=[SHOP.decode()])
    async with open_client(shop, is_builtin=is_builtin) as client:
        preflight = await client.request("OPTIONS", "/purchase", headers=[(b"origin", SHOP), ASKS])
        assert (preflight.status, preflight.body, preflight.closes) == (204, b"", False)
        answer = await client.post("/purchase?code=x", [(b"origin", SHOP)])
        assert (answer.status, answer.header(b"access-control-allow-origin")) == (400, SHOP)


BIG_BODY = b"POST /checkout HTTP/1.1\r\nHost: h\r\nOrigin: %b\r\nContent-Length: 9999999\r\n\r\n"
LONG_HEAD = b"GET /sales HTTP/1.1\r\nHost: h\r\nOrigin: %b\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"
NO_HTTP = b"GET /sales HTTP/1.1\r\nHost: h\r\nOrigin: %b\r\nAccept: x\r\nBro ken: x\r\n\r\n"


@pytest.mark.parametrize(("sent", "status"), [(BIG_BODY, 413), (LONG_HEAD, 431), (NO_HTTP, 400)])
@pytest.mark.parametrize(("origin", "is_listed"), [(SHOP, True), (OTHER, False)])
async def test_a_refusal_before_any_handler_may_be_read_too(
    sent: bytes, status: int, origin: bytes, is_listed: bool
) -> None:
    heard = (await hear(FakeShop(cors_origins=[SHOP.decode()]).app, sent % origin)).lower()
    assert heard.startswith(b"http/1.1 %d " % status)
    assert (b"\r\naccess-control-allow-origin: %b\r\n" % SHOP in heard) is is_listed
    assert b"\r\nvary: origin\r\n" in heard


async def test_a_body_that_comes_too_slowly_is_refused_readably(autojump_clock: trio.testing.MockClock) -> None:
    heard = await hear(FakeShop(cors_origins=["*"]).app, BIG_BODY.replace(b"9999999", b"5") % SHOP)
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert b"\r\naccess-control-allow-origin: *\r\n" in heard


async def test_the_operators_paths_stay_shut_to_other_pages_in_early_refusals() -> None:
    shop = FakeShop(cors_origins=["*"])
    heard = await hear(shop.app, BIG_BODY.replace(b"/checkout", b"/control/login?x") % SHOP)
    assert heard.startswith(b"HTTP/1.1 413 ")
    assert b"access-control" not in heard


async def hear(app: App, sent: bytes) -> bytes:
    """What one connection answers, to its end."""
    ours_end, theirs = socket.socketpair()
    theirs.setblocking(False)
    connections = ConnectionSet(Config())
    heard = b""
    async with trio.open_nursery() as nursery, trio.SocketStream(trio.socket.from_stdlib_socket(ours_end)) as ours:
        nursery.start_soon(connections.sweep)
        nursery.start_soon(Connection.serve, app, connections, theirs)
        await ours.send_all(sent)
        while piece := await ours.receive_some():
            heard += piece
        nursery.cancel_scope.cancel()
    return heard
