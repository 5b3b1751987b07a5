"""Entries of the feed: they say what they were made to say, or are none of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.deployment import MESSAGE_KEY_BYTES, Deployment
from flash.domain import Epoch, ItemId, SaleId, Term
from flash.sold_feed.messages import SoldBatch, decode_sold, encode_sold, sold_key

OURS = Deployment("0011", bytes(MESSAGE_KEY_BYTES))
OTHERS = Deployment("2233", b"x" * MESSAGE_KEY_BYTES)
TERM = Term(SaleId(7), Epoch(3), b"t" * 16)
numbers = st.integers(1, 2**63 - 1)


@given(numbers, numbers, st.binary(min_size=16, max_size=16), st.integers(1, 10**6), numbers, st.lists(numbers))
def test_an_entry_says_what_it_was_made_of(
    sale_id: int, epoch: int, token: bytes, sold: int, first: int, others: list[int]
) -> None:
    items = [ItemId(first), *(ItemId(first + n % 1_000_000) for n in others)]
    batch = SoldBatch(Term(SaleId(sale_id), Epoch(epoch), token), sold, items)
    assert decode_sold(OURS, encode_sold(OURS, batch)) == batch


def near() -> SoldBatch:
    return SoldBatch(TERM, 12, [ItemId(101), ItemId(99)])


@pytest.mark.parametrize("field", [b"v", b"p", b"s"])
def test_an_entry_that_was_changed_anywhere_is_none_of_ours(field: bytes) -> None:
    entry = encode_sold(OURS, near())
    for changed in (b"", entry[field] + b"\0", bytes([entry[field][0] ^ 1]) + entry[field][1:]):
        with pytest.raises(ValueError, match="seal"):
            decode_sold(OURS, {**entry, field: changed})
    with pytest.raises(ValueError, match="seal"):
        decode_sold(OURS, {name: part for name, part in entry.items() if name != field})


def test_another_deployment_has_another_stream_and_another_seal() -> None:
    assert sold_key(OURS) != sold_key(OTHERS)
    with pytest.raises(ValueError, match="seal"):
        decode_sold(OURS, encode_sold(OTHERS, near()))


@pytest.mark.parametrize(
    ("version", "payload", "reason"),
    [
        (b"2", encode_sold(OURS, near())[b"p"], "version"),
        (b"1", b"", "no batch"),
        (b"1", encode_sold(OURS, near())[b"p"][:-8], "no batch"),
        (b"1", encode_sold(OURS, near())[b"p"][:-1], "no batch"),
    ],
    ids=["later version", "empty", "no items", "cut"],
)
def test_what_this_release_cannot_read_is_refused_though_it_is_ours(
    version: bytes, payload: bytes, reason: str
) -> None:
    seal = OURS.seal(b"sold", version, payload)
    with pytest.raises(ValueError, match=reason):
        decode_sold(OURS, {b"v": version, b"p": payload, b"s": seal})
