"""The control room in a browser: shut without its token; with it, live sales, pausing and resuming them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.axe import axe_finds_nothing
from tests.browser.conftest import TOKEN, Visitors
from tests.browser.service import Service

DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"


def log_in(page: Page, token: str = TOKEN, who: str = "ann") -> None:
    page.get_by_label("Your name").fill(who)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Enter").click()


def enter(visitors: Visitors, context: BrowserContext | None = None) -> Page:
    page = visitors.visit("/control", context or visitors.context(**DESK))
    log_in(page)
    expect(page.get_by_role("heading", name="Sales", exact=True)).to_be_visible()
    return page


def sale_row(page: Page, sale_id: int) -> Locator:
    return page.locator(".sales li").filter(has=page.get_by_role("heading", name=f"Sale {sale_id}", exact=True))


def purchase(service: Service, item_id: int, user: str) -> dict[str, object]:
    code = service.post(f"/checkout?{urlencode({'user_id': user, 'id': item_id})}")["code"]
    answer: dict[str, object] = service.post(f"/purchase?{urlencode({'code': code})}")
    return answer


@pytest.fixture
def sale(hour: Service) -> Iterator[dict[str, int]]:
    """The current sale, which is not paused when the test has ended."""
    now = hour.sale()
    yield now
    query = urlencode({"by": "the test", "reason": "it is over"})
    hour.post(f"/control/sales/{now['id']}/resume?{query}", Authorization=f"Bearer {TOKEN}")


def test_it_shows_nothing_without_its_token(visitors: Visitors) -> None:
    page = visitors.context(**DESK).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{visitors.url}/control")
    expect(page.get_by_role("heading", name="Control room")).to_be_visible()
    assert not any(url.startswith(f"{visitors.url}/control/") for url in asked), "nothing is tried"
    page.on("console", lambda said: visitors.complaints.append(said.text))
    log_in(page, "another-token-altogether")
    expect(page.get_by_text("That is not the token.")).to_be_visible()
    expect(page.get_by_role("heading", name="Sales", exact=True)).to_be_hidden()
    assert visitors.complaints == [UNAUTHORIZED], "which browsers say of every 401"
    while page.get_by_role("heading", name="Control room").is_visible():
        # after a wrong token, none is looked at for two seconds
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("button", name="Enter").or_(page.locator(".sales"))).to_be_visible()
    visitors.complaints.clear()


def test_an_operator_sees_what_is_sold_while_it_is(visitors: Visitors, hour: Service, sale: dict[str, int]) -> None:
    page = enter(visitors)
    sold = sale["stock"] - hour.sale()["remaining"]
    for number in range(3):
        hour.buy(sale["first_item_id"] + 9_000 + number)
    row = sale_row(page, sale["id"])
    expect(row).to_contain_text(f"{sold + 3:,} of {sale['stock']:,} sold")
    expect(row).to_contain_text(re.compile(r"epoch \d+, since \d\d:\d\d:\d\d"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("all stores fine")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    # three sales, in the seconds that they were made in, are in the chart and in the sentence's reach
    expect(page.locator("[data-readout=sales]")).to_contain_text(re.compile(r"most [1-3]"))
    expect(page.locator("[data-readout=attempts]")).to_contain_text("codes given")
    for role in ("web", "inventory"):
        expect(page.locator(".processes tbody")).to_contain_text(role)
    expect(page.locator(".stores")).to_contain_text("PostgreSQL fine")
    page.reload()
    expect(row).to_be_visible()
    assert "HttpOnly" not in page.evaluate("document.cookie"), "no script sees the cookie"
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Control room")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Control room")).to_be_visible()


def test_a_sale_is_paused_by_its_number_and_resumed(visitors: Visitors, hour: Service, sale: dict[str, int]) -> None:
    page, item = enter(visitors), sale["first_item_id"] + 9_100
    row = sale_row(page, sale["id"])
    row.get_by_role("button", name=f"Pause sale {sale['id']}").click()
    dialog = page.get_by_role("dialog", name=f"Pause sale {sale['id']}?")
    confirm = dialog.get_by_role("button", name=f"Pause sale {sale['id']}")
    dialog.get_by_label("Type the sale's number").fill(str(sale["id"] + 1))
    confirm.click()
    expect(dialog).to_contain_text(f"That is not {sale['id']}.")
    expect(dialog).to_contain_text("This is needed.")
    hour.buy(item)
    dialog.get_by_label("Type the sale's number").fill(str(sale["id"]))
    dialog.get_by_label("Why").fill("a wrong picture")
    confirm.click()
    expect(dialog).to_be_hidden()
    refused = purchase(hour, item + 1, "eve")
    assert (refused["status"], refused["code"]) == (503, "paused")
    expect(row).to_contain_text(re.compile(r"Paused by ann at \d\d:\d\d:\d\d"))
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Sale {sale['id']} was paused by ann")
    record = page.get_by_role("region", name="What operators did")
    expect(record).to_contain_text(f"Sale {sale['id']} paused by ann: a wrong picture")

    row.get_by_role("button", name=f"Resume sale {sale['id']}").click()
    dialog = page.get_by_role("dialog", name=f"Resume sale {sale['id']}?")
    dialog.get_by_label("Why").fill("mended")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    hour.buy(item + 1)
    expect(row.get_by_role("button", name=f"Pause sale {sale['id']}")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("paused")
    expect(record).to_contain_text(f"Sale {sale['id']} resumed by ann: mended")


def test_the_keyboard_moves_the_cursor_of_all_charts(visitors: Visitors) -> None:
    page = enter(visitors)
    slider = page.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuemax", "299")
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^\d\d:\d\d:\d\d: .* sales a second"))
    expect(slider).to_contain_text(re.compile(r"^\s*at \d\d:\d\d:\d\d"))
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "1")
    lines = page.locator(".u-cursor-x:not(.u-off)")
    expect(lines).to_have_count(3)
    assert len({line.evaluate("line => line.style.transform") for line in lines.all()}) == 1
    page.keyboard.press("Escape")
    expect(slider).to_have_attribute("aria-valuenow", "299")
    expect(slider).to_have_text("now")


def test_a_session_that_has_ended_asks_for_the_token_again(visitors: Visitors) -> None:
    page = enter(visitors)
    page.context.clear_cookies()
    expect(page.get_by_text("Your session has ended. Log in again.")).to_be_visible()
    assert set(visitors.complaints) == {UNAUTHORIZED}
    visitors.complaints.clear()
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sales", exact=True)).to_be_visible()


def test_a_service_that_does_not_answer_is_the_news(visitors: Visitors) -> None:
    context = visitors.context(**DESK)
    context.clock.install()
    page = enter(visitors, context)
    expect(page.locator(".sales li").first).to_be_visible()
    page.route("**/control/state", lambda route: route.abort())
    page.clock.fast_forward(5_000)
    expect(page.get_by_role("heading", level=1)).to_contain_text("No answer from here")
    expect(page.locator(".headline")).to_have_attribute("data-level", "failing")
    page.unroute("**/control/state")
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("No answer")
    assert all("ERR_FAILED" in complaint for complaint in visitors.complaints)
    visitors.complaints.clear()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_serious(
    visitors: Visitors, sale: dict[str, int], theme: str, device: dict[str, Any]
) -> None:
    page = visitors.visit("/control", **device)
    if theme == "light":
        page.get_by_role("button", name="Light").click()
    axe_finds_nothing(page, "the login")
    log_in(page)
    expect(page.locator(".sales li").first).to_be_visible()
    axe_finds_nothing(page, "the room")
    sale_row(page, sale["id"]).get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("dialog")).to_contain_text("This is needed.")
    axe_finds_nothing(page, "the dialog")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
