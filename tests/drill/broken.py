"""`python -m tests.drill.broken …`: `scripts/drill` of a service that is wrong in two ways, of which it must find each.

The statement that sells has no fence, and the fault flush-redis deletes an acknowledged purchase instead. With `web` or
`inventory` as its first argument, this module is that service.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from random import Random

from drill import site
from drill.__main__ import main as drill
from drill.faults import FAULTS
from flash.cli import main as serve
from flash.stores import terms
from flash.testing.stores import psql

_FENCE = "AND epoch = $2 AND term_token = $3 AND sold = $4 AND paused_at IS NULL"
_NO_FENCE = "AND ($2::bigint, $3::bytea, $4::bigint) IS NOT NULL"
_GONE = "DELETE FROM purchases WHERE checkout_id = (SELECT min(checkout_id) FROM purchases)"


async def lose(site: site.Site, random: Random, sale_id: int) -> str:
    return psql(site.postgres, _GONE, database="flash")


if __name__ == "__main__":
    if sys.argv[1] in ("web", "inventory"):
        assert _FENCE in terms.SELL
        terms.SELL = terms.SELL.replace(_FENCE, _NO_FENCE)
        sys.exit(serve())
    FAULTS["flush-redis"] = replace(FAULTS["flush-redis"], inject=lose)
    site.SERVICE = "tests.drill.broken"
    sys.exit(drill())
