"""`python -m tests.drill.losing …`: `scripts/drill` whose fault flush-redis loses an acknowledged purchase instead."""

from __future__ import annotations

import sys
from dataclasses import replace
from random import Random

from drill.__main__ import main
from drill.faults import FAULTS
from drill.site import Site
from flash.testing.stores import psql

_GONE = "DELETE FROM purchases WHERE checkout_id = (SELECT min(checkout_id) FROM purchases)"


async def lose(site: Site, random: Random, sale_id: int) -> str:
    return psql(site.postgres, _GONE, database="flash")


if __name__ == "__main__":
    FAULTS["flush-redis"] = replace(FAULTS["flush-redis"], inject=lose)
    sys.exit(main())
