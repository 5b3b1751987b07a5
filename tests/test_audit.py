"""An audit that misses a kind of corruption proves nothing: each kind is planted and must be named."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from flash.audit import CHECKS, ROWS_MAX, audit, main
from flash.config import Config
from flash.errors import OperatorError

# Sale 1 (items 1-4) is sold out: ann has two, bob two, one of them bought under a second epoch.
# Sale 2 (items 5-8) is open, and ann has one. Somebody asked for item 99, which is in no sale.
CLEAN_HISTORY = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, epoch, sold_out_at) VALUES
    (1, '2026-01-01 00:00Z', 1, 4, 2, 4, 2, '2026-01-01 00:00:09Z'),
    (2, '2026-01-01 01:00Z', 5, 4, 2, 1, 1, NULL);
INSERT INTO checkouts (id, attempted_at, outcome, sale_id, item_id, user_id, secret, query)
OVERRIDING SYSTEM VALUE
SELECT id, at::timestamptz, outcome, sale_id, item_id, user_id,
       CASE outcome WHEN 'issued' THEN decode(lpad(id::text, 32, '0'), 'hex') END, query
FROM (VALUES
    (1, '2026-01-01 00:00:01Z', 'issued', 1, 1, 'ann', NULL),
    (2, '2026-01-01 00:00:02Z', 'issued', 1, 2, 'ann', NULL),
    (3, '2026-01-01 00:00:03Z', 'issued', 1, 3, 'bob', NULL),
    (4, '2026-01-01 00:00:04Z', 'issued', 1, 4, 'bob', NULL),
    (5, '2026-01-01 00:00:05Z', 'issued', 1, 4, 'eve', NULL),
    (6, '2026-01-01 00:00:10Z', 'sold_out', 1, 4, 'eve', NULL),
    (7, '2026-01-01 00:00:11Z', 'sale_not_open', 2, 5, 'eve', NULL),
    (8, '2026-01-01 00:00:12Z', 'item_not_found', NULL, 99, 'eve', NULL),
    (9, '2026-01-01 00:00:13Z', 'invalid_request', NULL, NULL, NULL, '\\x69643d'::bytea),
    (10, '2026-01-01 01:00:01Z', 'issued', 2, 5, 'ann', NULL),
    (11, '2026-01-01 01:00:02Z', 'issued', 2, 6, 'bob', NULL)
) AS c (id, at, outcome, sale_id, item_id, user_id, query);
INSERT INTO purchases (sale_id, item_id, checkout_id, user_id, slot, epoch, request_id, purchased_at) VALUES
    (1, 1, 1, 'ann', 1, 1, 'auto:1', '2026-01-01 00:00:05Z'),
    (1, 2, 2, 'ann', 2, 1, 'auto:2', '2026-01-01 00:00:06Z'),
    (1, 3, 3, 'bob', 1, 1, 'auto:3', '2026-01-01 00:00:06Z'),
    (1, 4, 4, 'bob', 2, 2, 'auto:4', '2026-01-01 00:00:09Z'),
    (2, 5, 10, 'ann', 1, 1, 'auto:5', '2026-01-01 01:00:05Z');
"""

NO_CONSTRAINTS = """
DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
             WHERE conrelid IN ('sales'::regclass, 'checkouts'::regclass, 'purchases'::regclass)
             AND contype <> 'n' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', c.place, c.conname);
    END LOOP;
END $$;
ALTER TABLE purchases ALTER slot DROP NOT NULL;
DROP INDEX IF EXISTS sales_first_item_id;
"""

SELL_ITEM_6 = "INSERT INTO purchases VALUES (2, 6, 11, 'bob', 1, 1, 'auto:6', '2026-01-01 01:00:06Z');"
SELL_MORE = "UPDATE sales SET sold = sold + 1 WHERE id = "


@dataclass(frozen=True)
class Corruption:
    """What is done to a clean history, the check that must find it, and a part of the row that it must name."""

    what: str
    sql: str
    check: str
    row: dict[str, Any]
    also: frozenset[str] = frozenset()
    """Other promises that the same deed breaks."""


CORRUPTIONS = [
    Corruption(
        "a purchase was lost",
        "DELETE FROM purchases WHERE item_id = 5",
        "sold_is_purchases",
        {"sale_id": 2, "sold": 1, "purchases": 0},
    ),
    Corruption(
        "a purchase was not counted", SELL_ITEM_6, "sold_is_purchases", {"sale_id": 2, "sold": 1, "purchases": 2}
    ),
    Corruption(
        "a sale sold more than its stock",
        "UPDATE sales SET stock = 3 WHERE id = 1",
        "within_stock",
        {"sale_id": 1, "stock": 3, "sold": 4, "purchases": 4},
        frozenset({"item_in_sale", "sold_out_at"}),
    ),
    Corruption(
        "a sale counts fewer than nothing",
        "UPDATE sales SET sold = -1 WHERE id = 2",
        "within_stock",
        {"sale_id": 2, "sold": -1},
        frozenset({"sold_is_purchases"}),
    ),
    Corruption(
        "a user has more than the limit",
        "UPDATE sales SET user_limit = 1 WHERE id = 1",
        "user_limit",
        {"sale_id": 1, "user_id": "ann", "bought": 2, "user_limit": 1},
    ),
    Corruption(
        "a slot was skipped",
        "UPDATE purchases SET slot = 3 WHERE item_id = 2",
        "slots",
        {"sale_id": 1, "user_id": "ann", "slots": [1, 3]},
    ),
    Corruption(
        "a slot was given twice",
        "UPDATE purchases SET slot = 1 WHERE item_id = 2",
        "slots",
        {"sale_id": 1, "user_id": "ann", "slots": [1, 1]},
    ),
    Corruption(
        "slots begin at 0",
        "UPDATE purchases SET slot = 0 WHERE item_id = 5",
        "slots",
        {"sale_id": 2, "user_id": "ann", "slots": [0]},
    ),
    Corruption(
        "a purchase has no slot",
        "UPDATE purchases SET slot = NULL WHERE item_id = 5",
        "slots",
        {"sale_id": 2, "user_id": "ann", "slots": [None]},
    ),
    Corruption(
        "a purchase's checkout is gone",
        "DELETE FROM checkouts WHERE id = 3",
        "earlier_checkout",
        {"sale_id": 1, "item_id": 3, "checkout": "there is no such checkout"},
    ),
    Corruption(
        "a purchase rests on a refused attempt",
        "UPDATE checkouts SET outcome = 'item_sold', secret = NULL WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "checkout": "it was refused: item_sold"},
    ),
    Corruption(
        "a purchase rests on another sale's checkout",
        "UPDATE checkouts SET sale_id = 2 WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "checkout": "it was for sale 2"},
    ),
    Corruption(
        "a purchase rests on another item's checkout",
        "UPDATE checkouts SET item_id = 4 WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "checkout": "it was for item 4"},
    ),
    Corruption(
        "a purchase rests on another user's checkout",
        "UPDATE checkouts SET user_id = 'eve' WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "user_id": "bob", "checkout": "it was made by eve"},
    ),
    Corruption(
        "a checkout came after its purchase",
        "UPDATE checkouts SET attempted_at = '2026-01-01 00:00:06.000001Z' WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "checkout": "it was made later, at 2026-01-01 00:00:06.000001"},
    ),
    Corruption(
        "an item was sold twice",
        f"UPDATE checkouts SET item_id = 5 WHERE id = 11; {SELL_ITEM_6} {SELL_MORE} 2;"
        "UPDATE purchases SET item_id = 5 WHERE item_id = 6",
        "item_once",
        {"sale_ids": [2, 2], "item_id": 5, "user_ids": ["ann", "bob"], "checkout_ids": [10, 11]},
    ),
    Corruption(
        "a checkout was redeemed twice",
        f"{SELL_ITEM_6} {SELL_MORE} 2;"
        "UPDATE purchases SET checkout_id = 10, user_id = 'ann', slot = 2 WHERE item_id = 6",
        "checkout_once",
        {"sale_ids": [2, 2], "checkout_id": 10, "item_ids": [5, 6]},
        frozenset({"earlier_checkout"}),
    ),
    Corruption(
        "a sale sold an item below its range",
        "UPDATE checkouts SET item_id = 4 WHERE id = 10; UPDATE purchases SET item_id = 4 WHERE item_id = 5;"
        "DELETE FROM purchases WHERE sale_id = 1 AND item_id = 4;"
        "UPDATE sales SET sold = 3, sold_out_at = NULL WHERE id = 1",
        "item_in_sale",
        {"sale_id": 2, "item_id": 4, "first_item_id": 5, "last_item_id": 8},
    ),
    Corruption(
        "a sale sold an item above its range",
        "UPDATE checkouts SET item_id = 9 WHERE id = 10; UPDATE purchases SET item_id = 9 WHERE item_id = 5",
        "item_in_sale",
        {"sale_id": 2, "item_id": 9, "first_item_id": 5, "last_item_id": 8},
    ),
    Corruption(
        "a deposed leader sold on",
        "UPDATE purchases SET epoch = 2 WHERE item_id = 1",
        "epochs_rise",
        {"sale_id": 1, "epoch": 1, "epoch_before": 2},
    ),
    Corruption(
        "a purchase is of an epoch that never began",
        "UPDATE purchases SET epoch = 3 WHERE item_id = 4",
        "epoch_known",
        {"sale_id": 1, "item_id": 4, "epoch": 3, "sale_epoch": 2},
    ),
    Corruption(
        "a purchase was made without a term",
        "UPDATE purchases SET epoch = 0 WHERE item_id = 5",
        "epoch_known",
        {"sale_id": 2, "item_id": 5, "epoch": 0, "sale_epoch": 1},
    ),
    Corruption(
        "a sold-out sale is not marked",
        "UPDATE sales SET sold_out_at = NULL WHERE id = 1",
        "sold_out_at",
        {"sale_id": 1, "sold": 4, "stock": 4, "sold_out_at": None},
    ),
    Corruption(
        "a sale with items left is marked as sold out",
        "UPDATE sales SET sold_out_at = '2026-01-01 01:00:09Z' WHERE id = 2",
        "sold_out_at",
        {"sale_id": 2, "sold": 1, "stock": 4, "sold_out_at": "2026-01-01T01:00:09+00:00"},
    ),
    Corruption(
        "a sale is there twice",
        "INSERT INTO sales VALUES (2, '2026-01-01 02:00Z', 9, 4, 2, 1, 1, NULL)",
        "sale_once",
        {"sale_id": 2, "sales": 2},
        frozenset({"item_in_sale"}),
    ),
    Corruption(
        "two sales share items",
        "INSERT INTO sales VALUES (3, '2026-01-01 02:00Z', 8, 4, 2, 0, 0, NULL)",
        "ranges_apart",
        {"sale_id": 2, "other_sale_id": 3, "first_item_id": 5, "other_first_item_id": 8},
    ),
    Corruption(
        "two sales have the very same items",
        "INSERT INTO sales VALUES (3, '2026-01-01 02:00Z', 5, 4, 2, 0, 0, NULL)",
        "ranges_apart",
        {"sale_id": 2, "other_sale_id": 3, "first_item_id": 5, "other_first_item_id": 5},
    ),
    Corruption(
        "two sales start at the same time",
        "INSERT INTO sales VALUES (3, '2026-01-01 01:00Z', 9, 4, 2, 0, 0, NULL)",
        "starts_apart",
        {"sale_ids": [2, 3], "starts_at": "2026-01-01T01:00:00+00:00"},
    ),
    Corruption(
        "a purchase is of no sale",
        "UPDATE checkouts SET sale_id = 7 WHERE id = 10; UPDATE purchases SET sale_id = 7 WHERE item_id = 5;"
        "UPDATE sales SET sold = 0 WHERE id = 2",
        "purchase_has_sale",
        {"sale_id": 7, "item_id": 5, "checkout_id": 10, "user_id": "ann"},
        frozenset({"checkout_has_sale"}),
    ),
    Corruption(
        "an issued checkout names an unknown sale",
        "UPDATE checkouts SET sale_id = 7 WHERE id = 11",
        "checkout_has_sale",
        {"sale_id": 7, "checkout_id": 11, "item_id": 6, "user_id": "bob"},
    ),
    Corruption(
        "an issued checkout names no sale",
        "UPDATE checkouts SET sale_id = NULL WHERE id = 11",
        "checkout_has_sale",
        {"sale_id": None, "checkout_id": 11},
    ),
]


def execute(url: str, *statements: str) -> None:
    async def conversation() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(conversation())


def report(url: str, capsys: pytest.CaptureFixture[str], sale_id: int | None = None) -> tuple[int, Any]:
    code = main(Config(database_url=url), as_json=True, sale_id=sale_id)
    return code, orjson.loads(capsys.readouterr().out)


def table(url: str, capsys: pytest.CaptureFixture[str], sale_id: int | None = None) -> str:
    main(Config(database_url=url), as_json=False, sale_id=sale_id)
    return capsys.readouterr().out


def broken(found: Any) -> dict[str, list[dict[str, Any]]]:
    return {check["name"]: check["rows"] for check in found["checks"] if check["broken"]}


def test_a_clean_history_passes_every_check(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY)
    code, found = report(postgres, capsys)
    assert broken(found) == {}
    assert (code, found["clean"], len(found["checks"])) == (0, True, len(CHECKS))


def test_an_empty_database_is_clean(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(postgres, capsys)
    assert (code, found["sales"], found["attempts_of_no_sale"]) == (0, [], {})
    assert "clean: " in table(postgres, capsys)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.what)
def test_a_corruption_is_found_and_its_row_named(
    corruption: Corruption, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(postgres, CLEAN_HISTORY, NO_CONSTRAINTS, corruption.sql)
    code, found = report(postgres, capsys)
    assert (code, found["clean"]) == (1, False)
    offenders = broken(found)
    assert set(offenders) == {corruption.check} | corruption.also
    assert any(corruption.row.items() <= row.items() for row in offenders[corruption.check]), offenders
    assert "\nBROKEN  " in table(postgres, capsys)


def test_every_check_has_a_corruption_that_it_finds() -> None:
    assert {corruption.check for corruption in CORRUPTIONS} == {check.name for check in CHECKS}


def test_sales_and_attempts_are_counted(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY)
    _, found = report(postgres, capsys)
    first, second = found["sales"]
    assert first == {
        "id": 1,
        "starts_at": "2026-01-01T00:00:00+00:00",
        "first_item_id": 1,
        "stock": 4,
        "user_limit": 2,
        "sold": 4,
        "purchases": 4,
        "buyers": 2,
        "most_by_one_user": 2,
        "epoch": 2,
        "sold_out_at": "2026-01-01T00:00:09+00:00",
        "attempts": {"issued": 5, "sold_out": 1},
    }
    assert second["attempts"] == {"issued": 2, "sale_not_open": 1}
    assert found["attempts_of_no_sale"] == {"item_not_found": 1, "invalid_request": 1}


def test_attempts_on_a_sale_that_was_withdrawn_are_of_no_sale(
    postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    early = "INSERT INTO checkouts (outcome, sale_id, item_id, user_id) VALUES ('sale_not_open', 3, 9, 'eve')"
    execute(postgres, early, early)
    code, found = report(postgres, capsys)
    assert (code, found["attempts_of_no_sale"]) == (0, {"sale_not_open": 2})


def test_one_sale_is_judged_by_itself(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY, "UPDATE purchases SET epoch = 0 WHERE item_id = 5")
    assert report(postgres, capsys, sale_id=1)[0] == 0
    code, found = report(postgres, capsys, sale_id=2)
    assert (code, [sale["id"] for sale in found["sales"]]) == (1, [2])


def test_of_many_offenders_the_first_twenty_are_shown_and_all_are_counted(
    postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    many = "INSERT INTO purchases SELECT 7, n, n, 'u' || n, 1, 1, '', now() FROM generate_series(1, 50) n"
    execute(postgres, many)
    _, found = report(postgres, capsys, sale_id=7)
    check = next(check for check in found["checks"] if check["name"] == "purchase_has_sale")
    assert check["broken"] == 50
    assert [row["item_id"] for row in check["rows"]] == list(range(1, ROWS_MAX + 1))
    assert "BROKEN  a purchase belongs to a sale, but:\n" in table(postgres, capsys)
    assert "… and 30 more\n" in table(postgres, capsys)


def test_the_table_has_a_line_for_each_sale_and_each_promise(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY)
    lines = [re.sub(" +", " ", line).strip() for line in table(postgres, capsys).splitlines()]
    assert "1 2026-01-01 00:00:00 1-4 4 4 4 2 2 2 2 2026-01-01 00:00:09" in lines
    assert "2 2026-01-01 01:00:00 5-8 4 1 1 1 1 2 1 -" in lines
    assert "none 2 0 1 1 0 0 0" in lines
    assert sum(line.startswith("ok ") for line in lines) == len(CHECKS)
    assert lines[-1].startswith(f"clean: {len(CHECKS)} promises, 2 sales, as of ")


def test_a_users_name_cannot_steer_the_terminal(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(postgres, CLEAN_HISTORY, "UPDATE purchases SET user_id = E'\\x1b[2J' WHERE item_id = 5")
    printed = table(postgres, capsys)
    assert "\x1b" not in printed
    assert r"user_id='\x1b[2J'" in printed


def test_the_audit_changes_nothing_and_sees_one_moment(postgres: str) -> None:
    seen: list[tuple[str, str]] = []

    class Spy(asyncpg.Connection):
        async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
            state = await self.fetchrow(
                "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
            )
            assert state is not None
            seen.append((state[0], state[1]))
            return await super().fetch(query, *args, **options)

    async def conversation() -> None:
        connection = await asyncpg.connect(postgres, connection_class=Spy)
        await audit(connection)
        await connection.close()

    asyncio.run(conversation())
    assert set(seen) == {("repeatable read", "on")}


@pytest.mark.parametrize("place", ["/flash?host={nowhere}", "127.0.0.1:1/flash", "127.0.0.1:99999/flash"])
def test_a_database_that_is_not_there_is_the_operators_to_mend(place: str, tmp_path: Path) -> None:
    url = "postgresql://postgres:secret@" + place.format(nowhere=tmp_path)
    with pytest.raises(OperatorError, match="cannot be reached") as failure:
        main(Config(database_url=url), as_json=False, sale_id=None)
    assert "secret" not in str(failure.value)


def test_no_database_at_all_is_the_operators_to_mend() -> None:
    with pytest.raises(OperatorError, match="DATABASE_URL"):
        main(Config(), as_json=False, sale_id=None)


def test_a_database_without_the_schema_is_the_operators_to_mend(postgres: str) -> None:
    execute(postgres, "DROP TABLE purchases")
    with pytest.raises(OperatorError, match="flash migrate"):
        main(Config(database_url=postgres), as_json=False, sale_id=None)


def test_asking_for_a_sale_that_never_was_is_the_operators_to_mend(postgres: str) -> None:
    with pytest.raises(OperatorError, match="no sale 12"):
        main(Config(database_url=postgres), as_json=False, sale_id=12)
