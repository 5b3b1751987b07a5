"""The clients against the real service: one that blocks, one under asyncio, one under Trio, and Python's own HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import httpx
import pytest
import trio

from flash import catalog
from flash.client import (
    AsyncFlashClient,
    FlashClient,
    InvalidRequest,
    Refused,
    Retries,
    TryLater,
    Unreachable,
    sign_user,
)
from flash.client.conversations import Conversations
from flash.client.plain import PlainTransport
from flash.local.embedded import EmbeddedValkey
from flash.local.ports import any_port
from flash.local.procfile import PROJECT
from flash.testing.client import host_and_port
from flash.testing.cluster import running_cluster
from tests.api.test_api import quiet_period
from tests.cluster.history import rows
from tests.test_cli import flash


@asynccontextmanager
async def open_service(database_url: str, redis_url: str, **settings: str) -> AsyncIterator[str]:
    settings = {"FLASH_SALE_PERIOD": str(quiet_period()), "FLASH_SALE_SIZE": "30", "FLASH_USER_LIMIT": "3", **settings}
    async with running_cluster(database_url, redis_url, web=1, inventory=1, **settings) as (_, (address,)):
        await wait_seen(address, 0)
        yield address


def shop_with_the_blocking_client(address: str) -> None:
    with FlashClient(address + "/") as shop:
        sale = shop.current_sale()
        assert (sale.id, sale.status, sale.stock, sale.first_item_id) == (1, "open", 30, 1)
        assert shop.sale(1).starts_at == sale.starts_at
        assert [(found.id, found.status) for found in shop.sales()] == [(2, "upcoming"), (1, "open")]
        page = shop.items(1, after=9, limit=10)
        assert ([item.id for item in page.items], page.next) == ([*range(10, 20)], 19)
        assert [item.id for item in shop.iter_items(1)] == [*range(1, 31)]

        code = shop.check_out("zoë", 5)
        assert shop.receipt(code) is None
        receipt = shop.purchase(code, idempotency_key="once")
        assert (receipt.item.id, receipt.item.name, receipt.user_id) == (5, catalog.name(receipt.item.id), "zoë")
        assert shop.purchase(code, idempotency_key="once") == receipt == shop.receipt(code)
        with pytest.raises(Refused) as used:
            shop.purchase(code)
        assert (used.value.code, used.value.receipt) == ("code_already_used", receipt)

        with pytest.raises(Refused, match="item_sold"):
            shop.buy("ann", 5)
        with pytest.raises(InvalidRequest, match="item_not_found"):
            shop.item(4_000)
        with pytest.raises(InvalidRequest, match="user_id must be"):
            shop.check_out("x" * 65, 6)
        with pytest.raises(InvalidRequest, match="invalid_code"):
            shop.receipt("no code & none")
        assert len({shop.buy("ann").item.id for _ in range(3)} | {5}) == 4
        with pytest.raises(Refused, match="user_limit_reached"):
            shop.buy("ann")
        assert shop.health()["status"] == "ok"


async def shop_with_the_async_client(address: str, user: str) -> None:
    async with AsyncFlashClient(address) as shop:
        free = [item.id async for item in shop.iter_items(1, available=True)]
        receipt = await shop.purchase(await shop.check_out(user, free[0]))
        assert (receipt.item.id, receipt.sale_id, receipt.user_id) == (free[0], 1, user)
        assert (await shop.buy(user)).item.id in free
        with pytest.raises(Refused, match="item_sold"):
            await shop.buy(user, free[0])
        assert (await shop.item(free[0])).name == receipt.item.name
        assert (await shop.items(1, limit=1)).next == 1
        assert {(await shop.current_sale()).id, (await shop.sale(1)).id, (await shop.sales())[1].id} == {1}
        assert (await shop.health())["status"] == "ok"


def shop_with_the_plain_transport(address: str) -> None:
    transport = PlainTransport(address)
    conversations = Conversations(Retries())
    assert transport.run(conversations.buy("plain")).user_id == "plain"
    with pytest.raises(InvalidRequest, match="item_not_found"):
        transport.run(conversations.item(4_000))
    transport.close()


async def wait_seen(address: str, sold: int) -> None:
    """Wait until visitors see that so many items of sale 1 are sold, and that all is well: it may be a second old."""
    async with AsyncFlashClient(address) as shop:
        with trio.fail_after(10):
            while True:
                seen = [sale.sold for sale in await shop.sales() if sale.id == 1]
                if seen == [sold] and (await shop.health())["status"] == "ok":
                    return
                await trio.sleep(0.02)


async def test_every_client_shops_at_the_real_service(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_service(postgres, valkey.url) as address:
        await trio.to_thread.run_sync(shop_with_the_blocking_client, address)
        await wait_seen(address, 4)
        await shop_with_the_async_client(address, "under Trio")
        await wait_seen(address, 6)
        under_asyncio = partial(anyio.run, shop_with_the_async_client, address, "under asyncio", backend="asyncio")
        await trio.to_thread.run_sync(under_asyncio)
        await trio.to_thread.run_sync(shop_with_the_plain_transport, address)


@asynccontextmanager
async def cut_off(address: str, is_cut: Callable[[bytes], bool]) -> AsyncIterator[str]:
    """The address of a proxy that passes requests on and, for those that `is_cut` picks, drops the answer."""

    async def pass_on(client: trio.SocketStream) -> None:
        async with client, await trio.open_tcp_stream(*host_and_port(address)) as service:
            while request := await client.receive_some():
                await service.send_all(request)
                answer = await service.receive_some()
                if is_cut(bytes(request)):
                    return
                await client.send_all(answer)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, pass_on, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_a_purchase_whose_answers_are_lost_is_made_once_and_found(postgres: str, valkey: EmbeddedValkey) -> None:
    cut: list[bytes] = []

    def is_cut(request: bytes) -> bool:
        path = request.split(b" ")[1].split(b"?")[0]
        is_cut = path in (b"/checkout", b"/purchase") and path not in cut
        cut.extend([path] if is_cut else [])
        return is_cut

    async with open_service(postgres, valkey.url) as address, cut_off(address, is_cut) as proxy:
        async with AsyncFlashClient(proxy) as shop:
            receipt = await shop.buy("ann", 3)
        assert cut == [b"/checkout", b"/purchase"]
        assert receipt.item.id == 3
        assert await rows(postgres, "SELECT item_id FROM purchases") == [(3,)]


async def test_a_limit_of_the_service_is_waited_for(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_service(postgres, valkey.url, FLASH_RATE_PER_USER="0.5") as address:
        async with AsyncFlashClient(address, retries=Retries(0)) as hasty:
            await hasty.check_out("ann", 1)
            with pytest.raises(TryLater) as caught:
                await hasty.check_out("ann", 2)
            assert (caught.value.code, caught.value.status) == ("rate_limited", 429)
            assert caught.value.retry_after_seconds is not None
        async with AsyncFlashClient(address) as patient:
            began = trio.current_time()
            await patient.check_out("ann", 2)
            assert trio.current_time() - began > 1


async def test_nobody_buys_in_the_name_of_a_signed_buyer(postgres: str, valkey: EmbeddedValkey) -> None:
    key = "a key of the shop's login".replace(" ", "-") + "-" * 8
    async with (
        open_service(postgres, valkey.url, FLASH_USER_KEY=key) as address,
        AsyncFlashClient(address, user_key=key) as login,
        AsyncFlashClient(address) as stranger,
        httpx.AsyncClient(headers={"User-Token": sign_user(key, "ann")}) as own,
        AsyncFlashClient(address, http=own) as ann,
    ):
        assert (await login.buy("zoë", 1)).user_id == "zoë"
        assert (await ann.buy("ann", 2)).user_id == "ann"
        for somebody, name in ((stranger, "ann"), (ann, "bob")):
            with pytest.raises(Refused) as caught:
                await somebody.buy(name, 3)
            assert (caught.value.code, caught.value.status) == ("invalid_user_token", 401)
        found = await rows(postgres, "SELECT outcome, user_id, query FROM checkouts ORDER BY id")
        assert found == [
            ("issued", "zoë", None),
            ("issued", "ann", None),
            ("invalid_request", None, b"user_id=ann&id=3"),
            ("invalid_request", None, b"user_id=bob&id=3"),
        ]
        done = await trio.to_thread.run_sync(
            lambda: [flash("buy", "--user", "me", "--url", address, FLASH_USER_KEY=given) for given in (key, "x" * 32)]
        )
        assert [run.returncode for run in done] == [0, 3]
        assert done[1].stderr.startswith("flash: this service wants its buyers signed: set FLASH_USER_KEY")


def test_a_service_that_is_not_there_is_unreachable() -> None:
    address = f"http://127.0.0.1:{any_port('127.0.0.1')}"
    with FlashClient(address, retries=Retries(1)) as shop, pytest.raises(Unreachable):
        shop.buy("ann")
    with pytest.raises(Unreachable, match="refused"):
        PlainTransport(address).run(Conversations(Retries(0)).sales())


def test_a_client_of_ones_own_is_used_and_closed() -> None:
    own = httpx.Client(
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json={"code": request.url.path}))
    )
    with FlashClient("http://shop", http=own) as shop:
        assert shop.check_out("ann", 1) == "/checkout"
    assert own.is_closed


def test_without_httpx_the_rest_works_and_the_clients_say_what_to_install() -> None:
    script = """
import sys
sys.modules["httpx"] = None
import flash.client, flash.client.plain
try:
    flash.client.FlashClient
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "FlashClient needs httpx: pip install '.[client]' in a checkout of flash\n"
