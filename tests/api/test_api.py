"""The HTTP contract on a real cluster, row by row: statuses, bodies byte for byte, headers, and what was recorded."""

from __future__ import annotations

import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import ceil
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import asyncpg
import orjson
import pytest
import trio

from flash import bridge, catalog
from flash.codes import CodeKeys, Codes, digest_user
from flash.domain import CheckoutId, Code, ItemId, SaleId, UserId
from flash.http.problem_types import PROBLEM_TYPES
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.testing.client import Answer, Client, raw
from flash.testing.cluster import Cluster, running_cluster
from tests.codes import a_code

INVALID_CODE = (400, "invalid_code", "Invalid or expired code")
ITEM_SOLD = (409, "item_sold", "The item has been sold")
SOLD_OUT = (410, "sold_out", "The sale is sold out")
NOT_PURCHASED = (404, "not_purchased", "Nothing has been bought with this code yet")
ITEM_NOT_FOUND = (404, "item_not_found", "There is no such item")
SALE_NOT_FOUND = (404, "sale_not_found", "There is no such sale")
OVERLOADED = (503, "overloaded", "Too many requests are waiting; nothing was started")
UNAVAILABLE = (503, "unavailable", "A store could not be reached; try again")
OUTCOME_UNKNOWN = (
    503,
    "outcome_unknown",
    "It may have happened or not: ask for the receipt, or repeat with the same Idempotency-Key",
)

USER_RULE = "user_id must be 1 to 64 characters without control characters"
ID_RULE = "id must be a decimal number from 1 to 9223372036854775807, without sign or leading zeros"
ONE_ITEM = "user_id=u&id="
MALFORMED_ATTEMPTS = [
    ("", "user_id is missing"),
    ("id=1", "user_id is missing"),
    ("user_id=u", "id is missing"),
    ("user_id=u&ID=1", "id is missing"),
    ("user_id=&id=1", "user_id is empty"),
    ("user_id&id=1", "user_id is empty"),
    ("user_id=u&id=", "id is empty"),
    ("user_id=u&user_id=u&id=1", "user_id must be given only once"),
    ("user_id=u&user%5Fid=v&id=1", "user_id must be given only once"),
    ("user_id=u&id=1&id=2", "id must be given only once"),
    (f"user_id={'u' * 65}&id=1", USER_RULE),
    (f"user_id={'%C3%A9' * 65}&id=1", USER_RULE),
    (f"user_id={'u' * 3000}&id=1", USER_RULE),
    *((f"user_id=u{control}&id=1", USER_RULE) for control in ("%00", "%09", "%0A", "%0d", "%1F", "%7F", "%C2%85")),
    *((f"user_id={bad}&id=1", "user_id is not valid UTF-8") for bad in ("%FF", "%C3", "%C0%AF", "%ED%A0%80")),
    ("user_id=%F4%90%80%80&id=1", "user_id is not valid UTF-8"),
    *((f"user_id={bad}&id=1", "user_id has a malformed percent-escape") for bad in ("%", "a%1", "%zz", "%u0041")),
    *((f"{ONE_ITEM}{bad}", ID_RULE) for bad in ("0", "-1", "00", "01", "1.0", "1e3", "0x1", "1_000", "one", "NaN")),
    *((f"{ONE_ITEM}{bad}", ID_RULE) for bad in ("+1", "%2B1", "%201", "1%20", "%EF%BC%91%EF%BC%92", "1%00")),
    *((f"{ONE_ITEM}{bad}", ID_RULE) for bad in (str(2**63), str(2**64 + 1), "9" * 40)),
    ("user_id=u&id=%FF", "id is not valid UTF-8"),
    ("user_id=u&id=1%", "id has a malformed percent-escape"),
    ("user_id=u&id=1&%zz=1", "a parameter name has a malformed percent-escape"),
    ("user_id=u&id=1&%FF=1", "a parameter name is not valid UTF-8"),
]
"""Malformed queries, and what the buyer is told about each."""

QUERY_BYTES_RECORDED = 1024


class Database:
    """A connection to the database, for looking and for what no client can do."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self, sql: str, *args: object) -> list[Any]:
        rows: list[Any] = await bridge.call_asyncio(self._connection.fetch, sql, *args)
        return rows

    async def value(self, sql: str, *args: object) -> Any:
        return (await self.rows(sql, *args))[0][0]

    async def codes(self) -> Codes:
        """Makes and opens the codes of this cluster."""
        return Codes(CodeKeys({1: await self.value("SELECT value FROM code_keys")}, 1))

    async def wait_for_somebody_waiting(self) -> None:
        """Wait until a session waits for a lock that another one holds."""
        with trio.fail_after(10):
            while True:
                if await self.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                    return
                await trio.sleep(0.01)

    async def make_older(self, codes: Codes, code: str, seconds: int) -> str:
        """Move the checkout of `code` back by `seconds`. Returns the code that it would have got then."""
        opened = codes.open(code)
        assert isinstance(opened, Code)
        sql = "UPDATE checkouts SET attempted_at = attempted_at - $2 * interval '1 s' WHERE id = $1 RETURNING id"
        assert await self.rows(sql, opened.checkout_id, seconds)
        return codes.seal(replace(opened, issued_at=opened.issued_at - seconds))


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    async def connect() -> Any:
        return await asyncpg.connect(url, ssl=False)

    async with bridge.open_loop():
        connection = await bridge.call_asyncio(connect)
        try:
            yield Database(connection)
        finally:
            connection.terminate()  # not `close`: the server may be frozen


@dataclass
class Shop:
    """A cluster of one web and one inventory process, with sale 1 open and sale 2 prepared."""

    cluster: Cluster
    address: str
    client: Client
    database: Database

    async def code(self, user: str, item: int) -> str:
        """A code that was issued just now."""
        answer = await self.client.post(f"/checkout?user_id={user}&id={item}")
        assert answer.status == 200, answer.body
        code: str = answer.json()["code"]
        return code

    async def purchase(self, code: str, key: str | None = None) -> Answer:
        return await self.client.post(
            f"/purchase?code={code}", [] if key is None else [(b"Idempotency-Key", key.encode())]
        )

    async def health_shows(self, body: str) -> Answer:
        """The answer of /health as soon as it is `body`: it is what was seen within the last seconds."""
        with trio.fail_after(15):
            while True:
                answer = await self.client.get("/health")
                if answer.body.decode() == body:
                    return answer
                await trio.sleep(0.02)

    async def receipt(self, item: int, user: str) -> str:
        """The members of a receipt, with the time from the database."""
        sql = "SELECT sale_id, purchased_at FROM purchases WHERE item_id = $1 AND user_id = $2"
        ((sale, at),) = await self.database.rows(sql, item, user)
        purchased_at = orjson.dumps(at, option=orjson.OPT_UTC_Z).decode()
        image = f"/items/{item}/image.svg"
        shown = f'{{"id":{item},"name":"{catalog.name(item)}","image":"{image}"}}'
        return f'"item":{shown},"sale_id":{sale},"user_id":"{user}","purchased_at":{purchased_at}'


@asynccontextmanager
async def open_shop(database_url: str, redis_url: str, **settings: str) -> AsyncIterator[Shop]:
    settings = {"FLASH_SALE_PERIOD": str(quiet_period()), "FLASH_SALE_SIZE": "20", **settings}
    async with (
        running_cluster(database_url, redis_url, web=1, inventory=1, **settings) as (cluster, (address,)),
        Client(address) as client,
        open_database(database_url) as database,
    ):
        with trio.fail_after(10):
            while True:  # its visitors see the sale at the next look
                if (await client.get("/sales/current")).status == 200:
                    break
                await trio.sleep(0.02)
        yield Shop(cluster, address, client, database)


def quiet_period() -> int:
    """A sale period (seconds) that does not end within the next hour, so no sale opens in the middle of a test."""
    now = time.time()
    return next(period for period in range(7200, 86401) if period - now % period > 3600)


def check_problem(answer: Answer, expected: tuple[int, str, str], extra: str = "") -> None:
    """Check that `answer` is this problem byte for byte. `extra` follows its five members."""
    status, code, detail = expected
    title = PROBLEM_TYPES[code].title
    text = f'{{"type":"/problems/{code}","title":"{title}","status":{status},"detail":"{detail}","code":"{code}"'
    assert answer.body.decode() == f"{text}{extra}}}"
    assert answer.status == status
    assert answer.header(b"content-type") == b"application/problem+json"
    if status == 503:
        retry_after = int(answer.header(b"retry-after") or b"0")
        assert retry_after in (1, 2) or (retry_after > 2 and code in ("outcome_unknown", "overloaded"))


def check_try_later(answer: Answer) -> None:
    """Check for the 503 of a store that is away. Whether the statement had been sent depends on the moment."""
    check_problem(answer, UNAVAILABLE if answer.json()["code"] == "unavailable" else OUTCOME_UNKNOWN)


def check_json(answer: Answer, body: str) -> None:
    assert answer.body.decode() == body
    assert answer.status == 200
    assert answer.header(b"content-type") == b"application/json"


async def test_each_outcome_of_a_checkout_is_answered_as_documented_and_recorded(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        issued = await shop.client.post("/checkout?user_id=ann&id=1")
        code = issued.json()["code"]
        check_json(issued, f'{{"code":"{code}"}}')
        assert re.fullmatch("[A-Za-z0-9_-]{72}", code)
        assert (await shop.purchase(code)).status == 200
        check_problem(await shop.client.post("/checkout?user_id=bob&id=1"), ITEM_SOLD)

        for item in (41, 2**63 - 1):
            check_problem(await shop.client.post(f"/checkout?user_id=bob&id={item}"), ITEM_NOT_FOUND)

        until_open = "SELECT extract(epoch FROM starts_at - clock_timestamp())::float8 FROM sales WHERE id = 2"
        before = await shop.database.value(until_open)
        early = await shop.client.post("/checkout?user_id=bob&id=21")
        after = await shop.database.value(until_open)
        check_problem(early, (409, "sale_not_open", "The item's sale has not opened yet"))
        assert ceil(after) <= int(early.header(b"retry-after") or 0) <= ceil(before)

        rows = await shop.database.rows("SELECT user_id, item_id, sale_id, outcome, query FROM checkouts ORDER BY id")
        assert [tuple(row) for row in rows] == [
            ("ann", 1, 1, "issued", None),
            ("bob", 1, 1, "item_sold", None),
            ("bob", 41, None, "item_not_found", None),
            ("bob", 2**63 - 1, None, "item_not_found", None),
            ("bob", 21, 2, "sale_not_open", None),
        ]


async def test_a_malformed_checkout_gets_the_reason_and_is_recorded_and_fails_nobody_else_in_its_batch(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    users = ["u" * 64, "zoë 😀" * 10, "a+b&c=d%", "\uff21\uff2e\uff2e", "\u2028", "'; DROP TABLE sales; --"]
    good = [f"user_id={quote(user, safe='')}&id={n}&unknown=1" for n, user in enumerate(users, start=1)]
    good.append("user_id=a+b&id=20")
    queries = [query for query, _ in MALFORMED_ATTEMPTS] + good
    answers: dict[str, Answer] = {}
    async with (
        # with one worker and a locked table, everything that arrives meanwhile is one batch
        open_shop(postgres, valkey.url, FLASH_CHECKOUT_WORKERS="1", FLASH_DATABASE_TIMEOUT="20") as shop,
        AsyncExitStack() as closing,
        trio.open_nursery() as nursery,
    ):
        clients = {query: await closing.enter_async_context(Client(shop.address)) for query in queries}
        for client in clients.values():
            assert (await client.get("/livez")).status == 200

        async def attempt(client: Client, query: str) -> None:
            answers[query] = await client.post(f"/checkout?{query}")

        await shop.database.rows("BEGIN")
        await shop.database.rows("LOCK TABLE checkouts IN ACCESS EXCLUSIVE MODE")
        async with trio.open_nursery() as attempts:
            first = await closing.enter_async_context(Client(shop.address))
            attempts.start_soon(attempt, first, "user_id=first&id=1")
            await shop.database.wait_for_somebody_waiting()
            for query, client in clients.items():
                attempts.start_soon(attempt, client, query)
            for _ in range(20):  # each answer comes after the requests that arrived before it were read
                await shop.client.get("/livez")
            assert not answers
            await shop.database.rows("COMMIT")

        for query, detail in MALFORMED_ATTEMPTS:
            check_problem(answers[query], (400, "invalid_request", detail))
        for query in good:
            assert answers[query].status == 200, query
        rows = await shop.database.rows("SELECT * FROM checkouts WHERE user_id IS DISTINCT FROM 'first'")
        assert len({row["attempted_at"] for row in rows}) == 1, "they should have been one batch"
        malformed = [row for row in rows if row["outcome"] == "invalid_request"]
        assert sorted(row["query"] for row in malformed) == sorted(
            query.encode()[:QUERY_BYTES_RECORDED] for query, _ in MALFORMED_ATTEMPTS
        )
        assert all((row["user_id"], row["item_id"], row["sale_id"]) == (None, None, None) for row in malformed)
        issued = {row["user_id"] for row in rows if row["outcome"] == "issued"}
        assert issued == {*users, "a b"}
        nursery.cancel_scope.cancel()


async def test_each_outcome_of_a_purchase_is_answered_as_documented(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_shop(postgres, valkey.url, FLASH_USER_LIMIT="2") as shop:
        ann, bob, other = await shop.code("ann", 1), await shop.code("bob", 1), await shop.code("ann", 2)
        check_problem(await shop.client.get(f"/purchases/{ann}"), NOT_PURCHASED)

        sold = await shop.purchase(ann, "key-1")
        receipt = await shop.receipt(1, "ann")
        check_json(sold, f'{{"message":"Purchase successful",{receipt}}}')
        assert (await shop.purchase(ann, "key-1")).body == sold.body
        for key in (None, "key-2"):
            used = (409, "code_already_used", "Code has already been used")
            check_problem(await shop.purchase(ann, key), used, f',"purchase":{{{receipt}}}')
        check_json(await shop.client.get(f"/purchases/{ann}"), f"{{{receipt}}}")

        reused = (422, "idempotency_key_reused", "The Idempotency-Key has been used with another code")
        check_problem(await shop.purchase(other, "key-1"), reused)
        check_problem(await shop.purchase(bob), ITEM_SOLD)
        check_problem(await shop.client.get(f"/purchases/{bob}"), NOT_PURCHASED)

        assert (await shop.purchase(other, "key-2")).status == 200
        limit = (429, "user_limit_reached", "User has reached the maximum of 2 items per sale")
        check_problem(await shop.purchase(await shop.code("ann", 3)), limit)
        assert (await shop.purchase(await shop.code("Ann", 3))).status == 200
        assert await shop.database.value("SELECT count(*) FROM purchases") == 3


async def test_a_malformed_idempotency_key_buys_nothing(postgres: str, valkey: EmbeddedValkey) -> None:
    rule = (400, "invalid_request", "Idempotency-Key must be 1 to 128 visible ASCII characters")
    async with open_shop(postgres, valkey.url) as shop:
        code = await shop.code("ann", 1)
        for key in (b"", b"k" * 129, b"a b", b"a\tb", b"\xc3\xa9"):
            check_problem(await shop.client.post(f"/purchase?code={code}", [(b"idempotency-key", key)]), rule)
        twice = await shop.client.post(f"/purchase?code={code}", [(b"idempotency-key", b"a")] * 2)
        check_problem(twice, (400, "invalid_request", "Idempotency-Key must be given only once"))
        check_problem(await shop.client.get(f"/purchases/{code}"), NOT_PURCHASED)
        assert (await shop.purchase(code, "k" * 128)).status == 200


async def test_an_unknown_or_expired_code_is_invalid_and_one_that_has_bought_keeps_its_receipt(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with open_shop(postgres, valkey.url, FLASH_CODE_TTL="1800") as shop:
        codes = await shop.database.codes()
        expired, in_time, bought = [await shop.code("ann", item) for item in (1, 2, 3)]
        assert (await shop.purchase(bought, "key")).status == 200
        expired, in_time, bought = [
            await shop.database.make_older(codes, code, seconds)
            for code, seconds in ((expired, 1801), (in_time, 1700), (bought, 1801))
        ]
        check_problem(await shop.purchase(expired), INVALID_CODE)
        check_problem(await shop.client.get(f"/purchases/{expired}"), INVALID_CODE)
        check_problem(await shop.client.get(f"/purchases/{in_time}"), NOT_PURCHASED)
        assert (await shop.purchase(in_time)).status == 200
        assert (await shop.purchase(bought, "key")).status == 200
        assert (await shop.purchase(bought)).status == 409
        check_json(await shop.client.get(f"/purchases/{bought}"), f"{{{await shop.receipt(3, 'ann')}}}")

        # sealed with the right key but never issued: what a database restored from a backup would see
        known = codes.open(await shop.code("ann", 4))
        assert isinstance(known, Code)
        refused = await shop.client.post("/checkout?user_id=ann&id=3")
        assert refused.status == 409
        last = CheckoutId(await shop.database.value("SELECT max(id) FROM checkouts"))
        for stranger in (
            replace(known, checkout_id=CheckoutId(2**40)),
            replace(known, checkout_id=last),
            replace(known, user_digest=bytes(16)),
            replace(known, item_id=ItemId(5)),
        ):
            check_problem(await shop.purchase(codes.seal(stranger)), INVALID_CODE)
        check_problem(await shop.client.get(f"/purchases/{codes.seal(replace(known, checkout_id=last))}"), INVALID_CODE)


async def test_a_code_of_the_first_release_is_honoured_to_its_end(postgres: str, valkey: EmbeddedValkey) -> None:
    key, issue = (
        b"k" * 32,
        (
            "INSERT INTO checkouts (outcome, sale_id, item_id, user_id, secret, attempted_at) "
            "VALUES ('issued', 1, $1, 'zoë', $2, now() - $3 * interval '1 s') RETURNING id"
        ),
    )

    def seal(checkout_id: int, secret: bytes) -> str:
        payload = (1).to_bytes(5, "big") + checkout_id.to_bytes(6, "big") + secret
        return urlsafe_b64encode(payload + blake2b(payload, key=key, digest_size=9).digest()).decode()

    async with open_shop(postgres, valkey.url, FLASH_CODE_TTL="1800") as shop:
        await shop.database.rows("INSERT INTO secrets VALUES ('code_key', $1)", key)
        _, address = await shop.cluster.start_web()  # one that starts on a database with a past
        ids = [await shop.database.value(issue, n, bytes([n]) * 16, age) for n, age in ((1, 60), (2, 1801), (3, 60))]
        good, expired, wrong = seal(ids[0], b"\1" * 16), seal(ids[1], b"\2" * 16), seal(ids[2], b"\1" * 16)
        async with Client(address) as client:
            check_problem(await client.get(f"/purchases/{good}"), NOT_PURCHASED)
            for code in (expired, wrong, good[:-1] + "A"):
                check_problem(await client.post(f"/purchase?code={code}"), INVALID_CODE)
                check_problem(await client.get(f"/purchases/{code}"), INVALID_CODE)
            assert (await client.post(f"/purchase?code={good}")).status == 200
            receipt = await shop.receipt(1, "zoë")
            check_json(await client.get(f"/purchases/{good}"), f"{{{receipt}}}")
            used = (409, "code_already_used", "Code has already been used")
            check_problem(await client.post(f"/purchase?code={good}"), used, f',"purchase":{{{receipt}}}')
            later = (await client.post("/checkout?user_id=zo%C3%AB&id=4")).json()["code"]
            assert (await client.post(f"/purchase?code={later}")).status == 200
        slots = await shop.database.rows("SELECT slot FROM purchases WHERE user_id = 'zoë' ORDER BY slot")
        assert [row["slot"] for row in slots] == [1, 2], "one buyer, whichever release issued the code"


async def test_two_spellings_of_a_name_are_one_buyer_and_a_code_from_before_that_rule_still_buys(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    composed, decomposed = "Zoë", "Zoe\u0308"
    async with open_shop(postgres, valkey.url, FLASH_USER_LIMIT="1") as shop:
        first = await shop.code(quote(composed), 1)
        second = await shop.code(quote(decomposed), 2)
        assert (await shop.purchase(first)).json()["user_id"] == composed
        limit = (429, "user_limit_reached", "User has reached the maximum of 1 items per sale")
        check_problem(await shop.purchase(second), limit)

        codes = await shop.database.codes()
        key = await shop.database.value("SELECT value FROM secrets WHERE name = 'user_key'")
        digest = digest_user(key, UserId(decomposed))
        row = await shop.database.rows(
            "INSERT INTO checkouts (outcome, sale_id, item_id, user_id, user_digest) VALUES ('issued', 1, 3, $1, $2) "
            "RETURNING id, floor(extract(epoch FROM attempted_at))::bigint AS issued_at",
            decomposed,
            digest,
        )
        old = codes.seal(Code(SaleId(1), CheckoutId(row[0]["id"]), ItemId(3), row[0]["issued_at"], digest))
        sold = await shop.purchase(old, "key")
        assert (sold.status, sold.json()["user_id"]) == (200, decomposed), "as it was issued"
        assert (await shop.purchase(old, "key")).body == sold.body
        check_json(await shop.client.get(f"/purchases/{old}"), f"{{{await shop.receipt(3, decomposed)}}}")


async def test_a_sold_out_sale_says_so_to_everybody_except_those_who_have_bought(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with open_shop(postgres, valkey.url, FLASH_SALE_SIZE="3") as shop:
        codes = await shop.database.codes()
        bought = [await shop.code("ann", item) for item in (1, 2, 3)]
        late, expired = await shop.code("bob", 1), await shop.code("bob", 2)
        expired = await shop.database.make_older(codes, expired, 3601)
        bodies = [(await shop.purchase(code, f"key-{code}")).body for code in bought]
        assert b"Purchase successful" in bodies[2]

        async def check(client: Client) -> None:
            for item in (1, 2, 3):
                check_problem(await client.post(f"/checkout?user_id=bob&id={item}"), SOLD_OUT)
            check_problem(await client.post(f"/purchase?code={late}"), SOLD_OUT)
            check_problem(await client.post(f"/purchase?code={expired}"), INVALID_CODE)
            check_problem(await client.get(f"/purchases/{late}"), NOT_PURCHASED)
            check_problem(await client.get(f"/purchases/{expired}"), INVALID_CODE)
            for item, code, body in zip((1, 2, 3), bought, bodies, strict=True):
                receipt = await shop.receipt(item, "ann")
                again = await client.post(f"/purchase?code={code}", [(b"idempotency-key", f"key-{code}".encode())])
                check_json(again, body.decode())
                used = (409, "code_already_used", "Code has already been used")
                check_problem(await client.post(f"/purchase?code={code}"), used, f',"purchase":{{{receipt}}}')
                check_json(await client.get(f"/purchases/{code}"), f"{{{receipt}}}")

        await check(shop.client)  # first the leader says so, then the web process knows
        await check(shop.client)
        _, address = await shop.cluster.start_web()
        async with Client(address) as client:  # a new web process knows it from the database
            await check(client)
        assert await shop.database.value("SELECT count(*) FROM checkouts WHERE outcome = 'sold_out'") == 9
        assert await shop.database.value("SELECT count(*) FROM purchases") == 3


def _forgeries(code: str, of_another: str) -> list[str]:
    """What somebody without the key could make from two genuine codes."""
    raw = urlsafe_b64decode(code)
    other = "AQ"
    stranger = a_code(1)
    return [
        "",
        "x",
        *("A" * 48, "_" * 48, "A" * 72, "_" * 72, "AgA" + "A" * 69, "AgE" + "A" * 69),
        code[:-1],
        code[:-4],
        code[4:],
        code + "A",
        code + "AAAA",
        code + "=",
        code + "%3D%3D%3D%3D",
        code + "%00",
        code + "%0A",
        "%20" + code,
        code[:-1] + "%20",
        code[:-1] + "=",
        code[:-1] + "%3D",
        code[:-1] + "%2B",
        code[:-1] + "/",
        code[:-1] + ".",
        code[:-1] + "%C3%A9",
        code[:-1] + "%EF%BC%A1",
        code[:-1] + "%FF",
        code.swapcase(),
        code[::-1],
        raw.hex(),
        of_another[:16] + code[16:],
        code[:50] + of_another[50:],
        Codes(CodeKeys({1: bytes(32)}, 1)).seal(stranger),
        Codes(CodeKeys({1: b"another cluster, another secret!"}, 1)).seal(stranger),
        *(code[:n] + (other[code[n] == "A"]) + code[n + 1 :] for n in range(72)),
    ]


async def test_a_forged_code_is_uniformly_invalid_and_no_store_is_asked(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    async with open_shop(own_postgres.url, valkey.url, FLASH_DATABASE_TIMEOUT="20", FLASH_REQUEST_TIMEOUT="20") as shop:
        code, other = await shop.code("ann", 1), await shop.code("ann", 2)
        assert (await shop.purchase(code)).status == 200
        forgeries = _forgeries(code, other)
        assert len(set(forgeries)) == len(forgeries)
        assert code not in forgeries
        queries = [f"code={text}" for text in forgeries if text]
        # frozen stores answer nobody, so a request that asked one would still be waiting when the time here is up
        own_postgres.pause()
        valkey.pause()
        with trio.fail_after(15):
            answers = [await shop.client.post(f"/purchase?{query}") for query in queries]
            segments = [text for text in forgeries if text and "/" not in text and "%FF" not in text]
            answers += [await shop.client.get(f"/purchases/{text}") for text in segments]
        with trio.move_on_after(0.3) as patience:
            async with Client(shop.address) as client:
                await client.get(f"/purchases/{code}")
        assert patience.cancelled_caught, "a genuine code should have had to wait"
        valkey.resume()
        own_postgres.resume()
        for answer in answers:
            check_problem(answer, INVALID_CODE)
        heads = {tuple(_but_what_varies(answer)) for answer in answers}
        assert len(heads) == 1, "the headers tell one kind of forgery from another"
        assert await shop.database.value("SELECT count(*) FROM purchases") == 1


POST_PATHS = ("/checkout", "/purchase")
READ_PATHS = (
    "/sales",
    "/sales/current",
    "/sales/1",
    "/sales/1/items",
    "/items/1",
    "/items/1/image.svg",
    "/health",
    "/livez",
    "/readyz",
    "/purchases/x",
)


async def test_a_wrong_method_gets_405_with_allow_and_head_answers_wherever_get_does(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        bought, code = await shop.code("ann", 1), await shop.code("ann", 2)
        assert (await shop.purchase(bought)).status == 200
        query = f"?user_id=bob&id=3&code={code}"
        for paths, methods, allow in (
            (POST_PATHS, ("HEAD", "GET", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"), "POST"),
            (READ_PATHS, ("POST", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"), "GET, HEAD"),
        ):
            for path in paths:
                for method in methods:
                    answer = await shop.client.request(method, path + query)
                    assert answer.header(b"allow") == allow.encode(), (method, path)
                    if method != "HEAD":
                        expected = (405, "method_not_allowed", f"This path answers {allow} only")
                        check_problem(answer, expected)
                    assert (answer.status, answer.closes) == (405, False)
        with_body = await shop.client.request("PUT", f"/purchase?code={code}", body=b"x" * 1000)
        assert with_body.status == 405

        targets = [*READ_PATHS, "/items/4711", "/sales/4711", "/sales?limit=x", "/nothing"]
        targets += [f"/purchases/{bought}", f"/purchases/{code}"]
        for target in targets:
            get, head = await shop.client.get(target), await shop.client.request("HEAD", target)
            assert (head.status, head.body) == (get.status, b"")
            assert _but_what_varies(head) == _but_what_varies(get)
            assert head.header(b"content-length") == str(len(get.body)).encode()

        for path in ("/nothing", "/purchases", "/purchases/", f"/purchases/{code}/x", "/sales/", "/sales/1/", "/Sales"):
            for method in ("GET", "POST", "DELETE"):
                answer = await shop.client.request(method, path)
                check_problem(answer, (404, "not_found", "There is nothing at this path"))
        for path in (
            "/checkout/",
            "/purchase/x",
            "//checkout",
            "/purchase%2F",
            "/items/1/image.png",
            "/items/1%2Fimage.svg",
        ):
            check_problem(await shop.client.post(path + query), (404, "not_found", "There is nothing at this path"))

        # none of this counted as an attempt or a purchase
        assert await shop.database.value("SELECT count(*) FROM checkouts") == 2
        assert await shop.database.value("SELECT count(*) FROM purchases") == 1
        check_problem(await shop.client.get(f"/purchases/{code}"), NOT_PURCHASED)


def _but_what_varies(answer: Answer) -> Sequence[tuple[bytes, bytes]]:
    return [(name, value) for name, value in answer.headers if name not in (b"date", b"x-request-id", b"traceparent")]


_NOW = re.compile(rb',"now":"[0-9T:.-]+Z"')


async def _shows(client: Client, sold: int) -> None:
    """Wait until visitors see that so many items of the current sale are sold: within about a second."""
    with trio.fail_after(5):
        while True:
            if (await client.get("/sales/current")).json()["sold"] == sold:
                return
            await trio.sleep(0.05)


async def test_sales_and_items_can_be_read_page_by_page(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_shop(postgres, valkey.url, FLASH_SALE_SIZE="7") as shop:
        starts = {row["id"]: row["starts_at"] for row in await shop.database.rows("SELECT id, starts_at FROM sales")}

        def sale(number: int, sold: int, status: str) -> str:
            at = orjson.dumps(starts[number], option=orjson.OPT_UTC_Z).decode()
            numbers = f'"stock":7,"sold":{sold},"remaining":{7 - sold},"status":"{status}"'
            items = f'"first_item_id":{number * 7 - 6},"user_limit":10'
            return f'{{"id":{number},"starts_at":{at},{numbers},{items},"opens_at":{at}}}'

        def item(number: int, is_available: bool) -> str:
            image = f"/items/{number}/image.svg"
            available = "true" if is_available else "false"
            return f'{{"id":{number},"name":"{catalog.name(number)}","image":"{image}","available":{available}'

        for number in (2, 5):
            assert (await shop.purchase(await shop.code("ann", number))).status == 200
        await _shows(shop.client, 2)
        both = f'{{"sales":[{sale(2, 0, "upcoming")},{sale(1, 2, "open")}],"next":null}}'
        for target, body in (
            ("/sales", both),
            ("/sales/current", sale(1, 2, "open")),
            ("/sales/1", sale(1, 2, "open")),
            ("/sales/2", sale(2, 0, "upcoming")),
        ):
            answer = await shop.client.get(target)
            assert int(answer.header(b"age") or b"9") <= 1
            check_json(replace(answer, body=_NOW.sub(b"", answer.body)), body)
        for number in (1, 2, 3):
            check_json(await shop.client.get(f"/items/{number}"), f'{item(number, number != 2)},"sale_id":1}}')
        check_json(await shop.client.get("/items/8"), f'{item(8, True)},"sale_id":2}}')

        rows = ",".join(f"{item(number, number not in (2, 5))}}}" for number in range(1, 8))
        check_json(await shop.client.get("/sales/1/items"), f'{{"items":[{rows}],"next":null}}')
        everything = [1, 2, 3, 4, 5, 6, 7]
        free = [1, 3, 4, 6, 7]
        assert await _all_items(shop.client, "/sales/1/items?limit=3") == [[1, 2, 3], [4, 5, 6], [7]]
        assert await _all_items(shop.client, "/sales/1/items?limit=7&available=false") == [everything, []]
        assert await _all_items(shop.client, "/sales/1/items?available=true&limit=2") == [[1, 3], [4, 6], [7]]
        assert await _all_items(shop.client, "/sales/1/items?available=true") == [free]
        assert await _all_items(shop.client, "/sales/1/items?after=&limit=&available=") == [everything]
        assert await _all_items(shop.client, "/sales/1/items?after=0&limit=1000") == [everything]
        assert await _all_items(shop.client, f"/sales/1/items?after={2**63 - 1}") == [[]]
        assert await _all_items(shop.client, "/sales/2/items?after=10") == [[11, 12, 13, 14]]

        for target, detail in (
            ("/sales/1/items?limit=0", "limit must be a decimal number from 1 to 1000, without sign or leading zeros"),
            (
                "/sales/1/items?limit=1001",
                "limit must be a decimal number from 1 to 1000, without sign or leading zeros",
            ),
            ("/sales/1/items?limit=1&limit=1", "limit must be given only once"),
            ("/sales/1/items?available=yes", "available must be true or false"),
            (
                "/sales/1/items?after=-1",
                "after must be a decimal number from 0 to 9223372036854775807, without sign or leading zeros",
            ),
            ("/sales?limit=ten", "limit must be a decimal number from 1 to 1000, without sign or leading zeros"),
            ("/sales?sold_out=1", "sold_out must be true or false"),
        ):
            check_problem(await shop.client.get(target), (400, "invalid_request", detail))
        for text in ("0", "3", "-1", "01", "x", "%00", "%EF%BC%91", str(2**63 - 1), str(2**63), "9" * 100):
            for target in (f"/sales/{text}", f"/sales/{text}/items"):
                check_problem(await shop.client.get(target), SALE_NOT_FOUND)
            item_id = "15" if text == "3" else text
            for target in (f"/items/{item_id}", f"/items/{item_id}/image.svg"):
                check_problem(await shop.client.get(target), ITEM_NOT_FOUND)


async def _all_items(client: Client, target: str) -> list[list[int]]:
    """The ids on each page, following `next` until it is null."""
    pages: list[list[int]] = []
    after: int | None = None
    while True:
        answer = await client.get(target if after is None else re.sub("after=[0-9]*&?", "", target) + f"&after={after}")
        assert answer.status == 200, answer.body
        body = answer.json()
        assert list(body) == ["items", "next"]
        pages.append([item["id"] for item in body["items"]])
        after = body["next"]
        if after is None:
            return pages


async def test_sales_are_listed_newest_first_and_sold_out_ones_on_request(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        # sales 3 to 7 are older, and the odd ones have been sold out for an hour
        await shop.database.rows(
            """
            INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, sold_out_at)
            SELECT n, now() - n * interval '1 day', n * 1000, 1, 10, n % 2,
                   CASE n % 2 WHEN 1 THEN now() - interval '1 hour' END
            FROM generate_series(3, 7) AS n
            """
        )

        async def pages(target: str) -> list[list[int]]:
            found: list[list[int]] = []
            before = ""
            while True:
                answer = await shop.client.get(target + before)
                assert answer.status == 200, answer.body
                assert list(answer.json()) == ["sales", "next", "now"]
                found.append([sale["id"] for sale in answer.json()["sales"]])
                if answer.json()["next"] is None:
                    return found
                before = f"&before={answer.json()['next']}"

        with trio.fail_after(5):
            while True:  # a look later
                if await pages("/sales?") == [[2, 1, 4, 6]]:
                    break
                await trio.sleep(0.05)
        assert await pages("/sales?limit=3") == [[2, 1, 4], [6]]
        assert await pages("/sales?limit=2&sold_out=true") == [[2, 1], [3, 4], [5, 6], [7]]
        assert (await shop.client.get("/sales/3")).json()["status"] == "sold_out"
        assert (await shop.client.get("/sales/current")).json()["id"] == 1


async def test_an_image_is_an_svg_that_may_be_kept_for_ever(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        for number in (1, 20, 21):
            picture = await shop.client.get(f"/items/{number}/image.svg")
            assert picture.status == 200
            assert picture.header(b"content-type") == b"image/svg+xml"
            assert picture.header(b"cache-control") == b"public, max-age=31536000, immutable"
            assert ElementTree.fromstring(picture.body).tag == "{http://www.w3.org/2000/svg}svg"
            again = await shop.client.get((await shop.client.get(f"/items/{number}")).json()["image"])
            assert again.body == picture.body


async def test_health_names_the_store_that_is_away_and_readiness_needs_only_the_database(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    timeouts = {"FLASH_DATABASE_TIMEOUT": "1", "FLASH_REDIS_TIMEOUT": "1"}
    async with open_shop(own_postgres.url, valkey.url, **timeouts) as shop:

        async def check(database: str, redis: str) -> None:
            status = "ok" if database == redis == "ok" else "error"
            answer = await shop.health_shows(f'{{"status":"{status}","database":"{database}","redis":"{redis}"}}')
            assert answer.status == (200 if status == "ok" else 503)
            check_json(await shop.client.get("/livez"), '{"status":"ok"}')
            ready = await shop.client.get("/readyz")
            if database == "ok":
                check_json(ready, '{"status":"ok"}')
            else:
                assert (ready.status, ready.body) == (503, b'{"status":"error"}')
                assert ready.header(b"retry-after") == b"1"

        await check("ok", "ok")
        code = await shop.code("ann", 1)
        valkey.pause()
        await check("ok", "error")
        assert await shop.code("ann", 2), "a checkout needs no Redis"
        valkey.resume()
        await check("ok", "ok")

        valkey.kill()
        await check("ok", "error")
        check_problem(await shop.purchase(code), UNAVAILABLE)
        assert await shop.code("ann", 3)
        valkey.start()
        await check("ok", "ok")

        own_postgres.pause()
        with trio.fail_after(10):
            await check("error", "ok")
            check_try_later(await shop.client.post("/checkout?user_id=ann&id=4"))
            await _becomes_unavailable(shop.client, "/sales/current")
        own_postgres.resume()
        await check("ok", "ok")


async def _becomes_unavailable(client: Client, target: str) -> None:
    """What visitors read is shown for some seconds after it was looked up."""
    while True:
        answer = await client.get(target)
        if answer.status == 503:
            return check_problem(answer, UNAVAILABLE)
        await trio.sleep(0.1)


async def test_thousands_of_questions_about_health_are_answered_while_both_stores_are_silent(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    """FAULTS 36: they used to queue with the checkouts for a connection, and a balancer would have drained all."""
    count = 4_000
    request = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with open_shop(own_postgres.url, valkey.url) as shop:
        host, _, port = shop.address.removeprefix("http://").partition(":")
        answered = 0

        async def ask() -> None:
            nonlocal answered
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                for _ in range(count // 100):
                    await stream.send_all(request)
                    answer = await stream.receive_some(65536)
                    assert answer.endswith((b'{"status":"ok"}', b'{"status":"error"}'))
                    answered += 1

        own_postgres.pause()
        valkey.pause()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(ask)
        assert answered == count
        await shop.health_shows('{"status":"error","database":"error","redis":"error"}')
        own_postgres.resume()
        valkey.resume()
        await shop.health_shows('{"status":"ok","database":"ok","redis":"ok"}')


async def test_with_the_database_gone_checkouts_receipts_and_pages_are_unavailable(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    async with open_shop(own_postgres.url, valkey.url) as shop:
        client, code = shop.client, await shop.code("ann", 1)
        own_postgres.kill()
        for method, target in (
            ("POST", "/checkout?user_id=ann&id=2"),
            ("POST", "/checkout?user_id=ann&id=x"),
            ("GET", f"/purchases/{code}"),
        ):
            with trio.fail_after(5):
                answer = await client.request(method, target)
            check_try_later(answer)
        with trio.fail_after(8):
            for target in ("/sales", "/sales/1/items", "/items/1"):
                await _becomes_unavailable(client, target)
        await shop.health_shows('{"status":"error","database":"error","redis":"ok"}')


async def test_readiness_ends_when_the_process_is_told_to_stop(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        web = next(process for process in shop.cluster.processes if process.name.startswith("web"))
        host, _, port = shop.address.removeprefix("http://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            # a request whose body has not arrived yet is in flight, so it is answered although the stop comes first
            await stream.send_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            for _ in range(20):
                await shop.client.get("/livez")
            web.terminate()
            await web.wait_for("SIGTERM received")
            await stream.send_all(b"x")
            received = b""
            while piece := await stream.receive_some(65536):
                received += piece
            assert received.startswith(b"HTTP/1.1 503 ")
            assert received.endswith(b'\r\n\r\n{"status":"error"}')
            assert await web.wait() == 0


async def test_a_full_queue_is_reported_at_once_and_a_missing_leader_as_an_unknown_outcome(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    settings = {
        "FLASH_CHECKOUT_WORKERS": "1",
        "FLASH_CHECKOUT_WAITING_MAX": "1",
        "FLASH_PURCHASE_WAITING_MAX": "1",
        "FLASH_REQUEST_TIMEOUT": "1",
        "FLASH_DATABASE_TIMEOUT": "20",
    }
    async with open_shop(postgres, valkey.url, **settings) as shop:
        codes = [await shop.code("ann", 1), await shop.code("ann", 2)]
        answers: list[Answer] = []
        four_answers = trio.Event()

        async def post(target: str) -> None:
            async with Client(shop.address) as client:
                answers.append(await client.post(target))
            if len(answers) == 4:
                four_answers.set()

        await shop.database.rows("BEGIN")
        await shop.database.rows("LOCK TABLE checkouts IN ACCESS EXCLUSIVE MODE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, "/checkout?user_id=under-way&id=1")
            await shop.database.wait_for_somebody_waiting()
            for n in range(5):
                nursery.start_soon(post, f"/checkout?user_id=waiting-{n}&id=1")
            with trio.fail_after(10):
                await four_answers.wait()
            for answer in answers:
                check_problem(answer, OVERLOADED)
            await shop.database.rows("COMMIT")
        assert [answer.status for answer in answers] == [503] * 4 + [200] * 2
        assert await shop.database.value("SELECT count(*) FROM checkouts") == 4, (
            "an attempt that was overloaded is not recorded"
        )

        for process in shop.cluster.processes:
            if process.name.startswith("inventory"):
                process.kill()
                await process.wait()
        answers.clear()
        async with trio.open_nursery() as nursery:
            for code in codes:
                nursery.start_soon(post, f"/purchase?code={code}")
        check_problem(answers[0], OVERLOADED)
        check_problem(answers[1], OUTCOME_UNKNOWN)

        await shop.cluster.start_inventory()
        with trio.fail_after(10):
            while (answer := await shop.purchase(codes[0], "again")).status == 503:
                check_problem(answer, OUTCOME_UNKNOWN)
        assert answer.status == 200


async def test_raw_utf8_in_a_query_is_understood(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        status, issued = await raw_post(shop, "checkout?user_id=josé&id=1".encode())
        assert status == 200
        answer = await shop.purchase(issued["code"])
        assert (answer.status, answer.json()["user_id"]) == (200, "josé")
        assert await shop.database.value("SELECT count(*) FROM checkouts WHERE user_id = 'josé'") == 1


@pytest.mark.parametrize(
    ("query", "detail", "stored"),
    [
        (b"user_id=\xff&id=1", "user_id is not valid UTF-8", "user_id=%FF&id=1"),
        (b"user_id=u&id=\xef\xbc\x91", "id must be a decimal number", "user_id=u&id=%EF%BC%91"),
    ],
)
async def test_raw_bytes_that_make_no_sense_are_refused_and_the_attempt_is_stored(
    postgres: str, valkey: EmbeddedValkey, query: bytes, detail: str, stored: str
) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        status, refused = await raw_post(shop, b"checkout?" + query)
        assert (status, refused["code"]) == (400, "invalid_request")
        assert refused["detail"].startswith(detail)
        (row,) = await shop.database.rows("SELECT outcome, convert_from(query, 'UTF8') AS query FROM checkouts")
        assert dict(row) == {"outcome": "invalid_request", "query": stored}


async def test_a_code_with_raw_bytes_is_invalid_and_buys_nothing(postgres: str, valkey: EmbeddedValkey) -> None:
    async with open_shop(postgres, valkey.url) as shop:
        code = await shop.code("ann", 1)
        for spoilt in (code.encode() + b"\xff", f"{code}é".encode()):
            status, refused = await raw_post(shop, b"purchase?code=" + spoilt)
            assert (status, refused["code"]) == (400, "invalid_code")
        check_problem(await shop.client.get(f"/purchases/{code}"), NOT_PURCHASED)


async def raw_post(shop: Shop, target: bytes) -> tuple[int, Any]:
    """The status and the body of the answer to a target that no client library would send."""
    received = await raw(shop.address, b"POST /%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
    return int(received.split(b" ")[1]), orjson.loads(received.partition(b"\r\n\r\n")[2])
