"""What both ends of the purchase RPC rely on, checked on a real Valkey and on its twin alike."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash.errors import OutcomeUnknown, Unavailable
from flash.purchase_rpc.stream_link import StreamLink
from flash.purchase_rpc.wrong_types import LAST_ID, move_aside
from flash.stores.redis_link import RedisLink, WrongType, streams_of
from tests.testing.conftest import NewLink


class Links(AsyncExitStack):
    """Links that are closed at the end, as far as they need it."""

    async def open(self, new_link: NewLink) -> StreamLink:
        link = new_link()
        if isinstance(link, RedisLink):
            await self.enter_async_context(link)
        return link


async def one(link: StreamLink, *command: str | bytes | int) -> Any:
    (answer,) = await link.execute(command)
    return answer


async def test_entries_are_read_in_order_after_the_last_one_known(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        ids = await link.execute(*[("XADD", "s", "*", "n", number, "raw", b"\x00\r\n\xff") for number in range(4)])
        (read,) = await link.execute(("XREAD", "COUNT", 2, "STREAMS", "s", ids[0]))
        fields = [{b"n": b"%d" % number, b"raw": b"\x00\r\n\xff"} for number in range(4)]
        assert streams_of(read) == [(b"s", [(ids[1], fields[1]), (ids[2], fields[2])])]
        (read,) = await link.execute(("XREAD", "STREAMS", "s", "0"))
        assert [id for id, _ in streams_of(read)[0][1]] == ids
        assert await one(link, "XREAD", "STREAMS", "s", ids[3]) is None


async def test_one_read_serves_several_streams(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        first, _, last = await link.execute(
            ("XADD", "a", "*", "f", 1), ("XADD", "quiet", "*", "f", 2), ("XADD", "b", "*", "f", 3)
        )
        quiet = (await one(link, "XRANGE", "quiet", "-", "+"))[0][0]
        (read,) = await link.execute(("XREAD", "STREAMS", "a", "quiet", "b", "none", "0", quiet, "0", "0"))
        assert streams_of(read) == [(b"a", [(first, {b"f": b"1"})]), (b"b", [(last, {b"f": b"3"})])]


async def test_a_blocked_read_wakes_up_with_the_first_entry_and_ends_by_itself(new_link: NewLink) -> None:
    async with Links() as links:
        reader, writer = await links.open(new_link), await links.open(new_link)
        read: list[list[Any]] = []

        async def read_twice() -> None:
            for last in ("0", "9999999999999-0"):
                read.append(
                    await reader.execute(
                        ("XREAD", "COUNT", 5, "BLOCK", 200, "STREAMS", "a", "b", last, last),
                        ("TIME",),
                        block_seconds=0.2,
                    )
                )

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_twice)
                await wait_all_tasks_blocked()
                entry_id = await one(writer, "XADD", "b", "*", "f", "v")
        (found, _), (nothing, _) = read
        assert streams_of(found) == [(b"b", [(entry_id, {b"f": b"v"})])]
        assert nothing is None


async def test_a_deleted_entry_is_gone_and_its_id_is_not_used_again(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        first, second = await link.execute(("XADD", "s", "*", "f", 1), ("XADD", "s", "*", "f", 2))
        assert await one(link, "XDEL", "s", first, "1-1") == 1
        assert await one(link, "XRANGE", "s", first, first) == []
        assert await one(link, "XRANGE", "s", second, second) == [[second, [b"f", b"2"]]]
        assert await one(link, "XDEL", "s", second) == 1
        assert await one(link, "XLEN", "s") == 0
        third = await one(link, "XADD", "s", "*", "f", 3)
        assert [int(part) for part in third.split(b"-")] > [int(part) for part in second.split(b"-")]


async def test_a_bounded_stream_keeps_its_latest_entries(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        ids = await link.execute(*[("XADD", "s", "MAXLEN", 2, "*", "f", number) for number in range(5)])
        assert [id for id, _ in await one(link, "XRANGE", "s", "-", "+")] == ids[3:]


async def test_ids_follow_the_servers_clock(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        before, entry_id, after = await link.execute(("TIME",), ("XADD", "s", "*", "f", 1), ("TIME",))
        ms = [int(seconds) * 1000 + int(microseconds) // 1000 for seconds, microseconds in (before, after)]
        assert ms[0] <= int(entry_id.partition(b"-")[0]) <= ms[1]


async def test_a_key_expires_when_it_was_told_to_and_adding_does_not_prolong_it(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        _, forever = await link.execute(("XADD", "s", "*", "f", 1), ("PTTL", "s"))
        _, _, left, missing = await link.execute(
            ("PEXPIRE", "s", 50), ("XADD", "s", "*", "f", 2), ("PTTL", "s"), ("PTTL", "none")
        )
        assert (forever, missing) == (-1, -2)
        assert 0 < left <= 50
        with trio.fail_after(5):
            while True:
                if not await one(link, "XLEN", "s"):
                    break
                await trio.sleep(0.01)
        assert await one(link, "PEXPIRE", "s", 50) == 0


async def test_a_flush_forgets_everything(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        await link.execute(("XADD", "s", "*", "f", 1), ("FLUSHALL",))
        assert await link.execute(("XLEN", "s"), ("PTTL", "s")) == [0, -2]


async def test_an_error_is_an_unknown_outcome_and_the_commands_around_it_are_performed(new_link: NewLink) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        with pytest.raises(WrongType, match="WRONGTYPE"):
            await link.execute(("SET", "k", "text"), ("XADD", "k", "*", "f", 1), ("XADD", "s", "*", "f", 2))
        with pytest.raises(WrongType, match="WRONGTYPE"):
            await link.execute(("XREAD", "STREAMS", "s", "k", "0", "0"))
        assert await link.execute(("XLEN", "s"), ("DEL", "k", "none"), ("XLEN", "k")) == [1, 1, 0]


async def test_what_is_no_stream_is_moved_aside_once_and_the_stream_that_follows_stays(new_link: NewLink) -> None:
    async with Links() as links:
        one_process, another = await links.open(new_link), await links.open(new_link)
        await one_process.execute(("SET", "k", "text"), ("XADD", "good", "*", "f", 1))
        await move_aside(one_process, ["good", "k", "none"])
        assert await one(one_process, "TYPE", "k:wrong_type") == b"string"
        assert await one(one_process, "PTTL", "k:wrong_type") > 6 * 86_400_000
        await one_process.execute(("XADD", "k", "*", "f", 2))
        await move_aside(another, ["k"])  # it had met the text as well
        assert await another.execute(("XLEN", "k"), ("XLEN", "good"), ("TYPE", "k:wrong_type")) == [1, 1, b"string"]


async def test_a_stream_that_has_given_its_last_id_away_is_moved_aside_and_no_other_one(
    new_link: NewLink,
) -> None:
    async with Links() as links:
        link = await links.open(new_link)
        before_last = f"{2**64 - 1}-{2**64 - 2}"
        await link.execute(("XADD", "full", before_last, "f", 1), ("XADD", "high", before_last, "f", 1))
        last = await one(link, "XADD", "full", "*", "f", 2)
        assert last.decode() == LAST_ID
        await link.execute(("XDEL", "full", last))
        with pytest.raises(WrongType, match="exhausted the last possible ID"):
            await one(link, "XADD", "full", "*", "f", 3)
        with pytest.raises(OutcomeUnknown, match="equal or smaller"):
            await one(link, "XADD", "high", before_last, "f", 3)
        await move_aside(link, ["full", "high"])
        assert await link.execute(("XLEN", "full"), ("XLEN", "full:wrong_type"), ("XLEN", "high")) == [0, 1, 1]
        await one(link, "XADD", "full", "*", "f", 4)


async def test_whoever_waits_too_long_for_their_turn_has_sent_nothing(new_link: NewLink) -> None:
    async with Links() as links, trio.open_nursery() as nursery:
        link = await links.open(new_link)
        await link.execute(("XLEN", "s"))

        async def block() -> None:
            await link.execute(("XREAD", "BLOCK", 5_000, "STREAMS", "quiet", "0"), block_seconds=5)

        nursery.start_soon(block)
        await wait_all_tasks_blocked()
        with pytest.raises(Unavailable):
            await link.execute(("XADD", "s", "*", "f", 1))
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await one(link, "XLEN", "s") == 0
