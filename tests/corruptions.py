"""A clean history of two small sales, and every kind of corruption that an audit of it must find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Sale 1 (items 1-4) is sold out: ann has two items and bob has two, one of them bought under a second epoch.
# Sale 2 (items 5-8) is open and ann has one item. Somebody asked for item 99, which is in no sale.
CLEAN_HISTORY = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, epoch, sold_out_at) VALUES
    (1, '2026-01-01 00:00Z', 1, 4, 2, 4, 2, '2026-01-01 00:00:09Z'),
    (2, '2026-01-01 01:00Z', 5, 4, 2, 1, 1, NULL);
INSERT INTO checkouts (id, attempted_at, outcome, sale_id, item_id, user_id, user_digest, query)
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
INSERT INTO sale_pauses (sale_id, action, at, by, reason, sold) VALUES
    (1, 'pause', '2026-01-01 00:00:07Z', 'op', 'a wrong picture', 3),
    (1, 'resume', '2026-01-01 00:00:08Z', 'op', 'it is right', 3);
"""
PAUSE_2 = "UPDATE sales SET paused_at = '2026-01-01 01:00:06Z', paused_by = 'op', paused_sold = 1 WHERE id = 2;"
RECORD_PAUSE = "INSERT INTO sale_pauses (sale_id, action, at, by, reason, sold) VALUES"

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
    """A change to a clean history, the check that must find it, and part of the row that the check must show."""

    what: str
    sql: str
    check: str
    row: dict[str, Any]
    also: frozenset[str] = frozenset()
    """Other checks that the same change fails."""


CORRUPTIONS = [
    Corruption(
        "something was sold in a pause that is over",
        "UPDATE sale_pauses SET sold = 4 WHERE action = 'resume'",
        "paused_sells_nothing",
        {"sale_id": 1, "sold": 3, "sold_then": 4},
    ),
    Corruption(
        "something was sold in the present pause",
        f"{PAUSE_2} {RECORD_PAUSE} (2, 'pause', '2026-01-01 01:00:04Z', 'op', '', 0)",
        "paused_sells_nothing",
        {"sale_id": 2, "sold": 0, "sold_then": 1, "resumed_at": None},
    ),
    Corruption(
        "a sale is paused and nobody did it",
        PAUSE_2,
        "pauses_are_recorded",
        {"sale_id": 2, "actions": None},
    ),
    Corruption(
        "a paused sale goes on",
        f"{RECORD_PAUSE} (2, 'pause', '2026-01-01 01:00:06Z', 'op', '', 1)",
        "pauses_are_recorded",
        {"sale_id": 2, "paused_at": None, "actions": ["pause"]},
    ),
    Corruption(
        "a sale was resumed twice",
        f"{RECORD_PAUSE} (1, 'resume', '2026-01-01 00:00:09Z', 'op', '', 4)",
        "pauses_are_recorded",
        {"sale_id": 1, "actions": ["pause", "resume", "resume"]},
    ),
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
        "a sale has sold a negative number",
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
        "a purchase used a refused attempt",
        "UPDATE checkouts SET outcome = 'item_sold', user_digest = NULL WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "checkout": "it was refused: item_sold"},
    ),
    Corruption(
        "a purchase used another sale's checkout",
        "UPDATE checkouts SET sale_id = 2 WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "checkout": "it was for sale 2"},
    ),
    Corruption(
        "a purchase used another item's checkout",
        "UPDATE checkouts SET item_id = 4 WHERE id = 3",
        "earlier_checkout",
        {"item_id": 3, "checkout": "it was for item 4"},
    ),
    Corruption(
        "a purchase used another user's checkout",
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
        "a deposed leader kept selling",
        "UPDATE purchases SET epoch = 2 WHERE item_id = 1",
        "epochs_rise",
        {"sale_id": 1, "epoch": 1, "epoch_before": 2},
    ),
    Corruption(
        "a purchase has an epoch that never began",
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
        "a sale exists twice",
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
        "a purchase belongs to no sale",
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
