"""Odd rows in PostgreSQL, as a hostile or careless restore may leave them: real tables, real statements.

In bursts with even seeds the schema stands, and whatever it lets in must be lived with: each part of the service gets a
value or a `FlashError`, the pages of visitors show something or say 503, and once the row is right again everybody is
served as before. In the others the constraints are gone: then no process starts, and the audit can still be read.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from random import Random

import trio

from flash import bridge
from flash.actors.inventory import load_inventory
from flash.actors.sales_view import SalesView
from flash.audit.reading import read as read_audit
from flash.audit.rendering import as_json, as_text
from flash.domain import CheckoutId, Epoch, SaleId, Term
from flash.errors import FlashError, OperatorError
from flash.http.message import Request, Response
from flash.stores.keys import read_code_keys, read_secrets
from flash.stores.migration import migrate
from flash.stores.postgres import Session, open_postgres
from flash.stores.postgres_errors import StatementError
from flash.stores.readiness import check_readiness
from flash.testing.stores import apply_schema, fresh_database, running_postgres
from tests.api.fakes import FakeShop
from tests.codes import a_code, digest
from tests.corruptions import CLEAN_HISTORY, NO_CONSTRAINTS
from tests.fuzz.findings import BURST, Findings, lucks, quiet_logs
from tests.fuzz.mutation import odd_number, odd_text
from tests.stores.database import CODE_TTL_SECONDS, Stores, an_attempt, issue, stores_of

_TIMES = (
    *("infinity", "-infinity", "294276-12-31", "4713-01-01 BC", "9999-12-31 23:59:59.999999Z", "10000-01-01"),
    *("0001-01-01", "0001-01-01 BC", "1970-01-01", "2026-02-29 00:00Z", "now", "tomorrow"),
)
_COLUMNS = {
    "sales": "id:n starts_at:t first_item_id:n stock:n user_limit:n sold:n epoch:n sold_out_at:t term_token:b"
    " paused_at:t paused_by:s paused_sold:n",
    "checkouts": "id:n attempted_at:t outcome:s sale_id:n item_id:n user_id:s secret:b query:b user_digest:b",
    "purchases": "sale_id:n item_id:n checkout_id:n user_id:s slot:n epoch:n request_id:s purchased_at:t",
    "sale_pauses": "sale_id:n action:s at:t by:s reason:s sold:n",
    "scheduler": "holder:b expires_at:t configured_at:t period_seconds:n size:n user_limit:n",
    "code_keys": "id:n value:b made_at:t signs_from:t",
    "secrets": "name:s value:b",
    "schema_migrations": "version:n name:s requires:n checksum:s release:s applied_at:t",
}
_KEPT = "secrets, code_keys, schema_migrations"
_RESET = """
TRUNCATE sales, checkouts, purchases, sale_pauses, scheduler, secrets, code_keys, schema_migrations;
INSERT INTO secrets SELECT * FROM kept_secrets; INSERT INTO code_keys SELECT * FROM kept_code_keys;
INSERT INTO schema_migrations SELECT * FROM kept_schema_migrations;
"""
USE_SECONDS = 10.0
Use = Callable[[Stores], Awaitable[object]]


def run(seeds: Iterable[int]) -> Findings:
    with running_postgres(fsync="off", synchronous_commit="off") as server, quiet_logs():
        apply_schema(server)
        with fresh_database(server) as strict, fresh_database(server) as lax:
            return run_on(seeds, strict, lax)


def run_on(seeds: Iterable[int], strict: str, lax: str, inputs: int = BURST) -> Findings:
    """In two databases of their own, with the schema and with nothing in them; the first `inputs` of each burst."""
    findings = Findings()
    trio.run(_run, seeds, strict, lax, findings, inputs)
    return findings


async def _run(seeds: Iterable[int], strict: str, lax: str, findings: Findings, inputs: int) -> None:
    seeds = list(seeds)
    async with bridge.open_loop():
        for url, chosen in ((strict, [s for s in seeds if s % 2 == 0]), (lax, [s for s in seeds if s % 2])):
            async with open_postgres(url, connections_max=4, timeout_seconds=5, name="fuzz") as database:
                await migrate(url)
                site = Site(url, stores_of(database), has_rules=url == strict)
                await site.prepare()
                for seed in chosen:
                    await site.run_burst(seed, findings, inputs)


class Site:
    def __init__(self, url: str, stores: Stores, *, has_rules: bool) -> None:
        self._url = url
        self._stores = stores
        self._has_rules = has_rules

    async def prepare(self) -> None:
        for table in _KEPT.split(", "):
            await self._execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
        if not self._has_rules:
            await self._execute(NO_CONSTRAINTS)

    async def run_burst(self, seed: int, findings: Findings, inputs: int) -> None:
        for luck in islice(lucks(seed), inputs):
            await self._reset()
            sql = "; ".join(_change(luck) for _ in range(luck.choice((1, 1, 2))))
            try:
                await self._execute(sql)
            except StatementError as error:
                findings.note(f"the schema refuses it: {type(error).__name__}")
                continue
            try:
                findings.note(await (self._live_with_it() if self._has_rules else self._refuse_it()))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is no defined answer
                findings.fail(seed, sql, error)
        await self._reset()
        if self._has_rules:
            current = await self._stores.sales.current_sale()
            assert current is not None
            await issue(self._stores.checkouts, current.first_item_id)

    async def _live_with_it(self) -> str:
        refused = set[str]()
        for name, use in _USES.items():
            try:
                with trio.fail_after(USE_SECONDS):
                    await use(self._stores)
            except FlashError as error:
                refused.add(f"{name}: {type(error).__name__}")
            except Exception as error:
                raise AssertionError(f"{name}: {type(error).__name__}: {error!s:.300}") from error
        await self._audit()
        return f"lived with, but for {', '.join(sorted(refused))}" if refused else "lived with"

    async def _refuse_it(self) -> str:
        try:
            await check_readiness(self._stores.database)
        except OperatorError:
            await self._audit()
            return "no process starts, and the audit can be read"
        raise AssertionError("a process would serve without the rules")

    async def _audit(self) -> None:
        try:
            report = await read_audit(self._url, None)
        except OperatorError:
            return
        json.loads(as_json(report))
        as_text(report).encode()

    async def _reset(self) -> None:
        await self._execute(_RESET)
        await self._execute(CLEAN_HISTORY)
        if self._has_rules:
            await self._stores.schedule.prepare_sales(3600, 10, 2)
        await self._execute("SELECT setval('checkouts_id_seq', 100)")

    async def _execute(self, sql: str) -> None:
        async def execute(session: Session) -> None:
            await session.execute(sql)

        await self._stores.database.administer(execute)


def _change(luck: Random) -> str:
    """One row, one column, one odd value."""
    table = luck.choice(("sales",) * 6 + ("purchases",) * 4 + ("checkouts",) * 4 + tuple(_COLUMNS))
    column, _, kind = luck.choice(_COLUMNS[table].split()).partition(":")
    offset = f"{luck.randrange(12)} % greatest(1, (SELECT count(*) FROM {table}))"
    place = f"(SELECT ctid FROM {table} ORDER BY ctid LIMIT 1 OFFSET {offset})"
    if luck.random() < 0.05:
        return f"DELETE FROM {table} WHERE ctid = {place}"
    overriding = "OVERRIDING SYSTEM VALUE " if table == "checkouts" else ""
    if column == "id" and overriding:  # an identity cannot be updated
        return f"INSERT INTO checkouts (id, outcome) {overriding}VALUES ({odd_number(luck)}, 'item_not_found')"
    return f"UPDATE {table} SET {column} = {_literal(luck, kind)} WHERE ctid = {place}"


def _literal(luck: Random, kind: str) -> str:
    if luck.random() < 0.05:
        return "NULL"
    if kind == "n":
        return str(odd_number(luck))
    if kind == "t":
        return f"'{luck.choice(_TIMES)}'"
    if kind == "b":
        return f"'\\x{luck.randbytes(luck.choice((0, 1, 16, 16, 32, 64, 65, 1_000))).hex()}'"
    return "'" + odd_text(luck).replace("'", "''").replace("\0", "") + "'"


# What the processes do with what is stored


async def _lead(stores: Stores) -> None:
    """As the elector does: what one sale's leading fails of is logged, and the other sales go on."""
    for sale_id in (await stores.terms.list_leadable())[:4]:
        try:
            term, sale, now = await stores.terms.begin_term(sale_id)
            now.timestamp()
            inventory = await load_inventory(stores.terms, term, sale, CODE_TTL_SECONDS, digest)
            await stores.terms.confirm(term, inventory.sold, [], [])
        except FlashError:
            pass


async def _confirm(stores: Stores) -> None:
    redeemed = [CheckoutId(n) for n in (1, 2, 10)]
    await stores.terms.confirm(Term(SaleId(1), Epoch(2), b"t" * 16), 4, [], redeemed)


async def _check_out(stores: Stores) -> None:
    items = [1, 5, 8, 9, 2**62, -1]
    await stores.checkouts.record_attempts([an_attempt(item, user) for item in items for user in ("ann", "zoë")])


async def _redeem(stores: Stores) -> None:
    await stores.checkouts.find_redemptions([a_code(n, sale=s, item=n) for n, s in ((1, 1), (5, 2), (10, 2))])


async def _visit(stores: Stores) -> None:
    view = SalesView(stores.sales)
    await view.refresh()
    view.open_sales()
    app = FakeShop(store=view).app
    for target in _VISITS:
        path, _, query = target.encode().partition(b"?")
        answer = await app.respond(Request("GET", "", path, query, []))
        assert isinstance(answer, Response)
        assert answer.status in (200, 404, 503), f"{target}: {answer.status} {answer.body[:300]!r}"


_VISITS = (
    *("/sales", "/sales?sold_out=true", "/sales/current", "/sales/1", "/sales/2", "/sales/3", "/sales/2/items?limit=5"),
    *("/sales/2/sold", "/items/1", "/items/6", "/items/9", "/items/6/image.svg", "/sales/9223372036854775807"),
)
_USES: dict[str, Use] = {
    "start": lambda stores: check_readiness(stores.database),
    "secrets": lambda stores: read_secrets(stores.database),
    "code keys": lambda stores: read_code_keys(stores.database),
    "check out": _check_out,
    "redeem": _redeem,
    "visit": _visit,
    "lead": _lead,
    "confirm": _confirm,
    "schedule": lambda stores: stores.schedule.prepare_sales(3600, 10, 2),
    "unsold": lambda stores: stores.sales.unsold_sales(),
    "pause": lambda stores: stores.pauses.pause(SaleId(2), "op", "x"),
    "resume": lambda stores: stores.pauses.resume(SaleId(2), "op", "x"),
    "pauses": lambda stores: stores.pauses.recorded(10),
}
