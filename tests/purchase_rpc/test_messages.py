"""What web and inventory processes write to each other, and what they make of anything else."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.codes import pack
from flash.correlation import UNCORRELATED, correlation
from flash.domain import (
    COMMAND_LIFE_SECONDS_MAX,
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
from flash.purchase_rpc.payloads import (
    CommandBatch,
    decode_commands,
    decode_outcomes,
    encode_commands,
    encode_outcomes,
)
from tests.codes import a_code
from tests.deployments import DEPLOYMENT

PURCHASE = Purchase(
    CheckoutId(5), RequestId("key:ä"), ItemId(7), UserId("bób"), 3, datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
)
COMMAND = Command(a_code(5, sale=9), RequestId("auto:x"))
PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
KEY = messages.reply_key(DEPLOYMENT, "a")
BATCH = CommandBatch(KEY, 5000, 1_700_000_005_000, [(1, COMMAND), (2, COMMAND)])


def test_commands_arrive_as_they_were_sent() -> None:
    fields = messages.command_entry(DEPLOYMENT, SaleId(9), BATCH)
    assert messages.command_version(DEPLOYMENT, SaleId(9), fields) == messages.VERSION
    assert messages.read_commands(DEPLOYMENT, SaleId(9), fields) == BATCH


def test_what_logs_and_traces_call_the_commands_arrives_too() -> None:
    names = [correlation(b"req-1", PARENT), UNCORRELATED]
    commands = [(n, Command(COMMAND.code, COMMAND.request_id, name)) for n, name in enumerate(names)]
    fields = messages.command_entry(DEPLOYMENT, SaleId(9), CommandBatch(KEY, 5000, 1_700_000_005_000, commands))
    batch = messages.read_commands(DEPLOYMENT, SaleId(9), fields)
    assert [command.correlation for _, command in batch.commands] == names
    with pytest.raises(ValueError, match="seal"):
        messages.command_version(DEPLOYMENT, SaleId(9), fields | {messages.CORRELATIONS_FIELD: b"x"})


def test_a_process_of_the_release_before_reads_an_entry_with_them_and_this_one_an_entry_without() -> None:
    """That release verified the seal over all fields of an entry, known or not, and read the one with the commands."""
    named = Command(COMMAND.code, COMMAND.request_id, correlation(b"req-1", PARENT))
    ours = messages.command_entry(DEPLOYMENT, SaleId(9), CommandBatch(KEY, 5000, 1_700_000_005_000, [(1, named)]))
    assert set(ours) == {b"v", b"c", b"s", b"t"}
    assert ours[b"v"] == b"2"
    parts = [b"command", messages.inbox_key(DEPLOYMENT, SaleId(9)).encode()]
    for name in sorted(set(ours) - {b"s"}):
        parts += (name, ours[name])
    assert DEPLOYMENT.is_sealed(ours[b"s"], *parts)
    assert len(orjson.loads(ours[b"c"])) == 6, "what it unpacks"
    theirs = messages.sealed(
        DEPLOYMENT, messages.COMMAND, messages.inbox_key(DEPLOYMENT, SaleId(9)), {b"v": b"2", b"c": ours[b"c"]}
    )
    assert messages.command_version(DEPLOYMENT, SaleId(9), theirs) == messages.VERSION
    ((_, command),) = messages.read_commands(DEPLOYMENT, SaleId(9), theirs).commands
    assert (command, command.correlation) == (named, UNCORRELATED)


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\n\n", b"\xff", b"\0", b"a b c d"])
def test_names_that_cannot_be_read_cost_no_purchase(text: bytes) -> None:
    fields = messages.command_entry(DEPLOYMENT, SaleId(9), BATCH) | {messages.CORRELATIONS_FIELD: text}
    assert messages.read_commands(DEPLOYMENT, SaleId(9), fields) == BATCH


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
    fields = messages.reply_entry(DEPLOYMENT, KEY, messages.VERSION, [(4, outcome), (17, Sold(PURCHASE))])
    assert messages.reply_version(DEPLOYMENT, KEY, fields) == messages.VERSION
    assert messages.read_outcomes(fields) == [(4, outcome), (17, Sold(PURCHASE))]


def test_the_numbers_that_a_reply_answers_are_read_without_its_payload() -> None:
    outcomes: list[tuple[int, Outcome]] = [(4, Refused(Refusal.SOLD_OUT)), (17, Sold(PURCHASE))]
    fields = messages.reply_entry(DEPLOYMENT, KEY, messages.VERSION, outcomes)
    assert fields[b"n"] == b"4,17", "every version writes them so"
    assert messages.answered_numbers({**fields, b"o": b"\x93"}) == [4, 17]


@pytest.mark.parametrize("numbers", [b"", b",", b"1,", b"1, 2", b"-1", b"1_0", b"\xff", b"9" * 5000])
def test_numbers_that_are_none_name_nobody(numbers: bytes) -> None:
    assert messages.answered_numbers({b"n": numbers}) == []
    assert messages.answered_numbers({}) == []


def test_a_reply_with_more_numbers_than_outcomes_is_unreadable() -> None:
    with pytest.raises(ValueError, match="zip"):
        messages.read_outcomes({b"n": b"1,2", b"o": encode_outcomes([Refused(Refusal.SOLD_OUT)])})


def test_commands_for_another_sale_are_not_taken() -> None:
    with pytest.raises(ValueError, match="sale 8"):
        decode_commands(encode_commands(BATCH), SaleId(8))


def a_batch(
    reply_to: object = KEY,
    ttl_ms: object = 5,
    end_ms: object = 6,
    number: object = 1,
    codes: object = None,
    request_id: object = "x",
) -> bytes:
    packed = b64encode(pack(COMMAND.code)).decode()
    return orjson.dumps([reply_to, ttl_ms, end_ms, [number], packed if codes is None else codes, [request_id]])


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\xff\x00",
        b"{}",
        b"[]",
        b"null",
        b'["r",1,1,[],"",[]]',
        b'["r",1,1,[1],"AAAA",["x"]]',
        a_batch(codes="!!!"),
        a_batch(codes=7),
        a_batch(codes="A" * 52),
        a_batch(reply_to=1),
        a_batch(ttl_ms="1"),
        a_batch(ttl_ms=True),
        a_batch(end_ms=None),
        a_batch(number=True),
        a_batch(number=1.5),
        a_batch(request_id=7),
        a_batch(request_id="NUL\0"),
        b"[" * 100_000,
    ],
)
def test_an_unreadable_entry_is_a_value_error(entry: bytes) -> None:
    with pytest.raises(ValueError, match="not a batch"):
        decode_commands(entry, SaleId(9))


@pytest.mark.parametrize("ttl_ms", [-1, COMMAND_LIFE_SECONDS_MAX * 1000 + 1])
def test_no_command_lives_longer_than_anybody_waits(ttl_ms: int) -> None:
    assert decode_commands(a_batch(ttl_ms=COMMAND_LIFE_SECONDS_MAX * 1000), SaleId(9))
    with pytest.raises(ValueError, match="longer than anybody waits"):
        decode_commands(a_batch(ttl_ms=ttl_ms), SaleId(9))


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_a_value_error(payload: bytes) -> None:
    for decode in (lambda: decode_commands(payload, SaleId(9)), lambda: decode_outcomes(payload)):
        with suppress(ValueError):
            decode()


def test_the_lease_of_a_sale_names_it() -> None:
    assert messages.sale_of_lease(messages.lease_key(SaleId(17))) == 17


def test_all_keys_of_a_sale_share_a_hash_tag_and_belong_to_the_deployment() -> None:
    keys = (
        messages.inbox_key(DEPLOYMENT, SaleId(17)),
        messages.dead_letter_key(DEPLOYMENT, SaleId(17)),
        DEPLOYMENT.key(messages.lease_key(SaleId(17))),
    )
    assert all(key.startswith("flash:0011223344556677:{sale:17}:") for key in keys)
