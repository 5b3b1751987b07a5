"""A report as text: blocks of aligned lines for people, one line of JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from flash.audit import table
from flash.audit.report import CheckResult, Report, Row, SaleSummary
from flash.domain import CheckoutOutcome


def as_json(report: Report) -> str:
    """One line; the fields are those of the dataclasses."""
    fields = {
        "clean": report.is_clean,
        "taken_at": report.taken_at,
        "sales": report.sales,
        "attempts_of_no_sale": report.attempts_of_no_sale,
        "checks": report.checks,
    }
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE).decode()


def as_text(report: Report) -> str:
    """Sales, attempts and promises, each as a block of aligned lines."""
    blocks = [_sales_table(report.sales), _attempts_table(report), _checks_list(report.checks), _verdict(report)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _sales_table(sales: Sequence[SaleSummary]) -> list[str]:
    head = ("sale", "starts at (UTC)", "items", "stock", "sold", "purchases", "buyers", "most", "limit", "epoch")
    rows = [
        (
            *(str(sale.id), _time(sale.starts_at), f"{sale.first_item_id}-{sale.first_item_id + sale.stock - 1}"),
            *(f"{sale.stock:,}", f"{sale.sold:,}", f"{sale.purchases:,}", f"{sale.buyers:,}"),
            *(str(sale.most_by_one_user), str(sale.user_limit), str(sale.epoch), _time(sale.sold_out_at)),
        )
        for sale in sales
    ]
    return table.lines([(*head, "sold out at (UTC)"), *rows], numbers=True)


def _attempts_table(report: Report) -> list[str]:
    counted = [(str(sale.id), sale.attempts) for sale in report.sales]
    counted.append(("none", report.attempts_of_no_sale))
    known = [outcome.value for outcome in CheckoutOutcome]
    unknown = sorted({outcome for _, attempts in counted for outcome in attempts} - set(known))
    outcomes = [*known, *unknown]
    rows = [
        (sale, f"{sum(attempts.values()):,}", *(f"{attempts.get(outcome, 0):,}" for outcome in outcomes))
        for sale, attempts in counted
    ]
    return table.lines([("sale", "attempts", *outcomes), *rows], numbers=True)


def _checks_list(checks: Sequence[CheckResult]) -> list[str]:
    lines = []
    for check in checks:
        lines.append(f"BROKEN  {check.promise}, but:" if check.broken else f"ok      {check.promise}")
        lines += ["        - " + _row(row) for row in check.rows]
        if check.broken > len(check.rows):
            lines.append(f"        … and {check.broken - len(check.rows):,} more")
    return lines


def _row(row: Row) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in row.items())


def _value(value: object) -> str:
    """`repr` of a text, so that a user's name cannot send control codes to the terminal."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(value, datetime) else repr(value)


def _verdict(report: Report) -> list[str]:
    broken = sum(check.broken > 0 for check in report.checks)
    what = f"{len(report.checks)} promises, {_plural(len(report.sales), 'sale')}, as of {_time(report.taken_at)} UTC"
    return [f"broken: {broken} of {what}" if broken else f"clean: {what}"]


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
