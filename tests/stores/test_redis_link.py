"""The link to a real Valkey: answers in order, errors that say what may be assumed, no use of a broken connection."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash.errors import OutcomeUnknown, Unavailable
from flash.local.embedded import EmbeddedValkey
from flash.stores.redis_link import RedisLink, streams_of, write_probe


def a_link(valkey: EmbeddedValkey, seconds: float = 5.0) -> RedisLink:
    return RedisLink(valkey.url, timeout_seconds=seconds)


async def test_commands_are_answered_in_order(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        entry_id, streams, missing = await link.execute(
            ("XADD", "s", "*", "field", b"\x00\r\n\xff"), ("XREAD", "STREAMS", "s", 0), ("GET", "nothing")
        )
        assert streams_of(streams) == [(b"s", [(entry_id, {b"field": b"\x00\r\n\xff"})])]
        assert missing is None
        big = b"x" * 5_000_000
        assert await link.execute(("SET", "big", big), ("GET", "big")) == [b"OK", big]


async def demote(valkey: EmbeddedValkey) -> None:
    """Make it a replica of a server that is not there: it answers reads, and refuses writes."""
    async with a_link(valkey) as operator:
        await operator.execute(("REPLICAOF", "127.0.0.1", 1))


async def test_a_demoted_server_loses_the_connection_and_a_read_that_waits_in_it(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as writer, a_link(valkey) as reader, a_link(valkey) as operator:
        await writer.execute(("XADD", "s", "*", "f", 1))
        await reader.execute(("PING",))  # connected, so that its read is sent before it blocks
        told: list[str] = []

        async def read() -> None:
            with pytest.raises(OutcomeUnknown) as caught:
                await reader.execute(("XREAD", "BLOCK", 60_000, "STREAMS", "s", "$"), block_seconds=60)
            told.append(str(caught.value))

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                await demote(valkey)
        assert told == [f"Redis refused: {told[0].partition(': ')[2]}"]
        assert "UNBLOCKED" in told[0]
        with pytest.raises(OutcomeUnknown, match="READONLY"):
            await writer.execute(("XADD", "s", "*", "f", 2), ("XREAD", "BLOCK", 60_000, "STREAMS", "s", "$"))
        assert writer._connection is None, "the next use connects anew"
        assert reader._connection is None
        with pytest.raises(OutcomeUnknown, match="READONLY"):
            await write_probe(writer, "probe")
        await operator.execute(("REPLICAOF", "NO", "ONE"))
        await write_probe(writer, "probe")
        (left,) = await operator.execute(("PTTL", "probe"))
        assert 0 < left <= 10_000, "nothing stays"


async def test_users_of_one_link_take_turns(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link, trio.open_nursery() as nursery:

        async def echo(number: int) -> None:
            assert await link.execute(*[("ECHO", f"{number}-{i}") for i in range(9)]) == [
                f"{number}-{i}".encode() for i in range(9)
            ]

        for number in range(50):
            nursery.start_soon(echo, number)


async def test_an_error_among_the_answers_is_an_unknown_outcome_and_the_link_goes_on(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        with pytest.raises(OutcomeUnknown, match="WRONGTYPE"):
            await link.execute(("SET", "k", 1), ("XADD", "k", "*", "a", "b"), ("SET", "l", 2))
        assert await link.execute(("GET", "l")) == [b"2"]


async def test_a_cancelled_call_leaves_nothing_behind_for_the_next_one(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        for _ in range(20):
            with trio.move_on_after(0.005):
                await link.execute(("XREAD", "BLOCK", 60_000, "STREAMS", "quiet", "0"), block_seconds=60)
            assert await link.execute(("ECHO", "mine")) == [b"mine"]


async def test_a_server_that_dies_or_freezes_is_told_apart_from_one_that_was_not_there(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey, seconds=0.2) as link:
        assert await link.execute(("PING",)) == [b"PONG"]
        valkey.pause()
        with pytest.raises(OutcomeUnknown):
            await link.execute(("INCR", "n"))
        valkey.resume()
        assert await link.execute(("PING",)) == [b"PONG"]
        valkey.kill()
        with pytest.raises(OutcomeUnknown):
            await link.execute(("INCR", "n"))
        with pytest.raises(Unavailable):
            await link.execute(("INCR", "n"))
        await trio.to_thread.run_sync(valkey.start)
        assert await link.execute(("PING",)) == [b"PONG"]


async def test_a_url_with_a_host_a_password_and_a_database_is_obeyed(valkey: EmbeddedValkey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with a_link(valkey) as link:
        await link.execute(("CONFIG", "SET", "port", port), ("CONFIG", "SET", "requirepass", "s3cret"))
        await link.execute(("SET", "where", "zero"))
    async with RedisLink(f"redis://:s3cret@127.0.0.1:{port}/3", timeout_seconds=5) as link:
        assert await link.execute(("GET", "where"), ("SET", "where", "three")) == [None, b"OK"]
    async with RedisLink(f"redis://:wrong@127.0.0.1:{port}/3", timeout_seconds=5) as link:
        with pytest.raises(Unavailable, match="WRONGPASS"):
            await link.execute(("PING",))


async def test_whoever_waits_too_long_for_a_turn_is_told_that_nothing_was_sent(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey, seconds=0.2) as link, trio.open_nursery() as nursery:
        await link.execute(("PING",))
        nursery.start_soon(partial(link.execute, ("XREAD", "BLOCK", 60_000, "STREAMS", "s", "0"), block_seconds=60))
        await wait_all_tasks_blocked()
        with pytest.raises(Unavailable, match="too slow"):
            await link.execute(("INCR", "n"))
        nursery.cancel_scope.cancel()
    async with a_link(valkey) as link:
        assert await link.execute(("GET", "n")) == [None]


async def test_a_server_that_does_not_speak_redis_counts_as_absent() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        async with RedisLink(f"redis://127.0.0.1:{port}", timeout_seconds=5) as link:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await link.execute(("INCR", "n"))
        nursery.cancel_scope.cancel()


async def test_a_demoted_primary_is_left_for_whatever_its_address_leads_to_next(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link, a_link(valkey) as other:
        (before,) = await link.execute(("CLIENT", "ID"))
        await other.execute(("REPLICAOF", "127.0.0.1", 1))
        with pytest.raises(OutcomeUnknown, match="READONLY"):
            await link.execute(("SET", "k", 1))
        assert (await link.execute(("CLIENT", "ID")))[0] != before, "the connection is a new one"
        await other.execute(("REPLICAOF", "NO", "ONE"))
        assert await link.execute(("SET", "k", 1)) == [b"OK"]


async def test_a_read_that_a_demotion_ends_leaves_the_server_too(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link, a_link(valkey) as other:
        (before,) = await link.execute(("CLIENT", "ID"))

        async def read() -> None:
            with pytest.raises(OutcomeUnknown, match="UNBLOCKED"):
                await link.execute(("XREAD", "BLOCK", 60_000, "STREAMS", "quiet", "0"), block_seconds=60)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await other.execute(("REPLICAOF", "127.0.0.1", 1))
        assert (await link.execute(("CLIENT", "ID")))[0] != before


async def test_a_write_probe_is_refused_by_a_replica_and_leaves_nothing_for_ever(valkey: EmbeddedValkey) -> None:
    async with a_link(valkey) as link:
        await write_probe(link, "probe")
        (left,) = await link.execute(("PTTL", "probe"))
        assert 0 < left <= 60_000
        await link.execute(("REPLICAOF", "127.0.0.1", 1))
        with pytest.raises(OutcomeUnknown, match="READONLY"):
            await write_probe(link, "probe")
        await link.execute(("REPLICAOF", "NO", "ONE"))
        await write_probe(link, "probe")
