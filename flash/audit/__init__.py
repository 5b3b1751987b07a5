"""`flash audit`: proves from what is stored that every sale kept its promises, or names the rows that broke them."""

from __future__ import annotations

import sys

from flash import bridge
from flash.audit import rendering
from flash.audit.checks import CHECKS as CHECKS
from flash.audit.reading import ROWS_MAX as ROWS_MAX
from flash.audit.reading import audit as audit
from flash.audit.reading import read
from flash.config import Config
from flash.errors import OperatorError


def main(config: Config, *, as_json: bool, sale_id: int | None) -> int:
    """Print the report on all sales, or on `sale_id` alone; 0 if it is clean, 1 if a promise is broken.

    Raises `OperatorError` if the database cannot be read or does not know `sale_id`.
    """
    report = bridge.run_in_loop(read, config.require("database_url"), sale_id)
    if report.is_clean and not report.sales and sale_id is not None:
        raise OperatorError(f"there is no sale {sale_id} in this database")
    sys.stdout.write(rendering.as_json(report) if as_json else rendering.as_text(report))
    return 0 if report.is_clean else 1
