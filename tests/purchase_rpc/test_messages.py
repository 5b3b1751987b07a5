"""What web and inventory processes write to each other, and what they make of anything else."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.domain import (
    CheckoutId,
    Command,
    ItemId,
    Outcome,
    Purchase,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    SaleId,
    Sold,
    UserId,
)
from flash.purchase_rpc import messages
from tests.codes import a_code

PURCHASE = Purchase(
    CheckoutId(5), RequestId("key:ä"), ItemId(7), UserId("bób"), 3, datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
)
COMMAND = Command(a_code(5, sale=9), RequestId("auto:x"))
BATCH = messages.CommandBatch("{web:a}:replies", 5000, [(1, COMMAND), (2, COMMAND)])


def test_commands_arrive_as_they_were_sent() -> None:
    assert messages.decode_commands(messages.encode_commands(BATCH), SaleId(9)) == BATCH


@pytest.mark.parametrize(
    "outcome",
    [
        Sold(PURCHASE),
        Repeated(PURCHASE),
        Refused(Refusal.CODE_ALREADY_USED, PURCHASE),
        Refused(Refusal.USER_LIMIT_REACHED, user_limit=10),
        *(Refused(refusal) for refusal in Refusal),
    ],
    ids=str,
)
def test_outcomes_arrive_as_they_were_sent(outcome: Outcome) -> None:
    assert messages.decode_outcomes(messages.encode_outcomes([(4, outcome)])) == [(4, outcome)]


def test_the_numbers_that_a_reply_answers_are_read_without_its_payload() -> None:
    numbers = messages.encode_numbers([(4, Refused(Refusal.SOLD_OUT)), (17, Sold(PURCHASE))])
    assert numbers == b"4,17", "every version writes them so"
    assert messages.answered_numbers({b"v": b"2", b"n": numbers, b"o": b"\x93"}) == [4, 17]


@pytest.mark.parametrize("numbers", [b"", b",", b"1,", b"1, 2", b"-1", b"1_0", b"\xff", b"9" * 5000])
def test_numbers_that_are_none_name_nobody(numbers: bytes) -> None:
    assert messages.answered_numbers({b"n": numbers}) == []
    assert messages.answered_numbers({}) == [], "the previous release lists none"


def test_commands_for_another_sale_are_not_taken() -> None:
    with pytest.raises(ValueError, match="sale 8"):
        messages.decode_commands(messages.encode_commands(BATCH), SaleId(8))


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\xff\x00",
        b"{}",
        b"[]",
        b"null",
        b'["r",1,[]]',
        b'["r",1,[[1,"!!!","auto:x"]]]',
        b'["r",1,[[1,"AAAA","auto:x"]]]',
        b'["r","1",[]]',
        b'[1,1,[[1,"AAAA","x"]]]',
        orjson.dumps(["r", 1, [[1, "A" * 36, 7]]]),
        orjson.dumps(["r", 1, [[True, "A" * 36, "x"]]]),
        b"[" * 100_000,
    ],
)
def test_an_unreadable_entry_is_a_value_error(entry: bytes) -> None:
    with pytest.raises(ValueError, match="not a batch"):
        messages.decode_commands(entry, SaleId(9))


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_a_value_error(payload: bytes) -> None:
    for decode in (lambda: messages.decode_commands(payload, SaleId(9)), lambda: messages.decode_outcomes(payload)):
        with suppress(ValueError):
            decode()


def test_the_lease_of_a_sale_names_it() -> None:
    assert messages.sale_of_lease(messages.lease_key(SaleId(17))) == 17


def test_all_keys_of_a_sale_share_a_hash_tag() -> None:
    keys = (messages.inbox_key(SaleId(17)), messages.dead_letter_key(SaleId(17)), messages.lease_key(SaleId(17)))
    assert all(key.startswith("{sale:17}:") for key in keys)
