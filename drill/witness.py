"""What the database itself sees of leaders, whatever statements say: who began a term, and who committed in whose.

A trigger notes the process that each session belongs to. A term that begins and a batch that commits both hold the
sale's row, so whoever began the latest term when a batch commits is who leads then. The epoch and the token that the
statement carries play no part in that: a fence that is gone shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from flash.errors import Unavailable
from flash.stores.postgres_errors import StatementError
from flash.testing.stored import rows

STRANGER = "a stranger"

WITNESS = """
CREATE TABLE drill_terms (sale_id bigint, n bigserial, process text, epoch bigint, PRIMARY KEY (sale_id, n));
CREATE FUNCTION drill_term() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO drill_terms (process, sale_id, epoch)
    VALUES (current_setting('drill.process', true), NEW.id, NEW.epoch);
    RETURN NULL;
END $$;
CREATE TRIGGER drill_term AFTER UPDATE OF term_token ON sales
    FOR EACH ROW WHEN (OLD.term_token IS DISTINCT FROM NEW.term_token) EXECUTE FUNCTION drill_term();

CREATE TABLE drill_commits (process text, leader text, sale_id bigint, epoch bigint, items bigint);
CREATE FUNCTION drill_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO drill_commits
    SELECT current_setting('drill.process', true),
           (SELECT t.process FROM drill_terms t WHERE t.sale_id = made.sale_id ORDER BY t.n DESC LIMIT 1),
           made.sale_id, made.epoch, count(*)
    FROM made GROUP BY made.sale_id, made.epoch;
    RETURN NULL;
END $$;
CREATE TRIGGER drill_commit AFTER INSERT ON purchases
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION drill_commit();
"""

_COMMITS = f"""
SELECT coalesce(process, '{STRANGER}'), coalesce(leader, 'nobody'), sale_id, epoch, items FROM drill_commits
"""


@dataclass(frozen=True, slots=True)
class Commit:
    """`process` sold `items` of a sale and wrote `epoch`, when `leader` had begun the sale's latest term."""

    process: str
    leader: str
    sale_id: int
    epoch: int
    items: int


async def read_commits(database_url: str) -> list[Commit]:
    """All of them."""
    return [Commit(*row) for row in await rows(database_url, _COMMITS)]


async def count_terms(database_url: str, sale_id: int) -> int:
    """How many terms of a sale have begun; -1 if the database is away."""
    try:
        ((count,),) = await rows(database_url, f"SELECT count(*) FROM drill_terms WHERE sale_id = {int(sale_id)}")
    except (Unavailable, StatementError, OSError, TimeoutError):
        return -1
    return int(count)
