"""With FLASH_USER_KEY nobody buys in another's name: which tokens count, and what becomes of an attempt without one."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from flash.api.signed_buyers import SignedBuyers
from flash.client import sign_user
from flash.domain import Attempt, ItemId, MalformedAttempt, UserId
from tests.api.fakes import FakeShop

KEY = "k" * 32
NOW = 1_800_000_000
HS256 = {"alg": "HS256", "typ": "JWT"}

NONE = "The header User-Token must be given, once"
NOT_OURS = "The User-Token is not one that this shop has signed"
EXPIRED = "The User-Token has expired, or does not say when it will"
ANOTHER = "The User-Token is for another user_id"


def base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def token(claims: Any, *, header: Any = HS256, key: str = KEY, dumps: Any = json.dumps) -> bytes:
    signed = b".".join(base64(dumps(part).encode()) for part in (header, claims))
    return signed + b"." + base64(hmac.digest(key.encode(), signed, "sha256"))


ANN = {"sub": "ann", "exp": NOW + 60}


def shop(key: str = KEY) -> FakeShop:
    return FakeShop(buyers=SignedBuyers(key, wall_clock=lambda: NOW))


@pytest.mark.parametrize(
    ("user", "claims"),
    [
        ("ann", ANN),
        ("ann", {**ANN, "nbf": NOW, "iat": NOW, "iss": "login", "aud": "flash"}),
        ("ann", {**ANN, "exp": NOW + 0.5, "aud": ["mail", "flash"]}),
        ("zo%C3%AB", {**ANN, "sub": "zo\u00eb"}),
        ("zo%C3%AB", {**ANN, "sub": "zoe\u0308"}),  # the same letter in two code points
    ],
)
async def test_a_token_of_the_buyer_lets_him_buy(user: str, claims: dict[str, Any]) -> None:
    place = shop()
    answer = await place.request("POST", f"/checkout?user_id={user}&id=101", (b"user-token", token(claims)))
    assert answer.status == 200
    assert isinstance(place.checkouts.asked[0], Attempt)


@pytest.mark.parametrize(
    ("tokens", "detail"),
    [
        ([], NONE),
        ([token(ANN), token(ANN)], NONE),
        ([b""], NOT_OURS),
        ([b"..", b""][:1], NOT_OURS),
        ([b"a.b.c"], NOT_OURS),
        ([token(ANN, key="x" * 32)], NOT_OURS),
        ([token(ANN)[:-1]], NOT_OURS),
        ([token(ANN) + b"="], NOT_OURS),
        ([token(ANN).replace(b".", b"..", 1)], NOT_OURS),
        ([token(ANN, header={"alg": "none"})], NOT_OURS),
        ([token(ANN, header={"alg": "HS512"})], NOT_OURS),
        ([token(ANN, header={**HS256, "crit": ["b64"], "b64": False})], NOT_OURS),
        ([token(ANN, header=[])], NOT_OURS),
        ([token([])], NOT_OURS),
        ([token("[" * 5_000, dumps=lambda part: part if isinstance(part, str) else json.dumps(part))], NOT_OURS),
        ([token({**ANN, "aud": "mail"})], NOT_OURS),
        ([token({**ANN, "exp": NOW})], EXPIRED),
        ([token({"sub": "ann"})], EXPIRED),
        ([token({**ANN, "exp": True})], EXPIRED),
        ([token({**ANN, "exp": str(NOW + 60)})], EXPIRED),
        ([token({**ANN, "exp": float("nan")})], EXPIRED),
        ([token({**ANN, "nbf": NOW + 1})], EXPIRED),
        ([token({**ANN, "sub": "bob"})], ANOTHER),
        ([token({**ANN, "sub": "Ann"})], ANOTHER),
        ([token({**ANN, "sub": ["ann"]})], ANOTHER),
        ([token({"exp": NOW + 60})], ANOTHER),
    ],
)
async def test_without_one_the_attempt_is_refused_and_recorded_but_in_nobodys_name(
    tokens: list[bytes], detail: str
) -> None:
    place = shop()
    answer = await place.request("POST", "/checkout?user_id=ann&id=101", *((b"user-token", text) for text in tokens))
    assert (answer.status, json.loads(answer.body)["code"]) == (401, "invalid_user_token")
    assert json.loads(answer.body)["detail"] == detail
    assert dict(answer.headers)[b"www-authenticate"] == b'User-Token realm="buyers"'
    assert place.checkouts.asked == [MalformedAttempt(b"user_id=ann&id=101")]


async def test_a_token_that_others_have_signed_is_read_as_they_mean_it() -> None:
    """The example of jwt.io, which has no `exp`: a wrong signature would be told first."""
    example = (
        b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIy"
        b"fQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    )
    answer = await shop("your-256-bit-secret").request(
        "POST", "/checkout?user_id=1234567890&id=101", (b"user-token", example)
    )
    assert json.loads(answer.body)["detail"] == EXPIRED


async def test_the_client_makes_tokens_that_count_for_a_while() -> None:
    place = FakeShop(buyers=SignedBuyers(KEY))  # by this machine's clock, as the client's
    for life_seconds, status in ((60, 200), (-60, 401)):
        made = sign_user(KEY, "zoë", life_seconds=life_seconds).encode()
        answer = await place.request("POST", "/checkout?user_id=zo%C3%AB&id=101", (b"user-token", made))
        assert answer.status == status


async def test_without_a_key_a_token_is_not_even_looked_at() -> None:
    place = FakeShop()
    answer = await place.request("POST", "/checkout?user_id=ann&id=101", (b"user-token", b"nonsense"))
    assert answer.status == 200
    assert place.checkouts.asked == [Attempt(UserId("ann"), ItemId(101))]


async def test_a_request_that_is_malformed_is_told_so_first() -> None:
    assert (await shop().request("POST", "/checkout?user_id=&id=101")).status == 400
