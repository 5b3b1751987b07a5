"""GET /openapi.json: it is OpenAPI 3.1, it lists what the service answers, and every answer is as it says.

`FakeShop` holds each answer that any test gets against it (see `described`). Here is the other direction: all that it
says can really happen.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

from flash.api.control import ControlRoom
from flash.api.control_access import ControlAccess
from flash.api.openapi.document import OPERATIONS, described_as, document
from flash.api.openapi.operation import Json
from flash.api.openapi.problems import COMMON
from flash.api.signed_buyers import SignedBuyers
from flash.domain import (
    CheckoutId,
    CheckoutOutcome,
    ItemId,
    Outcome,
    Purchase,
    RecordedAttempt,
    Redemption,
    Refusal,
    Refused,
    RequestId,
    Sold,
    UserId,
)
from flash.errors import FlashError, OutcomeUnknown, Overloaded, RateLimited, Unavailable
from flash.http.message import Request, Response
from flash.http.parameters import USER_ID_PATTERN, InvalidParameter, user_id
from flash.http.problem_types import PROBLEM_TYPES
from tests.api import described
from tests.api.fakes import CODE, CODES, NOON, FakeControlState, FakePauses, FakeShop

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-long-token-1234"
AUTHORIZED = (b"authorization", f"Bearer {TOKEN}".encode())
TEXT = CODES.seal(CODE)
PURCHASE = Purchase(CheckoutId(7), RequestId("auto:x"), ItemId(101), UserId("zoë"), 1, NOON)
METHODS_ONLY = "method_not_allowed"
"""Of a method that no operation has, so no operation lists it."""
AWAITED = {("GET", "/metrics")}
"""Described, and not part of the fake shop: `tests/cluster/test_metrics.py` asks for it."""


def open_shop(pauses_error: FlashError | None = None) -> FakeShop:
    access = ControlAccess(TOKEN, lambda _: "an address", is_tls=False)
    return FakeShop(control=ControlRoom(access, FakePauses(error=pauses_error), FakeControlState()))


async def shown(shop: FakeShop) -> Json:
    found: Json = orjson.loads((await shop.request("GET", "/openapi.json")).body)
    return found


async def test_it_is_openapi_3_1_and_every_schema_in_it_is_one() -> None:
    found = await shown(open_shop())
    assert found["openapi"] == "3.1.0"
    Draft202012Validator(OPENAPI_31).validate(found)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    ids = [operation["operationId"] for item in found["paths"].values() for operation in described.operations(item)]
    assert len(ids) == len(set(ids))


async def test_it_describes_every_route_and_nothing_else() -> None:
    shop = open_shop()
    routes = {described_as(route) for route in shop.app.routes}
    assert not routes - OPERATIONS.keys(), "describe it in flash/api/openapi"
    assert OPERATIONS.keys() - routes <= AWAITED
    paths = (await shown(shop))["paths"]
    listed = {(name.upper(), path) for path, item in paths.items() for name in item.keys() - {"parameters"}}
    assert listed == routes


async def test_what_a_process_does_not_answer_is_not_described() -> None:
    found = await shown(FakeShop())
    assert not [path for path in found["paths"] if path.startswith("/control")]
    assert "securitySchemes" not in found["components"]


def test_every_reference_leads_somewhere() -> None:
    for name in re.findall(r'"\$ref":"#/([^"]+)"', orjson.dumps(described.DOCUMENT).decode()):
        assert described.resolved({"$ref": f"#/{name}"})


def test_every_example_is_an_instance_of_its_schema() -> None:
    seen = 0
    for item in described.DOCUMENT["paths"].values():
        for operation in described.operations(item):
            things = [operation.get("requestBody", {}), *map(described.resolved, operation["responses"].values())]
            for thing in things:
                for media in thing.get("content", {}).values():
                    examples = [one["value"] for one in media.get("examples", {}).values()]
                    examples += [media["example"]] if "example" in media else []
                    for example in examples:
                        described.validator(media["schema"]).validate(example)
                        seen += 1
            for parameter in operation.get("parameters", []):
                if "example" in parameter:
                    Draft202012Validator(parameter["schema"]).validate(parameter["example"])
    assert seen > 100


def test_every_problem_type_belongs_to_an_operation_and_every_code_in_the_source_is_one() -> None:
    listed = {code for operation in OPERATIONS.values() for code in operation.problems}
    assert listed | set(COMMON) | {METHODS_ONLY} == set(PROBLEM_TYPES)
    made = set()
    for path in (ROOT / "flash").rglob("*.py"):
        text = path.read_text("utf-8")
        made |= set(re.findall(r'(?:problem\(\s*\d+,|TryLater\()\s*"(\w+)"', text))
    assert made <= set(PROBLEM_TYPES)
    assert set(PROBLEM_TYPES) - made <= {"body_too_slow", "body_too_large"}


ERRORS: list[FlashError] = [Overloaded("x"), Unavailable("x"), OutcomeUnknown("x"), RateLimited("x")]


async def answers_of_buying() -> list[tuple[str, Response]]:
    """All that a checkout, a purchase and a receipt can come to."""
    found: list[tuple[str, Response]] = []
    issued = [RecordedAttempt(one, CODE) for one in CheckoutOutcome if one is not CheckoutOutcome.INVALID_REQUEST]
    outcomes: list[RecordedAttempt | FlashError] = [*issued, *ERRORS]
    for outcome in outcomes:
        shop = open_shop()
        shop.checkouts.outcome = outcome
        found.append(("checkout", await shop.request("POST", "/checkout?user_id=u&id=101")))
    found.append(("checkout", await open_shop().request("POST", "/checkout?user_id=u")))
    signing = FakeShop(buyers=SignedBuyers("a key of the shop's login"))
    found.append(("checkout", await signing.request("POST", "/checkout?user_id=u&id=101")))
    decisions: list[Outcome | FlashError] = [Sold(PURCHASE), *ERRORS]
    decisions += [Refused(one, PURCHASE, 10) for one in Refusal]
    for asked in decisions:
        shop = open_shop()
        shop.purchases.outcome = asked
        found.append(("purchase", await shop.request("POST", f"/purchase?code={TEXT}")))
    found.append(("purchase", await open_shop().request("POST", "/purchase?code=x")))
    found.append(("purchase", await open_shop().request("POST", f"/purchase?code={TEXT}&code=x")))
    for name in ("checkout", "purchase"):
        request = Request("POST", "", f"/{name}".encode(), b"", [(b"content-type", b"text/plain")], body=b"x")
        answer = await open_shop().app.respond(request)
        assert isinstance(answer, Response)
        found.append((name, answer))
    redemptions: list[Redemption | FlashError] = [Redemption(is_valid, None) for is_valid in (True, False)]
    redemptions += [Redemption(True, PURCHASE), *ERRORS[:3]]
    for known in redemptions:
        shop = open_shop()
        shop.purchases.redemption = known
        found.append(("receipt", await shop.request("GET", f"/purchases/{TEXT}")))
    found.append(("receipt", await open_shop().request("GET", "/purchases/%zz")))
    return found


READS = {
    "sales": ["/sales", "/sales?limit=x"],
    "current_sale": ["/sales/current"],
    "sale": ["/sales/1", "/sales/99", "/sales/%zz"],
    "items": ["/sales/1/items", "/sales/9/items", "/sales/1/items?after=x"],
    "sold": ["/sales/1/sold", "/sales/9/sold"],
    "item": ["/items/101", "/items/1", "/items/%zz"],
    "picture": ["/items/101/image.svg", "/items/1/image.svg", "/items/%zz/image.svg"],
    "catalog": ["/catalog.json"],
    "catalog_block": ["/catalog/0", "/catalog/x", "/catalog/%zz"],
    "problem_type": ["/problems/item_sold", "/problems/nothing", "/problems/%zz"],
    "openapi": ["/openapi.json"],
    "docs": ["/docs"],
    "storefront": ["/"],
    "health": ["/health"],
    "livez": ["/livez"],
    "readyz": ["/readyz"],
}


async def answers_of_reading() -> list[tuple[str, Response]]:
    found: list[tuple[str, Response]] = []
    for name, targets in READS.items():
        for error in (None, Overloaded("x"), Unavailable("x")):
            shop = open_shop()
            shop.store.error = error
            found += [(name, await shop.request("GET", target)) for target in targets]
    found.append(("events", await open_shop().request("GET", "/events?sale=9")))
    shop = open_shop()
    shop.store.error = Unavailable("x")
    found.append(("events", await shop.request("GET", "/events")))
    shop = open_shop()
    shop.store.sales = []
    found.append(("current_sale", await shop.request("GET", "/sales/current")))
    return found


async def answers_of_operators() -> list[tuple[str, Response]]:
    shop = open_shop()
    wrong = (b"authorization", b"Bearer wrong")
    targets = {"log_in": "/control/login", "log_out": "/control/logout"}
    found = [(name, await shop.request("POST", target)) for name, target in targets.items()]
    found.append(("log_in", await shop.request("POST", "/control/login", AUTHORIZED)))
    found += [("log_in", await shop.request("POST", "/control/login", wrong)) for _ in range(3)]
    found.append(("log_out", await shop.request("POST", "/control/logout", (b"sec-fetch-site", b"same-origin"))))
    found.append(("control_room", await shop.request("GET", "/control")))
    for name, target in {"control_state": "/control/state", "pauses": "/control/pauses"}.items():
        for header in ((b"accept", b"*/*"), AUTHORIZED, wrong, wrong):
            shop = open_shop() if header == AUTHORIZED else shop
            found.append((name, await shop.request("GET", target, header)))
    for error in (None, Unavailable("x"), OutcomeUnknown("x")):
        shop = open_shop(error)
        if not isinstance(error, OutcomeUnknown):
            found.append(("pauses", await shop.request("GET", "/control/pauses", AUTHORIZED)))
        for name in ("pause", "resume"):
            found += [(name, answer) for answer in await answers_of_a_change(name, error)]
    return found


async def answers_of_a_change(name: str, error: FlashError | None) -> list[Response]:
    shop = open_shop(error)
    cookie = dict((await shop.request("POST", "/control/login", AUTHORIZED)).headers)[b"set-cookie"]
    of_another_kind = Request("POST", "", f"/control/sales/1/{name}".encode(), b"", [AUTHORIZED], body=b"x")
    answer = await shop.app.respond(of_another_kind)
    assert isinstance(answer, Response)
    headers = [AUTHORIZED, (b"cookie", cookie.partition(b";")[0]), (b"authorization", b"Bearer wrong")]
    targets = [f"/control/sales/{sale}/{name}?by=ada&reason=x" for sale in ("1", "9", "%zz")]
    return [answer, *[await shop.request("POST", target, header) for header in headers for target in targets]]


async def test_every_code_of_an_operation_can_really_be_its_answer() -> None:
    raised: dict[str, set[str]] = defaultdict(set)
    for name, answer in [*await answers_of_buying(), *await answers_of_reading(), *await answers_of_operators()]:
        if answer.content_type == b"application/problem+json":
            raised[name].add(orjson.loads(answer.body)["code"])
    untold = {
        operation.id: missing
        for route, operation in OPERATIONS.items()
        if route not in AWAITED
        if (missing := set(operation.problems) - raised[operation.id])
    }
    assert untold == {"page_file": {"not_found"}}, "the router answers that one"


def test_the_refusals_of_the_domain_are_codes_of_their_operations() -> None:
    checkout = {one.value for one in CheckoutOutcome} - {"issued", "invalid_request"}
    assert checkout <= set(OPERATIONS["POST", "/checkout"].problems)
    purchase = {one.value for one in Refusal} - {"no_room"}  # which is `unavailable` to a buyer
    assert purchase <= set(OPERATIONS["POST", "/purchase"].problems)


@pytest.mark.parametrize("text", ["ada", "zoë", "日本", "😀", "a b", "+", '"', "\\"])
def test_the_pattern_of_user_ids_takes_what_the_service_takes(text: str) -> None:
    assert re.search(USER_ID_PATTERN, text)
    assert user_id(text)


@pytest.mark.parametrize("text", ["a\x00", "\x1f", "a\x7f", "\x9f", "a\u200b", "\u202e", "\ufeff", "\u00ad", ""])
def test_the_pattern_of_user_ids_refuses_what_the_service_refuses(text: str) -> None:
    assert not re.search(USER_ID_PATTERN, text)
    with pytest.raises(InvalidParameter):
        user_id(text)


async def test_it_is_compressed_and_tagged_like_a_file() -> None:
    shop = open_shop()
    plain = await shop.request("GET", "/openapi.json")
    small = await shop.request("GET", "/openapi.json", (b"accept-encoding", b"gzip"))
    assert len(small.body) < 20_000 < len(plain.body)
    tag = dict(plain.headers)[b"etag"]
    assert (await shop.request("GET", "/openapi.json", (b"if-none-match", tag))).status == 304


def test_the_description_is_the_same_however_often_it_is_made() -> None:
    assert orjson.dumps(document(OPERATIONS)) == orjson.dumps(described.DOCUMENT)


def test_the_document_for_people_names_every_call_and_every_code() -> None:
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    unnamed = {path for _, path in OPERATIONS if not re.search(re.escape(path) + r"(?![/\w])", text)}
    assert unnamed <= {"/pages/{folder}/{file}"}, "nobody calls that by hand"
    assert not [code for code in PROBLEM_TYPES if f"`{code}`" not in text]
