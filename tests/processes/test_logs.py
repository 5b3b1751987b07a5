"""The logs of real processes: JSON lines where no person reads along, and nothing in them that must not be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import trio

from flash import bridge
from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Client
from flash.testing.cluster import Process, running_cluster
from tests.stores.database import run_sql

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# A constraint whose breach PostgreSQL explains with the row in its DETAIL.
_BREAK = "ALTER TABLE checkouts ADD CONSTRAINT odd CHECK (user_id IS NULL OR user_id NOT LIKE 'secret%') NOT VALID"


def lines(processes: Iterable[Process]) -> list[dict[str, object]]:
    """What they have logged; the last line may still be under way."""
    return [json.loads(line) for process in processes for line in process.log.split("\n")[:-1]]


async def test_both_roles_log_json_when_nobody_reads_along_and_never_what_a_user_has_sent(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(postgres, valkey.url, FLASH_LOG_FORMAT="auto") as (cluster, _):
        inventory, web = await cluster.start("inventory"), await cluster.start("web")
        await inventory.wait_for("leading sale 1, epoch 1")
        address = (await web.wait_for(r'listening on (http://[^\s"]+)')).group(1)
        async with bridge.open_loop():
            await run_sql(postgres, _BREAK)
        async with Client(address) as client:
            answer = await client.post("/checkout?user_id=secret%0aname&id=1")
            assert answer.status in (400, 503)
            assert (await client.post("/checkout?user_id=secretname&id=1")).status == 503
        await web.wait_for("PostgreSQL refused a statement")
        told = lines(cluster.processes)
        for process in cluster.processes:
            assert "secret" not in process.log
            assert "DETAIL" not in process.log
    assert {(line["process"], line["pid"]) for line in told} == {("inventory", inventory.pid), ("web", web.pid)}
    assert all(_RFC3339.fullmatch(str(line["time"])) for line in told)
    assert {"info", "error"} <= {line["level"] for line in told}
    assert {"flash.processes.web", "flash.stores.postgres"} <= {line["logger"] for line in told}


async def test_honcho_is_for_people(postgres: str, valkey: EmbeddedValkey) -> None:
    async with running_cluster(postgres, valkey.url, FLASH_LOG_FORMAT="auto") as (cluster, _):
        web = await cluster.start("web", HONCHO_PROCESS_NAME="web.1")
        await web.wait_for(r"(?m)^INFO flash\.processes\.web: listening on http://")
        web.terminate()
        with trio.fail_after(10):
            assert await web.wait() == 0
