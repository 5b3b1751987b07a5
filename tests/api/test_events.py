"""GET /events: who gets a stream and who does not, and each event byte for byte."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from flash.actors.sale_events import ItemsSold, SaleAnnounced, SaleEvent, SaleOpened, SoldOut, State, snapshot
from flash.api.bitmap import bitmap
from flash.api.event_stream import SOLD_ITEMS_MAX, encode_event
from flash.domain import ItemId, SaleId
from flash.errors import Unavailable
from flash.http.message import Request, Response, Stream
from tests.api.fakes import NOON, SALE, FakeShop

SALE_JSON = {
    "id": 1,
    "starts_at": "2026-01-01T12:00:00Z",
    "stock": 3,
    "sold": 1,
    "remaining": 2,
    "status": "open",
    "first_item_id": 101,
    "opens_at": "2026-01-01T12:00:00Z",
    "user_limit": 10,
}


class Heard:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.has_ended = False

    def write_nowait(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def end(self) -> None:
        self.has_ended = True


async def ask(shop: FakeShop, query: str = "", *headers: tuple[bytes, bytes]) -> Response | Stream:
    return await shop.app.respond(Request("GET", "", b"/events", query.encode(), list(headers)))


async def listen(shop: FakeShop, query: str = "", *headers: tuple[bytes, bytes]) -> tuple[Stream, Heard]:
    answer = await ask(shop, query, *headers)
    assert isinstance(answer, Stream)
    reader = Heard()
    answer.join(reader)
    return answer, reader


def problem_of(answer: Response | Stream) -> tuple[int, str]:
    assert isinstance(answer, Response)
    return answer.status, orjson.loads(answer.body)["code"]


async def test_a_viewer_gets_when_to_come_back_and_the_state() -> None:
    stream, reader = await listen(FakeShop())
    assert stream.content_type == b"text/event-stream"
    assert (b"cache-control", b"no-store") in stream.headers
    (piece,) = reader.pieces
    first, event = piece.split(b"\n\n", 1)
    assert first == b"retry: 3000"
    name, event_id, data = event.removesuffix(b"\n\n").split(b"\n")
    assert (name, event_id) == (b"event: state", b"id: log-0")
    assert orjson.loads(data.removeprefix(b"data: ")) == {
        "now": "2026-01-01T12:00:00Z",
        "sales": [SALE_JSON],
        "sale_id": 1,
        "sold": "Ag==",
        "first_id": 101,
    }


async def test_a_viewer_that_comes_back_gets_nothing_twice() -> None:
    shop = FakeShop()
    await listen(shop)
    _, reader = await listen(shop, "sale=1", (b"last-event-id", b"log-0"))
    assert reader.pieces == [b"retry: 3000\n\n"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sale=0", (400, "invalid_request")),
        ("sale=x", (400, "invalid_request")),
        ("sale=01", (400, "invalid_request")),
        ("sale=1&sale=1", (400, "invalid_request")),
        ("sale=%FF", (400, "invalid_request")),
        ("sale=2", (404, "sale_not_found")),
        ("sale=9223372036854775807", (404, "sale_not_found")),
    ],
)
async def test_there_is_no_stream_of_a_sale_that_there_is_not(query: str, expected: tuple[int, str]) -> None:
    assert problem_of(await ask(FakeShop(), query)) == expected


async def test_there_is_no_stream_before_the_first_sale_and_while_the_database_is_away() -> None:
    shop = FakeShop()
    shop.store.sales = []
    assert problem_of(await ask(shop)) == (404, "sale_not_found")
    shop.store.error = Unavailable("away")
    assert problem_of(await ask(shop)) == (503, "unavailable")


async def test_viewers_beyond_the_limit_are_told_when_to_come_back() -> None:
    shop = FakeShop()
    streams = [await listen(shop) for _ in range(2)]
    answer = await ask(shop)
    assert problem_of(answer) == (503, "overloaded")
    assert isinstance(answer, Response)
    assert 10 <= int(dict(answer.headers)[b"retry-after"]) <= 16
    stream, reader = streams[0]
    stream.leave(reader)
    await listen(shop)


async def test_a_viewer_whose_state_has_grown_too_old_meanwhile_is_sent_away() -> None:
    shop = FakeShop()
    answer = await ask(shop)
    assert isinstance(answer, Stream)
    shop.store.error = Unavailable("away")
    reader = Heard()
    answer.join(reader)
    answer.leave(reader)
    assert reader.has_ended
    assert not reader.pieces


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_only_get_and_head_are_answered(method: str) -> None:
    answer = await FakeShop().request(method, "/events")
    assert (answer.status, dict(answer.headers)[b"allow"]) == (405, b"GET, HEAD")


async def test_what_is_sold_is_told_by_the_hub(autojump_clock: MockClock) -> None:
    shop = FakeShop()
    _, reader = await listen(shop)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shop.events.run)
        shop.store.sold |= {101, 103}
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert reader.pieces[1] == (
        b'event: item_sold\nid: log-1\ndata: {"sale_id":1,"items":[101,103],"remaining":0}\n\n'
        b'event: sold_out\nid: log-2\ndata: {"sale_id":1}\n\n'
    )


UPCOMING = replace(SALE, id=SaleId(2), starts_at=NOON + timedelta(hours=1), is_open=False, sold=0)


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (
            ItemsSold(SaleId(1), [ItemId(7), ItemId(9)], 3),
            "item_sold",
            {"sale_id": 1, "items": [7, 9], "remaining": 3},
        ),
        (SoldOut(SaleId(1)), "sold_out", {"sale_id": 1}),
        (SaleOpened(SALE), "sale_opened", SALE_JSON),
        (
            SaleAnnounced(UPCOMING),
            "sale_announced",
            {
                **SALE_JSON,
                "id": 2,
                "sold": 0,
                "remaining": 3,
                "status": "upcoming",
                "starts_at": "2026-01-01T13:00:00Z",
                "opens_at": "2026-01-01T13:00:00Z",
            },
        ),
    ],
)
def test_an_event_is_a_name_an_id_and_one_line_of_json(event: SaleEvent, name: str, data: dict[str, object]) -> None:
    lines = encode_event(event, b"p-1").split(b"\n")
    assert lines[:2] == [f"event: {name}".encode(), b"id: p-1"]
    assert orjson.loads(lines[2].removeprefix(b"data: ")) == data
    assert lines[3:] == [b"", b""]


def test_the_state_of_a_very_large_sale_does_not_say_what_is_sold() -> None:
    for stock in (SOLD_ITEMS_MAX, SOLD_ITEMS_MAX + 1):
        watched = snapshot(replace(SALE, stock=stock), bytes(stock))
        data = encode_event(State(NOON, [], watched), b"p-1").split(b"\n")[2].removeprefix(b"data: ")
        assert ("sold" in orjson.loads(data)) == (stock <= SOLD_ITEMS_MAX)


@given(st.lists(st.sampled_from((0, 1)), min_size=1, max_size=100).map(bytes))
def test_a_bit_of_the_bitmap_is_an_item(flags: bytes) -> None:
    packed = bitmap(flags)
    assert len(packed) == (len(flags) + 7) // 8
    assert [packed[k // 8] >> k % 8 & 1 for k in range(8 * len(packed))][: len(flags)] == list(flags)
    assert sum(byte.bit_count() for byte in packed) == sum(flags)


def test_the_bitmap_is_what_a_browser_would_read() -> None:
    assert b64decode("AQI=") == bitmap(b"\1\0\0\0\0\0\0\0" + b"\0\1")
