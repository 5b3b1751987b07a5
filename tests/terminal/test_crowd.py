"""The made-up buyers: what they do to a real service, and that they visit no other machine."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest
import trio

from flash.client import AsyncFlashClient, FlashClient, FlashClientError
from flash.client.plain import PlainTransport
from flash.config import environment
from flash.errors import ConfigError
from flash.local.embedded import EmbeddedValkey
from flash.local.procfile import PROJECT
from flash.terminal import crowd
from tests.client.test_clients import open_service
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
        met = await trio.to_thread.run_sync(lambda: [*each_whim(address)])
        assert met == [None, "code_already_used", "invalid_code", "item_sold", "user_limit_reached"]
        async with AsyncFlashClient(address) as shop:
            assert (await shop.current_sale()).sold == 13


def each_whim(address: str) -> Iterator[str | None]:
    """Let a buyer follow each whim in turn. The code of the refusal that ends it, or None."""
    transport = PlainTransport(address)
    buyer = crowd.Buyer(transport, None, 0.0, random.Random(1))
    with FlashClient(address) as shop, closing(transport):
        for whim in buyer.whims:
            item = next(shop.iter_items(1, available=True))
            try:
                whim(shop.current_sale(), item)
            except FlashClientError as error:
                yield error.code
            else:
                yield None


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
