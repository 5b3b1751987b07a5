"""A checkout and a purchase whose parameters come in a body, over both servers, and what is recorded of bad ones."""

from __future__ import annotations

import orjson
import pytest

from flash.domain import Attempt, ItemId, MalformedAttempt, Purchase, RequestId, Sold, UserId
from flash.http.limits import BODY_MAX_BYTES
from flash.testing.client import Answer, Client
from tests.api.fakes import CODE, CODES, NOON, FakeShop
from tests.api.serving import open_client

FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
TEXT = CODES.seal(CODE)
BOUGHT = Sold(Purchase(CODE.checkout_id, RequestId("auto:x"), ItemId(101), UserId("zoë"), 1, NOON))


async def send(client: Client, target: str, content_type: bytes | None, body: bytes) -> Answer:
    headers = [] if content_type is None else [(b"content-type", content_type)]
    answer = await client.request("POST", target, headers=headers, body=body)
    assert not answer.closes
    return answer


def code_of(answer: Answer) -> tuple[int, str, str]:
    problem = answer.json()
    return answer.status, problem["code"], problem["detail"]


@pytest.mark.parametrize("is_builtin", [True, False])
async def test_a_body_checks_out_and_buys_like_a_query(is_builtin: bool) -> None:
    shop = FakeShop()
    shop.purchases.outcome = BOUGHT
    async with open_client(shop, is_builtin=is_builtin) as client:
        attempts = [
            ("/checkout", FORM, b"user_id=zo%C3%AB&id=101"),
            ("/checkout", JSON, '{"user_id":"zoe\u0308","id":101}'.encode()),
            ("/checkout?user_id=zo%C3%AB", JSON, b'{"id":"101"}'),
            ("/checkout?user_id=zo%C3%AB&id=101", JSON, b"{}"),
            ("/checkout?user_id=zo%C3%AB&id=101", None, b""),
            ("/checkout?user_id=zo%C3%AB&id=101", b"text/plain", b""),
        ]
        for target, content_type, body in attempts:
            answer = await send(client, target, content_type, body)
            assert (answer.status, answer.json()) == (200, {"code": TEXT})
        assert shop.checkouts.asked == [Attempt(UserId("zoë"), ItemId(101))] * len(attempts)

        for content_type, text in ((FORM, f"code={TEXT}"), (JSON, f'{{"code":"{TEXT}"}}')):
            assert (await send(client, "/purchase", content_type, text.encode())).status == 200
        assert [command.code for command in shop.purchases.asked] == [CODE, CODE]


@pytest.mark.parametrize("is_builtin", [True, False])
async def test_a_bad_body_is_told_why_and_its_checkout_attempt_is_recorded(is_builtin: bool) -> None:
    shop = FakeShop()
    twice = "id must be given only once, in the query or in the body"
    bad: list[tuple[str, bytes | None, bytes, tuple[int, str, str]]] = [
        ("user_id=a", FORM, b"id=x", (400, "invalid_request",
         "id must be a decimal number from 1 to 9223372036854775807, without sign or leading zeros")),
        ("user_id=a&id=1", FORM, b"id=1", (400, "invalid_request", twice)),
        ("user_id=a&id=1", JSON, b"{", (400, "invalid_request", "the body is not well-formed JSON in UTF-8")),
        ("user_id=a&id=1", b"text/plain", b"x", (415, "unsupported_media_type",
         "The body must be application/x-www-form-urlencoded or application/json")),
        ("", None, b"\0" * 3_000, (415, "unsupported_media_type",
         "The body needs one Content-Type, application/x-www-form-urlencoded or application/json")),
    ]  # fmt: skip
    async with open_client(shop, is_builtin=is_builtin) as client:
        for query, content_type, body, expected in bad:
            answer = await send(client, f"/checkout?{query}", content_type, body)
            assert code_of(answer) == expected
            assert (answer.header(b"accept-post") is not None) == (answer.status == 415)
        recorded = [MalformedAttempt((query.encode() + b"\n" + body)[:1024]) for query, _, body, _ in bad]
        assert shop.checkouts.asked == recorded

        invalid_code = (400, "invalid_code", "Invalid or expired code")
        for content_type, body, expected in (
            (JSON, b"{}", (400, "invalid_code", "code is missing")),
            (FORM, b"code=", (400, "invalid_code", "code is empty")),
            (JSON, b'{"code":"x"}', invalid_code),
            (JSON, b'{"code":7}', invalid_code),
            (JSON, b"[]", (400, "invalid_request", "the body must be a JSON object")),
            (b"text/plain", TEXT.encode(), bad[3][3]),
        ):
            assert code_of(await send(client, "/purchase", content_type, body)) == expected
        both = await send(client, f"/purchase?code={TEXT}", FORM, f"code={TEXT}".encode())
        assert code_of(both) == (400, "invalid_request", "code must be given only once, in the query or in the body")
        assert not shop.purchases.asked


@pytest.mark.parametrize("is_builtin", [True, False])
async def test_a_body_as_large_as_the_bound_is_read_and_a_larger_one_refused_unread(is_builtin: bool) -> None:
    shop = FakeShop()
    async with open_client(shop, is_builtin=is_builtin) as client:
        headers = [(b"content-type", FORM)]
        form = b"user_id=ann&id=101".ljust(BODY_MAX_BYTES, b"&")
        answer = await client.request("POST", "/checkout", headers=headers, body=form)
        assert answer.status == 200
        answer = await client.request("POST", "/checkout", headers=headers, body=form + b"&")
        assert (answer.status, answer.closes, orjson.loads(answer.body)["code"]) == (413, True, "body_too_large")
        assert len(shop.checkouts.asked) == 1
