"""GET /metrics of one process, however many ask."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from flash.metrics import families
from flash.metrics.page import FRESH_SECONDS, MetricsPage
from flash.metrics.values import Values

OPEN_METRICS = "application/openmetrics-text"


class Process:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.page = MetricsPage(self.collect)

    def collect(self) -> Values:
        self.asked += 1
        values = Values()
        values.put(families.VIEWERS, self.asked)
        return values


async def test_a_crowd_that_asks_costs_no_more_than_one_does(mock_clock: MockClock) -> None:
    process, texts = Process(), set[bytes]()

    async def ask(number: int) -> None:
        texts.add((await process.page.text(f"text/plain;version=0.0.{number}"))[0])

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, number)
    assert (process.asked, len(texts)) == (1, 1)
    assert OPEN_METRICS.encode() in (await process.page.text(OPEN_METRICS))[1]
    assert process.asked == 2, "the other format is another page"
    mock_clock.jump(FRESH_SECONDS)
    assert b"flash_event_viewers 3.0" in (await process.page.text(""))[0]
