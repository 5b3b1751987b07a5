"""What viewers are told: events that lead to what is true, and the latest of them for whoever comes back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.actors.sale_events import (
    LOG_BYTES_MAX,
    EventLog,
    ItemsSold,
    SaleEvent,
    SoldOut,
    changes,
    snapshot,
)
from flash.domain import ItemId, Sale, SaleId

FIRST = 101
flags = st.lists(st.sampled_from((0, 1)), min_size=1, max_size=40).map(bytes)


def a_sale(stock: int, first: int = FIRST) -> Sale:
    return Sale(SaleId(1), datetime(2026, 1, 1, 12, tzinfo=UTC), ItemId(first), stock, 10, 0, is_open=True)


def told(before: bytes, after: bytes) -> list[SaleEvent] | None:
    return changes(snapshot(a_sale(len(before)), before), snapshot(a_sale(len(after)), after))


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (b"\0\0\0", b"\0\0\0", []),
        (b"\0\0\0", b"\1\0\1", [ItemsSold(SaleId(1), [ItemId(101), ItemId(103)], 1)]),
        (b"\1\0\1", b"\1\1\1", [ItemsSold(SaleId(1), [ItemId(102)], 0), SoldOut(SaleId(1))]),
        (b"\1\1\1", b"\1\1\1", []),
        (b"\1\1\1", b"\1\0\1", None),  # for sale again
        (b"\1\0\0", b"\0\1\0", None),
        (b"\0\0\0", b"\0\0\0\0", None),  # made anew, with another size
    ],
)
def test_events_lead_from_what_was_told_to_what_is_true(
    before: bytes, after: bytes, events: list[SaleEvent] | None
) -> None:
    assert told(before, after) == events


def test_a_sale_that_was_made_anew_with_other_items_is_told_as_a_whole() -> None:
    assert changes(snapshot(a_sale(3), b"\0\0\0"), snapshot(a_sale(3, first=201), b"\0\0\0")) is None


@given(st.data())
def test_whoever_adds_up_the_events_has_the_truth(data: st.DataObject) -> None:
    before = data.draw(flags)
    after = data.draw(st.lists(st.sampled_from((0, 1)), min_size=len(before), max_size=len(before)).map(bytes))
    events = told(before, after)
    if any(was > now for was, now in zip(before, after, strict=True)):
        assert events is None
        return
    assert events is not None
    sold = {FIRST + place for place, flag in enumerate(before) if flag}
    for event in events:
        if isinstance(event, ItemsSold):
            assert not sold & set(event.item_ids), "nothing is told twice"
            sold |= set(event.item_ids)
            assert event.remaining == len(after) - len(sold)
    assert sold == {FIRST + place for place, flag in enumerate(after) if flag}
    assert (SoldOut(SaleId(1)) in events) == (before != after and 0 not in after)


def test_the_count_of_a_sale_is_that_of_its_items() -> None:
    sale = a_sale(4)
    assert snapshot(sale, b"\1\0\1\0").sale.remaining == 2


def a_log(size: int = 0) -> EventLog:
    return EventLog(b"p-7", lambda event, event_id: event_id.ljust(size) + b";")


SOLD_OUT = SoldOut(SaleId(7))


def test_whoever_comes_back_is_told_what_it_has_missed_and_nothing_twice() -> None:
    log = a_log()
    assert log.last_id == b"p-7-0"
    for _ in range(3):
        log.append(SOLD_OUT)
    assert log.last_id == b"p-7-3"
    assert log.since(b"p-7-0") == b"p-7-1;p-7-2;p-7-3;"
    assert log.since(b"p-7-2") == b"p-7-3;"
    assert log.since(b"p-7-3") == b""


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"p-7-4",
        b"q-7-1",
        b"p-8-1",
        b"p-71",
        b"p-7-",
        b"p-7-01",
        b"p-7--1",
        b"p-7-+1",
        b"p-7-\xff",
        b"1",
        b"9" * 99,
    ],
)
def test_an_id_that_is_not_of_this_log_is_no_place_in_it(foreign: bytes) -> None:
    log = a_log()
    log.append(SOLD_OUT)
    assert log.since(foreign) is None


def test_a_log_keeps_the_latest_events_and_no_more_bytes_than_it_may() -> None:
    log = a_log(LOG_BYTES_MAX // 4 - 1)
    for _ in range(6):
        log.append(SOLD_OUT)
    assert log.since(b"p-7-1") is None
    kept = log.since(b"p-7-2")
    assert kept is not None
    assert len(kept) == LOG_BYTES_MAX
    assert kept.startswith(b"p-7-3 ")


def test_an_event_that_is_larger_than_the_log_is_not_kept() -> None:
    log = a_log(LOG_BYTES_MAX)
    log.append(SOLD_OUT)
    assert (log.number, log.after(0), log.after(1)) == (1, None, b"")
