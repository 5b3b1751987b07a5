"""The purchase server, on a real Valkey and on its twin: what it delivers, what it keeps, what it leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.mailbox import Mailbox
from flash.domain import Outcome, Refusal, Refused, SaleId
from flash.errors import Unavailable
from flash.purchase_rpc import messages
from flash.purchase_rpc.inbox import BUSY_SECONDS, Delivery
from flash.purchase_rpc.payloads import CommandBatch, encode_commands
from flash.purchase_rpc.server import CROWDED_COMMANDS, PurchaseServer
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores.redis_link import RedisCommand, RedisLink, flat, streams_of
from flash.testing.cluster import until
from flash.testing.twins.link import RedisLinkTwin
from flash.testing.twins.redis import RedisTwin
from tests.deployments import DEPLOYMENT, OTHER_DEPLOYMENT
from tests.purchase_rpc.leader import END_MS, a_command, inbox_of
from tests.testing.conftest import NewLink

ONE, TWO = SaleId(1), SaleId(2)
REPLIES, OTHER_REPLIES = (messages.reply_key(DEPLOYMENT, web) for web in "ab")
INBOX = inbox_of(1)
SOLD_OUT = Refused(Refusal.SOLD_OUT)
QUIET_SECONDS = 1.1
"""A little longer than a sale is quiet before its inbox is read from the beginning."""


class Site:
    """One server on three links, and a fourth one for the test."""

    def __init__(self, reader: StreamLink, quiet_reader: StreamLink, writer: StreamLink, link: StreamLink) -> None:
        self.link = link
        self.woken = 0
        self.demanded: list[str] = []
        self.server = PurchaseServer(
            DEPLOYMENT, reader, quiet_reader, writer, on_wake_up=self._count, on_demand=self.demanded.append
        )

    def _count(self) -> None:
        self.woken += 1

    async def add(
        self, *numbers: int, sale: SaleId = ONE, reply_to: str = REPLIES, ttl_ms: int = 30_000, end_ms: int = END_MS
    ) -> bytes:
        """Add an entry as a web process would."""
        batch = CommandBatch(reply_to, ttl_ms, end_ms, [(n, a_command(n, sale)) for n in numbers])
        return await self.add_raw(messages.command_entry(DEPLOYMENT, sale, batch), sale=sale)

    async def add_raw(self, fields: Mapping[bytes, bytes], sale: SaleId = ONE) -> bytes:
        (entry_id,) = await self.link.execute(("XADD", inbox_of(sale), "*", *flat(fields)))
        assert isinstance(entry_id, bytes)
        return entry_id

    async def standing(self, sale: SaleId = ONE) -> list[bytes]:
        """The ids of the entries in the inbox."""
        (entries,) = await self.link.execute(("XRANGE", inbox_of(sale), "-", "+"))
        return [entry_id for entry_id, _ in entries]

    async def dead_letters(self) -> list[dict[bytes, bytes]]:
        (answer,) = await self.link.execute(("XREAD", "STREAMS", messages.dead_letter_key(DEPLOYMENT, ONE), "0"))
        return [fields for _, entries in streams_of(answer) for _, fields in entries]

    async def replies(self, key: str = REPLIES) -> list[list[tuple[int, Outcome | None]]]:
        """The batches of outcomes that were sent to a web process."""
        (answer,) = await self.link.execute(("XREAD", "STREAMS", key, "0"))
        return [messages.read_outcomes(fields) for _, entries in streams_of(answer) for _, fields in entries]


@asynccontextmanager
async def a_site(new_link: NewLink) -> AsyncIterator[Site]:
    links = [new_link() for _ in range(4)]
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for link in links:
            if isinstance(link, RedisLink):
                await stack.enter_async_context(link)
        site = Site(*links)
        nursery.start_soon(site.server.run)
        with trio.fail_after(30):
            yield site
        nursery.cancel_scope.cancel()


async def take(mailbox: Mailbox[Delivery], count: int) -> list[Delivery]:
    """The next `count` deliveries."""
    deliveries: list[Delivery] = []
    while len(deliveries) < count:
        deliveries += await mailbox.take(count - len(deliveries))
    return deliveries


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [delivery.number for delivery in deliveries]


async def nothing_comes(mailbox: Mailbox[Delivery], seconds: float) -> bool:
    """Reading goes on while this waits, so the inbox is met again from its beginning if `seconds` are enough."""
    with trio.move_on_after(seconds):
        await mailbox.take(1)
        return False
    return True


def noting_reads(reads: list[RedisCommand]) -> Callable[..., Awaitable[None]]:
    async def note(_method: str, commands: tuple[RedisCommand, ...]) -> None:
        reads.extend(command for command in commands if command[0] == "XREAD")

    return note


async def test_commands_are_delivered_with_all_that_an_answer_needs(new_link: NewLink, clock: MockClock) -> None:
    async with a_site(new_link) as site:
        await site.add(1, 2)
        with site.server.open(ONE) as mailbox:
            await site.add(3)
            deliveries = await take(mailbox, 3)
            assert [(d.number, d.command, d.reply_to) for d in deliveries] == [
                (number, a_command(number), REPLIES) for number in (1, 2, 3)
            ]
            now = trio.current_time()
            assert all(now + 25 < d.expires_at <= now + 30 for d in deliveries)


async def test_an_entry_is_deleted_when_its_last_command_is_answered_and_not_before(
    new_link: NewLink, clock: MockClock
) -> None:
    async with a_site(new_link) as site:
        entry_id = await site.add(1, 2, 3)
        with site.server.open(ONE) as mailbox:
            deliveries = await take(mailbox, 3)
            assert await site.standing() == [entry_id], "reading deletes nothing"
            await site.server.send([(deliveries[1], SOLD_OUT)])
            await site.server.send([(deliveries[0], None)])
            assert await site.standing() == [entry_id]
            await site.server.send([(deliveries[2], SOLD_OUT)])
            assert await site.standing() == []
            assert await site.replies() == [[(2, SOLD_OUT)], [(3, SOLD_OUT)]], "a dropped command has no answer"


@pytest.mark.parametrize("refusal", [Refusal.NO_ROOM, Refusal.PAUSED])
async def test_a_refusal_that_may_pass_is_told_only_when_no_successor_can_decide_again(
    new_link: NewLink, clock: MockClock, refusal: Refusal
) -> None:
    refused = Refused(refusal)
    async with a_site(new_link) as site:
        await site.add(1, 2, 3)
        with site.server.open(ONE) as mailbox:
            deliveries = await take(mailbox, 3)
            assert await site.server.send([(deliveries[0], refused), (deliveries[1], SOLD_OUT)]) is None
            assert await site.replies() == [[(2, SOLD_OUT)]]
        with site.server.open(ONE) as mailbox:
            deliveries = await take(mailbox, 3)
            assert numbers(deliveries) == [1, 2, 3], "another one leads, and may sell to the first"
            assert await site.server.send([(deliveries[0], refused), (deliveries[1], None)]) is None
            tell = await site.server.send([(deliveries[2], SOLD_OUT)])
            assert await site.standing() == []
            assert await site.replies() == [[(2, SOLD_OUT)], [(3, SOLD_OUT)]], "one that began before may have read it"
            assert tell is not None
            await tell()
            assert await site.replies() == [[(2, SOLD_OUT)], [(3, SOLD_OUT)], [(1, refused)]]


async def test_what_a_leader_has_not_answered_is_delivered_to_its_successor_whole(
    new_link: NewLink, clock: MockClock
) -> None:
    async with a_site(new_link) as site:
        await site.add(1, 2)
        await site.add(3)
        with site.server.open(ONE) as mailbox:
            deliveries = await take(mailbox, 3)
            await site.server.send([(deliveries[0], SOLD_OUT), (deliveries[2], SOLD_OUT)])
        with site.server.open(ONE) as mailbox:
            assert numbers(await take(mailbox, 2)) == [1, 2]
            assert await nothing_comes(mailbox, QUIET_SECONDS)


async def test_another_process_finds_what_its_predecessor_left(new_link: NewLink, clock: MockClock) -> None:
    async with a_site(new_link) as first:
        await first.add(1)
        with first.server.open(ONE) as mailbox:
            await take(mailbox, 1)
    async with a_site(new_link) as second:
        with second.server.open(ONE) as mailbox:
            assert numbers(await take(mailbox, 1)) == [1]


async def test_an_entry_that_is_held_is_not_delivered_twice_by_reading_from_the_beginning(
    new_link: NewLink, clock: MockClock
) -> None:
    async with a_site(new_link) as site:
        await site.add(1)
        with site.server.open(ONE) as mailbox:
            (held,) = await take(mailbox, 1)
            assert await nothing_comes(mailbox, 2 * QUIET_SECONDS)
            await site.server.send([(held, SOLD_OUT)])
            assert await site.standing() == []


async def test_entries_are_found_although_ids_have_started_again_lower(autojump_clock: MockClock) -> None:
    redis = RedisTwin()
    async with a_site(lambda: RedisLinkTwin(redis)) as site:
        with site.server.open(ONE) as mailbox:
            await site.add(1)
            await take(mailbox, 1)
            redis.lose_everything()
            redis.set_clock(-3600)
            await site.add(2)
            assert numbers(await take(mailbox, 1)) == [2]


async def test_an_inbox_opened_again_while_a_read_is_under_way_starts_from_its_beginning() -> None:
    redis = RedisTwin()
    reader, gate = RedisLinkTwin(redis), trio.Event()
    links = iter([reader, *(RedisLinkTwin(redis) for _ in range(3))])
    async with a_site(lambda: next(links)) as site:
        await site.add(1)
        with site.server.open(ONE) as mailbox:
            await take(mailbox, 1)
            await wait_all_tasks_blocked()  # the reader waits for what comes after the first entry

            async def hold_back(_name: str, _commands: tuple[object, ...]) -> None:
                await gate.wait()

            reader.faults.on_after = hold_back
            await site.add(2)
            await wait_all_tasks_blocked()
        with site.server.open(ONE) as mailbox:
            gate.set()
            assert numbers(await take(mailbox, 2)) == [1, 2]


async def test_an_expired_entry_is_delivered_as_expired_so_that_no_successor_decides_it(
    new_link: NewLink, clock: MockClock
) -> None:
    async with a_site(new_link) as site:
        await site.add(1, ttl_ms=20)
        await trio.sleep(0.05)  # Redis's clock has to move
        await site.add(2)
        with site.server.open(ONE) as mailbox:
            expired, fresh = await take(mailbox, 2)
            assert expired.expires_at <= trio.current_time() < fresh.expires_at


async def test_an_entry_that_a_frozen_redis_has_added_late_is_delivered_as_expired(
    new_link: NewLink, clock: MockClock
) -> None:
    async with a_site(new_link) as site:
        ((seconds, _),) = await site.link.execute(("TIME",))
        await site.add(1, end_ms=int(seconds) * 1000 - 1)
        await site.add(2, end_ms=int(seconds) * 1000 + 20_000)
        with site.server.open(ONE) as mailbox:
            expired, fresh = await take(mailbox, 2)
            now = trio.current_time()
            assert expired.expires_at <= now
            assert now + 15 < fresh.expires_at <= now + 20, "the earlier of two limits counts"


async def test_no_command_lives_longer_because_the_clock_of_redis_was_set_back(mock_clock: MockClock) -> None:
    redis = RedisTwin()
    async with a_site(lambda: RedisLinkTwin(redis)) as site:
        await site.add(1, ttl_ms=30_000)
        redis.set_clock(-3600)
        await wait_all_tasks_blocked()
        with site.server.open(ONE) as mailbox:
            mock_clock.jump(1.0)  # ends the reads that were under way without this inbox
            (delivery,) = await take(mailbox, 1)
            assert delivery.expires_at == trio.current_time() + 30


@pytest.mark.parametrize("more", [0, 1])
async def test_a_crowded_mailbox_is_not_read_further_while_others_are(
    new_link: NewLink, clock: MockClock, more: int
) -> None:
    async with a_site(new_link) as site:
        await site.add(*range(CROWDED_COMMANDS + more))
        with site.server.open(ONE) as crowded, site.server.open(TWO) as other:
            await until(lambda: len(crowded) == CROWDED_COMMANDS + more)
            await site.add(1)
            await site.add(2, sale=TWO)
            assert numbers(await take(other, 1)) == [2]
            await site.add(3, sale=TWO)
            assert numbers(await take(other, 1)) == [3]
            assert len(crowded) == CROWDED_COMMANDS + more
            await take(crowded, CROWDED_COMMANDS + more)
            assert numbers(await take(crowded, 1)) == [1]


async def test_a_crowded_inbox_is_read_again_soon_after_its_actor_has_caught_up(autojump_clock: MockClock) -> None:
    redis = RedisTwin()
    async with a_site(lambda: RedisLinkTwin(redis)) as site:
        await site.add(*range(CROWDED_COMMANDS))
        with site.server.open(ONE) as mailbox:
            await until(lambda: len(mailbox) == CROWDED_COMMANDS)
            await site.add(1)
            await trio.sleep(0.1)
            await take(mailbox, CROWDED_COMMANDS)
            caught_up_at = trio.current_time()
            assert numbers(await take(mailbox, 1)) == [1]
            assert trio.current_time() - caught_up_at < 0.05


async def test_a_sale_that_nobody_buys_from_costs_the_busy_reads_nothing(autojump_clock: MockClock) -> None:
    redis, reads = RedisTwin(), list[RedisCommand]()
    reader = RedisLinkTwin(redis)
    reader.faults.on_before = noting_reads(reads)
    others = iter([reader])
    async with a_site(lambda: next(others, None) or RedisLinkTwin(redis)) as site:
        with site.server.open(ONE) as quiet, site.server.open(TWO) as busy:
            await trio.sleep(BUSY_SECONDS + 2.5)  # more than the rest of a read on either side
            await site.add(1, sale=TWO)
            assert numbers(await take(busy, 1)) == [1]
            await trio.sleep(2.5)
            reads.clear()
            await site.add(2, sale=TWO)
            assert numbers(await take(busy, 1)) == [2]
            assert reads
            assert not any(inbox_of(ONE) in read for read in reads)
            before = trio.current_time()
            await site.add(3)
            assert numbers(await take(quiet, 1)) == [3]
            assert trio.current_time() == before, "the first buyer after a quiet time does not wait for a read to end"


async def test_an_inbox_that_both_readers_read_is_delivered_once(new_link: NewLink, clock: MockClock) -> None:
    async with a_site(new_link) as site:
        with site.server.open(ONE) as mailbox:
            for number in range(20):  # a new inbox is read by both from the second read on
                await site.add(number)
                assert numbers(await take(mailbox, 1)) == [number]
            assert await nothing_comes(mailbox, QUIET_SECONDS)


async def test_what_was_answered_while_a_read_was_under_way_is_not_delivered_by_it_again(
    autojump_clock: MockClock,
) -> None:
    redis, gate, paused = RedisTwin(), trio.Event(), Refused(Refusal.PAUSED)
    reader = RedisLinkTwin(redis)

    async def hold_back(_name: str, *_commands: object) -> None:
        await gate.wait()

    links = iter([reader])
    async with a_site(lambda: next(links, None) or RedisLinkTwin(redis)) as site:
        await wait_all_tasks_blocked()
        with site.server.open(ONE) as mailbox:
            await trio.sleep(1.2)  # by now both read it, for a second each
            reader.faults.on_after = hold_back
            entry_id = await site.add(1)
            (delivery,) = await take(mailbox, 1)
            tell = await site.server.send([(delivery, paused)])
            assert await site.standing() == []
            assert tell is not None
            await tell()
            assert await site.replies() == [[(1, paused)]], "the buyer was told that nothing was bought"
            gate.set()
            assert await nothing_comes(mailbox, 2 * QUIET_SECONDS), "or it might be sold now"
            assert entry_id not in delivery.entry.inbox.held, "it is forgotten once no read can bring it"
            assert not delivery.entry.inbox.deleted


async def test_what_is_answered_but_not_deleted_yet_is_not_delivered_again(autojump_clock: MockClock) -> None:
    redis, gate = RedisTwin(), trio.Event()
    writer = RedisLinkTwin(redis)

    async def hold_back(_name: str, *_commands: object) -> None:
        await gate.wait()

    writer.faults.on_before = hold_back
    links = iter([RedisLinkTwin(redis), RedisLinkTwin(redis), writer])
    async with a_site(lambda: next(links, None) or RedisLinkTwin(redis)) as site, trio.open_nursery() as nursery:
        await site.add(1)
        with site.server.open(ONE) as mailbox:
            (delivery,) = await take(mailbox, 1)
            nursery.start_soon(site.server.send, [(delivery, Refused(Refusal.PAUSED))])
            assert await nothing_comes(mailbox, 2 * QUIET_SECONDS), "it is met again from the beginning"
            gate.set()
            await until(lambda: delivery.entry.deleted_at < trio.current_time())
            assert await site.standing() == []


async def test_replies_are_grouped_by_the_web_process_that_waits_for_them(new_link: NewLink, clock: MockClock) -> None:
    async with a_site(new_link) as site:
        await site.add(1, 2)
        await site.add(3, reply_to=OTHER_REPLIES)
        await site.add(4, sale=TWO)
        with site.server.open(ONE) as one, site.server.open(TWO) as two:
            deliveries = await take(one, 3) + await take(two, 1)
            await site.server.send([(delivery, SOLD_OUT) for delivery in deliveries])
            assert await site.replies() == [[(1, SOLD_OUT), (2, SOLD_OUT), (4, SOLD_OUT)]]
            assert await site.replies(OTHER_REPLIES) == [[(3, SOLD_OUT)]]
            assert (await site.standing(), await site.standing(TWO)) == ([], [])
            (left,) = await site.link.execute(("PTTL", REPLIES))
            assert 0 < left <= 60_000, "replies do not outlive their web process for long"


def sealed(**fields: bytes) -> messages.Fields:
    """An entry of our own for the inbox of sale 1, whatever stands in it."""
    return messages.sealed(
        DEPLOYMENT, messages.COMMAND, INBOX, {name.encode(): value for name, value in fields.items()}
    )


BATCH = CommandBatch(REPLIES, 5000, END_MS, [(1, a_command(1))])
GOOD = messages.command_entry(DEPLOYMENT, ONE, BATCH)
COMMANDS = encode_commands(BATCH)
DEAD_LETTERS = {
    "no JSON": sealed(v=b"2", c=b"\xff\x00"),
    "no commands": sealed(v=b"2", d=b"[]"),
    "an empty batch": sealed(v=b"2", c=encode_commands(CommandBatch(REPLIES, 5000, END_MS, []))),
    "a reply stream that is none": sealed(v=b"2", c=encode_commands(CommandBatch(INBOX, 5000, END_MS, BATCH.commands))),
    "a version that is none": sealed(v=b"two", c=COMMANDS),
    "version 0": sealed(v=b"0", c=COMMANDS),
    "version 1": sealed(v=b"1", c=COMMANDS),
    "no version": sealed(c=COMMANDS),
    "unsealed": {b"v": b"2", b"c": COMMANDS},
    "an unsealed one of the next release": {b"v": b"3", b"c": COMMANDS},
    "sealed with another key": messages.command_entry(OTHER_DEPLOYMENT, ONE, BATCH),
    "of another sale's inbox": messages.sealed(DEPLOYMENT, messages.COMMAND, inbox_of(2), {b"v": b"2", b"c": COMMANDS}),
    "a reply": messages.sealed(DEPLOYMENT, messages.REPLY, INBOX, {b"v": b"2", b"c": COMMANDS}),
    "another payload": {**GOOD, b"c": encode_commands(CommandBatch(REPLIES, 6000, END_MS, BATCH.commands))},
    "another version": {**GOOD, b"v": b"3"},
    "one field more": {**GOOD, b"x": b""},
}


@pytest.mark.parametrize("fields", DEAD_LETTERS.values(), ids=DEAD_LETTERS)
async def test_a_dead_letter_is_moved_aside_and_what_stands_behind_it_delivered(
    new_link: NewLink, clock: MockClock, caplog: pytest.LogCaptureFixture, fields: dict[bytes, bytes]
) -> None:
    async with a_site(new_link) as site:
        await site.add_raw(fields)
        good = await site.add(1)
        with site.server.open(ONE) as mailbox:
            assert numbers(await take(mailbox, 1)) == [1]
        assert await site.dead_letters() == [fields]
        assert await site.standing() == [good]
        assert "is a dead letter" in caplog.text


async def test_a_dead_letter_that_cannot_be_moved_is_met_again_with_all_that_stands_behind_it(
    autojump_clock: MockClock,
) -> None:
    redis = RedisTwin()
    writer = RedisLinkTwin(redis)
    links = iter([RedisLinkTwin(redis), RedisLinkTwin(redis), writer, RedisLinkTwin(redis)])
    async with a_site(lambda: next(links)) as site:
        writer.faults.fail_before(Unavailable("not there"))
        with site.server.open(ONE) as mailbox:
            before = await site.add(1)
            dead = sealed(v=b"2", c=b"[]")
            await site.add_raw(dead)
            behind = await site.add(2)
            started_at = trio.current_time()
            assert numbers(await take(mailbox, 2)) == [1, 2]
            assert trio.current_time() - started_at < QUIET_SECONDS / 2, "not only once the inbox has been quiet"
            assert await site.dead_letters() == [dead]
            assert await site.standing() == [before, behind]
            assert await nothing_comes(mailbox, QUIET_SECONDS), "what stood before it was delivered once"


async def test_an_inbox_of_another_type_is_moved_aside_and_stops_no_other_sale(
    new_link: NewLink, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_site(new_link) as site:
        with site.server.open(ONE) as mailbox, site.server.open(TWO) as other:
            await site.add(1)
            (delivery,) = await take(mailbox, 1)
            await site.link.execute(("DEL", INBOX), ("SET", INBOX, "not a stream"))
            await site.add(2, sale=TWO)
            assert numbers(await take(other, 1)) == [2]
            await until(lambda: "wrong_type" in caplog.text)
            await site.add(3)
            assert numbers(await take(mailbox, 1)) == [3]
            assert await site.link.execute(("TYPE", f"{INBOX}:wrong_type")) == [b"string"]
            await site.link.execute(("DEL", INBOX), ("SET", INBOX, "again"))
            await site.server.send([(delivery, SOLD_OUT)])
            assert (await site.replies())[-1] == [(1, SOLD_OUT)]


@pytest.mark.parametrize("name", ["replies", "dead letters", "wake-up stream"])
async def test_no_key_of_another_type_ends_a_term(new_link: NewLink, clock: MockClock, name: str) -> None:
    key = {
        "replies": REPLIES,
        "dead letters": messages.dead_letter_key(DEPLOYMENT, ONE),
        "wake-up stream": messages.wake_up_key(DEPLOYMENT),
    }[name]
    async with a_site(new_link) as site:
        await site.link.execute(("DEL", key), ("SET", key, "not a stream"))
        await site.add_raw(DEAD_LETTERS["unsealed"])
        await site.add(1)
        await site.add(2, reply_to=OTHER_REPLIES)
        with site.server.open(ONE) as mailbox:
            deliveries = await take(mailbox, 2)
            await site.server.send([(delivery, SOLD_OUT) for delivery in deliveries])
            await site.server.notify()
            await until(lambda: site.woken)
        assert (await site.replies())[-1] == [(1, SOLD_OUT)]
        assert (await site.replies(OTHER_REPLIES))[-1] == [(2, SOLD_OUT)]
        assert await site.dead_letters() == [DEAD_LETTERS["unsealed"]]
        assert await site.standing() == []


async def test_a_notification_wakes_up_every_process_once(new_link: NewLink, clock: MockClock) -> None:
    async with a_site(new_link) as one, a_site(new_link) as other:
        await wait_all_tasks_blocked()
        before = (one.woken, other.woken)
        await one.server.notify()
        await until(lambda: (one.woken, other.woken) == (before[0] + 1, before[1] + 1))
        for _ in range(20):
            await one.server.notify()
        (count,) = await one.link.execute(("XLEN", messages.wake_up_key(DEPLOYMENT)))
        assert count == 16, "hints are not kept for ever"


# Rolling upgrades


async def test_a_reply_lists_its_numbers_for_who_cannot_read_its_payload(new_link: NewLink, clock: MockClock) -> None:
    async with a_site(new_link) as site:
        await site.add(1, 2, 3)
        with site.server.open(ONE) as mailbox:
            first, second, third = await take(mailbox, 3)
            await site.server.send([(first, SOLD_OUT), (second, None), (third, SOLD_OUT)])
        (answer,) = await site.link.execute(("XREAD", "STREAMS", REPLIES, "0"))
        ((_, [(_, fields)]),) = streams_of(answer)
        assert set(fields) == {b"v", b"n", b"o", b"s"}
        assert messages.reply_version(DEPLOYMENT, REPLIES, fields) == 2
        assert fields[b"n"] == b"1,3"


async def test_an_entry_of_the_next_release_stays_where_it_is_and_is_named_once(
    new_link: NewLink, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_site(new_link) as site:
        fields = sealed(v=b"3", c=b"\x93 in another encoding", x=b"a field that nobody knows here")
        newer = [await site.add_raw(fields) for _ in range(3)]
        good = await site.add(1)
        with site.server.open(ONE) as mailbox:
            assert numbers(await take(mailbox, 1)) == [1]
            assert await nothing_comes(mailbox, QUIET_SECONDS)
        assert await site.standing() == [*newer, good]
        assert await site.dead_letters() == []
        (record,) = caplog.records
        assert "version 3" in record.getMessage()
        assert "finish the upgrade" in record.getMessage()


LEASE, OTHER_LEASE = messages.lease_key(ONE), messages.lease_key(TWO)


async def test_a_watched_inbox_is_told_once_and_what_stands_in_it_is_left_for_whoever_leads(new_link: NewLink) -> None:
    async with a_site(new_link) as site:
        await site.server.watch([LEASE, OTHER_LEASE])
        entry = await site.add(1)
        await until(lambda: site.demanded == [LEASE])
        assert await site.standing() == [entry]
        with site.server.open(ONE) as mailbox:
            await site.server.wake_up_reader()
            (delivery,) = await mailbox.take(10)
            assert delivery.number == 1
        await site.server.watch([LEASE])
        await until(lambda: site.demanded == [LEASE, LEASE])


async def test_what_stood_in_an_inbox_before_it_was_watched_is_told_and_nothing_of_one_that_is_not(
    new_link: NewLink,
) -> None:
    async with a_site(new_link) as site:
        await site.add(1)
        await site.add(2, sale=TWO)
        await site.server.watch([OTHER_LEASE])
        await until(lambda: site.demanded)
        await site.server.watch([OTHER_LEASE])
        await until(lambda: len(site.demanded) > 1)
        assert site.demanded == [OTHER_LEASE, OTHER_LEASE]


async def test_opening_an_inbox_is_no_news_for_other_hosts(new_link: NewLink) -> None:
    async with a_site(new_link) as site:
        await site.server.wake_up_reader()
        await site.server.notify()
        await until(lambda: site.woken == 1)


async def test_how_long_a_sale_has_been_quiet_is_known_while_its_inbox_is_open(mock_clock: MockClock) -> None:
    link = RedisLinkTwin(RedisTwin())
    server = Site(link, link, link, link).server
    assert server.quiet_seconds(LEASE) == 0
    with server.open(ONE):
        mock_clock.jump(7)
        assert server.quiet_seconds(LEASE) == 7
    assert server.quiet_seconds(LEASE) == 0
