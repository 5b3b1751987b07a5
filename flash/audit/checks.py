"""The promises that a sale must keep, as data: each is a query that finds the rows that break it.

They trust neither the code nor the schema: what a constraint forbids is checked again. tests/test_audit.py plants a
corruption for every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A promise and the query for the rows that break it.

    `$1` is the id of the sale to check, or null for all sales. Rows are shown in the order of the first two columns.
    """

    name: str
    promise: str
    sql: str


CHECKS = (
    Check(
        "sold_is_purchases",
        "a sale has sold as many items as it has purchases",
        """
        SELECT s.id AS sale_id, s.sold, coalesce(p.purchases, 0) AS purchases
        FROM sales s
        LEFT JOIN (SELECT sale_id, count(*) AS purchases FROM purchases GROUP BY sale_id) p ON p.sale_id = s.id
        WHERE ($1::bigint IS NULL OR s.id = $1) AND s.sold IS DISTINCT FROM coalesce(p.purchases, 0)
        """,
    ),
    Check(
        "within_stock",
        "no sale has sold more than its stock",
        """
        SELECT s.id AS sale_id, s.stock, s.sold, coalesce(p.purchases, 0) AS purchases
        FROM sales s
        LEFT JOIN (SELECT sale_id, count(*) AS purchases FROM purchases GROUP BY sale_id) p ON p.sale_id = s.id
        WHERE ($1::bigint IS NULL OR s.id = $1)
        AND (s.sold BETWEEN 0 AND s.stock AND coalesce(p.purchases, 0) <= s.stock) IS NOT TRUE
        """,
    ),
    Check(
        "user_limit",
        "no user has more items of a sale than it allows",
        """
        SELECT p.sale_id, p.user_id, count(*) AS bought, s.user_limit
        FROM purchases p JOIN sales s ON s.id = p.sale_id
        WHERE $1::bigint IS NULL OR p.sale_id = $1
        GROUP BY p.sale_id, p.user_id, s.user_limit
        HAVING count(*) > s.user_limit
        """,
    ),
    Check(
        "slots",
        "a user's purchases of a sale are numbered from 1 without gaps",
        """
        SELECT sale_id, user_id, array_agg(slot ORDER BY slot) AS slots
        FROM purchases WHERE $1::bigint IS NULL OR sale_id = $1
        GROUP BY sale_id, user_id
        HAVING (min(slot) = 1 AND max(slot) = count(*) AND count(DISTINCT slot) = count(*)) IS NOT TRUE
        """,
    ),
    Check(
        "earlier_checkout",
        "a purchase has an earlier, issued checkout of the same sale, item and user",
        """
        SELECT p.sale_id, p.item_id, p.checkout_id, p.user_id, p.purchased_at,
               CASE WHEN c.id IS NULL THEN 'there is no such checkout'
                    WHEN c.outcome IS DISTINCT FROM 'issued' THEN 'it was refused: ' || c.outcome
                    WHEN c.sale_id IS DISTINCT FROM p.sale_id THEN 'it was for sale ' || coalesce(c.sale_id::text, '-')
                    WHEN c.item_id IS DISTINCT FROM p.item_id THEN 'it was for item ' || coalesce(c.item_id::text, '-')
                    WHEN c.user_id IS DISTINCT FROM p.user_id THEN 'it was made by ' || coalesce(c.user_id, '-')
                    ELSE 'it was made later, at ' || (c.attempted_at AT TIME ZONE 'UTC')::text END AS checkout
        FROM purchases p
        LEFT JOIN checkouts c ON c.id = p.checkout_id
        WHERE ($1::bigint IS NULL OR p.sale_id = $1)
        AND NOT EXISTS (
            SELECT FROM checkouts e
            WHERE e.id = p.checkout_id AND e.outcome = 'issued' AND e.sale_id = p.sale_id
            AND e.item_id = p.item_id AND e.user_id = p.user_id AND e.attempted_at <= p.purchased_at
        )
        """,
    ),
    Check(
        "item_once",
        "no item is sold twice",
        """
        SELECT item_id, array_agg(sale_id ORDER BY purchased_at) AS sale_ids,
               array_agg(user_id ORDER BY purchased_at) AS user_ids,
               array_agg(checkout_id ORDER BY purchased_at) AS checkout_ids
        FROM purchases GROUP BY item_id
        HAVING count(*) > 1 AND ($1::bigint IS NULL OR bool_or(sale_id = $1))
        """,
    ),
    Check(
        "checkout_once",
        "no checkout is redeemed twice",
        """
        SELECT checkout_id, array_agg(sale_id ORDER BY purchased_at) AS sale_ids,
               array_agg(item_id ORDER BY purchased_at) AS item_ids
        FROM purchases GROUP BY checkout_id
        HAVING count(*) > 1 AND ($1::bigint IS NULL OR bool_or(sale_id = $1))
        """,
    ),
    Check(
        "item_in_sale",
        "a sale sells only its own items",
        """
        SELECT p.sale_id, p.item_id, p.user_id, s.first_item_id, s.first_item_id + s.stock - 1 AS last_item_id
        FROM purchases p JOIN sales s ON s.id = p.sale_id
        WHERE ($1::bigint IS NULL OR p.sale_id = $1)
        AND (p.item_id >= s.first_item_id AND p.item_id < s.first_item_id + s.stock) IS NOT TRUE
        """,
    ),
    Check(
        "epochs_rise",
        "a sale's purchases never go back to an earlier epoch",
        """
        SELECT sale_id, item_id, purchased_at, epoch, epoch_before
        FROM (SELECT sale_id, item_id, purchased_at, epoch,
                     lag(epoch) OVER (PARTITION BY sale_id ORDER BY purchased_at, epoch) AS epoch_before
              FROM purchases WHERE $1::bigint IS NULL OR sale_id = $1) p
        WHERE epoch < epoch_before
        """,
    ),
    Check(
        "epoch_known",
        "a purchase's epoch is one that its sale has had",
        """
        SELECT p.sale_id, p.item_id, p.epoch, s.epoch AS sale_epoch
        FROM purchases p JOIN sales s ON s.id = p.sale_id
        WHERE ($1::bigint IS NULL OR p.sale_id = $1) AND (p.epoch BETWEEN 1 AND s.epoch) IS NOT TRUE
        """,
    ),
    Check(
        "sold_out_at",
        "a sale is marked as sold out if and only if it is",
        """
        SELECT id AS sale_id, sold, stock, sold_out_at FROM sales
        WHERE ($1::bigint IS NULL OR id = $1) AND (sold = stock) IS DISTINCT FROM (sold_out_at IS NOT NULL)
        """,
    ),
    Check(
        "paused_sells_nothing",
        "nothing is sold while a sale is paused",
        # By count: a purchase that began just before the sale was resumed has an earlier time than that.
        """
        SELECT p.sale_id, p.at AS paused_at, p.sold, p.resumed_at, coalesce(p.sold_then, s.sold) AS sold_then
        FROM (SELECT sale_id, action, at, sold, lead(at) OVER later AS resumed_at, lead(sold) OVER later AS sold_then
              FROM sale_pauses WHERE $1::bigint IS NULL OR sale_id = $1
              WINDOW later AS (PARTITION BY sale_id ORDER BY id)) p
        LEFT JOIN sales s ON s.id = p.sale_id
        WHERE p.action = 'pause' AND p.sold IS DISTINCT FROM coalesce(p.sold_then, s.sold)
        """,
    ),
    Check(
        "pauses_are_recorded",
        "a sale's pauses and their ends are recorded in turn, and the last one says whether it is paused",
        """
        SELECT coalesce(s.id, p.sale_id) AS sale_id, s.paused_at, p.actions
        FROM sales s
        FULL JOIN (SELECT sale_id, array_agg(action ORDER BY id) AS actions FROM sale_pauses GROUP BY sale_id) p
                  ON p.sale_id = s.id
        WHERE ($1::bigint IS NULL OR coalesce(s.id, p.sale_id) = $1)
        AND (s.paused_at IS NOT NULL IS DISTINCT FROM coalesce(p.actions[cardinality(p.actions)] = 'pause', false)
             OR EXISTS (SELECT FROM unnest(p.actions) WITH ORDINALITY AS u (action, n)
                        WHERE u.action IS DISTINCT FROM CASE n % 2 WHEN 1 THEN 'pause' ELSE 'resume' END))
        """,
    ),
    Check(
        "sale_once",
        "no two sales have the same id",
        """
        SELECT id AS sale_id, count(*) AS sales FROM sales
        WHERE $1::bigint IS NULL OR id = $1 GROUP BY id HAVING count(*) > 1
        """,
    ),
    Check(
        "ranges_apart",
        "no item belongs to two sales",
        """
        SELECT a.id AS sale_id, b.id AS other_sale_id, a.first_item_id, a.stock,
               b.first_item_id AS other_first_item_id, b.stock AS other_stock
        FROM sales a
        JOIN sales b ON b.first_item_id >= a.first_item_id AND b.first_item_id < a.first_item_id + a.stock
                    AND (b.first_item_id > a.first_item_id OR b.ctid > a.ctid)
        WHERE $1::bigint IS NULL OR $1 IN (a.id, b.id)
        """,
    ),
    Check(
        "starts_apart",
        "no two sales start at the same time",
        """
        SELECT array_agg(id ORDER BY id) AS sale_ids, starts_at FROM sales GROUP BY starts_at
        HAVING count(*) > 1 AND ($1::bigint IS NULL OR bool_or(id = $1))
        """,
    ),
    Check(
        "purchase_has_sale",
        "a purchase belongs to a sale",
        """
        SELECT p.sale_id, p.item_id, p.checkout_id, p.user_id FROM purchases p
        WHERE ($1::bigint IS NULL OR p.sale_id = $1) AND NOT EXISTS (SELECT FROM sales s WHERE s.id = p.sale_id)
        """,
    ),
    Check(
        "checkout_has_sale",
        "an issued checkout belongs to a sale",
        """
        SELECT c.sale_id, c.id AS checkout_id, c.item_id, c.user_id, c.attempted_at FROM checkouts c
        WHERE c.outcome = 'issued' AND ($1::bigint IS NULL OR c.sale_id = $1)
        AND NOT EXISTS (SELECT FROM sales s WHERE s.id = c.sale_id)
        """,
    ),
)
