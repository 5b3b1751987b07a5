"""The model of an hour: it loses nobody, sells what there is, and its parts queue where they should."""

from __future__ import annotations

import pytest

from benchmarks.hour.__main__ import main, report
from benchmarks.hour.costs import Costs, Size
from benchmarks.hour.world import Hour

_ENDS = ("purchase: sold", "purchase: sold out", "checkout: sold out", "page: sold out", "left: no patience")


def ran(size: Size, costs: Costs | None = None) -> Hour:
    hour = Hour(size, costs or Costs())
    hour.run()
    assert sum(hour.answers[end] for end in _ENDS) == size.buyers == len(hour.stayed)
    return hour


def test_as_many_are_sold_as_there_are_however_many_want_one() -> None:
    many = ran(Size(buyers=3_000, stock=500, web_hosts=1, web_cores=2))
    assert many.answers["purchase: sold"] == 500
    few = ran(Size(buyers=300, stock=500, web_hosts=1, web_cores=2))
    assert few.answers["purchase: sold"] == 300


def test_every_checkout_that_was_answered_is_a_row() -> None:
    hour = ran(Size(buyers=2_000, stock=100, web_hosts=1, web_cores=1))
    answered = sum(count for answer, count in hour.answers.items() if answer.startswith("checkout: "))
    purchases = len(hour.latencies["purchase"])
    assert hour.postgres.rows == answered - hour.answers["checkout: 503"] + purchases


def test_a_slow_log_is_what_everybody_waits_for() -> None:
    size = Size(buyers=3_000, stock=3_000, web_hosts=2, web_cores=2)
    fast, slow = ran(size), ran(size, Costs(log_bytes_second=0.2e6))
    assert slow.sold_out_at > 3 * fast.sold_out_at
    assert slow.postgres.log.waited_max > 10 * fast.postgres.log.waited_max
    assert slow.postgres.cores.waited_max < 0.01


def test_its_report_names_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--buyers", "200", "--stock", "50", "--web-hosts", "1"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n{part} " in told for part in ("web", "PostgreSQL", "its log", "leader", "Redis"))
    assert "sold 50, the last one after" in told
    assert report(ran(Size(buyers=1, web_hosts=1))).startswith("1 buyers within 1 s")


@pytest.mark.parametrize("option", ["--web-hosts", "--buyers", "--log-mb", "--window"])
def test_nothing_of_nothing_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([option, "0"])
    assert f"{option}: '0' is not a number between " in capsys.readouterr().err
