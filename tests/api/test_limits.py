"""Rate limits in the application: refused before anything is asked or stored, on both servers."""

from __future__ import annotations

import logging
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from flash.api.limits import NO_LIMITS, RateLimits
from flash.config import Config
from flash.http.asgi import App
from flash.http.client_address import TrustedProxies, key_of
from flash.http.message import Header, Request, Response
from flash.http.rate_limit import RateLimit
from flash.http.server import serve
from flash.testing.client import Client
from tests.api.fakes import CODE, CODES, FakeShop

PROXY = "10.0.0.1"


def limits(*, addresses: float = 0, users: float = 0) -> RateLimits:
    return RateLimits(
        RateLimit(addresses) if addresses else None,
        RateLimit(users) if users else None,
        key_of(TrustedProxies("10.0.0.0/8,127.0.0.0/8")),
    )


async def post(app: App, target: bytes, client: str) -> Response:
    path, _, query = target.partition(b"?")
    headers: list[Header] = [(b"x-forwarded-for", client.encode())]
    answer = await app.respond(Request("POST", "", path, query, headers, PROXY))
    assert isinstance(answer, Response)
    return answer


async def test_an_address_over_its_limit_is_refused_before_anything_is_recorded(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    shop = FakeShop(limits(addresses=1))
    answers = [await post(shop.app, b"/checkout?user_id=ann&id=101", "192.0.2.1") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429, 429]
    assert b'"code":"rate_limited"' in answers[2].body
    assert (b"retry-after", b"1") in answers[2].headers
    assert len(shop.checkouts.asked) == 2
    assert (await post(shop.app, b"/purchase?code=x", "192.0.2.1")).status == 429, "one limit for both"
    assert (await post(shop.app, b"/checkout?user_id=ann&id=101", "192.0.2.2")).status == 200
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) <= 1, "counted, not logged one by one"
    mock_clock.jump(1)
    assert (await post(shop.app, b"/checkout?user_id=ann&id=101", "192.0.2.1")).status == 200


async def test_answers_say_what_is_left(mock_clock: MockClock) -> None:
    shop = FakeShop(limits(addresses=1.5, users=2))

    async def fields(target: bytes) -> tuple[int, bytes | None, bytes | None]:
        answer = await post(shop.app, target, "192.0.2.1")
        headers = dict(answer.headers)
        return answer.status, headers.get(b"ratelimit-policy"), headers.get(b"ratelimit")

    address, both = b'"address";q=3;w=2', b'"address";q=3;w=2, "user";q=4;w=2'
    assert await fields(b"/checkout?user_id=ann&id=101") == (200, both, b'"address";r=2;t=1, "user";r=3;t=1')
    assert await fields(b"/checkout?user_id=bob") == (400, address, b'"address";r=1;t=2'), "no user is known yet"
    assert await fields(b"/purchase?code=x") == (400, address, b'"address";r=0;t=2')
    assert await fields(b"/purchase?code=x") == (429, address, b'"address";r=0;t=2')
    mock_clock.jump(1)
    assert await fields(b"/purchase?code=x") == (400, address, b'"address";r=0;t=2')
    assert "ratelimit" not in str((await post(shop.app, b"/nothing", "192.0.2.1")).headers)


async def test_a_body_of_another_type_counts_and_says_what_is_left(mock_clock: MockClock) -> None:
    shop = FakeShop(limits(addresses=1))
    headers = [(b"content-type", b"text/plain")]
    request = Request("POST", "", b"/checkout", b"", headers, peer="192.0.2.1", body=b"user_id=ann&id=101")
    answer = await shop.app.respond(request)
    assert answer.status == 415
    assert dict(answer.headers)[b"ratelimit"] == b'"address";r=1;t=1'


async def test_a_limit_of_users_alone_is_shown_as_well(mock_clock: MockClock) -> None:
    shop = FakeShop(limits(users=0.5))
    answers = [await post(shop.app, b"/checkout?user_id=ann&id=101", "192.0.2.1") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert [dict(answer.headers)[b"ratelimit"] for answer in answers] == [b'"user";r=0;t=2'] * 2
    assert dict(answers[1].headers)[b"retry-after"] == b"2"


async def test_a_user_over_the_limit_is_refused_from_every_address(mock_clock: MockClock) -> None:
    shop = FakeShop(limits(users=1))
    for path in ("/checkout?user_id=ann&id=101", f"/purchase?code={CODES.seal(CODE)}"):
        statuses = [(await post(shop.app, path.encode(), f"192.0.2.{n}")).status for n in range(4)]
        assert statuses[2:] == [429, 429]
        assert 429 not in statuses[:2]
    assert (len(shop.checkouts.asked), len(shop.purchases.asked)) == (2, 2)
    assert (await post(shop.app, b"/checkout?user_id=bob&id=101", "192.0.2.1")).status == 200


async def test_without_limits_nothing_stands_between() -> None:
    shop = FakeShop()
    assert not shop.app.reads_peers
    assert NO_LIMITS.checkouts_by_user(shop.checkouts) is shop.checkouts
    assert NO_LIMITS.purchases_by_user(shop.purchases) is shop.purchases
    assert NO_LIMITS.limited(shop.app.respond) == shop.app.respond


@pytest.mark.parametrize("is_builtin", [True, False])
async def test_both_servers_know_the_address_of_their_peer(is_builtin: bool) -> None:
    shop = FakeShop(limits(addresses=0.01))
    addresses: list[str] = []
    stop, listening = trio.Event(), trio.Event()

    def on_listening(address: str) -> None:
        addresses.append(address)
        listening.set()

    run = partial(
        serve,
        shop.app,
        host="127.0.0.1",
        port=0,
        limits=Config(),
        stop=stop,
        on_listening=on_listening,
        is_builtin=is_builtin,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await listening.wait()
        target = "/checkout?user_id=ann&id=101"
        async with Client(addresses[0]) as client:
            assert [(await client.post(target)).status for _ in range(2)] == [200, 429]
            forwarded = [(b"x-forwarded-for", b"192.0.2.9")]
            assert (await client.post(target, forwarded)).status == 200, "loopback is trusted here"
        stop.set()
