"""The keys of codes: made once, rotated and retired while sales go on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash import bridge
from flash.actors.code_keys import CodeKeyRing
from flash.codes import CodeKeys, Codes
from flash.domain import Code
from flash.errors import OperatorError, Unavailable
from flash.local.embedded import EmbeddedValkey
from flash.stores.keys import SIGNS_AFTER_SECONDS, list_code_keys, read_code_keys, retire_code_key, rotate_code_key
from flash.testing.client import Client
from flash.testing.cluster import running_cluster
from tests.codes import a_code
from tests.stores.database import opened, run_sql

SIGN_NOW = "UPDATE code_keys SET signs_from = now()"
"""The time has passed after which a new key signs."""


async def test_a_new_key_signs_only_when_every_process_has_had_time_to_read_it(postgres: str) -> None:
    async with opened(postgres) as stores:
        before = await read_code_keys(stores.database)
        assert (set(before.keys), before.signing_id, before.legacy) == ({1}, 1, None)
        assert await stores.database.run(rotate_code_key) == 2
        between = await read_code_keys(stores.database)
        assert (set(between.keys), between.signing_id) == ({1, 2}, 1)
        seconds = "SELECT extract(epoch FROM signs_from - made_at)::float8 AS s FROM code_keys WHERE id = 2"
        assert (await run_sql(postgres, seconds))[0]["s"] == SIGNS_AFTER_SECONDS
        await run_sql(postgres, f"{SIGN_NOW} WHERE id = 2")
        after = await read_code_keys(stores.database)
        assert (set(after.keys), after.signing_id) == ({1, 2}, 2)
        text = Codes(before).seal(a_code(5))
        assert Codes(after).open(text) == a_code(5)


async def test_a_key_is_retired_only_when_it_signs_no_more(postgres: str) -> None:
    async with opened(postgres) as stores:

        async def retire(id: int) -> None:
            await stores.database.run(retire_code_key, id)

        for id, text in ((1, "rotate"), (9, "there is no key 9")):
            with pytest.raises(OperatorError, match=text):
                await retire(id)
        await stores.database.run(rotate_code_key)
        for id in (1, 2):  # one signs now, the other will
            with pytest.raises(OperatorError, match="sign"):
                await retire(id)
        await run_sql(postgres, f"{SIGN_NOW} WHERE id = 2")
        await retire(1)
        assert [(key.id, key.is_signing, key.is_next) for key in await stores.database.run(list_code_keys)] == [
            (2, True, False)
        ]
        assert await stores.database.run(rotate_code_key) == 3, "a number is used again only when all are used up"


async def test_twenty_rotations_at_once_make_twenty_keys(postgres: str) -> None:
    async with opened(postgres) as stores:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(stores.database.run, rotate_code_key)
        assert set((await read_code_keys(stores.database)).keys) == set(range(1, 22))


async def test_a_database_without_keys_is_not_ready(postgres: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(postgres, "DELETE FROM code_keys")
        with pytest.raises(Unavailable, match="flash migrate"):
            await read_code_keys(stores.database)


async def test_a_clock_that_was_set_back_leaves_a_key_to_sign_with(postgres: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(postgres, "UPDATE code_keys SET signs_from = now() + interval '1 h'")
        assert (await read_code_keys(stores.database)).signing_id == 1
        (info,) = await stores.database.administer(list_code_keys)
        assert info.is_signing


async def test_a_process_asks_for_a_key_that_it_does_not_know_but_not_for_every_forgery() -> None:
    known, newer = CodeKeys({1: b"k" * 32}, 1), CodeKeys({1: b"k" * 32, 2: b"n" * 32}, 2)
    text, forged = Codes(newer).seal(a_code(5)), Codes(CodeKeys({3: b"f" * 32}, 3)).seal(a_code(5))
    found, looks = known, 0

    async def read() -> CodeKeys:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise Unavailable("PostgreSQL is away")
        await trio.lowlevel.checkpoint()
        return found

    ring = CodeKeyRing(Codes(known), read, seconds=5)
    ring._looked_at -= 10
    with pytest.raises(Unavailable):
        await ring.open(text)
    found = newer
    assert await ring.open(text) == a_code(5), "the look that failed does not count"
    for _ in range(50):
        assert await ring.open(forged) is None
    assert looks == 2


async def test_a_crowd_of_forgeries_costs_one_look() -> None:
    known = CodeKeys({1: b"k" * 32}, 1)
    forged, looks = Codes(CodeKeys({3: b"f" * 32}, 3)).seal(a_code(5)), 0

    async def read() -> CodeKeys:
        nonlocal looks
        looks += 1
        await wait_all_tasks_blocked()
        return known

    ring = CodeKeyRing(Codes(known), read, seconds=5)
    ring._looked_at -= 10
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ring.open, forged)
    assert looks == 1


async def test_keys_are_rotated_by_command_while_a_cluster_sells(postgres: str, valkey: EmbeddedValkey) -> None:
    def flash(*arguments: str) -> str:
        command = [sys.executable, "-m", "flash", "keys", *arguments]
        done = subprocess.run(
            command, env={**os.environ, "DATABASE_URL": postgres}, capture_output=True, text=True, check=True
        )
        return done.stdout

    async with running_cluster(postgres, valkey.url, web=1, inventory=1) as (_, (address,)), Client(address) as client:

        async def code(item: int) -> str:
            text: str = (await client.post(f"/checkout?user_id=ann&id={item}")).json()["code"]
            return text

        older = await code(1)
        assert "key 2 signs new codes in 15 s" in await trio.to_thread.run_sync(flash, "rotate")
        async with bridge.open_loop():
            await run_sql(postgres, f"{SIGN_NOW} WHERE id = 2")
            keys = [row["value"] for row in await run_sql(postgres, "SELECT value FROM code_keys ORDER BY id")]
        assert "now" in (await trio.to_thread.run_sync(flash)).splitlines()[2]
        # what another web process issues, which has read the new key before this one
        ahead = Codes(CodeKeys({2: keys[1]}, 2)).seal(_opened(keys[0], await code(2)))
        await _becomes(client, f"/purchases/{ahead}", 404)
        assert (await client.post(f"/purchase?code={ahead}")).status == 200
        assert (await client.post(f"/purchase?code={older}")).status == 200
        assert "gone" in await trio.to_thread.run_sync(flash, "retire", "1")
        await _becomes(client, f"/purchases/{older}", 400)
        assert (await client.get(f"/purchases/{ahead}")).status == 200


async def _becomes(client: Client, path: str, status: int) -> None:
    """Wait for a process that reads the keys every few seconds."""
    with trio.fail_after(10):
        while True:
            if (await client.get(path)).status == status:
                return
            await trio.sleep(0.1)


def _opened(key: bytes, text: str) -> Code:
    code = Codes(CodeKeys({1: key}, 1)).open(text)
    assert isinstance(code, Code)
    return code
