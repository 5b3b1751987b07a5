"""Every row of the HTTP contract against fakes: the exact answer, its headers, and what the stores were asked."""

from __future__ import annotations

import gzip
import re
from base64 import b64decode, urlsafe_b64encode
from dataclasses import replace
from hashlib import blake2b

import orjson
import pytest
import trio

from flash import catalog
from flash.actors.disk_space import SHED_SECONDS
from flash.api.caching import PageCache, encoded
from flash.codes import KEY_BYTES
from flash.domain import (
    Attempt,
    CheckoutId,
    CheckoutOutcome,
    Command,
    ItemId,
    LegacyCode,
    MalformedAttempt,
    Outcome,
    Purchase,
    RecordedAttempt,
    Redemption,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    SaleId,
    Sold,
    UserId,
)
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable
from flash.http.content_coding import VARY
from flash.http.message import Header, Response
from flash.http.problem_types import PROBLEM_TYPES
from tests.api.fakes import CODE, CODES, NEWER, NOON, SALE, FakeShop

JSON = b"application/json"
PROBLEM = b"application/problem+json"
AGAIN: Header = (b"retry-after", b"1")
TEXT = CODES.seal(CODE)
PURCHASE = Purchase(CODE.checkout_id, RequestId("key:a"), ItemId(101), UserId("zoë"), 1, NOON)
RECEIPT = (
    f'"item":{{"id":101,"name":"{catalog.name(101)}","image":"/items/101/image.svg"}},'
    '"sale_id":1,"user_id":"zoë","purchased_at":"2026-01-01T12:00:00Z"'
)


def problem(status: int, code: str, detail: str, extra: str = "", *headers: Header) -> Response:
    title = PROBLEM_TYPES[code].title
    members = f'"type":"/problems/{code}","title":"{title}","status":{status},"detail":"{detail}","code":"{code}"'
    return Response(status, f"{{{members}{extra}}}".encode(), PROBLEM, headers)


def ok(body: str) -> Response:
    return Response(200, body.encode(), JSON)


INVALID_CODE = problem(400, "invalid_code", "Invalid or expired code")
ITEM_NOT_FOUND = problem(404, "item_not_found", "There is no such item")
SALE_NOT_FOUND = problem(404, "sale_not_found", "There is no such sale")
NOT_PURCHASED = problem(404, "not_purchased", "Nothing has been bought with this code yet")
ITEM_SOLD = problem(409, "item_sold", "The item has been sold")
SOLD_OUT = problem(410, "sold_out", "The sale is sold out")


def unavailable(code: str, detail: str) -> Response:
    return problem(503, code, detail, "", AGAIN)


JITTERED = {b"2": b"1", b"6": b"5", b"7": b"5", b"8": b"5"}


def unjittered(answer: Response) -> Response:
    """`answer` with the least Retry-After that it may have."""
    for name, value in answer.headers:
        if name == b"retry-after" and value in JITTERED:
            return replace(answer, headers=((name, JITTERED[value]),))
    return answer


MACHINERY: list[tuple[FlashError, Response]] = [
    (Overloaded("x"), unavailable("overloaded", "Too many requests are waiting; nothing was started")),
    (Unavailable("x"), unavailable("unavailable", "A store could not be reached; try again")),
    (
        OutcomeUnknown("x"),
        unavailable(
            "outcome_unknown",
            "It may have happened or not: ask for the receipt, or repeat with the same Idempotency-Key",
        ),
    ),
]


# --- POST /checkout ---


def early(seconds: float) -> RecordedAttempt:
    return RecordedAttempt(CheckoutOutcome.SALE_NOT_OPEN, opens_in_seconds=seconds)


def not_open(retry_after: bytes) -> Response:
    detail = "The item's sale has not opened yet"
    return problem(409, "sale_not_open", detail, "", (b"retry-after", retry_after))


@pytest.mark.parametrize(
    ("recorded", "answer"),
    [
        (RecordedAttempt(CheckoutOutcome.ISSUED, CODE), ok(f'{{"code":"{TEXT}"}}')),
        (RecordedAttempt(CheckoutOutcome.ITEM_NOT_FOUND), ITEM_NOT_FOUND),
        (RecordedAttempt(CheckoutOutcome.ITEM_SOLD), ITEM_SOLD),
        (RecordedAttempt(CheckoutOutcome.SOLD_OUT), SOLD_OUT),
        (early(0.0), not_open(b"1")),
        (early(59.01), not_open(b"60")),
    ],
)
async def test_each_outcome_of_a_checkout_has_its_answer(recorded: RecordedAttempt, answer: Response) -> None:
    shop = FakeShop()
    shop.checkouts.outcome = recorded
    assert unjittered(await shop.request("POST", "/checkout?user_id=zo%C3%AB&id=101")) == answer
    assert shop.checkouts.asked == [Attempt(UserId("zoë"), ItemId(101))]


async def test_every_outcome_of_a_checkout_is_in_the_table_above_or_has_a_test_of_its_own() -> None:
    above = {"issued", "item_not_found", "item_sold", "sold_out", "sale_not_open"}
    assert {outcome.value for outcome in CheckoutOutcome} == above | {"invalid_request"}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "user_id is missing"),
        ("user_id=u", "id is missing"),
        ("user_id=&id=1", "user_id is empty"),
        ("user_id=u&id=1&id=1", "id must be given only once"),
        ("user_id=%FF&id=1", "user_id is not valid UTF-8"),
        ("user_id=%00&id=1", "user_id must be 1 to 64 characters without control characters"),
        ("user_id=u&id=0", "id must be a decimal number from 1 to 9223372036854775807, without sign or leading zeros"),
        (f"user_id={'u' * 2000}&id=1", "user_id must be 1 to 64 characters without control characters"),
    ],
)
async def test_a_malformed_attempt_is_recorded_with_its_query_and_told_why(query: str, detail: str) -> None:
    shop = FakeShop()
    answer = await shop.request("POST", f"/checkout?{query}")
    assert answer == problem(400, "invalid_request", detail)
    assert shop.checkouts.asked == [MalformedAttempt(query.encode()[:1024])]


@pytest.mark.parametrize("query", ["user_id=u&id=1", "user_id=u&id=x"], ids=["well-formed", "malformed"])
@pytest.mark.parametrize(("error", "answer"), MACHINERY)
async def test_a_checkout_that_could_not_be_recorded_is_a_503(query: str, error: FlashError, answer: Response) -> None:
    shop = FakeShop()
    shop.checkouts.outcome = error
    assert unjittered(await shop.request("POST", f"/checkout?{query}")) == answer


# --- POST /purchase ---

USED = problem(409, "code_already_used", "Code has already been used", f',"purchase":{{{RECEIPT}}}')
OVER_LIMIT = problem(429, "user_limit_reached", "User has reached the maximum of 10 items per sale")
KEY_REUSED = problem(
    422,
    "idempotency_key_reused",
    "The Idempotency-Key has been used with another code",
)
NO_ROOM = unavailable("unavailable", "Nothing new is recorded for now, because the disk runs low; try again later")
PAUSED = problem(
    503,
    "paused",
    "The operator has paused this sale; nothing was bought, and your code stays valid",
    "",
    (b"retry-after", b"5"),
)
OUTCOMES: list[tuple[Outcome, Response]] = [
    (Sold(PURCHASE), ok(f'{{"message":"Purchase successful",{RECEIPT}}}')),
    (Repeated(PURCHASE), ok(f'{{"message":"Purchase successful",{RECEIPT}}}')),
    (Refused(Refusal.INVALID_CODE), INVALID_CODE),
    (Refused(Refusal.CODE_ALREADY_USED, PURCHASE), USED),
    (Refused(Refusal.ITEM_SOLD), ITEM_SOLD),
    (Refused(Refusal.SOLD_OUT), SOLD_OUT),
    (Refused(Refusal.USER_LIMIT_REACHED, user_limit=10), OVER_LIMIT),
    (Refused(Refusal.IDEMPOTENCY_KEY_REUSED), KEY_REUSED),
    (Refused(Refusal.NO_ROOM), NO_ROOM),
    (Refused(Refusal.PAUSED), PAUSED),
]


@pytest.mark.parametrize(("outcome", "answer"), OUTCOMES)
async def test_each_outcome_of_a_purchase_has_its_answer(outcome: Outcome, answer: Response) -> None:
    shop = FakeShop()
    shop.purchases.outcome = outcome
    assert unjittered(await shop.request("POST", f"/purchase?code={TEXT}", (b"idempotency-key", b"a"))) == answer
    assert shop.purchases.asked == [Command(CODE, RequestId("key:a"))]


def test_every_refusal_is_in_the_table_above() -> None:
    assert {outcome.refusal for outcome, _ in OUTCOMES if isinstance(outcome, Refused)} == set(Refusal)


@pytest.mark.parametrize(("error", "answer"), MACHINERY)
async def test_a_purchase_that_nobody_decided_in_time_is_a_503(error: FlashError, answer: Response) -> None:
    shop = FakeShop()
    shop.purchases.outcome = error
    assert unjittered(await shop.request("POST", f"/purchase?code={TEXT}")) == answer


FORGED = ["code=x", f"code={TEXT[:-1]}", f"code={TEXT[:-1]}%FF", f"code={'A' * len(TEXT)}"]


@pytest.mark.parametrize("query", FORGED)
async def test_a_forged_code_is_invalid_and_nobody_is_asked(query: str) -> None:
    shop = FakeShop()
    assert await shop.request("POST", f"/purchase?{query}") == INVALID_CODE
    assert not shop.purchases.asked


@pytest.mark.parametrize(
    ("query", "code", "detail"),
    [
        ("", "invalid_code", "code is missing"),
        (f"Code={TEXT}", "invalid_code", "code is missing"),
        ("code", "invalid_code", "code is empty"),
        ("code=", "invalid_code", "code is empty"),
        (f"code={TEXT}&code={TEXT}", "invalid_request", "code must be given only once"),
        (f"code={TEXT}&co%64e={TEXT}", "invalid_request", "code must be given only once"),
    ],
)
async def test_a_code_that_is_not_there_or_there_twice_is_told_so_and_nobody_is_asked(
    query: str, code: str, detail: str
) -> None:
    shop = FakeShop()
    assert await shop.request("POST", f"/purchase?{query}") == problem(400, code, detail)
    assert not shop.purchases.asked


@pytest.mark.parametrize(
    ("keys", "detail"),
    [
        ([b""], "Idempotency-Key must be 1 to 128 visible ASCII characters"),
        ([b"a b"], "Idempotency-Key must be 1 to 128 visible ASCII characters"),
        ([b"k" * 129], "Idempotency-Key must be 1 to 128 visible ASCII characters"),
        ([b"a", b"a"], "Idempotency-Key must be given only once"),
    ],
)
async def test_a_malformed_idempotency_key_is_told_why_and_nobody_is_asked(keys: list[bytes], detail: str) -> None:
    shop = FakeShop()
    answer = await shop.request("POST", f"/purchase?code={TEXT}", *((b"idempotency-key", key) for key in keys))
    assert answer == problem(400, "invalid_request", detail)
    assert not shop.purchases.asked


async def test_a_forged_code_is_invalid_whatever_the_key() -> None:
    assert await FakeShop().request("POST", "/purchase?code=x", (b"idempotency-key", b"")) == INVALID_CODE


async def test_purchases_without_a_key_are_different_requests() -> None:
    shop = FakeShop()
    for _ in range(2):
        await shop.request("POST", f"/purchase?code={TEXT}")
    names = [command.request_id for command in shop.purchases.asked]
    assert len(set(names)) == 2
    assert all(name.startswith("auto:") for name in names)


# --- GET /purchases/{code} ---

NO_STORE = ((b"cache-control", b"no-store"),)


@pytest.mark.parametrize(
    ("redemption", "answer"),
    [
        (Redemption(True, PURCHASE), replace(ok(f"{{{RECEIPT}}}"), headers=NO_STORE)),
        (Redemption(False, PURCHASE), replace(ok(f"{{{RECEIPT}}}"), headers=NO_STORE)),
        (Redemption(True, None), replace(NOT_PURCHASED, headers=NO_STORE)),
        (Redemption(False, None), INVALID_CODE),
    ],
    ids=["bought", "bought and expired since", "not bought", "expired or unknown"],
)
async def test_a_receipt_tells_what_became_of_a_code(redemption: Redemption, answer: Response) -> None:
    shop = FakeShop()
    shop.purchases.redemption = redemption
    assert unjittered(await shop.request("GET", f"/purchases/{TEXT}")) == answer
    assert shop.purchases.looked_up == [CODE]


async def test_a_receipt_of_a_forged_code_is_invalid_and_nobody_is_asked() -> None:
    shop = FakeShop()
    foreign = CODES.seal(replace(CODE, checkout_id=CheckoutId(8)))
    for text in ("x", TEXT[:-1], foreign[:16] + TEXT[16:]):
        assert await shop.request("GET", f"/purchases/{text}") == INVALID_CODE
    assert not shop.purchases.looked_up


async def test_a_code_whose_key_is_new_to_this_process_is_opened_all_the_same() -> None:
    shop = FakeShop()
    text = NEWER.seal(CODE)
    await shop.request("POST", f"/purchase?code={text}")
    assert [command.code for command in shop.purchases.asked] == [CODE]
    await shop.request("POST", f"/purchase?code={TEXT}")
    assert shop.codes.asked == 1, "a known key needs no look"


async def test_a_code_of_the_first_release_is_looked_up_before_it_is_asked_for() -> None:
    shop = FakeShop()
    payload = (1).to_bytes(5, "big") + (7).to_bytes(6, "big") + b"0123456789abcdef"
    text = urlsafe_b64encode(payload + blake2b(payload, key=b"l" * KEY_BYTES, digest_size=9).digest()).decode()
    assert await shop.request("POST", f"/purchase?code={text}") == INVALID_CODE
    assert not shop.purchases.asked
    known = replace(CODE, is_legacy=True)
    shop.purchases.legacy[LegacyCode(SaleId(1), CheckoutId(7), b"0123456789abcdef")] = known
    await shop.request("POST", f"/purchase?code={text}")
    assert [command.code for command in shop.purchases.asked] == [known]
    shop.purchases.redemption = Redemption(True, PURCHASE)
    assert await shop.request("GET", f"/purchases/{text}") == replace(ok(f"{{{RECEIPT}}}"), headers=NO_STORE)


@pytest.mark.parametrize(("error", "answer"), MACHINERY)
async def test_a_receipt_that_could_not_be_read_is_a_503(error: FlashError, answer: Response) -> None:
    shop = FakeShop()
    shop.purchases.redemption = error
    assert unjittered(await shop.request("GET", f"/purchases/{TEXT}")) == answer


# --- reading ---

SALE_1 = (
    '{"id":1,"starts_at":"2026-01-01T12:00:00Z","stock":3,"sold":1,"remaining":2,"status":"open","first_item_id":101,'
    '"user_limit":10,"opens_at":"2026-01-01T12:00:00Z"}'
)
NOW = '"now":"2026-01-01T12:00:00Z"'
SALE_1_NOW = f"{SALE_1[:-1]},{NOW}}}"


def bare(answer: Response) -> Response:
    """`answer` without what says how fresh it is."""
    return replace(answer, headers=()) if answer.status == 200 else unjittered(answer)


def item(number: int, is_available: bool, more: str = "") -> str:
    shown = f'"id":{number},"name":"{catalog.name(number)}","image":"/items/{number}/image.svg"'
    return f'{{{shown},"available":{str(is_available).lower()}{more}}}'


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/sales", ok(f'{{"sales":[{SALE_1}],"next":null,{NOW}}}')),
        ("/sales?limit=1", ok(f'{{"sales":[{SALE_1}],"next":1,{NOW}}}')),
        ("/sales?before=1", ok(f'{{"sales":[],"next":null,{NOW}}}')),
        ("/sales/current", ok(SALE_1_NOW)),
        ("/sales/1", ok(SALE_1_NOW)),
        ("/sales/2", SALE_NOT_FOUND),
        ("/sales/01", SALE_NOT_FOUND),
        ("/items/101", ok(item(101, True, ',"sale_id":1'))),
        ("/items/102", ok(item(102, False, ',"sale_id":1'))),
        ("/items/104", ITEM_NOT_FOUND),
        ("/items/x", ITEM_NOT_FOUND),
        ("/items/104/image.svg", ITEM_NOT_FOUND),
        ("/sales/1/items", ok(f'{{"items":[{item(101, True)},{item(102, False)},{item(103, True)}],"next":null}}')),
        ("/sales/1/items?available=true", ok(f'{{"items":[{item(101, True)},{item(103, True)}],"next":null}}')),
        ("/sales/1/items?after=101&limit=1", ok(f'{{"items":[{item(102, False)}],"next":102}}')),
        ("/sales/2/items", SALE_NOT_FOUND),
        ("/sales/x/items", SALE_NOT_FOUND),
        ("/sales/1/sold", ok('{"sale_id":1,"first_item_id":101,"stock":3,"sold":"Ag=="}')),  # bit 1: item 102
        ("/sales/2/sold", SALE_NOT_FOUND),
        ("/sales/x/sold", SALE_NOT_FOUND),
        ("/sales?sold_out=1", problem(400, "invalid_request", "sold_out must be true or false")),
        ("/sales/x/items?available=1", problem(400, "invalid_request", "available must be true or false")),
    ],
)
async def test_what_a_visitor_may_read(target: str, answer: Response) -> None:
    shop = FakeShop()
    assert bare(await shop.request("GET", target)) == answer
    assert bare(await shop.request("HEAD", target)) == answer


LIVE = ["/sales", "/sales/current", "/sales/1", "/sales/1/items?limit=2", "/sales/1/sold", "/items/101"]


@pytest.mark.parametrize("target", LIVE)
async def test_what_a_visitor_reads_says_how_old_it_is_and_is_sent_once(target: str) -> None:
    shop = FakeShop()
    first = await shop.request("GET", target)
    headers = dict(first.headers)
    assert headers[b"age"] == b"0"
    assert headers[b"cache-control"] == b"public, max-age=1"
    tag = headers[b"etag"]
    for known in (tag, b'"x", ' + tag, tag.removeprefix(b"W/"), b"*"):
        again = await shop.request("GET", target, (b"if-none-match", known))
        assert (again.status, again.body, dict(again.headers)[b"etag"]) == (304, b"", tag)
    assert (await shop.request("GET", target, (b"if-none-match", b'"x"'))).status == 200
    shop.store.sales = [replace(SALE, sold=2)]
    shop.store.sold |= {101}
    changed = await shop.request("GET", target, (b"if-none-match", tag))
    assert (changed.status, dict(changed.headers)[b"etag"] == tag) == (200, False)


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("/sales?limit=1", "/sales?before=1&limit=1"),
        ("/sales?sold_out=true&limit=1&before=", "/sales?before=1&limit=1&sold_out=true"),
        ("/sales", None),
        ("/sales/1/items?limit=2", "/sales/1/items?after=102&limit=2"),
        ("/sales/1/items?available=true&after=101&limit=1", "/sales/1/items?after=103&limit=1&available=true"),
        ("/sales/1/items", None),
    ],
)
async def test_a_page_links_to_the_one_that_follows(target: str, link: str | None) -> None:
    answer = await FakeShop().request("GET", target)
    assert dict(answer.headers).get(b"link") == (None if link is None else f'<{link}>; rel="next"'.encode())


@pytest.mark.parametrize("target", ["/sales?limit=100", "/sales/1/items"])
async def test_a_long_list_is_compressed_once_for_all_who_take_it(target: str) -> None:
    shop = FakeShop()
    shop.store.sales = [replace(SALE, id=SaleId(n), stock=100) for n in range(30, 0, -1)]
    plain = await shop.request("GET", target)
    answers = [await shop.request("GET", target, (b"accept-encoding", b"gzip")) for _ in range(3)]
    for answer in answers:
        assert answer.body is answers[0].body
        assert gzip.decompress(answer.body) == plain.body
        assert set(answer.headers) == {*plain.headers, (b"content-encoding", b"gzip")}
    assert VARY in plain.headers
    tag = dict(plain.headers)[b"etag"]
    unchanged = await shop.request("GET", target, (b"accept-encoding", b"gzip"), (b"if-none-match", tag))
    assert (unchanged.status, unchanged.body, set(unchanged.headers)) == (304, b"", set(plain.headers))


async def test_what_fits_into_a_packet_is_not_compressed() -> None:
    answer = await FakeShop().request("GET", "/sales", (b"accept-encoding", b"gzip"))
    assert orjson.loads(answer.body)["next"] is None
    assert VARY in answer.headers


async def test_a_page_of_a_thousand_items_lets_others_have_their_turn() -> None:
    shop = FakeShop()
    shop.store.sales = [replace(SALE, stock=1_000)]
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        answer = await shop.request("GET", "/sales/1/items?limit=1000")
        assert len(orjson.loads(answer.body)["items"]) == 1_000
        assert turns >= 3
        nursery.cancel_scope.cancel()


async def test_without_a_sale_there_is_no_current_one() -> None:
    shop = FakeShop()
    shop.store.sales.clear()
    assert await shop.request("GET", "/sales/current") == SALE_NOT_FOUND


async def test_a_picture_may_be_kept_for_ever() -> None:
    answer = await FakeShop().request("GET", "/items/101/image.svg")
    for_ever = (b"cache-control", b"public, max-age=31536000, immutable")
    assert answer == Response(200, catalog.image_svg(101), b"image/svg+xml", (for_ever, VARY))


async def test_a_picture_is_compressed_for_those_who_take_it() -> None:
    answer = await FakeShop().request("GET", "/items/101/image.svg", (b"accept-encoding", b"gzip, br"))
    assert (b"content-encoding", b"gzip") in answer.headers
    assert VARY in answer.headers
    assert gzip.decompress(answer.body) == catalog.image_svg(101)
    assert len(answer.body) < len(catalog.image_svg(101)) / 2


# --- the catalog ---


async def test_the_catalog_and_its_blocks_spell_the_name_of_every_item() -> None:
    shop = FakeShop()
    words = orjson.loads((await shop.request("GET", "/catalog.json")).body)
    colours = [word for group in words["colours"] for word in group["words"]]
    kinds = [word for group in words["kinds"] for word in group["words"]]
    for number in (0, 1, 97):
        block = orjson.loads((await shop.request("GET", f"/catalog/{number}")).body)
        positions = b64decode(block["words"])
        assert block["first_item_id"] == number * words["block_items"]
        assert len(positions) == 3 * words["block_items"]
        for place in range(words["block_items"]):
            colour, material, kind = positions[3 * place : 3 * place + 3]
            spelt = f"{colours[colour]} {words['materials'][material]} {kinds[kind]}"
            assert spelt == catalog.name(block["first_item_id"] + place)


async def test_the_catalog_says_what_visitors_choose_by_and_how_long_a_code_lasts() -> None:
    shop = FakeShop()
    plain = await shop.request("GET", "/catalog.json")
    catalog_json = orjson.loads(plain.body)
    assert catalog_json["code_seconds"] == 600
    assert [group["name"] for group in catalog_json["colours"]][:2] == ["red", "rust"]
    assert len({group["name"] for group in catalog_json["kinds"]}) == len(catalog_json["kinds"])
    assert all(re.fullmatch("#[0-9a-f]{6}", group["swatch"]) for group in catalog_json["colours"])
    small = await shop.request("GET", "/catalog.json", (b"accept-encoding", b"gzip"))
    assert gzip.decompress(small.body) == plain.body


async def test_a_block_may_be_kept_for_ever_and_exists_for_every_item_there_may_be() -> None:
    shop = FakeShop()
    answer = await shop.request("GET", f"/catalog/{(2**63 - 1) // 1024}")
    assert answer.headers == ((b"cache-control", b"public, max-age=31536000, immutable"),)
    assert orjson.loads(answer.body)["first_item_id"] + 1023 == 2**63 - 1
    for no_block in ("9007199254740992", "-1", "01", "one"):
        assert (await shop.request("GET", f"/catalog/{no_block}")).status == 404, no_block


# --- what is sold, and the page that shows it ---


async def test_of_a_sale_that_is_sold_out_everything_is_sold() -> None:
    shop = FakeShop()
    shop.store.sales = [replace(SALE, sold=3)]
    assert orjson.loads((await shop.request("GET", "/sales/1/sold")).body)["sold"] == "Bw=="


async def test_the_bitmap_of_a_large_sale_is_made_in_pieces_that_fit_together() -> None:
    shop = FakeShop()
    shop.store.sales = [replace(SALE, stock=200_001)]
    shop.store.sold = {101, 80_100, 80_101, 160_101, 200_101}
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        answer = await shop.request("GET", "/sales/1/sold", (b"accept-encoding", b"gzip"))
        assert turns >= 2
        nursery.cancel_scope.cancel()
    packed = b64decode(orjson.loads(gzip.decompress(answer.body))["sold"])
    assert len(packed) == 25_001
    assert {101 + k for k in range(8 * len(packed)) if packed[k // 8] >> k % 8 & 1} == shop.store.sold


async def test_the_storefront_is_at_the_root() -> None:
    answer = await FakeShop().request("GET", "/")
    assert answer.status == 200
    assert answer.content_type == b"text/html; charset=utf-8"
    assert b"<title>flash</title>" in answer.body
    assert b"style=" not in answer.body, "the policy forbids inline styles"
    assert b"<script>" not in answer.body


READS = [
    *("/sales", "/sales/current", "/sales/1", "/sales/1/items", "/sales/1/sold"),
    *("/items/101", "/items/101/image.svg"),
]


@pytest.mark.parametrize("target", READS)
@pytest.mark.parametrize(
    ("error", "answer"), [(error, answer) for error, answer in MACHINERY if not isinstance(error, OutcomeUnknown)]
)
async def test_what_could_not_be_read_is_a_503(target: str, error: FlashError, answer: Response) -> None:
    shop = FakeShop()
    shop.store.error = error
    assert unjittered(await shop.request("GET", target)) == answer


# --- health ---


@pytest.mark.parametrize(
    ("has_sale", "database", "redis", "body"),
    [
        (True, None, None, '{"status":"ok","database":"ok","redis":"ok"}'),
        (False, None, None, '{"status":"error","database":"ok","redis":"ok","sale":"missing"}'),
        (True, None, Unavailable(), '{"status":"error","database":"ok","redis":"error"}'),
        (False, None, Unavailable(), '{"status":"error","database":"ok","redis":"error","sale":"missing"}'),
        (True, Unavailable(), None, '{"status":"error","database":"error","redis":"ok"}'),
        (True, OutcomeUnknown(), OutcomeUnknown(), '{"status":"error","database":"error","redis":"error"}'),
    ],
)
async def test_health_is_ok_only_when_a_buyer_could_buy_now(
    has_sale: bool, database: FlashError | None, redis: FlashError | None, body: str
) -> None:
    shop = FakeShop()
    shop.store.error, shop.redis.error = database, redis
    if not has_sale:
        shop.store.sales.clear()
    await shop.monitor.look()
    assert await shop.request("GET", "/health") == Response(200 if '"ok","database' in body else 503, body.encode())


READY = Response(200, b'{"status":"ok"}')
NOT_READY = Response(503, b'{"status":"error"}', JSON, (AGAIN,))


async def test_readiness_needs_the_database_and_a_sale_but_no_redis() -> None:
    shop = FakeShop()
    shop.redis.error = Unavailable()
    await shop.monitor.look()
    assert await shop.request("GET", "/readyz") == READY
    shop.is_draining = True
    assert await shop.request("GET", "/readyz") == NOT_READY
    shop.is_draining = False
    shop.store.error = Unavailable()
    await shop.monitor.look()
    assert await shop.request("GET", "/readyz") == NOT_READY
    shop.store.error = None
    shop.store.sales.clear()
    await shop.monitor.look()
    assert await shop.request("GET", "/readyz") == NOT_READY


async def test_a_sale_that_has_not_begun_is_not_yet_one_to_buy_from() -> None:
    shop = FakeShop()
    (sale,) = shop.store.sales
    shop.store.sales = [replace(sale, is_open=False)]
    await shop.monitor.look()
    assert (await shop.request("GET", "/health")).status == 503
    assert await shop.request("GET", "/readyz") == NOT_READY


async def test_liveness_asks_nobody() -> None:
    shop = FakeShop()
    shop.store.error = shop.redis.error = Unavailable()
    shop.is_draining = True
    assert await shop.request("GET", "/livez") == READY


async def test_on_a_low_disk_checkouts_are_refused_and_purchases_are_tried_and_health_says_so() -> None:
    shop = FakeShop()
    shop.free_bytes = 999
    await shop.monitor.look()
    await shop.disk.measure()
    for target in ("/checkout?user_id=ann&id=101", "/checkout?user_id=ann&id=x"):
        answer = await shop.request("POST", target)
        assert answer.status == 503
        assert orjson.loads(answer.body)["code"] == "unavailable"
        assert int(dict(answer.headers)[b"retry-after"]) >= SHED_SECONDS
    assert not shop.checkouts.asked
    await shop.request("POST", f"/purchase?code={TEXT}")
    assert shop.purchases.asked
    low = b'{"status":"error","database":"ok","redis":"ok","disk":"low"}'
    assert await shop.request("GET", "/health") == Response(503, low)
    assert await shop.request("GET", "/readyz") == READY, "purchases are served"
    shop.free_bytes = 1_000
    await shop.disk.measure()
    assert (await shop.request("GET", "/health")).status == 200
    assert (await shop.request("POST", "/checkout?user_id=ann&id=101")).status == 200


def test_pages_that_are_nearly_empty_count_for_what_they_cost() -> None:
    cache = PageCache(bytes_max=100_000)
    page = encoded(b'{"items":[],"next":null}')
    for after in range(10_000):
        cache.put((1, after), 1, page)
    assert sum(cache.get((1, after), 1) is not None for after in range(10_000)) < 200
