"""A request's X-Request-ID and trace, from a client through Redis to the leader's log."""

from __future__ import annotations

import json

import trio

from flash import bridge
from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Client
from flash.testing.cluster import Process, running_cluster
from tests.stores.database import run_sql

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
HEADERS = [(b"x-request-id", b"order-77"), (b"traceparent", PARENT), (b"idempotency-key", b"key-of-ann")]


def lines(process: Process, logger: str) -> list[dict[str, object]]:
    told = [json.loads(line) for line in process.log.split("\n")[:-1]]
    return [line for line in told if line["logger"] == logger]


async def test_what_a_client_calls_its_purchase_is_in_the_logs_of_both_roles(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    settings = {"FLASH_LOG_FORMAT": "json", "FLASH_ACCESS_LOG": "1", "FLASH_LOG_LEVEL": "info"}
    async with running_cluster(postgres, valkey.url) as (cluster, _):
        leader = await cluster.start("inventory", **settings)
        await leader.wait_for("leading sale 1")
        web = await cluster.start("web", **settings)
        address = (await web.wait_for(r'listening on (http://[^\s"]+)')).group(1)
        async with Client(address) as client:
            code = (await client.post("/checkout?user_id=ann&id=1")).json()["code"]
            answer = await client.post(f"/purchase?code={code}", HEADERS)
            assert answer.status == 200
            assert dict(answer.headers)[b"x-request-id"] == b"order-77"
            assert dict(answer.headers)[b"traceparent"] == PARENT
            assert (await client.post(f"/purchase?code={code}")).status == 409
        await leader.wait_for("code_already_used")
        await web.wait_for(r'"status":409')
        commands, requests = lines(leader, "flash.actors.command_log"), lines(web, "flash.http.access_log")
        everything = web.log + leader.log
    assert [(line["sale_id"], line["item_id"], line["outcome"]) for line in commands] == [
        (1, 1, "sold"),
        (1, 1, "code_already_used"),
    ]
    assert [line["path"] for line in requests] == [
        "/checkout?user_id=***&id=1",
        "/purchase?code=***",
        "/purchase?code=***",
    ]
    for line in (commands[0], requests[1]):
        assert (line["x_request_id"], line["trace_id"]) == ("order-77", PARENT[3:35].decode())
    assert commands[1]["x_request_id"] == requests[2]["x_request_id"]
    for secret in (code, "ann", "key-of-ann"):
        assert secret not in everything


async def test_a_leader_that_loses_a_batch_says_whose_it_was(postgres: str, valkey: EmbeddedValkey) -> None:
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, FLASH_DATABASE_TIMEOUT="0.5") as (
        cluster,
        (address,),
    ):
        leader = await cluster.leader_of()
        async with Client(address) as client:
            code = (await client.post("/checkout?user_id=ann&id=1")).json()["code"]
            async with bridge.open_loop():
                await run_sql(postgres, "ALTER TABLE purchases RENAME TO elsewhere")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.post, f"/purchase?code={code}", HEADERS)
                await leader.wait_for(r"no outcome of a batch of 1 commands .*x_request_ids=\['order-77'\]")
                async with bridge.open_loop():
                    await run_sql(postgres, "ALTER TABLE elsewhere RENAME TO purchases")
