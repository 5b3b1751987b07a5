"""How `flash top` looks, from what was seen: with and without the operator's token, in calm and in trouble."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from flash.client.errors import Unreachable
from flash.client.results import Sale
from flash.local.style import Style
from flash.terminal.top_history import Snapshot, TopHistory
from flash.terminal.top_view import lines

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAIN = Style(is_on=False)
OK = {"status": "ok", "database": "ok", "redis": "ok"}


def sale(
    id: int, status: Literal["upcoming", "open", "sold_out"], sold: int, starts_in: float, stock: int = 10_000
) -> Sale:
    return Sale(id, NOON + timedelta(seconds=starts_in), status, stock, sold, stock - sold, id * stock)


def seen(*sold: int, health: dict[str, Any] | None = None, control: dict[str, Any] | None = None) -> TopHistory:
    """Looks a second apart, at a sale that has sold so much."""
    history = TopHistory()
    for at, count in enumerate(sold):
        sales = [sale(3, "upcoming", 0, 1421), sale(2, "open", count, -60), sale(1, "sold_out", 10_000, -90_000)]
        history.add(float(at), Snapshot(NOON, sales, health or OK, control))
    return history


def shown(history: TopHistory, width: int = 120) -> str:
    return "\n".join(lines(history, "http://shop", width, PLAIN))


def test_visitors_see_how_fast_it_sells_what_is_left_and_when_the_next_sale_opens() -> None:
    assert (
        shown(seen(0, 300, 6_300, 7_500))
        == """\
flash top  http://shop  12:00:00 UTC
Selling. All stores fine.

1,200 sold per second   ▁█▂   most 6,000

  sale                                         sold       left   per s  status
     3  ────────────────────────        0 of 10,000     10,000       0  opens in 23:41
     2  ━━━━━━━━━━━━━━━━━━──────    7,500 of 10,000      2,500   1,200  open for 1:00
     1  ━━━━━━━━━━━━━━━━━━━━━━━━   10,000 of 10,000          0       0  sold out

who leads, how long purchases take, and the processes: set FLASH_CONTROL_TOKEN"""
    )


CONTROL: dict[str, Any] = {
    "state": {"level": "warning", "text": "Sale 2 was paused by ann.", "action": "Resume it."},
    "processes": [
        {
            "role": "web", "host": "alpha", "pid": 71, "version": "0.3.0", "age_seconds": 7_500,
            "requests_per_second": 4_200.4, "sales_per_second": 610.0,
            "queues": [
                {"name": "checkouts", "waiting": 0, "estimated_wait_ms": None},
                {"name": "purchases", "waiting": 12, "estimated_wait_ms": 4.2},
            ],
        },
        {
            "role": "inventory", "host": "beta", "pid": 72, "version": "0.3.0", "age_seconds": 30,
            "requests_per_second": 0.0, "sales_per_second": 612.0, "queues": [],
        },
    ],
    "sales": [
        {"id": 3, "leader": {"host": "beta", "pid": 72, "epoch": 1}, "paused": None},
        {"id": 2, "leader": {"host": "beta", "pid": 72, "epoch": 4}, "paused": {"by": "ann", "at": "…"}},
    ],
    "series": {"sales": [0, 50, None, 100], "p50_ms": [None, 3.4, None], "p99_ms": [20.0, 24.4]},
}  # fmt: skip


def test_operators_also_see_the_verdict_the_leaders_and_the_processes() -> None:
    assert (
        shown(seen(7_500, control=CONTROL))
        == """\
flash top  http://shop  12:00:00 UTC
Sale 2 was paused by ann.
→ Resume it.

100 sold per second   ▁▅▁█   most 100
purchases take 3 ms, 1 of 100 more than 24 ms

  sale                                         sold       left   per s  status
     3  ────────────────────────        0 of 10,000     10,000       0  opens in 23:41
     2  ━━━━━━━━━━━━━━━━━━──────    7,500 of 10,000      2,500       0  paused by ann
     1  ━━━━━━━━━━━━━━━━━━━━━━━━   10,000 of 10,000          0       0  sold out

process     where                     version          age    req/s   sold/s  waiting
web         alpha/71                  0.3.0         2 h 05    4,200      610  12 purchases (4 ms)
inventory   beta/72                   0.3.0           30 s        0      612  0"""
    )


def test_who_leads_is_told_with_the_epoch() -> None:
    control = {"sales": [{"id": 2, "leader": {"host": "beta", "pid": 72, "epoch": 4}, "paused": None}]}
    assert "open for 1:00, led by beta/72, epoch 4" in shown(seen(0, control=control))


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ({"status": "error", "database": "error", "redis": "ok"}, "Not healthy: PostgreSQL cannot be used."),
        ({"status": "error", "database": "ok", "redis": "error"}, "Not healthy: Redis cannot be used."),
        ({"status": "error"}, "Not healthy: the service cannot be used."),
    ],
)
def test_bad_health_is_the_first_thing_that_is_said(health: dict[str, Any], said: str) -> None:
    assert shown(seen(0, health=health)).splitlines()[1] == said


def test_a_service_that_answers_no_more_leaves_the_last_view_and_says_so() -> None:
    history = seen(100)
    history.miss(Unreachable("unreachable", "Connection refused"))
    assert shown(history).splitlines()[1] == "No answer: Connection refused. Asking again each second."
    assert "100 of 10,000" in shown(history)
    history.add(9.0, Snapshot(NOON, [], OK))
    assert "No answer" not in shown(history)


def test_no_line_is_wider_than_the_terminal_and_styles_take_no_room() -> None:
    styled = lines(seen(7_500, control=CONTROL), "http://shop", 40, Style(is_on=True))
    plain = lines(seen(7_500, control=CONTROL), "http://shop", 40, PLAIN)
    assert max(map(len, plain)) == 40
    assert [unstyled(line) for line in styled] == plain


def unstyled(line: str) -> str:
    for code in ("0", "1", "2", "31", "32", "33"):
        line = line.replace(f"\033[{code}m", "")
    return line


def test_names_from_the_network_do_not_steer_the_terminal() -> None:
    evil = "\033[2J\n"
    control = {
        "state": {"level": "ok", "text": evil, "action": evil},
        "processes": [{"role": evil, "host": evil, "version": evil, "queues": [{"name": evil, "waiting": 1}]}],
        "sales": [{"id": 2, "paused": {"by": evil}}, {"id": 1, "leader": {"host": evil}}],
    }  # fmt: skip
    for line in lines(seen(0, control=control), f"http://{evil}", 200, PLAIN):
        assert "\033" not in line
        assert "\n" not in line
