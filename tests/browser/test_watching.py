"""The page follows the service: through a sale's end, into the next one, and past the death of a web process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from flash.local.embedded import EmbeddedPostgres
from tests.browser.conftest import Visitors
from tests.browser.service import Service, in_parallel, running_service
from tests.browser.test_buying import choose, name_oneself, tile_of

PERIOD_SECONDS = 10
ITEMS = 8


@pytest.fixture(scope="module")
def short(postgres_server: EmbeddedPostgres) -> Iterator[Service]:
    """A service with a small sale every few seconds."""
    settings = {"FLASH_SALE_PERIOD": str(PERIOD_SECONDS), "FLASH_SALE_SIZE": str(ITEMS)}
    with running_service(postgres_server, **settings) as service:
        yield service


def test_the_countdown_turns_into_the_next_sale_which_sells_out(
    make_visitors: Callable[[Service], Visitors], short: Service
) -> None:
    visitors = make_visitors(short)
    page = visitors.visit()
    heading = page.get_by_role("heading", name=re.compile(r"^Sale \d+$"))
    before = int(heading.inner_text().split()[1])
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"0:0\d|0:10"))
    expect(page.get_by_role("heading", name=f"Sale {before + 1}")).to_be_visible()
    expect(page.locator(".notice")).to_have_text(f"Sale {before + 1} has opened.")
    expect(page.get_by_text(f"{ITEMS} of {ITEMS} items left")).to_have_count(1)
    expect(page.get_by_role("link", name=f"{before} ({ITEMS} left)")).to_be_visible()

    item_id = choose(page)
    name_oneself(page, "ada")
    first = short.get(f"/sales/{before + 1}")["first_item_id"]
    in_parallel(short.buy, list(range(first, first + ITEMS)))
    assert first <= item_id < first + ITEMS
    refusal = page.get_by_role("dialog")
    expect(refusal).to_contain_text(re.compile("This sale is sold out|Somebody was faster"))
    page.keyboard.press("Escape")
    expect(page.locator(".figure-left")).to_contain_text("Sold out")
    expect(page.locator("#announcer")).to_contain_text(f"Sale {before + 1} is sold out.")
    assert page.locator(".tile.is-sold").count() == ITEMS

    # A visitor who comes now sees what is next, and cannot buy it yet.
    late = visitors.visit()
    expect(late.get_by_text(f"Sale {before + 2} opens in")).to_be_visible()
    expect(late.locator(".tile[aria-disabled=true]")).to_have_count(ITEMS)
    expect(late.get_by_text(f"{ITEMS} of {ITEMS} items left")).to_have_count(1)  # it has opened
    expect(late.locator(".tile[aria-disabled=false]")).to_have_count(ITEMS)
    assert choose(late) >= first + ITEMS


def test_an_earlier_sale_that_has_items_left_can_be_gone_to(
    make_visitors: Callable[[Service], Visitors], short: Service
) -> None:
    sale = short.sale()
    visitors = make_visitors(short)
    page = visitors.visit(f"/?sale={sale['id']}")
    link = page.get_by_role("link", name=re.compile(rf"^{sale['id']} \(\d left\)"))
    link.click()  # once there is a newer one
    expect(page.get_by_role("heading", name=f"Sale {sale['id']}", exact=True)).to_be_visible()
    assert page.url.endswith(f"?sale={sale['id']}")
    item_id = choose(page)
    short.buy(item_id)
    expect(page.get_by_text("Somebody was faster", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Back to sale").click()
    expect(page.get_by_role("heading", name=f"Sale {sale['id']}", exact=True)).to_have_count(0)


def test_after_its_web_process_has_died_the_page_finds_the_next_one_and_what_it_missed(
    make_visitors: Callable[[Service], Visitors], hour: Service
) -> None:
    visitors = make_visitors(hour)
    page = visitors.visit()
    expect(page.locator("body[data-connection=live]")).to_be_visible()
    sold_before = hour.sale()["first_item_id"] + 17
    hour.kill_web()
    expect(page.locator(".notice").get_by_text("No connection. What you see may be old.")).to_be_visible()
    hour.start_web()
    hour.buy(sold_before)
    expect(page.locator("body[data-connection=live]")).to_be_visible()
    expect(page.locator(".notice")).to_have_text("Connected again.")
    expect(tile_of(page, sold_before)).to_have_accessible_name(re.compile("Sold$"))
    visitors.complaints.clear()  # of the connections that failed, which every browser logs
