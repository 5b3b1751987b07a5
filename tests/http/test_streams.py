"""Streams such as server-sent events, and other long exchanges, on a real server of either kind."""

from __future__ import annotations

import h2.config
import h2.connection
import trio

from flash.http.server import Tls
from flash.testing.client import Client, host_and_port, raw
from tests.certificates import tls_stream
from tests.http.site import GET, POST, Running, Serving, at_most, limits, serving_on, until

HELLO = b"data: hello\n\n"


async def _listen(running: Running, version: bytes = b"1.1") -> tuple[trio.SocketStream, bytes]:
    """A connection that has received the hello, and all that it has received."""
    stream = await trio.open_tcp_stream(*host_and_port(running.address))
    await stream.send_all(b"GET /events HTTP/" + version + b"\r\nHost: h\r\n\r\n")
    heard = b""
    with at_most(2):
        while HELLO not in heard:
            heard += await stream.receive_some(65_536)
    return stream, heard


def _framed(piece: bytes, running: Running) -> bytes:
    """As it arrives: only Hypercorn makes chunks."""
    return piece if running.is_builtin else b"%x\r\n%b\r\n" % (len(piece), piece)


def _end(running: Running) -> bytes:
    return b"" if running.is_builtin else b"0\r\n\r\n"


async def _flood(running: Running) -> None:
    """Write to everybody until nobody is left."""
    with at_most(5):
        while running.site.listeners:
            running.site.tell(b"x" * 65_536)
            await trio.sleep(0.001)


async def _hear_all(stream: trio.SocketStream) -> bytes:
    heard = b""
    with at_most(5):
        while piece := await stream.receive_some(65_536):
            heard += piece
    return heard


async def test_each_piece_arrives_when_it_is_written_and_the_end_closes_the_connection(serving: Serving) -> None:
    async with serving() as running:
        stream, heard = await _listen(running)
        async with stream:
            head, body = heard.lower().split(b"\r\n\r\n", 1)
            assert heard.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nconnection: close" in head
            assert b"\r\ncontent-type: text/event-stream" in head
            assert b"\r\ncache-control: no-store" in head
            assert (b"\r\ntransfer-encoding: chunked" in head) != running.is_builtin
            assert body == _framed(HELLO, running)
            for piece in (b"data: a\n\n", b"data: b\n\n"):
                running.site.tell(piece)
                assert await stream.receive_some(65_536) == _framed(piece, running)
            running.site.end_events()
            assert await _hear_all(stream) == _end(running)


async def test_an_http10_client_gets_a_stream_without_chunks(serving: Serving) -> None:
    async with serving() as running:
        stream, heard = await _listen(running, b"1.0")
        async with stream:
            running.site.end_events()
            assert (heard + await _hear_all(stream)).endswith(b"\r\n\r\n" + HELLO)


async def test_head_of_a_stream_does_not_run_it(serving: Serving) -> None:
    async with serving() as running:
        answer = await raw(running.address, b"HEAD /events HTTP/1.1\r\nHost: h\r\n\r\n", seconds=2)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n")
        assert not running.site.listeners


async def test_a_stream_ends_when_its_listener_leaves(serving: Serving) -> None:
    async with serving() as running:
        stream, _ = await _listen(running)
        assert len(running.site.listeners) == 1
        await stream.aclose()
        if not running.is_builtin:  # Hypercorn notices a closed client only when it writes for the second time
            await _flood(running)
        await until(lambda: not running.site.listeners)
        await running.assert_answers()


async def test_a_stream_ends_in_full_when_the_server_stops(serving: Serving) -> None:
    async with serving(limits(drain_seconds=30)) as running:
        stream, _ = await _listen(running)
        async with stream:
            running.stop.set()
            with at_most(1):
                assert await _hear_all(stream) == _end(running)
            with at_most(1):
                await running.ended.wait()


async def test_a_listener_that_does_not_read_is_cut_off_even_if_it_keeps_sending(serving: Serving) -> None:
    async with serving(limits(send_seconds=0.1, drain_seconds=0.3)) as running:
        stream, _ = await _listen(running)
        async with stream:
            await stream.send_all(GET + b"\r\n")
            await _flood(running)
        await running.assert_answers()


async def _ask_in_http2(running: Running, tls: Tls, path: str) -> trio.SSLStream[trio.SocketStream]:
    """A connection that never allows the server to send more than the first 64 KB."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    http.initiate_connection()
    target = [(":method", "GET"), (":scheme", "https"), (":authority", "h"), (":path", path)]
    http.send_headers(1, target, end_stream=True)
    stream = await tls_stream(running.address, tls, "h2")
    await stream.send_all(http.data_to_send())
    return stream


async def _listen_in_http2(running: Running, tls: Tls) -> trio.SSLStream[trio.SocketStream]:
    stream, heard = await _ask_in_http2(running, tls, "/events"), b""
    with at_most(5):
        while HELLO not in heard:
            heard += await stream.receive_some(65_536)
    return stream


async def _flood_one(running: Running) -> None:
    """Write to the listener who came first until it is gone."""
    (first, *_) = running.site.listeners
    with at_most(5):
        while first in running.site.listeners:
            first.write_nowait(b"x" * 16_384)
            await trio.sleep(0.001)


async def test_an_http2_listener_that_allows_no_more_is_cut_off_and_does_not_delay_the_stop(tls: Tls) -> None:
    async with serving_on(True, limits(send_seconds=10, drain_seconds=10), tls=tls) as running:
        flooded, watching = [await _listen_in_http2(running, tls) for _ in range(2)]
        await _flood_one(running)
        assert len(running.site.listeners) == 1
        for _ in range(6):  # the other one is behind, and has not been cut off yet, when the server stops
            running.site.tell(b"x" * 16_384)
            await trio.sleep(0.01)
        assert len(running.site.listeners) == 1
        running.stop.set()
        with at_most(2):
            await running.ended.wait()
        for stream in (flooded, watching):
            await trio.aclose_forcefully(stream)


async def test_an_http2_client_that_takes_nothing_of_a_large_answer_loses_its_connection(tls: Tls) -> None:
    async with serving_on(True, limits(send_seconds=0.1), tls=tls) as running:
        stream = await _ask_in_http2(running, tls, "/big")
        with at_most(5):
            while await stream.receive_some(65_536):
                pass
        await trio.aclose_forcefully(stream)


async def test_a_body_that_waits_for_100_continue_is_asked_for_once(serving: Serving) -> None:
    async with serving() as running:
        stream = await trio.open_tcp_stream(*host_and_port(running.address))
        async with stream:
            await stream.send_all(POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            with at_most(1):
                assert (await stream.receive_some(65_536)).startswith(b"HTTP/1.1 100 ")
            for piece in (b"ab", b"cd"):
                await stream.send_all(piece)
            with at_most(1):
                assert (await stream.receive_some(65_536)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_is_too_large_is_not_asked_for(serving: Serving) -> None:
    async with serving() as running:
        head = POST + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
        answer = await raw(running.address, head, seconds=2)
        assert b"HTTP/1.1 413 " in answer
        assert answer.count(b" 100 ") == (
            0 if running.is_builtin else 1
        )  # Hypercorn asks for the body before the application sees the request


async def test_while_a_handler_works_pipelined_requests_are_left_in_the_buffers_of_the_client(serving: Serving) -> None:
    async with serving() as running:
        stream = await trio.open_tcp_stream(*host_and_port(running.address))
        async with stream:
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            await running.site.slow_began.wait()
            with trio.move_on_after(0.3) as patience:
                while True:
                    await stream.send_all((GET + b"\r\n") * 1_000)
            assert patience.cancelled_caught
            await running.assert_answers()


async def test_a_client_that_pipelines_does_not_delay_the_others(serving: Serving) -> None:
    async with serving() as running, trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream(*host_and_port(running.address))
        nursery.start_soon(_drown, stream)
        async with Client(running.address) as client:
            for _ in range(20):
                before = len(running.site.calls)
                assert (await client.get("/")).status == 200
                assert len(running.site.calls) - before < 50
        nursery.cancel_scope.cancel()


async def _drown(stream: trio.SocketStream) -> None:
    async def listen() -> None:
        while await stream.receive_some(65_536):
            pass

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        while True:
            await stream.send_all((GET + b"\r\n") * 100)
