"""A real server on a free port: whatever one connection does, the next request is answered, and a stop is prompt.

A test that runs into a limit sets it to some tens of milliseconds. No other test waits for a limit.
"""

from __future__ import annotations

import importlib.metadata
import socket
from contextlib import suppress

import h11
import hypercorn.trio.run
import hypercorn.trio.tcp_server
import pytest
import trio
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PriorityFrame, SettingsFrame

from flash.errors import OperatorError
from flash.http.asgi import App
from flash.http.hypercorn_guard import GuardedTCPServer, serve_connection
from flash.http.server import Tls, serve
from flash.http.strict_h11 import StrictH11
from flash.testing.client import Client, ConnectionLost, host_and_port, raw
from tests.certificates import tls_stream
from tests.http.site import BIG, GET, POST, SECOND, Running, Serving, at_most, descriptors, limits, serving_on, until

# --- input that stops a stock Hypercorn as a whole -------------------------------------------------------------


def test_hypercorn_is_the_version_that_the_guard_was_written_for() -> None:
    assert importlib.metadata.version("hypercorn") == "0.18.0", "read hypercorn/trio again, then change this"
    assert issubclass(GuardedTCPServer, hypercorn.trio.tcp_server.TCPServer)
    assert "TCPServer" in hypercorn.trio.run.worker_serve.__code__.co_names


async def test_a_running_server_hands_its_connections_to_the_guard(serving: Serving) -> None:
    async with serving():
        assert vars(hypercorn.trio.run)["TCPServer"] is serve_connection


WEBSOCKET = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
H2C = GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "


@pytest.mark.parametrize(
    "data",
    [
        H2C + b"!!!\r\n\r\n",
        H2C + b"AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        WEBSOCKET + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: \xff\r\n\r\n",
        WEBSOCKET + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ],
)
async def test_an_upgrade_is_ignored_and_the_request_answered(serving: Serving, data: bytes) -> None:
    async with serving() as running:
        answer = await raw(running.address, data, is_half_closed=True)
        assert answer.startswith(b"HTTP/1.1 200 ")
        await running.assert_answers()


@pytest.mark.parametrize("first", [H2C + b"AAMAAABk\r\n\r\n", WEBSOCKET + b"\r\n"])
async def test_after_an_ignored_upgrade_the_connection_carries_on_in_http1(serving: Serving, first: bytes) -> None:
    async with serving() as running:
        answer = await raw(running.address, first + GET + b"Connection: close\r\n\r\n", seconds=2)
        assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_connect_opens_no_tunnel(serving: Serving) -> None:
    async with serving() as running:
        data = b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n" + GET + b"Connection: close\r\n\r\n"
        answer = await raw(running.address, data, seconds=2)
        assert answer.startswith(b"HTTP/1.1 404 ")
        await running.assert_answers()


async def test_a_host_beyond_ascii_is_rejected(serving: Serving) -> None:
    async with serving() as running:
        answer = await raw(running.address, b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        await running.assert_answers()


def _headers(*headers: tuple[bytes, bytes], ends: bool = True) -> bytes:
    frame = HeadersFrame(1, Encoder().encode(headers), flags=["END_HEADERS"])
    if ends:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def _priorities(count: int) -> bytes:
    frames: list[Frame] = [PriorityFrame(2 * n + 1, depends_on=0, stream_weight=1) for n in range(count)]
    return b"".join(frame.serialize() for frame in frames)


METHOD, PATH = (b":method", b"GET"), (b":path", b"/")
SCHEME, AUTHORITY = (b":scheme", b"https"), (b":authority", b"h")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
HTTP2_KILLERS = {
    "path-ff": _headers(METHOD, SCHEME, AUTHORITY, (b":path", b"/\xff")),
    "method-ff": _headers((b":method", b"G\xff"), SCHEME, AUTHORITY, PATH),
    "connect-without-path": _headers((b":method", b"CONNECT"), AUTHORITY),
    "data-after-the-response": _headers(METHOD, SCHEME, AUTHORITY, PATH, (b"content-length", b"99999"), ends=False),
    "priorities": _priorities(1_100),
}
LATE_DATA = DataFrame(1, b"late").serialize()


@pytest.mark.parametrize("killer", HTTP2_KILLERS)
async def test_http2_with_prior_knowledge_is_rejected_on_a_plain_connection(serving: Serving, killer: str) -> None:
    async with serving() as running:
        answer = await raw(running.address, PREFACE + HTTP2_KILLERS[killer])
        assert answer.startswith(b"HTTP/1.1 505 ")
        assert answer.count(b"HTTP/1.1") == 1
        await running.assert_answers()


async def _receive_until(stream: trio.abc.ReceiveStream, mark: bytes) -> None:
    received = b""
    with trio.fail_after(5):
        while mark not in received:
            received += await stream.receive_some(65_536)


async def _receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    with trio.fail_after(5):
        try:
            while piece := await stream.receive_some(65_536):
                received += piece
        except trio.BrokenResourceError:
            pass
    return received


@pytest.mark.parametrize("killer", HTTP2_KILLERS)
async def test_over_tls_each_http2_killer_costs_at_most_its_own_connection(
    serving: Serving, killer: str, tls: Tls
) -> None:
    async with serving(limits(drain_seconds=0.3, idle_seconds=0.3), tls=tls) as running:
        async with await tls_stream(running.address, tls, "h2") as stream:
            await stream.send_all(PREFACE + HTTP2_KILLERS[killer])
            if killer == "data-after-the-response":
                await _receive_until(stream, b"body_too_large")
                await stream.send_all(LATE_DATA)
            await _receive_all(stream)
        async with await tls_stream(running.address, tls, "http/1.1") as stream:
            await stream.send_all(GET + b"Connection: close\r\n\r\n")
            assert (await _receive_all(stream)).startswith(b"HTTP/1.1 200 ")


# --- malformed and oversized heads ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: h\r\n\r\n", 400),
        (GET + b"Host: other\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/11\r\nHost: h\r\n\r\n", 400),
        (b"GET /#x HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET \xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (GET + b"X: a\n\r\n", 400),
        (GET + b"X: a\r\n b\r\n\r\n", 400),
        (GET + b"X: a\rb\r\n\r\n", 400),
        (GET + b"X: \x00\r\n\r\n", 400),
        (GET + b"X : a\r\n\r\n", 400),
        (GET + b"no colon\r\n\r\n", 400),
        (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (POST + b"Content-Length: 4\r\ncontent-length: 5\r\n\r\nabcd", 400),
        (POST + b"Content-Length: +4\r\n\r\nabcd", 400),
        (POST + b"Content-Length: 4x\r\n\r\nabcd", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x00\xff" * 100, 400),
        (b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET /" + b"a" * 100_000, 414),
        (GET + b"X: a\r\n" * 101 + b"\r\n", 431),
        (GET + b"X: " + b"a" * 16_384 + b"\r\n\r\n", 431),
        (GET + b"X: " + b"a" * 100_000, 431),
        (GET + b"X: a\r\n" * 3_000, 431),
    ],
)
async def test_a_malformed_head_gets_one_rejection_and_nothing_after_it_is_parsed(
    serving: Serving, data: bytes, status: int
) -> None:
    async with serving() as running:
        with at_most(2):
            answer = await raw(running.address, data + SECOND)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert not running.site.calls
        await running.assert_answers()


@pytest.mark.parametrize(
    ("data", "builtin", "hypercorn"),
    [
        # A line without a version is HTTP/0.9: llhttp says so, h11 does not recognise it.
        (b"GET /\r\n\r\n", 505, 400),
        (b"GET /\r\nHost: h\r\n\r\n", 505, 400),
        # RFC 9112, 2.2: ignore empty lines before a request; section 3: a line may be split at any whitespace.
        (b"\r\n\r\n\r\n", 200, 400),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 200, 400),
        # RFC 9110, 9.1 and 15.6.2: an unknown method gets 501. llhttp cannot tell one from garbage.
        (b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 400, 405),
        (b"PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n", 501, 405),
        # llhttp skips the body of a request that might open a tunnel, so what follows would be ambiguous.
        (GET + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 4\r\n\r\nabcd", 400, 200),
        # The body could never end within its bound.
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 500_000, 413, 431),
    ],
)
async def test_where_the_two_servers_differ_there_is_a_reason(
    serving: Serving, data: bytes, builtin: int, hypercorn: int
) -> None:
    async with serving() as running:
        answer = await raw(running.address, data + GET + b"Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % (builtin if running.is_builtin else hypercorn))
        await running.assert_answers()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /?" + b"a" * 8_190 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        GET + b"X: a\r\n" * 99 + b"\r\n",
        GET + b"X: " + b"a" * 16_000 + b"\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://h/?x=1 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        POST + b"Content-Length: 4\r\n\r\nabcd",
        POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nTrailer: x\r\n\r\n",
        POST + b"Content-Length: 4\r\n\r\na\nb\n",
    ],
)
async def test_an_unusual_but_valid_request_is_answered(serving: Serving, data: bytes) -> None:
    async with serving() as running:
        assert (await raw(running.address, data, is_half_closed=True)).startswith(b"HTTP/1.1 200 ")


def test_a_head_gets_the_same_verdict_at_once_and_byte_by_byte() -> None:
    for data, status in [
        (GET + b"X: a\r\n b\r\n\r\n", 400),
        (GET + b"X: a\r\n" * 101 + b"\r\n", 431),
        (GET + b"\r\n", 0),
    ]:
        connection = StrictH11(h11.SERVER)
        status_seen = 0
        for n in range(len(data)):
            connection.receive_data(data[n : n + 1])
            try:
                connection.next_event()
            except h11.RemoteProtocolError as error:
                status_seen = error.error_status_hint
                break
        assert status_seen == status


async def test_raw_bytes_in_a_target_count_as_percent_encoded(serving: Serving) -> None:
    async with serving() as running:
        raw_head = "POST /echo?a=josé&b=%C3 HTTP/1.1\r\nHost: h\r\n".encode()
        data = raw_head + b"\r\n" + raw_head + b"X: /\xff\r\nContent-Length: 3\r\n\r\n/\xff " + raw_head
        answer = await raw(running.address, data + b"Connection: close\r\n\r\n", seconds=2)
        assert answer.count(b'"a=jos%C3%A9&b=%C3"') == 3


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_raw_bytes_in_a_target_count_as_percent_encoded_over_tls(
    serving: Serving, tls: Tls, protocol: str
) -> None:
    path = (b":path", "/echo?a=josé".encode())
    requests = {
        "http/1.1": b"POST %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % path[1],
        "h2": PREFACE + _headers((b":method", b"POST"), SCHEME, AUTHORITY, path),
    }
    async with serving(tls=tls) as running, await tls_stream(running.address, tls, protocol) as stream:
        await stream.send_all(requests[protocol])
        await _receive_until(stream, b'"a=jos%C3%A9"')


@pytest.mark.parametrize(
    ("data", "target"),
    [
        ("GET /é?a=é HTTP/1.1\r\nHost: h\r\nX: /é\r\n\r\n", b"/%C3%A9?a=%C3%A9"),
        ("GET http://h/é HTTP/1.1\r\nHost: h\r\n\r\n", b"http://h/%C3%A9"),
        ("GETé / HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ("GET é HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ("GET hé://h/ HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ("GET / HTTP/1.é\r\nHost: h\r\n\r\n", None),
    ],
)
def test_h11_sees_raw_bytes_of_a_target_escaped_however_the_request_is_cut(data: str, target: bytes | None) -> None:
    whole = data.encode()
    for cut in range(len(whole)):
        connection = StrictH11(h11.SERVER)
        for piece in (whole[:cut], whole[cut:]) if cut else [bytes([octet]) for octet in whole]:
            if piece:
                connection.receive_data(piece)
                try:
                    event = connection.next_event()
                except h11.RemoteProtocolError:
                    event = None
                    break
        assert (event and event.target) == target


# --- bodies, pipelining, deadlines, bounds --------------------------------------------------------------------


async def test_five_hundred_pipelined_requests_are_answered_in_order(serving: Serving) -> None:
    async with serving() as running:
        answer = await raw(running.address, (GET + b"\r\n") * 500, is_half_closed=True, seconds=10)
        numbers = [int(part.split(b"}")[0]) for part in answer.split(b'{"n":')[1:]]
        assert numbers == list(range(1, 501))


async def test_a_connection_serves_more_requests_than_hypercorn_would_allow(serving: Serving) -> None:
    async with serving() as running, Client(running.address) as client:
        for _ in range(1_050):
            answer = await client.get("/")
        assert (answer.status, answer.closes) == (200, False)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"Content-Length: 8193\r\n\r\n" + b"x" * 8_193, 413),
        (POST + b"Content-Length: 999999999\r\n\r\n" + b"x" * 500_000, 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"4\r\nxxxx\r\n" * 17_000, 413),
        (POST + b"Content-Length: 10\r\n\r\nabc", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 408),
    ],
)
async def test_a_body_too_large_or_too_slow_is_rejected_and_the_connection_closed(
    serving: Serving, data: bytes, status: int
) -> None:
    body_seconds = 0.05 if status == 408 else 10
    async with serving(limits(body_seconds=body_seconds, drain_seconds=0.3)) as running:
        with at_most(5):
            answer = await raw(running.address, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert not running.site.calls
        await running.assert_answers()


async def test_a_body_of_the_largest_size_leaves_the_connection_usable(serving: Serving) -> None:
    async with serving() as running, Client(running.address) as client:
        for _ in range(3):
            assert (await client.request("POST", "/", body=b"x" * 8_192)).status == 200


async def test_expect_100_continue_is_answered(serving: Serving) -> None:
    async with serving() as running:
        data = POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\nabcd"
        assert (await raw(running.address, data, is_half_closed=True)).count(b"HTTP/1.1 200 ") == 1


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500,
        POST + b"Content-Length: 50\r\n\r\nabc",
        GET + b"X: ",
    ],
)
async def test_two_hundred_abandoned_requests_leak_no_descriptor(serving: Serving, data: bytes) -> None:
    async with serving() as running:
        await running.assert_answers()
        before = descriptors()
        for _ in range(200):
            stream = await trio.open_tcp_stream(*host_and_port(running.address))
            with trio.move_on_after(1):
                await stream.send_all(data)
            await stream.aclose()
        await until(lambda: descriptors() <= before)
        await running.assert_answers()


async def test_a_head_has_one_deadline_that_more_bytes_do_not_extend(serving: Serving) -> None:
    async def drip(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(b"G")
            await trio.sleep(0.01)

    async with serving(limits(head_seconds=0.08, drain_seconds=0.3)) as running:
        stream = await trio.open_tcp_stream(*host_and_port(running.address))
        async with stream:
            with pytest.raises(trio.BrokenResourceError), at_most(1):
                await drip(stream)


async def test_a_quiet_connection_is_closed_after_the_idle_limit_before_and_between_requests(serving: Serving) -> None:
    async with serving(limits(idle_seconds=0.05, drain_seconds=0.3)) as running:
        with at_most(1):
            assert await raw(running.address, b"") == b""
            assert (await raw(running.address, GET + b"\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_handler_may_take_longer_than_every_limit_on_the_client(serving: Serving) -> None:
    bounds = limits(idle_seconds=0.02, head_seconds=0.02, send_seconds=0.02, drain_seconds=0.3)
    async with serving(bounds) as running, trio.open_nursery() as nursery:
        nursery.start_soon(_expect, running.address, "/slow", 200)
        await running.site.slow_began.wait()
        await trio.sleep(0.1)
        running.site.slow_may_end.set()


async def _expect(address: str, target: str, status: int, closes: bool = False) -> None:
    async with Client(address) as client:
        answer = await client.get(target)
        assert (answer.status, answer.closes) == (status, closes)


async def _stuck_reader(address: str) -> trio.SocketStream:
    stream = await trio.open_tcp_stream(*host_and_port(address))
    await stream.send_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
    await stream.receive_some(1)
    return stream


async def test_a_reader_that_stops_reading_is_cut_off(serving: Serving) -> None:
    async with serving(limits(send_seconds=0.05, drain_seconds=0.3)) as running:
        async with await _stuck_reader(running.address) as stream:
            await trio.sleep(0.15)
            assert len(await _receive_all(stream)) < BIG
        await running.assert_answers()


async def test_above_the_cap_a_connection_is_refused_at_once_and_a_freed_place_is_reused(serving: Serving) -> None:
    async with serving(limits(connections_max=2, drain_seconds=0.3)) as running:
        async with Client(running.address) as first, Client(running.address) as second:
            await first.get("/")
            await second.get("/")
            async with Client(running.address) as third:
                if running.is_builtin:
                    refused = await third.get("/")
                    assert (refused.status, refused.json()["code"], refused.closes) == (503, "overloaded", True)
                    assert refused.header(b"retry-after") is not None
                else:
                    with pytest.raises(ConnectionLost):
                        await third.get("/")
            assert (await first.get("/")).status == 200
        with trio.fail_after(2):
            while True:
                with suppress(ConnectionLost):
                    async with Client(running.address) as late:
                        if (await late.get("/")).status == 200:
                            return
                await trio.sleep(0.005)


async def test_three_hundred_idle_connections_delay_nobody(serving: Serving) -> None:
    async with serving() as running:
        idle = [await trio.open_tcp_stream(*host_and_port(running.address)) for _ in range(300)]
        with at_most(3):
            await running.assert_answers()
            running.stop.set()
            await running.ended.wait()
        for stream in idle:
            await stream.aclose()


async def test_a_client_that_leaves_does_not_stop_what_its_request_began(serving: Serving) -> None:
    async with serving() as running:
        async with await trio.open_tcp_stream(*host_and_port(running.address)) as stream:
            await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            await running.site.slow_began.wait()
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # leave with a reset
        await running.assert_answers()
        running.site.slow_may_end.set()
        with at_most(1):
            await running.site.slow_ended.wait()


# --- the stop -------------------------------------------------------------------------------------------------


async def test_at_the_stop_a_request_in_flight_is_answered_and_its_connection_closed(serving: Serving) -> None:
    async with serving(limits(drain_seconds=2)) as running, trio.open_nursery() as nursery:
        nursery.start_soon(_expect, running.address, "/slow", 200, True)
        await running.site.slow_began.wait()
        running.stop.set()
        await trio.sleep(0.2)
        assert not running.ended.is_set()
        running.site.slow_may_end.set()
        with at_most(1):
            await running.ended.wait()


async def test_at_the_stop_idle_connections_close_at_once_and_no_new_ones_are_accepted(serving: Serving) -> None:
    async with serving(limits(drain_seconds=30)) as running, Client(running.address) as client:
        await client.get("/")
        running.stop.set()
        with at_most(1):
            await running.ended.wait()
        with pytest.raises(ConnectionLost):
            await client.get("/")
        with pytest.raises(OSError, match="failed"):
            await running.assert_answers()


async def test_a_request_sent_just_before_the_stop_is_answered(serving: Serving) -> None:
    async with serving() as running, Client(running.address) as client:
        await client.get("/")
        running.stop.set()
        assert (await client.get("/")).status == 200
        with pytest.raises((ConnectionLost, h11.LocalProtocolError)):  # closed, or announced with `Connection: close`
            await _ask_on(client)


async def _ask_on(client: Client) -> None:
    for _ in range(3):
        await client.get("/")


async def test_a_stop_under_load_leaves_no_request_unanswered(serving: Serving) -> None:
    shopping = 0

    async def shop(running: Running) -> None:
        nonlocal shopping
        async with Client(running.address) as client:
            await client.post("/")  # at the stop, the kernel resets what is still in the backlog
            shopping += 1
            while not (await client.post("/")).closes:  # ConnectionLost would fail the test
                pass

    async with serving(limits(drain_seconds=2)) as running, trio.open_nursery() as shoppers:
        for _ in range(50):
            shoppers.start_soon(shop, running)
        await until(lambda: shopping == 50 and len(running.site.calls) > 300)
        running.stop.set()
        with at_most(2):
            await running.ended.wait()


async def test_stuck_readers_slow_heads_and_endless_handlers_do_not_delay_the_stop(serving: Serving) -> None:
    async with serving(limits(drain_seconds=0.3)) as running:
        stuck = await _stuck_reader(running.address)
        slow = await trio.open_tcp_stream(*host_and_port(running.address))
        await slow.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        head = await trio.open_tcp_stream(*host_and_port(running.address))
        await head.send_all(b"GET /")
        await running.site.slow_began.wait()
        running.stop.set()
        began = trio.current_time()
        with at_most(0.3 + 0.5):
            await running.ended.wait()
        assert trio.current_time() - began >= 0.2, "the handler had its time"
        for stream in (stuck, slow, head):
            await stream.aclose()


async def test_a_stuck_reader_does_not_delay_the_stop_over_tls_either(serving: Serving, tls: Tls) -> None:
    async with serving(limits(drain_seconds=0.2), tls=tls) as running:
        stream = await tls_stream(running.address, tls, "http/1.1")
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        await stream.receive_some(1)
        running.stop.set()
        with at_most(0.2 + 0.5):
            await running.ended.wait()
        await trio.aclose_forcefully(stream)


# --- the socket -----------------------------------------------------------------------------------------------


async def _serve_on(host: str, port: int) -> None:
    await serve(App({}, body_seconds=1), host=host, port=port, limits=limits(), stop=trio.Event(), on_listening=print)


async def test_a_taken_port_is_reported_in_one_sentence(serving: Serving) -> None:
    async with serving() as running:
        port = host_and_port(running.address)[1]
        with pytest.raises(OperatorError, match=rf"^port {port} is taken on 127\.0\.0\.1: stop what"):
            await _serve_on("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "not a host", "256.1.1.1"])
async def test_an_address_of_another_machine_is_reported_in_one_sentence(host: str) -> None:
    with pytest.raises(
        OperatorError, match=r"^cannot listen on .*; set FLASH_HOST|is not an address of this machine: set FLASH_HOST"
    ):
        await _serve_on(host, 0)


async def test_the_address_is_announced_once_connections_are_accepted(serving: Serving) -> None:
    async with serving() as running:
        assert running.address == f"http://127.0.0.1:{host_and_port(running.address)[1]}"
        await running.assert_answers()


async def test_connections_that_wait_to_be_accepted_at_the_stop_are_answered() -> None:
    """The kernel has connected them; closing the listener at once would reset them."""
    async with serving_on(True, limits(drain_seconds=1)) as running, trio.open_nursery() as nursery:
        address = host_and_port(running.address)
        answers: list[bytes] = []

        async def ask(sock: socket.socket) -> None:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            async with stream:
                with at_most(3):
                    received = b""
                    while piece := await stream.receive_some(65_536):
                        received += piece
            answers.append(received)

        # made and filled in one step of this thread, so that the server accepts none of them before the stop
        waiting = [socket.create_connection(address) for _ in range(20)]
        for sock in waiting:
            sock.sendall(GET + b"\r\n")
            sock.setblocking(False)
        running.stop.set()
        for sock in waiting:
            nursery.start_soon(ask, sock)
    assert len(answers) == 20
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
