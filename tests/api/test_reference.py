"""GET /problems/{code}, where the `type` of every problem leads, and GET /docs."""

from __future__ import annotations

from html import escape

import orjson
import pytest

from flash.http.accept import prefers_html
from flash.http.message import Header, Request
from flash.http.problem_types import PROBLEM_TYPES
from tests.api.fakes import FakeShop

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize("code", PROBLEM_TYPES)
async def test_the_type_of_a_problem_leads_to_what_it_means(code: str) -> None:
    kind = PROBLEM_TYPES[code]
    answer = await FakeShop().request("GET", kind.path)
    assert orjson.loads(answer.body) == kind.as_json()
    page = await FakeShop().request("GET", kind.path, (b"accept", BROWSER))
    assert page.content_type == b"text/html; charset=utf-8"
    text = page.body.decode()
    assert f"<h1>{escape(kind.title)}</h1>" in text
    assert f"<code>{code}</code>" in text
    assert "`" not in text, "code stands between tags"


async def test_a_problem_names_its_type_and_has_its_title() -> None:
    shop = FakeShop()
    problem = orjson.loads((await shop.request("GET", "/items/1")).body)
    kind = orjson.loads((await shop.request("GET", problem["type"])).body)
    assert (kind["code"], kind["title"]) == (problem["code"], problem["title"])


async def test_a_code_that_is_none_is_a_404() -> None:
    for code in ("nothing", "ITEM_SOLD", "%2Fitem_sold", "about:blank"):
        assert (await FakeShop().request("GET", f"/problems/{code}")).status == 404


async def test_caches_keep_the_two_forms_apart() -> None:
    shop = FakeShop()
    as_json = await shop.request("GET", "/problems/item_sold")
    as_page = await shop.request("GET", "/problems/item_sold", (b"accept", BROWSER))
    tags = [dict(answer.headers)[b"etag"] for answer in (as_json, as_page)]
    assert len(set(tags)) == 2
    for answer in (as_json, as_page):
        assert (b"vary", b"accept") in answer.headers
    known: Header = (b"if-none-match", tags[0])
    assert (await shop.request("GET", "/problems/item_sold", known)).status == 304
    assert (await shop.request("GET", "/problems/item_sold", known, (b"accept", BROWSER))).status == 200


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        ([], False),
        ([BROWSER], True),
        ([b"*/*"], False),
        ([b"text/html"], True),
        ([b"application/json"], False),
        ([b"text/*"], True),
        ([b"text/html, application/json"], False),
        ([b"text/html;q=0.9, application/json"], False),
        ([b"text/html, application/json;q=0.9"], True),
        ([b"application/json;q=0.1", b"text/html;q=0.2"], True),
        ([b"text/html;q=0, */*"], False),
        ([b"TEXT/HTML"], True),
        ([b"text/html;level=1;q=0.4, */*;q=0.5"], False),
        ([b"text/html;q=high"], False),
        ([b"application/problem+json"], False),
        ([b""], False),
        ([b",;/,"], False),
        ([b"text/html;q=nan"], False),
    ],
)
def test_the_page_is_for_whoever_prefers_it(accept: list[bytes], is_html: bool) -> None:
    request = Request("GET", "", b"/", b"", [(b"accept", value) for value in accept])
    assert prefers_html(request) is is_html


async def test_the_viewer_loads_only_what_is_served_here_and_needs_no_exception_from_the_policy() -> None:
    shop = FakeShop()
    page = await shop.request("GET", "/docs")
    policy = dict(page.headers)[b"content-security-policy"]
    assert b"unsafe" not in policy
    text = page.body.decode()
    loaded = [part.partition('"')[0] for mark in ('src="', 'href="') for part in text.split(mark)[1:]]
    assert len(loaded) == 6
    for path in loaded:
        assert (await shop.request("GET", path)).status == 200, path
