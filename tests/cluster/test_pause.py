"""An operator pauses a sale while it is being bought: nothing more of it is sold, whoever leads it, until the end."""

from __future__ import annotations

import trio

from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Answer, Client
from flash.testing.cluster import QUICK, running_cluster, until
from tests.cluster.history import Crowd, rows, verify

SIZE = 200
TOKEN = "a-token-of-32-characters-or-so-x"
# an earlier sale, which is open beside the one that the scheduler makes
EARLIER_SALE = f"""
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit) VALUES (1, now() - interval '2 h', 1, {SIZE}, 10)
RETURNING id
"""
SOLD = "SELECT sold, (SELECT count(*) FROM purchases WHERE sale_id = 1) FROM sales WHERE id = 1"


async def control(client: Client, action: str) -> Answer:
    headers = [(b"authorization", b"Bearer " + TOKEN.encode()), (b"content-type", b"application/json")]
    body = b'{"by":"ann","reason":"a wrong picture"}'
    return await client.request("POST", f"/control/sales/1/{action}", headers=headers, body=body)


async def test_nothing_is_sold_between_the_answer_to_pause_and_resume(postgres: str, valkey: EmbeddedValkey) -> None:
    await rows(postgres, EARLIER_SALE)
    settings = {"FLASH_SALE_SIZE": "50", "FLASH_CONTROL_TOKEN": TOKEN, **QUICK}
    async with (
        running_cluster(postgres, valkey.url, web=2, inventory=2, **settings) as (cluster, addresses),
        Client(addresses[0]) as here,
        Client(addresses[1]) as there,
    ):
        crowd = Crowd(addresses, SIZE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.run)
            await crowd.wait_sold(SIZE // 4)

            answer = await control(here, "pause")
            assert (answer.status, answer.json()["paused"]["by"]) == (200, "ann")
            (sold,) = await rows(postgres, SOLD)
            await until(lambda: crowd.history.paused > crowd.buyers)
            code = next(iter(crowd.history.sold))
            repeated = await there.post(f"/purchase?code={code}")
            assert (repeated.status, repeated.json()["code"]) == (409, "code_already_used"), "receipts are given"
            assert repeated.json()["purchase"]["sale_id"] == 1
            other = await crowd.history.checkout(there, "eve", SIZE + 1)
            assert other is not None
            bought = await crowd.history.purchase(there, other)
            assert bought is not None
            assert bought.status == 200, "another sale goes on"

            epoch, leader = await cluster.term_of(1)
            leader.kill()
            await cluster.term_of(1, beyond=epoch)
            paused = crowd.history.paused
            await until(lambda: crowd.history.paused > paused + crowd.buyers)
            assert await rows(postgres, SOLD) == [sold], "its successor keeps the pause"

            acknowledged = crowd.sold
            assert (await control(there, "resume")).json() == {"sale_id": 1, "paused": None}
            await crowd.wait_sold(acknowledged + 1)
    await verify(crowd.history, postgres, sold_out=True)
    assert await rows(postgres, "SELECT action, by, sold FROM sale_pauses ORDER BY id") == [
        ("pause", "ann", sold[0]),
        ("resume", "ann", sold[0]),
    ]
