"""The page follows the service: through a sale's end, into the next one, and past the death of a web process."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from flash.local.embedded import EmbeddedPostgres
from flash.testing.stores import psql
from tests.browser.conftest import PATIENCE_MS, Visitors
from tests.browser.service import Service, in_parallel, running_service
from tests.browser.test_buying import choose, name_oneself, tile_of

PERIOD_SECONDS = 86_400
ITEMS = 8
COUNTDOWN_SECONDS = 8
"""Enough to load the page again meanwhile."""
SOON_SECONDS = 1
OPEN_NEXT = """
UPDATE sales SET starts_at = now() + {seconds} * interval '1 s' WHERE id = (SELECT max(id) FROM sales);
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit)
SELECT id + 1, to_timestamp((floor(extract(epoch FROM now()) / {period}) + 1) * {period}), first_item_id + stock, stock,
       user_limit
FROM sales ORDER BY id DESC LIMIT 1
"""
"""A sale lasts for a day here, so none ends while a test still needs it; the next one begins when a test says so."""


@pytest.fixture(scope="module")
def small(postgres_server: EmbeddedPostgres) -> Iterator[Service]:
    """A service with small sales, each of which begins when a test says so."""
    settings = {"FLASH_SALE_PERIOD": str(PERIOD_SECONDS), "FLASH_SALE_SIZE": str(ITEMS)}
    with running_service(postgres_server, **settings) as service:
        yield service


def open_next(server: EmbeddedPostgres, service: Service, seconds: int) -> None:
    """Let the next sale begin in so many seconds."""
    database = urlsplit(service.env["DATABASE_URL"]).path.strip("/")
    psql(server, OPEN_NEXT.format(seconds=seconds, period=PERIOD_SECONDS), database=database)


def until_served(service: Service, sale_id: int) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while (newest := service.get("/sales")["sales"][0]["id"]) != sale_id:
        assert time.monotonic() < deadline, newest
        time.sleep(0.05)


def test_the_countdown_turns_into_the_next_sale_which_sells_out(
    make_visitors: Callable[[Service], Visitors], small: Service, postgres_server: EmbeddedPostgres
) -> None:
    visitors = make_visitors(small)
    page = visitors.visit()
    before = small.sale()["id"]
    expect(page.get_by_role("heading", name=f"Sale {before}", exact=True)).to_be_visible()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^\d+:\d\d:\d\d$"))
    open_next(postgres_server, small, COUNTDOWN_SECONDS)
    until_served(small, before + 2)
    page.reload()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^0:0\d$"))
    expect(page.get_by_role("heading", name=f"Sale {before + 1}", exact=True)).to_be_visible()
    expect(page.locator(".notice")).to_have_text(f"Sale {before + 1} has opened.")
    expect(page.get_by_text(f"{ITEMS} of {ITEMS} items left")).to_have_count(1)
    expect(page.get_by_role("link", name=f"{before} ({ITEMS} left)")).to_be_visible()

    item_id = choose(page)
    name_oneself(page, "ada")
    first = small.get(f"/sales/{before + 1}")["first_item_id"]
    in_parallel(small.buy, list(range(first, first + ITEMS)))
    assert first <= item_id < first + ITEMS
    refusal = page.get_by_role("dialog")
    expect(refusal).to_contain_text(re.compile("This sale is sold out|Somebody was faster"))
    page.keyboard.press("Escape")
    expect(page.locator(".figure-left")).to_contain_text("Sold out")
    expect(page.locator("#announcer")).to_contain_text(f"Sale {before + 1} is sold out.")
    expect(page.locator(".tile.is-sold")).to_have_count(ITEMS)

    # A visitor who comes now sees what is next, and cannot buy it yet.
    late = visitors.visit()
    expect(late.get_by_text(f"Sale {before + 2} opens in")).to_be_visible()
    expect(late.locator(".tile[aria-disabled=true]")).to_have_count(ITEMS)
    open_next(postgres_server, small, SOON_SECONDS)
    expect(late.get_by_text(f"{ITEMS} of {ITEMS} items left")).to_have_count(1)  # it has opened
    expect(late.locator(".tile[aria-disabled=false]")).to_have_count(ITEMS)
    assert choose(late) >= first + ITEMS


def test_an_earlier_sale_that_has_items_left_can_be_gone_to(
    make_visitors: Callable[[Service], Visitors], small: Service, postgres_server: EmbeddedPostgres
) -> None:
    sale = small.sale()
    visitors = make_visitors(small)
    page = visitors.visit()
    expect(page.get_by_role("heading", name=f"Sale {sale['id']}", exact=True)).to_be_visible()
    open_next(postgres_server, small, SOON_SECONDS)
    page.get_by_role("link", name=re.compile(rf"^{sale['id']} \(\d left\)")).click()  # once there is a newer one
    expect(page.get_by_role("heading", name=f"Sale {sale['id']}", exact=True)).to_be_visible()
    assert page.url.endswith(f"?sale={sale['id']}")
    item_id = choose(page)
    small.buy(item_id)
    expect(page.get_by_text("Somebody was faster", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Back to sale").click()
    expect(page.get_by_role("heading", name=f"Sale {sale['id']}", exact=True)).to_have_count(0)


def test_after_its_web_process_has_died_the_page_finds_the_next_one_and_what_it_missed(
    make_visitors: Callable[[Service], Visitors], hour: Service
) -> None:
    visitors = make_visitors(hour)
    page = visitors.visit(viewport={"width": 1280, "height": 2_400})
    expect(page.locator("body[data-connection=live]")).to_be_visible()
    sold_before = hour.sale()["first_item_id"] + 40  # in view; other tests buy the first ones
    hour.kill_web()
    expect(page.locator(".notice").get_by_text("No connection. What you see may be old.")).to_be_visible()
    hour.start_web()
    hour.buy(sold_before)
    expect(page.locator("body[data-connection=live]")).to_be_visible()
    expect(page.locator(".notice")).to_have_text("Connected again.")
    expect(tile_of(page, sold_before)).to_have_accessible_name(re.compile("Sold$"))
    visitors.complaints.clear()  # of the connections that failed, which every browser logs
