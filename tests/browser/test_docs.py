"""GET /docs in a browser: it shows every operation, a request can be tried, and nothing comes from elsewhere.

That it complains of nothing, the policy included, and asks no other host is asserted by `visitors`.
"""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visitors
from tests.browser.service import Service


def opened(page: Page, tag: str, operation_id: str) -> Locator:
    operation = page.locator(f"#operations-{tag}-{operation_id}")
    operation.locator(".opblock-summary-control").click()
    return operation


def execute(operation: Locator) -> str:
    """What the service answered, which must be a 200."""
    operation.locator("button.execute").click()
    expect(operation.locator(".live-responses-table tr.response .response-col_status")).to_contain_text("200")
    return operation.locator(".live-responses-table .highlight-code").first.inner_text()


def test_an_item_is_bought_from_the_page_that_describes_it(visitors: Visitors, hour: Service) -> None:
    page = visitors.visit("/docs")
    paths = httpx.get(f"{hour.url}/openapi.json").json()["paths"]
    expect(page.locator(".opblock")).to_have_count(sum(len(item.keys() - {"parameters"}) for item in paths.values()))
    checkout = opened(page, "Buying", "checkout")
    checkout.get_by_placeholder("user_id").last.fill("who reads the docs")
    checkout.get_by_placeholder("id", exact=True).last.fill(str(hour.sale()["first_item_id"] + 888))
    code = re.search(r'"code":\s*"([\w=-]+)"', execute(checkout))
    assert code
    purchase = opened(page, "Buying", "purchase")
    purchase.get_by_placeholder("code").last.fill(code[1])
    assert "Purchase successful" in execute(purchase)


def test_a_problem_is_explained_on_a_page(visitors: Visitors) -> None:
    page = visitors.visit("/problems/outcome_unknown")
    expect(page.get_by_role("heading", level=1)).to_have_text("It may have happened or not")
    page.get_by_role("link", name="The whole API").click()
    expect(page.locator(".opblock").first).to_be_visible()
