"""The proxy between a process and a store, on real sockets: what it holds comes late, and what it cuts is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from drill.proxy import ANSWERS, REQUESTS, Link
from flash.testing.stores import private_directory

WAIT_SECONDS = 10
_IDLE_SECONDS = 0.05


class Store:
    """Listens on a unix socket. Whoever connects is put into a channel, for a test to speak with.

    `streams` are all connections of a test, at either end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.streams: list[trio.SocketStream] = []
        self._put, self.came = trio.open_memory_channel[trio.SocketStream](10)

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(trio.socket.AF_UNIX) as listening:
            await listening.bind(str(self.path))
            listening.listen(10)
            task_status.started()
            while True:
                connection, _ = await listening.accept()
                self.streams.append(trio.SocketStream(connection))
                self._put.send_nowait(self.streams[-1])

    async def connect(self, link: Link) -> trio.SocketStream:
        """A client of the link, for a test to speak with."""
        host, _, port = link.address.partition(":")
        self.streams.append(await trio.open_tcp_stream(host, int(port)))
        return self.streams[-1]


@asynccontextmanager
async def a_link() -> AsyncIterator[tuple[Link, Store]]:
    with private_directory() as folder, trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            store = Store(folder / "store")
            await nursery.start(store.serve)
            try:
                yield Link(store.path, nursery), store
            finally:
                for stream in store.streams:
                    await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()


async def receive(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := await stream.receive_some(count - len(data))):
        data += piece
    return data


async def hears_nothing(stream: trio.SocketStream) -> bool:
    async with trio.open_nursery() as nursery:
        heard: list[bytes] = []

        async def listen() -> None:
            heard.append(await stream.receive_some(1))

        nursery.start_soon(listen)
        await wait_all_tasks_blocked(_IDLE_SECONDS)
        nursery.cancel_scope.cancel()
    return not heard


async def test_everything_passes_in_both_directions_and_so_does_the_end() -> None:
    async with a_link() as (link, store):
        client = await store.connect(link)
        await client.send_all(b"question")
        server = await store.came.receive()
        assert await receive(server, 8) == b"question"
        await server.send_all(b"answer")
        assert await receive(client, 6) == b"answer"
        await client.send_eof()
        assert await server.receive_some() == b""
        await server.aclose()
        assert await client.receive_some() == b""


async def test_a_request_that_is_held_arrives_late_even_if_its_sender_has_gone() -> None:
    async with a_link() as (link, store):
        client = await store.connect(link)
        await client.send_all(b"a")
        server = await store.came.receive()
        assert await receive(server, 1) == b"a"
        with link.held(REQUESTS):
            await client.send_all(b"late")
            await server.send_all(b"x")
            assert await receive(client, 1) == b"x", "answers pass"
            await client.aclose()
            assert await hears_nothing(server)
        assert await receive(server, 4) == b"late"


async def test_an_answer_that_is_held_arrives_late_while_requests_pass() -> None:
    async with a_link() as (link, store):
        client = await store.connect(link)
        with link.held(ANSWERS):
            await client.send_all(b"q")
            server = await store.came.receive()
            assert await receive(server, 1) == b"q"
            await server.send_all(b"answer")
            assert await hears_nothing(client)
        assert await receive(client, 6) == b"answer"


async def test_within_a_cut_nobody_new_comes_through_and_afterwards_they_do() -> None:
    async with a_link() as (link, store):
        with link.held(REQUESTS, ANSWERS), link.held(REQUESTS):
            client = await store.connect(link)
            await client.send_all(b"q")
            await wait_all_tasks_blocked(_IDLE_SECONDS)
            with pytest.raises(trio.WouldBlock):
                store.came.receive_nowait()
        assert await receive(await store.came.receive(), 1) == b"q"


async def test_a_connection_that_hangs_stays_silent_and_a_new_one_does_not() -> None:
    async with a_link() as (link, store):
        client = await store.connect(link)
        await client.send_all(b"a")
        server = await store.came.receive()
        assert await receive(server, 1) == b"a"
        assert link.hang() == 1
        await client.send_all(b"lost")
        await server.send_all(b"lost")
        await server.send_eof()
        assert await hears_nothing(client)
        assert await hears_nothing(server)
        other = await store.connect(link)
        await other.send_all(b"b")
        assert await receive(await store.came.receive(), 1) == b"b"
        await client.aclose()
        assert await receive(server, 1) == b"", "it has nothing left to wait for"


async def test_a_reset_breaks_the_connection_for_both() -> None:
    async with a_link() as (link, store):
        client = await store.connect(link)
        await client.send_all(b"a")
        server = await store.came.receive()
        assert await receive(server, 1) == b"a"
        assert link.reset() == 1
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        assert await server.receive_some() == b""


async def test_a_slow_link_takes_its_time_and_carries_no_more_than_it_can() -> None:
    async with a_link() as (link, store):
        client = await store.connect(link)
        began = trio.current_time()
        with link.slow(0.05, bytes_per_second=1_000):
            await client.send_all(bytes(100))
            server = await store.came.receive()
            assert len(await receive(server, 100)) == 100
            assert trio.current_time() - began >= 0.15
        await client.send_all(bytes(1_000_000))
        assert len(await receive(server, 1_000_000)) == 1_000_000, "which would have taken a quarter of an hour"


async def test_a_store_that_is_away_and_a_link_that_is_closed_refuse() -> None:
    async with a_link() as (link, store):
        store.path.unlink()
        client = await store.connect(link)
        with pytest.raises(trio.BrokenResourceError):
            assert await client.receive_some() == b"nothing"
        await link.close()
        with pytest.raises(OSError, match=r"refused|all attempts"):
            await store.connect(link)
