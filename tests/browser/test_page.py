"""What the page costs, and for whom it works: weight, time, keyboard, phone, light and dark, assistive technology."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import axe_finds_nothing
from tests.browser.conftest import PATIENCE_MS, Visitors
from tests.browser.service import Service
from tests.browser.test_buying import check_out, choose, name_oneself

SEEN = """
[...document.querySelectorAll(".tile img.is-there")].some((image) => {
  const { top, bottom } = image.getBoundingClientRect();
  return top > 0 && bottom < innerHeight;
})
"""
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
FIRST_VIEW_BYTES_MAX = 100_000
INTERACTIVE_SECONDS_MAX = 1.0


def first_picture(page: Page) -> None:
    expect(page.locator(".tile img.is-there").first).to_be_visible()


def until(page: Page, condition: str) -> None:
    """Wait until the expression is true. Playwright's own way needs eval in the page, which its policy forbids."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


@pytest.mark.parametrize(("scheme", "device"), [("light", {}), ("dark", PHONE)], ids=["light-wide", "dark-phone"])
def test_axe_finds_nothing_serious(visitors: Visitors, hour: Service, scheme: str, device: dict[str, Any]) -> None:
    sale = hour.sale()
    if hour.get(f"/items/{sale['first_item_id']}")["available"]:
        hour.buy(sale["first_item_id"])
    page = visitors.visit(color_scheme=scheme, **device)
    first_picture(page)
    axe_finds_nothing(page, "the hall")
    page.get_by_role("checkbox", name="Hide sold").check()
    choose(page)
    axe_finds_nothing(page, "choosing a name")
    name_oneself(page, f"ida {scheme} {len(device)}")
    axe_finds_nothing(page, "the offer")
    check_out(page)
    expect(page.get_by_role("button", name="Buy it")).to_be_visible()
    axe_finds_nothing(page, "the ticket")
    page.get_by_role("button", name="Buy it").click()
    expect(page.get_by_text("It is yours.")).to_be_visible()
    axe_finds_nothing(page, "the receipt")
    page.get_by_role("button", name="See my items").click()
    expect(page.get_by_role("dialog", name="My items")).to_be_visible()
    axe_finds_nothing(page, "my items")
    page.keyboard.press("Escape")
    page.get_by_role("searchbox").fill("nothing goes by this")
    expect(page.get_by_text("Nothing here goes by that.")).to_be_visible()
    axe_finds_nothing(page, "a search in vain")
    page.goto(page.url.split("?")[0].split("#")[0] + f"?sale={sale['id'] + 1}")
    expect(page.get_by_text(f"Sale {sale['id'] + 1} opens in")).to_be_visible()
    axe_finds_nothing(page, "before the hour")


def weigh(visitors: Visitors) -> tuple[float, float]:
    """Show the first view to somebody new: the seconds until it can be used, and the bytes that it took."""
    context = visitors.context()
    page = context.new_page()
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    received: list[float] = []
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(visitors.url)
    first_picture(page)
    until(page, "[...document.images].every((image) => image.complete)")
    seconds = page.evaluate("performance.getEntriesByName('interactive')[0].startTime / 1000")
    context.close()
    assert len(received) > 10
    return seconds, sum(received)


def test_the_first_view_is_light_and_soon_there(visitors: Visitors) -> None:
    seconds: list[float] = []
    while len(seconds) < 5:  # others may use this machine at the same time: the best counts
        second, weight = weigh(visitors)
        assert weight < FIRST_VIEW_BYTES_MAX
        seconds.append(second)
        if second < INTERACTIVE_SECONDS_MAX:
            return
    raise AssertionError(f"interactive after {seconds} s")


def test_everything_can_be_done_by_keyboard(visitors: Visitors) -> None:
    page = visitors.visit()
    first_picture(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the items")).to_be_focused()
    page.keyboard.press("Enter")
    tile = page.locator(".tile:focus")
    expect(tile).to_have_attribute("data-index", "0")
    for key, index in (("ArrowRight", 1), ("ArrowDown", 7), ("Home", 6), ("End", 11), ("Control+End", 9_999)):
        page.keyboard.press(key)
        expect(tile).to_have_attribute("data-index", str(index))
        expect(tile).to_be_in_viewport(ratio=0.9)
    page.keyboard.press("Enter")
    page.keyboard.type("kim")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Check out", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Buy it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("It is yours.")).to_be_visible()
    expect(page.get_by_role("button", name="Keep looking")).to_be_focused()
    page.keyboard.press("Escape")
    expect(tile).to_have_attribute("data-index", "9999")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_items_are_found_by_name_kind_colour_and_number_and_the_address_can_be_sent(visitors: Visitors) -> None:
    page = visitors.visit()
    first_picture(page)
    page.get_by_role("searchbox").fill("lamp")
    found = page.locator(".found")
    expect(found).to_contain_text(re.compile(r"^\s*\d{3} of 10,000 items"))
    page.get_by_role("radio", name="blue", exact=True).check(force=True)
    expect(found).to_contain_text(re.compile(r"^\s*\d{1,2} of 10,000 items"))
    for name in page.locator(".tile-name").all_inner_texts():
        assert "Lamp" in name
    shared = visitors.visit("/" + page.url.rpartition("/")[2])
    expect(shared.locator(".found")).to_have_text(re.compile(r"^\s*\d{1,2} of 10,000 items"))
    expect(shared.get_by_role("searchbox")).to_have_value("lamp")
    page.get_by_role("button", name="Show all items").click()
    page.get_by_role("searchbox").fill("4321")
    expect(found).to_contain_text("1 of 10,000 items")
    expect(page.locator(".tile:visible")).to_have_accessible_name(re.compile(", number 4,321"))


def test_only_tiles_in_view_are_drawn(visitors: Visitors) -> None:
    page = visitors.visit()
    first_picture(page)
    for top in (0, 200_000, 400_000):
        page.evaluate(f"scrollTo(0, {top})")
        until(page, SEEN)
        assert page.locator(".tile").count() <= 60


def test_a_phone_shows_it_without_scrolling_sideways(visitors: Visitors) -> None:
    page = visitors.visit("/?left=1", **PHONE)
    first_picture(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    choose(page)
    sheet = page.get_by_role("dialog")
    expect(sheet).to_be_in_viewport(ratio=1)
    box = sheet.bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 390)
    small = page.evaluate(
        "[...document.querySelectorAll('#sheet button, #sheet input, .top button')]"
        ".filter((one) => one.getBoundingClientRect().height < 44).map((one) => one.outerHTML)"
    )
    assert small == []
    page.go_back()
    expect(sheet).to_have_count(0)


def test_one_wrong_service_message_is_designed_too(visitors: Visitors, hour: Service) -> None:
    page = visitors.visit("/pages/storefront/icon.svg")
    page.route("**/sales*", lambda route: route.abort())
    page.goto(visitors.url)
    expect(page.get_by_role("heading", name="The shop does not answer.")).to_be_visible()
    page.unroute("**/sales*")
    page.get_by_role("button", name="Try now").click()
    first_picture(page)
    visitors.complaints.clear()  # of the requests that failed
