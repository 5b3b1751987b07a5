"""What the clients repeat, with which key, after which wait, and what they tell their caller."""

from __future__ import annotations

import pytest

from flash.client import (
    FlashClientError,
    InvalidRequest,
    OutcomeUnknown,
    Refused,
    TryLater,
    UnexpectedAnswer,
    Unreachable,
)
from flash.client.conversations import ITEM_TRIES_MAX, Conversations
from flash.client.messages import Answer, Lost
from flash.client.retries import NEVER, Retries
from tests.client.scripted import LOST, NOBODY, RECEIPT, SOLD, Scripted, answer, problem

PATIENT = Conversations(Retries(3, random=lambda: 0.0))
IMPATIENT = Conversations(NEVER)
CODE = answer(200, {"code": "c0de"})


def keys(service: Scripted) -> set[str]:
    return {sent.headers["Idempotency-Key"] for sent in service.sent if sent.method == "POST"}


def test_names_are_percent_encoded() -> None:
    service = Scripted([CODE])
    assert service.run(PATIENT.check_out("zoë & co", 7)) == "c0de"
    assert [(sent.method, sent.target) for sent in service.sent] == [
        ("POST", "/checkout?user_id=zo%C3%AB%20%26%20co&id=7")
    ]


@pytest.mark.parametrize(
    "no",
    [
        problem(503, "overloaded", retry_after=4),
        problem(503, "paused", retry_after=4),
        problem(429, "rate_limited", retry_after=4),
    ],
)
def test_a_refusal_for_now_is_repeated_after_retry_after_and_not_before(no: Answer) -> None:
    service = Scripted([no, no, CODE])
    assert service.run(PATIENT.check_out("ann", 7)) == "c0de"
    assert service.waits == [4.0, 4.0]
    assert len({sent.target for sent in service.sent}) == 1


def test_a_signed_buyer_has_a_token_and_a_purchase_needs_none() -> None:
    service = Scripted([CODE, answer(200, SOLD)])
    signing = Conversations(NEVER, "k" * 32)
    assert service.run(signing.buy("ann", 7)).item.id == 7
    checkout, purchase = service.sent
    assert checkout.headers["User-Token"].count(".") == 2
    assert "User-Token" not in purchase.headers


def test_a_purchase_is_repeated_with_its_key() -> None:
    service = Scripted([problem(503, "unavailable", retry_after=1), NOBODY, answer(200, SOLD)])
    receipt = service.run(PATIENT.purchase("c0de"))
    assert (receipt.item.id, receipt.user_id, receipt.purchased_at.isoformat()) == (
        7,
        "ann",
        "2026-01-01T12:00:00+00:00",
    )
    assert [sent.target for sent in service.sent] == ["/purchase?code=c0de"] * 3
    assert len(keys(service)) == 1


def test_every_purchase_has_a_key_of_its_own_and_a_given_one_is_kept() -> None:
    services = [Scripted([answer(200, SOLD)]) for _ in range(3)]
    services[0].run(PATIENT.purchase("c0de"))
    services[1].run(PATIENT.purchase("c0de"))
    services[2].run(PATIENT.purchase("c0de", "mine"))
    assert len(keys(services[0]) | keys(services[1]) | keys(services[2])) == 3
    assert keys(services[2]) == {"mine"}


@pytest.mark.parametrize(
    "unknown",
    [
        LOST,
        problem(503, "outcome_unknown", retry_after=2),
        Answer(502, {}, b"<html>Bad Gateway"),
        problem(500, "internal_error"),
    ],
)
def test_after_an_unknown_outcome_the_receipt_is_asked_for(unknown: Answer | Lost) -> None:
    service = Scripted([unknown, answer(200, RECEIPT)])
    assert service.run(PATIENT.purchase("c0de")).item.id == 7
    assert [(sent.method, sent.target) for sent in service.sent] == [
        ("POST", "/purchase?code=c0de"),
        ("GET", "/purchases/c0de"),
    ]


def test_without_a_receipt_an_unknown_purchase_is_repeated_with_the_same_key() -> None:
    service = Scripted([LOST, problem(404, "not_purchased"), answer(200, SOLD)])
    assert service.run(PATIENT.purchase("c0de")).item.id == 7
    assert len(keys(service)) == 1


def test_what_stays_unknown_is_said_with_what_settles_it() -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        Scripted([LOST]).run(IMPATIENT.purchase("c0de", "mine"))
    assert (caught.value.purchase_code, caught.value.idempotency_key) == ("c0de", "mine")


def test_an_expired_code_does_not_make_an_unknown_purchase_a_failed_one() -> None:
    """The first attempt may have bought, and its answer was lost."""
    gone = problem(400, "invalid_code")
    with pytest.raises(OutcomeUnknown):
        Scripted([LOST, gone, gone, gone, gone, gone, gone]).run(PATIENT.purchase("c0de"))


def test_an_attempt_that_never_left_is_no_unknown_purchase() -> None:
    with pytest.raises(Unreachable) as caught:
        Scripted([NOBODY] * 4).run(PATIENT.purchase("c0de"))
    assert (caught.value.code, caught.value.status) == ("unreachable", None)


@pytest.mark.parametrize(
    ("no", "kind"),
    [
        (problem(409, "item_sold"), Refused),
        (problem(410, "sold_out"), Refused),
        (problem(429, "user_limit_reached"), Refused),
        (problem(409, "sale_not_open", retry_after=900), Refused),
        (problem(422, "idempotency_key_reused"), Refused),
        (problem(400, "invalid_request"), InvalidRequest),
        (problem(400, "invalid_code"), InvalidRequest),
        (problem(404, "item_not_found"), InvalidRequest),
        (problem(500, "internal_error"), UnexpectedAnswer),
        (Answer(404, {}, b"<html>nginx"), UnexpectedAnswer),
        (Answer(200, {}, b"<html>welcome"), UnexpectedAnswer),
        (answer(200, {"welcome": "home"}), UnexpectedAnswer),
    ],
)
def test_a_no_is_not_repeated_and_is_the_exception_for_it(no: Answer, kind: type[FlashClientError]) -> None:
    service = Scripted([no])
    with pytest.raises(kind) as caught:
        service.run(PATIENT.check_out("ann", 7))
    assert type(caught.value) is kind
    assert len(service.sent) == 1


def test_the_receipt_comes_with_a_code_that_is_used() -> None:
    with pytest.raises(Refused) as caught:
        Scripted([problem(409, "code_already_used", purchase=RECEIPT)]).run(PATIENT.purchase("c0de"))
    assert caught.value.receipt is not None
    assert caught.value.receipt.item.name == "Ochre Carafe"


def test_when_patience_ends_the_last_reason_is_told() -> None:
    with pytest.raises(TryLater) as caught:
        Scripted([problem(503, "overloaded", retry_after=2)] * 4).run(PATIENT.check_out("ann", 7))
    assert (caught.value.code, caught.value.status, caught.value.retry_after_seconds) == ("overloaded", 503, 2.0)


def test_no_receipt_is_none_and_not_an_error() -> None:
    assert Scripted([problem(404, "not_purchased")]).run(PATIENT.receipt("c0de")) is None
    assert Scripted([answer(200, RECEIPT)]).run(PATIENT.receipt("c0de")) is not None


SALE = {
    "id": 1, "starts_at": "2026-01-01T12:00:00Z", "status": "open",
    "stock": 10, "sold": 1, "remaining": 9, "first_item_id": 1, "limit": 10,
}  # fmt: skip
NEXT_SALE = {**SALE, "id": 2, "status": "upcoming", "first_item_id": 11}
SALES = answer(200, {"sales": [NEXT_SALE, SALE]})
ITEMS = answer(200, {"items": [{**RECEIPT["item"], "available": True}], "next": None})  # type: ignore[dict-item]
NO_ITEMS = answer(200, {"items": [], "next": None})


def test_buying_takes_a_free_item_of_an_open_sale_from_its_start_if_the_rest_is_sold() -> None:
    service = Scripted([SALES, NO_ITEMS, ITEMS, CODE, answer(200, SOLD)])
    assert service.run(PATIENT.buy("ann")).item.id == 7
    assert all(sent.target.startswith("/sales/1/items?available=true") for sent in service.sent[1:3])
    assert "after" not in service.sent[2].target


def test_buying_takes_another_item_when_somebody_was_faster_but_not_for_ever() -> None:
    sold = problem(409, "item_sold")
    service = Scripted([SALES, ITEMS, CODE, sold, SALES, ITEMS, sold, SALES, ITEMS, CODE, answer(200, SOLD)])
    assert service.run(PATIENT.buy("ann")).item.id == 7
    with pytest.raises(TryLater, match="others were faster"):
        Scripted([SALES, ITEMS, sold] * ITEM_TRIES_MAX).run(PATIENT.buy("ann"))


def test_buying_a_given_item_tries_no_other() -> None:
    with pytest.raises(Refused, match="item_sold"):
        Scripted([problem(409, "item_sold")]).run(PATIENT.buy("ann", 7))


def test_buying_when_nothing_is_free_says_so() -> None:
    with pytest.raises(Refused, match="sold_out"):
        Scripted([SALES, NO_ITEMS, NO_ITEMS]).run(PATIENT.buy("ann"))


@pytest.mark.parametrize("status", [200, 503])
def test_health_is_told_also_when_it_is_bad(status: int) -> None:
    said = {"status": "ok" if status == 200 else "failing", "database": "ok", "redis": "ok"}
    assert Scripted([answer(status, said)]).run(PATIENT.health()) == said
