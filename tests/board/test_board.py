"""Both ends of the board, on a real Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from flash.board import reader as reading
from flash.board.messages import Card, Led, Mark, Sample, card_key, encode_sample, stream_key
from flash.board.publisher import BoardPublisher
from flash.board.reader import BoardReader
from flash.errors import FlashError
from flash.local.embedded import EmbeddedValkey
from flash.stores.redis_link import RedisLink, flat
from tests.deployments import DEPLOYMENT, OTHER_DEPLOYMENT

KEY = stream_key(DEPLOYMENT)


class Told:
    """A process that tells what it is told to."""

    def __init__(self, link: RedisLink, name: str, role: str = "web", led: tuple[Led, ...] = ()) -> None:
        self.sold = 0
        self.marks: list[Mark] = []
        self._card = Card(name, role, "host", 7, "1.0", 60.0, led=led)
        self.publisher = BoardPublisher(
            DEPLOYMENT,
            link,
            card=lambda: self._card,
            sample=lambda: Sample(name, 60.0, sold=self.sold),
            new_marks=self._take_marks,
        )

    def _take_marks(self) -> list[Mark]:
        marks, self.marks = self.marks, []
        return marks


@asynccontextmanager
async def a_link(valkey: EmbeddedValkey) -> AsyncIterator[RedisLink]:
    async with RedisLink(valkey.url, timeout_seconds=5) as link:
        yield link


@pytest.fixture(autouse=True)
def _always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FRESH_SECONDS", 0.0)


async def test_what_processes_tell_is_read_with_their_cards(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        web, inventory = Told(link, "a"), Told(link, "b", "inventory", (Led(1, 3, 5.0),))
        inventory.marks = [Mark(0.5, "take_over", "host:7 took over sale 1, epoch 3")]
        for told in (web, inventory):
            await told.publisher.publish()
        reader = BoardReader(DEPLOYMENT, link)
        board = await reader.read()
        assert {name: card.role for name, card in board.cards.items()} == {"a": "web", "b": "inventory"}
        assert board.cards["b"].led == [Led(1, 3, 5.0)]
        assert [mark.kind for _, mark in board.history.marks(board.now_ms)] == ["take_over"]
        inventory.sold = 40
        await inventory.publisher.publish()
        board = await reader.read()
        assert sum(s.sold for s in board.history.seconds(int(board.now_ms // 1000) - 5, 7)) == pytest.approx(40)


async def test_more_than_a_page_is_read(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE_ENTRIES", 3)
    async with a_link(valkey) as link:
        for n in range(10):
            await Told(link, f"process {n}").publisher.publish()
        assert len((await BoardReader(DEPLOYMENT, link).read()).cards) == 10


async def test_who_says_goodbye_is_gone_at_once_and_not_lost(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        reader = BoardReader(DEPLOYMENT, link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Told(link, "a").publisher.run)
            while not (board := await reader.read()).cards:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        board = await reader.read()
        assert not board.cards
        assert [mark.text for _, mark in board.history.marks(board.now_ms)] == [
            "web host:7 started",
            "web host:7 stopped",
        ]
        assert not list(board.history.lost(board.now_ms + 60_000))
        assert reader.label("a") == "web host:7"


async def test_what_nobody_of_ours_has_told_is_not_shown(valkey: EmbeddedValkey) -> None:
    forged = flat(encode_sample(OTHER_DEPLOYMENT, Sample("forged", 1.0, sold=1_000_000)))
    async with a_link(valkey) as link:
        await Told(link, "a").publisher.publish()
        await link.execute(("XADD", KEY, "*", *forged), ("XADD", KEY, "*", "junk", "1"))
        await link.execute(("SET", card_key(DEPLOYMENT, "a"), "junk"))
        board = await BoardReader(DEPLOYMENT, link).read()
        assert list(board.history.processes) == ["a"]
        assert not board.cards


async def test_a_key_of_the_wrong_type_is_moved_aside(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        await link.execute(("SET", KEY, "junk"))
        told = Told(link, "a")
        await told.publisher.publish()
        await told.publisher.publish()
        assert list((await BoardReader(DEPLOYMENT, link).read()).cards) == ["a"]


async def test_a_redis_that_has_lost_its_data_is_read_from_its_beginning(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        reader, told = BoardReader(DEPLOYMENT, link), Told(link, "a")
        await told.publisher.publish()
        await reader.read()
        await link.execute(("FLUSHALL",))
        ((seconds, _),) = await link.execute(("TIME",))
        # A clock that was set back: what comes now has lower ids than what was read.
        earlier = f"{int(seconds) * 1000 - 60_000}-0"
        reader._last = f"{int(seconds) * 1000 + 60_000}-0".encode()
        await link.execute(("XADD", KEY, earlier, *flat(encode_sample(DEPLOYMENT, Sample("b", 5.0, sold=3)))))
        assert list((await reader.read()).history.processes) == ["b"]


async def test_marks_that_could_not_be_told_are_told_later(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        told = Told(link, "a")
        valkey.pause()
        try:
            async with RedisLink(valkey.url, timeout_seconds=0.05) as short:
                hurried = Told(short, "a")
                hurried.marks = [Mark(0.0, "store_lost", "Redis cannot be used")]
                await hurried.publisher.publish()  # raises nothing
                valkey.resume()
                short._timeout_seconds = 5.0
                await hurried.publisher.publish()
        finally:
            valkey.resume()
        await told.publisher.publish()
        board = await BoardReader(DEPLOYMENT, link).read()
        assert [mark.kind for _, mark in board.history.marks(board.now_ms)] == ["store_lost"]


async def test_the_stream_keeps_five_minutes(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        ((seconds, _),) = await link.execute(("TIME",))
        old = int(seconds) * 1000 - 400_000
        entry = flat(encode_sample(DEPLOYMENT, Sample("old", 60.0)))
        await link.execute(*(("XADD", KEY, f"{old}-{n}", *entry) for n in range(1, 1_001)))
        told = Told(link, "a")
        for _ in range(2):  # the first one tells the publisher what time it is
            await told.publisher.publish()
        (left,) = await link.execute(("XLEN", KEY))
        assert left <= 102, "whole nodes of the stream are dropped, and one holds a hundred entries at most"


async def test_a_board_that_cannot_be_read_says_so(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        valkey.kill()
        with pytest.raises(FlashError):
            await BoardReader(DEPLOYMENT, link).read()
