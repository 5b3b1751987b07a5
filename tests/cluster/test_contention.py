"""Buyers compete for the same items in a real cluster: who gets what, and whether every answer was true."""

from __future__ import annotations

from random import Random

import trio

from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Client
from flash.testing.cluster import running_cluster
from tests.cluster.history import History, verify


async def _purchase(history: History, address: str, code: str, statuses: list[int], key: str | None = None) -> None:
    """Buy, and note the status. After a 503 (a starved machine), repeat under the same key until it is known."""
    async with Client(address, reconnects=True) as client:
        while (answer := await history.purchase(client, code, key)) is None:
            assert key is not None, "without a key a repetition would be another request"
        statuses.append(answer.status)


async def test_a_sale_of_1000_items_sells_exactly_1000_to_300_competing_buyers(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history = History()

    async def buy(address: str, number: int) -> None:
        random = Random(number)
        user = f"user-{number % 120}"  # some buyers are one person at several machines
        async with Client(address) as client:
            while not history.sold_out_heard:
                code = await history.checkout(client, user, random.randint(1, 1000))
                if code is not None:
                    answer = await history.purchase(client, code)
                    if answer is not None and answer.status == 429:
                        return

    async with running_cluster(postgres, valkey.url, web=2, inventory=2, FLASH_SALE_SIZE="1000") as (_, addresses):
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(300):
                    nursery.start_soon(buy, addresses[number % 2], number)
        assert len(history.sold) + history.unknown >= 1000
        await verify(history, postgres, sold_out=True)


async def test_64_purchases_by_one_user_at_once_sell_10(postgres: str, valkey: EmbeddedValkey) -> None:
    history, statuses = History(), list[int]()
    async with running_cluster(postgres, valkey.url, web=2, inventory=1) as (_, addresses):
        async with Client(addresses[0]) as client:
            codes = [await history.checkout(client, "greedy", item) for item in range(1, 65)]
        async with trio.open_nursery() as nursery:
            for number, code in enumerate(codes):
                assert code is not None
                nursery.start_soon(_purchase, history, addresses[number % 2], code, statuses, f"key-{number}")
        assert sorted(statuses) == [200] * 10 + [429] * 54
        assert history.refused == {"user_limit_reached": 54}
        await verify(history, postgres, sold_out=False)


async def test_one_code_sent_100_times_at_once_sells_once_and_the_others_get_its_receipt(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history, answers = History(), list[tuple[int, object]]()
    async with running_cluster(postgres, valkey.url, web=2, inventory=1) as (_, addresses):
        async with Client(addresses[0]) as client:
            code = await history.checkout(client, "ann", 7)
        assert code is not None

        async def purchase(address: str) -> None:
            async with Client(address) as client:
                answer = await history.purchase(client, code)
                assert answer is not None
                body = answer.json()
                answers.append((answer.status, body["item"] if answer.status == 200 else body["purchase"]["item"]))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(purchase, addresses[number % 2])
        assert sorted(status for status, _ in answers) == [200] + [409] * 99
        assert all(item == answers[0][1] for _, item in answers)
        await verify(history, postgres, sold_out=False)


async def test_one_code_with_one_idempotency_key_gets_200_each_of_100_times(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history, statuses = History(), list[int]()
    async with running_cluster(postgres, valkey.url, web=2, inventory=1) as (_, addresses):
        async with Client(addresses[0]) as client:
            code = await history.checkout(client, "ann", 7)
            other = await history.checkout(client, "ann", 8)
        assert code is not None
        assert other is not None
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(_purchase, history, addresses[number % 2], code, statuses, "once")
        assert statuses == [200] * 100
        assert len(history.sold) == 1
        await _purchase(history, addresses[1], other, statuses, "once")
        assert statuses[-1] == 422
        await verify(history, postgres, sold_out=False)


async def test_100_users_who_want_one_item_make_one_sale(postgres: str, valkey: EmbeddedValkey) -> None:
    history, statuses = History(), list[int]()
    async with running_cluster(postgres, valkey.url, web=2, inventory=1) as (_, addresses):
        async with Client(addresses[0]) as client:
            codes = [await history.checkout(client, f"user-{n}", 3) for n in range(100)]
        async with trio.open_nursery() as nursery:
            for number, code in enumerate(codes):
                assert code is not None
                nursery.start_soon(_purchase, history, addresses[number % 2], code, statuses, f"key-{number}")
        assert sorted(statuses) == [200] + [409] * 99
        assert history.refused == {"item_sold": 99}
        await verify(history, postgres, sold_out=False)
