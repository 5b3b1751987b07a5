"""Clients of a stream who are too slow: nobody waits for them, and what waits for them is bounded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash.http.stream_readers import BACKLOG_MAX_BYTES, QueueReader, SocketReader
from tests.http.site import at_most

SECONDS = 0.2
PIECE = bytes(range(256)) * 32


@pytest.fixture
def ends() -> Iterator[tuple[SocketReader, socket.socket]]:
    """A reader on a real connection, and the client's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        for sock in (client, server):
            sock.setblocking(False)
        yield SocketReader(server), client


Ends = tuple[SocketReader, socket.socket]


def _fill(reader: SocketReader) -> int:
    """Write until something has to wait here. Returns how many pieces that took."""
    for count in range(1, 1_000):
        reader.write_nowait(PIECE)
        if reader.is_behind:
            return count
    raise AssertionError("the kernel takes everything")


async def _receive(client: socket.socket, size: int) -> bytes:
    heard = b""
    with at_most(5):
        while len(heard) < size:
            await trio.lowlevel.wait_readable(client)
            heard += client.recv(65_536)
    return heard


async def test_a_client_that_is_behind_gets_everything_in_order_once_it_reads(ends: Ends) -> None:
    reader, client = ends
    count = _fill(reader)
    for _ in range(3):
        reader.write_nowait(PIECE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.serve, 5.0)
        assert await _receive(client, (count + 3) * len(PIECE)) == PIECE * (count + 3)
        await wait_all_tasks_blocked()
        assert not reader.is_behind
        reader.write_nowait(b"more")
        assert await _receive(client, 4) == b"more"
        count = _fill(reader)  # behind again, while `serve` waits for the client to leave
        assert await _receive(client, count * len(PIECE)) == PIECE * count
        reader.end()


async def test_a_client_that_does_not_catch_up_in_time_is_cut_loose(ends: Ends) -> None:
    reader, _ = ends
    _fill(reader)
    with at_most(5):
        await reader.serve(SECONDS)
    assert reader.is_behind
    reader.write_nowait(PIECE)  # and nothing becomes of that


async def test_a_client_for_whom_too_much_waits_is_cut_loose_at_once(ends: Ends) -> None:
    reader, _ = ends
    _fill(reader)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.serve, 60.0)
        await wait_all_tasks_blocked()
        with at_most(1):
            while nursery.child_tasks:
                reader.write_nowait(PIECE)
                await trio.lowlevel.checkpoint()


async def test_what_waits_for_many_slow_clients_is_one_object(ends: Ends) -> None:
    reader, _ = ends
    _fill(reader)
    piece = bytes(1_000)
    reader.write_nowait(piece)
    assert reader.backlog[-1].obj is piece


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_client_that_leaves_ends_its_stream(ends: Ends, is_reset: bool) -> None:
    reader, client = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_served, reader)
        await wait_all_tasks_blocked()
        client.send(b"whatever it sends")
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()


async def _served(reader: SocketReader) -> None:
    with at_most(2), suppress(ConnectionResetError):
        await reader.serve(60.0)


async def test_a_piece_for_a_client_that_has_gone_ends_its_stream_and_raises_nothing(ends: Ends) -> None:
    reader, client = ends
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    reader.write_nowait(b"x")
    reader.write_nowait(b"x")
    with at_most(1):
        await reader.serve(60.0)


async def test_the_queue_of_another_servers_client_is_bounded() -> None:
    ended: list[bool] = []
    reader = QueueReader(lambda: ended.append(True))
    reader.write_nowait(b"a")
    reader.write_nowait(b"b")
    assert await reader.take() == b"ab"
    with trio.move_on_after(0) as empty:
        await reader.take()
    assert empty.cancelled_caught
    reader.write_nowait(bytes(BACKLOG_MAX_BYTES))
    assert not ended
    reader.write_nowait(b"c")
    assert ended
