"""Buying in the storefront: from a tile to its receipt, and what a buyer is told who cannot have it."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, Request, expect

from tests.browser.conftest import TOKEN, Visitors
from tests.browser.service import Service


def choose(page: Page) -> int:
    """Open the sheet of an item that is left, and return its number."""
    page.locator('.tile:not(.is-sold):not(.is-mine):not([aria-disabled="true"])').first.click()
    page.wait_for_url(re.compile("#item-"))
    return int(page.url.rpartition("-")[2])


def name_oneself(page: Page, name: str) -> None:
    page.get_by_label("Your name in this shop").fill(name)
    page.keyboard.press("Enter")


def check_out(page: Page) -> None:
    page.get_by_role("button", name="Check out", exact=True).click()


def buy(page: Page) -> None:
    check_out(page)
    page.get_by_role("button", name="Buy it").click()
    expect(page.get_by_text("It is yours.")).to_be_visible()


def tile_of(page: Page, item_id: int) -> Locator:
    return page.get_by_role("button", name=re.compile(rf", number {item_id:,}\b"))


def test_an_item_is_checked_out_bought_and_kept_with_its_receipt(visitors: Visitors, hour: Service) -> None:
    page = visitors.visit()
    item_id = choose(page)
    name_oneself(page, "ada")
    expect(page.get_by_text("ada may buy 2 more of 2")).to_be_visible()
    check_out(page)
    ticket = page.get_by_role("region", name="Your code")
    expect(ticket).to_contain_text("For ada")
    expect(ticket.get_by_text(re.compile(r"^(1:00:00|59:\d\d)$"))).to_be_visible()
    page.get_by_role("button", name="Buy it").click()
    receipt = page.get_by_role("region", name="Receipt")
    expect(receipt).to_contain_text(hour.get(f"/items/{item_id}")["name"])
    code = receipt.locator(".code").inner_text()
    assert hour.get(f"/purchases/{code}")["item"]["id"] == item_id
    page.get_by_role("button", name="Keep looking").click()
    expect(tile_of(page, item_id)).to_have_accessible_name(re.compile("Yours$"))
    expect(tile_of(page, item_id)).to_be_focused()
    page.reload()
    page.get_by_role("button", name="My items 1").click()
    expect(page.get_by_role("dialog", name="My items")).to_contain_text("1 of 2 left to buy")


def test_a_second_window_sees_it_sold(visitors: Visitors, hour: Service) -> None:
    looker, buyer = visitors.visit(), visitors.visit()
    item_id = choose(buyer)
    name_oneself(buyer, "ben")
    left = hour.sale()["remaining"]
    buy(buyer)
    expect(tile_of(looker, item_id)).to_have_accessible_name(re.compile("Sold$"))
    expect(looker.get_by_text(f"{left - 1:,} of 10,000 items left")).to_have_count(1)


def test_who_is_too_slow_is_told_so_at_once(visitors: Visitors, hour: Service) -> None:
    page = visitors.visit()
    item_id = choose(page)
    name_oneself(page, "cyd")
    check_out(page)
    expect(page.get_by_role("button", name="Buy it")).to_be_visible()
    hour.buy(item_id)
    expect(page.get_by_text("Somebody was faster", exact=True)).to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("This one was sold a moment ago.")
    page.get_by_role("button", name=re.compile("^Other ")).click()
    expect(page.get_by_role("checkbox", name="Hide sold")).to_be_checked()
    expect(tile_of(page, item_id)).to_have_count(0)
    tile_of(page, choose(page))


def test_the_limit_holds_for_what_was_bought_elsewhere_too(visitors: Visitors, hour: Service) -> None:
    page = visitors.visit("/?left=1")
    hour.buy(choose(page), user="dot")
    expect(page.get_by_role("dialog")).to_contain_text("Somebody was faster")
    page.keyboard.press("Escape")
    choose(page)
    name_oneself(page, "dot")
    buy(page)
    page.keyboard.press("Escape")
    choose(page)
    check_out(page)
    page.get_by_role("button", name="Buy it").click()
    expect(page.get_by_role("dialog")).to_contain_text("You have your 2 items of this sale.")


def test_the_limit_is_known_before_one_asks(visitors: Visitors) -> None:
    page = visitors.visit()
    choose(page)
    name_oneself(page, "uma")
    buy(page)
    page.keyboard.press("Escape")
    choose(page)
    buy(page)
    page.keyboard.press("Escape")
    choose(page)
    expect(page.get_by_role("dialog")).to_contain_text("You have your 2 items of this sale.")
    expect(page.get_by_role("button", name="Check out", exact=True)).to_have_count(0)


def test_while_the_sale_is_paused_the_same_request_is_repeated_until_it_is_not(
    visitors: Visitors, hour: Service
) -> None:
    page = visitors.visit()
    keys: list[str] = []

    def note(request: Request) -> None:
        if "/purchase?" in request.url:
            keys.append(request.headers["idempotency-key"])

    page.on("request", note)
    item_id = choose(page)
    name_oneself(page, "fay")
    check_out(page)
    path, operator = f"/control/sales/{hour.sale()['id']}", {"Authorization": f"Bearer {TOKEN}"}
    assert hour.post(f"{path}/pause?by=test&reason=test", **operator)["paused"]
    try:
        page.get_by_role("button", name="Buy it").click()
        expect(page.get_by_role("dialog")).to_contain_text("This sale is paused by its operator. Trying again in")
        expect(page.get_by_role("dialog")).to_contain_text("It is the same request, so nothing can be bought twice.")
    finally:
        assert hour.post(f"{path}/resume?by=test&reason=test", **operator)["paused"] is None
    expect(page.get_by_text("It is yours.")).to_be_visible()
    assert len(keys) >= 2
    assert len(set(keys)) == 1
    assert not hour.get(f"/items/{item_id}")["available"]
    visitors.complaints.clear()  # of the 503, which every browser logs


def test_a_purchase_that_was_under_way_as_the_page_was_closed_is_learnt_of(visitors: Visitors, hour: Service) -> None:
    context = visitors.context()
    page = visitors.visit(context=context)
    item_id = choose(page)
    name_oneself(page, "gus")
    check_out(page)
    button = page.get_by_role("button", name="Buy it")
    expect(button).to_be_visible()
    page.evaluate("document.querySelector('.primary').click(); location.href = 'about:blank'")
    page.wait_for_url("about:blank")
    again = visitors.visit(context=context)
    expect(again.get_by_role("button", name="My items 1")).to_be_visible()
    assert not hour.get(f"/items/{item_id}")["available"]
