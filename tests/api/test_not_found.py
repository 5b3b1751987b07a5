"""An address at which there is nothing: people get a page, programs a problem."""

from __future__ import annotations

import json

import pytest

from tests.api.fakes import FakeShop

BROWSER = (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8")
VARY = (b"vary", b"accept")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_browser_gets_a_page_that_leads_to_the_shop_and_loads_nothing_from_elsewhere(method: str) -> None:
    answer = await FakeShop().request(method, "/shop/", BROWSER)
    assert (answer.status, answer.content_type) == (404, b"text/html; charset=utf-8")
    assert b'<a href="/">' in answer.body
    assert b"://" not in answer.body
    assert dict(answer.headers)[b"content-security-policy"].startswith(b"default-src 'none'")
    assert VARY in answer.headers
    assert answer.code == "not_found", "for whoever counts answers"


@pytest.mark.parametrize("accept", [None, b"*/*", b"application/json", b"application/json, text/html", b"text/plain"])
async def test_a_program_gets_a_problem(accept: bytes | None) -> None:
    answer = await FakeShop().request("GET", "/shop/", *([] if accept is None else [(b"accept", accept)]))
    assert (answer.status, answer.content_type) == (404, b"application/problem+json")
    assert json.loads(answer.body)["code"] == "not_found"
    assert VARY in answer.headers, "a cache must not give it to a browser"


async def test_other_methods_are_a_programs_whatever_they_accept() -> None:
    answer = await FakeShop().request("POST", "/shop/", BROWSER)
    assert (answer.status, answer.content_type) == (404, b"application/problem+json")


async def test_an_item_that_does_not_exist_is_a_problem_for_everybody() -> None:
    answer = await FakeShop().request("GET", "/items/999999", BROWSER)
    assert (answer.status, answer.content_type) == (404, b"application/problem+json")
