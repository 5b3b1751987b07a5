"""The made-up buyers: what they do to a real service, and that they visit no other machine."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest
import trio

from flash.client import AsyncFlashClient, FlashClient, FlashClientError
from flash.client.plain import PlainTransport
from flash.client.results import Item, Sale
from flash.config import environment
from flash.errors import ConfigError
from flash.local.embedded import EmbeddedValkey
from flash.local.procfile import PROJECT
from flash.terminal import crowd
from tests.client.test_clients import open_service, wait_seen
from tests.test_cli import flash


@pytest.mark.parametrize("url", ["http://192.0.2.1:8080", "http://[2001:db8::1]:8080", "http://0.0.0.0:8080"])
def test_the_crowd_shops_on_this_machine_only(url: str) -> None:
    with pytest.raises(ConfigError, match="on this machine only"):
        crowd.crowd(url, 1.0)


def test_a_wrong_address_is_named() -> None:
    done = flash("crowd", "--url", "https://example.com.invalid")
    assert done.returncode == 2
    assert done.stderr.startswith("flash: 'example.com.invalid' is no address: ")


async def test_the_crowd_buys_and_meets_every_refusal_that_a_buyer_can_meet(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with open_service(postgres, valkey.url, FLASH_SALE_SIZE="100", FLASH_USER_LIMIT="10") as address:
        met = []
        with closing(PlainTransport(address)) as transport:
            buyer = crowd.Buyer(transport, None, 0.0, random.Random(1))
            for whim, sold in zip(buyer.whims, (0, 1, 2, 2, 3), strict=True):
                await wait_seen(address, sold)
                met.append(await trio.to_thread.run_sync(follow, address, whim))
        assert met == [None, "code_already_used", "invalid_code", "item_sold", "user_limit_reached"]
        await wait_seen(address, 13)


def follow(address: str, whim: Callable[[Sale, Item], object]) -> str | None:
    """The code of the refusal with which the visit ends, or None."""
    with FlashClient(address) as shop:
        try:
            whim(shop.current_sale(), next(shop.iter_items(1, available=True)))
        except FlashClientError as error:
            return error.code
    return None


async def test_the_crowd_goes_on_until_it_is_stopped(postgres: str, valkey: EmbeddedValkey) -> None:
    async with (
        open_service(postgres, valkey.url, FLASH_SALE_SIZE="1000") as address,
        AsyncFlashClient(address) as shop,
        trio.open_nursery() as nursery,
    ):
        command = [sys.executable, "-m", "flash", "crowd", "--url", address]
        env = environment(PYTHONPATH=str(PROJECT), FLASH_SALE_SIZE="100000")  # it is told that it has to hurry
        process = await nursery.start(partial(trio.run_process, command, env=env, check=False))
        with trio.fail_after(20):
            while (await shop.current_sale()).sold < 3:  # noqa: ASYNC110 - the service announces nothing here
                await trio.sleep(0.1)
        assert process.poll() is None
        process.terminate()
        with trio.fail_after(5):
            await process.wait()
