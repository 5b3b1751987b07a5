"""Both ends of the feed: the leaders' on a real Valkey, and the web processes' on its twin too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio

from flash.deployment import MESSAGE_KEY_BYTES, Deployment
from flash.domain import (
    CheckoutId,
    Epoch,
    ItemId,
    Outcome,
    Purchase,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    SaleId,
    Sold,
    Term,
    UserId,
)
from flash.errors import OutcomeUnknown
from flash.local.embedded import EmbeddedValkey
from flash.purchase_rpc.stream_link import StreamLink
from flash.sold_feed.messages import SoldBatch, decode_sold, encode_sold, sold_key
from flash.sold_feed.publisher import ENTRIES_MAX, PublishingReplies, sold_entry
from flash.sold_feed.subscriber import SoldSubscriber
from flash.stores.redis_link import RedisCommand, RedisLink
from flash.testing.cluster import until
from tests.testing.conftest import NewLink
from tests.testing.conftest import new_link as new_link  # a fixture

DEPLOYMENT = Deployment("0011", bytes(MESSAGE_KEY_BYTES))
KEY = sold_key(DEPLOYMENT)
TERM = Term(SaleId(1), Epoch(1), b"t" * 16)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def batch(sold: int, *items: int) -> SoldBatch:
    return SoldBatch(TERM, sold, [ItemId(n) for n in items])


# --- the leaders' end ---


@asynccontextmanager
async def a_link(valkey: EmbeddedValkey) -> AsyncIterator[RedisLink]:
    async with RedisLink(valkey.url, timeout_seconds=5) as link:
        yield link


async def entries(link: StreamLink) -> list[SoldBatch]:
    (found,) = await link.execute(("XRANGE", KEY, "-", "+"))
    return [decode_sold(DEPLOYMENT, dict(zip(flat[::2], flat[1::2], strict=True))) for _, flat in found]


async def test_an_entry_is_added_to_a_stream_that_stays_short_and_does_not_stay_for_ever(
    valkey: EmbeddedValkey,
) -> None:
    async with a_link(valkey) as link:
        await link.execute(*(sold_entry(DEPLOYMENT, batch(n, n)) for n in range(1, ENTRIES_MAX + 3)))
        assert await entries(link) == [batch(n, n) for n in range(3, ENTRIES_MAX + 3)]
        (ttl_ms,) = await link.execute(("PTTL", KEY))
        assert 0 < ttl_ms <= 60_000


async def test_a_key_of_the_wrong_type_or_a_stream_at_its_last_id_is_no_error_for_the_replies(
    valkey: EmbeddedValkey,
) -> None:
    last: RedisCommand = ("XADD", KEY, f"{2**64 - 1}-{2**64 - 1}", "x", "y")
    async with a_link(valkey) as link:
        for spoil in (("SET", KEY, "x"), last):
            await link.execute(("DEL", KEY), spoil)
            answers = await link.execute(sold_entry(DEPLOYMENT, batch(1, 1)), ("SET", "reply", "sent"))
            assert answers == [0, b"OK"]
        assert await entries(link) == [batch(1, 1)], "what was spoilt makes way for a stream that works"


class Server:
    """What the purchase server was asked to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[list[tuple[str, Outcome | None]], list[RedisCommand]]] = []
        self.error: OutcomeUnknown | None = None

    async def send(self, answers: Iterable[tuple[str, Outcome | None]], also: Sequence[RedisCommand] = ()) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((list(answers), list(also)))


def purchase(item: int) -> Purchase:
    return Purchase(CheckoutId(item), RequestId("key:a"), ItemId(item), UserId("ann"), 1, NOON)


async def test_what_was_sold_goes_with_the_replies_and_counts_on_from_what_the_term_began_with() -> None:
    server = Server()
    replies: PublishingReplies[str] = PublishingReplies(server, DEPLOYMENT, TERM, 40)
    first: list[tuple[str, Outcome | None]] = [
        ("a", Sold(purchase(3))),
        ("b", Repeated(purchase(1))),
        ("c", Refused(Refusal.ITEM_SOLD)),
        ("d", None),
        ("e", Sold(purchase(9))),
    ]
    nothing: list[tuple[str, Outcome | None]] = [("f", Refused(Refusal.ITEM_SOLD))]
    await replies.send(iter(first))
    await replies.send(nothing)
    await replies.send([("g", Sold(purchase(4)))])
    assert [answers for answers, _ in server.sent] == [first, nothing, [("g", Sold(purchase(4)))]]
    assert [also for _, also in server.sent] == [
        [sold_entry(DEPLOYMENT, batch(42, 3, 9))],
        [],
        [sold_entry(DEPLOYMENT, batch(43, 4))],
    ]


async def test_replies_that_fail_fail() -> None:
    server = Server()
    server.error = OutcomeUnknown("Redis did not answer")
    with pytest.raises(OutcomeUnknown):
        await PublishingReplies(server, DEPLOYMENT, TERM, 0).send([("a", Sold(purchase(3)))])


# --- the web processes' end ---


class Reader:
    """A subscriber that runs, what it delivered, and a link to write to the stream."""

    def __init__(self, reads: StreamLink, link: StreamLink) -> None:
        self.link: StreamLink = link
        self.heard: list[SoldBatch] = []
        self.doubts = 0
        self.subscriber = SoldSubscriber(DEPLOYMENT, reads, self.heard.append, self._doubt)

    def _doubt(self) -> None:
        self.doubts += 1

    async def add(self, *batches: SoldBatch, deployment: Deployment = DEPLOYMENT, id: str = "*") -> None:
        for one in batches:
            fields = [part for field in encode_sold(deployment, one).items() for part in field]
            await self.link.execute(("XADD", KEY, id, *fields))


@asynccontextmanager
async def reading(new_link: NewLink) -> AsyncIterator[Reader]:
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        links = [new_link(), new_link()]
        for link in links:
            if isinstance(link, RedisLink):
                await stack.enter_async_context(link)
        reader = Reader(*links)
        nursery.start_soon(reader.subscriber.run)
        with trio.fail_after(20):
            yield reader
        nursery.cancel_scope.cancel()


async def test_batches_are_delivered_in_order_also_those_that_stand_there_already(new_link: NewLink) -> None:
    async with reading(new_link) as reader:
        await reader.add(batch(1, 1), batch(2, 2))
        await until(lambda: len(reader.heard) == 2)
        await reader.add(batch(4, 3, 4))
        await until(lambda: len(reader.heard) == 3)
        assert reader.heard == [batch(1, 1), batch(2, 2), batch(4, 3, 4)]
        assert reader.doubts == 0


async def test_a_forged_entry_is_dropped_and_doubted_and_what_follows_is_heard(
    new_link: NewLink, caplog: pytest.LogCaptureFixture
) -> None:
    async with reading(new_link) as reader:
        await reader.add(batch(1, 1), deployment=Deployment("0011", b"x" * MESSAGE_KEY_BYTES))
        await reader.link.execute(("XADD", KEY, "*", "x", "y"))
        await reader.add(batch(1, 2))
        await until(lambda: reader.heard)
        assert (reader.heard, reader.doubts) == ([batch(1, 2)], 2)
        assert "its seal is not ours" in caplog.text


async def test_what_is_no_stream_is_moved_aside_and_what_follows_is_heard(valkey: EmbeddedValkey) -> None:
    async with reading(lambda: RedisLink(valkey.url, timeout_seconds=0.5)) as reader:
        await reader.link.execute(("SET", KEY, "x"))
        await until(lambda: reader.doubts)
        with trio.fail_after(5):
            while not reader.heard:
                await reader.link.execute(sold_entry(DEPLOYMENT, batch(1, 1)))
                await trio.sleep(0.05)
        assert await reader.link.execute(("GET", f"{KEY}:wrong_type")) == [b"x"]


async def test_a_redis_that_lost_its_data_and_gives_lower_ids_is_read_from_its_beginning(
    valkey: EmbeddedValkey,
) -> None:
    async with reading(lambda: RedisLink(valkey.url, timeout_seconds=0.5)) as reader:
        await reader.add(batch(1, 1), id="9000-0")
        await until(lambda: reader.heard)
        await reader.link.execute(("FLUSHALL",))
        await reader.add(batch(2, 2), id="7-0")
        await until(lambda: len(reader.heard) == 2, seconds=5)
        assert reader.heard[1] == batch(2, 2)
        assert reader.doubts >= 1


async def test_what_comes_after_a_redis_that_was_away_is_heard(valkey: EmbeddedValkey) -> None:
    async with reading(lambda: RedisLink(valkey.url, timeout_seconds=0.5)) as reader:
        await reader.add(batch(1, 1))
        await until(lambda: reader.heard)
        valkey.kill()
        await until(lambda: reader.doubts)
        valkey.start()
        async with a_link(valkey) as reader.link:
            await reader.add(batch(2, 2))
            await until(lambda: batch(2, 2) in reader.heard)


async def test_a_quiet_reader_leaves_a_redis_that_was_demoted(valkey: EmbeddedValkey) -> None:
    async with reading(lambda: RedisLink(valkey.url, timeout_seconds=0.5)) as reader:
        await reader.add(batch(1, 1))
        await until(lambda: reader.heard)
        await reader.link.execute(("REPLICAOF", "127.0.0.1", "1"))
        try:
            await until(lambda: reader.doubts, seconds=5)
        finally:
            await reader.link.execute(("REPLICAOF", "NO", "ONE"))
